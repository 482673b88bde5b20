"""What a proof restores, and what must hold of the copy. All but `settled`, which writes the plan down, is pure."""

from __future__ import annotations

import os
import random
from typing import Any, Callable, Mapping, Optional, Sequence

from . import census_compare, copy_checks, lsn, records
from .guards import PRECONDITION, Stop, fail
from .validation import SHOULD, check, switch_point

# What runs in a server that does nothing but answer.
QUIET_BACKENDS = {
    "archiver",  # shown by old versions also where nothing is archived
    "background writer",
    "checkpointer",
    "client backend",
    "io worker",
    "logical replication launcher",
    "parallel worker",
    "startup",
    "walwriter",
}

PLANNED = "the database system is the planned one"
TARGET = "replay ended at its target"
# What tells of a backup or a dump itself. All else may fail for a host, a deadline, a failover or a statement that is wrong.
OF_CONTENT = {
    *(PLANNED, TARGET, *copy_checks.OF_STORAGE, *copy_checks.OF_CONSTRAINTS),
    *(*census_compare.DATABASE_RULES, *census_compare.OF_CLUSTER),
}


def disproves(checks: "Sequence[Mapping[str, Any]]") -> bool:
    """Whether a check about content failed: only then is the backup, or the dump, itself what is wrong."""
    wrong = [c for c in checks if c["tier"] == "must" and c["verdict"] == "failed"]
    unread = any(c["name"] == census_compare.READABLE and " of the copy: " in str(c["observed"]) for c in wrong)
    return unread or any(c["name"] in OF_CONTENT for c in wrong)


def settled(
    module: Any, make: "Callable[[Mapping[str, Any], str, int], dict[str, Any]]"
) -> "tuple[dict[str, Any], str]":
    """The plan that `make` gives for the module's arguments, the run and a seed, written to the run unless in check mode.

    And what the timeline shall add about the seed, where one decided. What `make` refuses ends the module.
    """
    p = module.params
    seed = p["seed"] or random.SystemRandom().randint(1, 10**9)
    try:
        plan = make(p, os.path.basename(p["run_dir"]), seed)
    except Stop as stop:
        fail(module, stop)
    if not module.check_mode:
        records.write_json(os.path.join(p["run_dir"], "plan.json"), plan)
    return plan, ", drawn with seed %d" % seed if p["mode"] == "random" else ""


def choose(
    candidates: "Sequence[Mapping[str, Any]]", mode: str, seed: int, repository: int, census_lsn: Optional[str]
) -> "tuple[dict[str, Any], dict[str, Any]]":
    """The backup to prove, and the target to recover it to.

    C(newest): the newest backup, to where the census was taken, or to the end of the archive without one. C(random): any backup,
    to the beginning of any segment that can be replayed from it.
    """
    offered = [dict(b) for b in candidates if not repository or b["repo"] == repository]
    if not offered:
        where = "repository %d" % repository if repository else "the repositories"
        raise Stop("There is no backup in %s that could be proven." % where, PRECONDITION)
    if mode == "newest" and census_lsn:
        # a standby that is behind may stand before the newest backup is consistent, which no server recovers to
        at = lsn.parse_lsn(census_lsn)
        offered = [
            b for b in offered if at // b["segment_bytes"] > lsn.segment_number(b["wal_stop"], b["segment_bytes"])
        ]
        if not offered:
            raise Stop(
                "No backup was complete before %s, where the standby stood that was counted. Try again when it has caught up."
                % census_lsn,
                PRECONDITION,
            )
    if mode == "newest":
        target = {"type": "lsn", "value": census_lsn, "inclusive": False} if census_lsn else {"type": "default"}
        return offered[0], target
    chance = random.Random(seed)
    backup = chance.choice(offered)
    size = backup["segment_bytes"]
    first, last = lsn.segment_number(backup["wal_stop"], size) + 1, lsn.segment_number(backup["reaches"], size)
    if first > last:
        return backup, {"type": "immediate"}
    position = chance.randint(first, last) * size
    return backup, {"type": "lsn", "value": lsn.format_lsn(position), "inclusive": False}


def judge_copy(seen: Mapping[str, Any], plan: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Whether the copy is what was asked for, and cut off from everything."""
    target = plan.get("recovery_target") or {"type": "default"}
    size = plan["candidates"][0]["segment_bytes"]
    checks = [
        check(
            PLANNED,
            plan["system_identifier"],
            seen["system_identifier"],
            str(seen["system_identifier"]) == str(plan["system_identifier"]),
        ),
        check("the copy is out of recovery", False, seen["in_recovery"], not seen["in_recovery"]),
        *judge_isolation(seen),
    ]
    if target["type"] == "lsn":
        ended, wanted = switch_point(seen["history"])[1], lsn.parse_lsn(target["value"])
        near = 0 <= wanted - ended < size
        checks.append(check(TARGET, target["value"], lsn.format_lsn(ended), near))
    if target["type"] == "default":
        # a server takes a segment that cannot be fetched whole for the end of the archive, and says nothing
        ended, last = switch_point(seen["history"])[1], plan["candidates"][0]["reaches"]
        whole = lsn.segment_of(ended, size) >= lsn.segment_number(last, size)
        checks.append(check(TARGET, "segment %s" % last, lsn.format_lsn(ended), whole))
    return checks


def judge_isolation(seen: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Whether a server that is thrown away is cut off from everything."""
    jobs = sorted(set(seen["backends"]) - QUIET_BACKENDS)
    return [
        check("the copy archives nothing", "off", seen["archive_mode"], seen["archive_mode"] == "off"),
        check(
            "the copy follows no primary",
            "no primary_conninfo",
            "one is set" if seen["primary_conninfo"] else "no primary_conninfo",
            not seen["primary_conninfo"],
        ),
        check(
            "nobody reaches the copy over a network",
            "no address",
            seen["listen_addresses"] or "no address",
            not seen["listen_addresses"],
        ),
        check(
            "the copy can connect to nothing",
            "no way out",
            "; ".join(seen["ways_out"]) or "no way out",
            not seen["ways_out"],
        ),
        check("no jobs run on the copy", "none", ", ".join(jobs) or "none", not jobs),
    ]


def archive_gained(
    before: "Mapping[str, Sequence[str]]", after: "Mapping[str, Sequence[str]]", timeline: int
) -> "dict[str, Any]":
    """The check that nothing but the production server's own timeline was archived meanwhile.

    Both map a repository to its archive's timelines and history files. A copy that archived would bring a timeline with it, to every
    repository that it reaches: one that answered both times tells enough, and with none nothing is known. Nor is it of an archive
    that is listed as empty.
    """
    compared = [repo for repo in before if after.get(repo)]
    gained = sorted(
        "repository %s: %s" % (repo, name)
        for repo in compared
        for name in set(after[repo]) - set(before[repo]) - {"timeline %d" % timeline}
    )
    seen = ", ".join(gained) or ("nothing" if compared else "not known: no repository answered both before and after")
    return check("the archive gained nothing from the copy", "nothing", seen, bool(compared) and not gained)


def archive_unseen(before: "Mapping[str, Sequence[str]]", after: "Mapping[str, Sequence[str]]") -> "dict[str, Any]":
    """The check, worth a look and no more, that every archive that was listed before could be listed afterwards."""
    silent = ", ".join("repository %s is not known" % repo for repo in sorted(before) if not after.get(repo))
    return check(
        "every archive could be compared", "each that answered before", silent or "all", not silent, tier=SHOULD
    )
