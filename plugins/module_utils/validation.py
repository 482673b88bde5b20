"""What must hold of a restored cluster before traffic may reach it: pure judgements on what was observed."""

from __future__ import annotations

from typing import Any, Mapping

from .lsn import format_lsn, parse_lsn, segment_number, segment_of
from .reconcile import Reconciliation
from .timelines import forks
from .ways import LOGICAL, PROMOTE, RETURN

MUST, SHOULD = "must", "should"


def check(
    name: str, expected: Any, observed: Any, passed: bool, duration_s: float = 0.0, tier: str = MUST
) -> "dict[str, Any]":
    """One line of checks.json; C(tier) says whether it must pass, or should: then it is worth a look and stops nothing."""
    verdict = "passed" if passed else "failed"
    return {
        "name": name,
        "tier": tier,
        "expected": str(expected),
        "observed": str(observed),
        "verdict": verdict,
        "duration_s": round(duration_s, 3),
    }


def switch_point(history: str) -> "tuple[int, int]":
    """The timeline a history file branched from last, and the position (bytes) it branched at."""
    return list(forks(history).items())[-1]


def judge_cluster(seen: Mapping[str, Any], plan: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Judge what a recovered cluster says of itself against the plan."""
    wrong = seen["unreadable_databases"]
    return [
        *(
            {LOGICAL: _judge_place, "reindex": _judge_system, "restart": _judge_system}.get(
                plan.get("method", ""), _judge_restore
            )(seen, plan)
        ),
        check("the server is out of recovery", False, seen["in_recovery"], not seen["in_recovery"]),
        check("every database can be read", "none unreadable", ", ".join(wrong) or "none unreadable", not wrong),
        check("a read-write transaction commits", True, seen["writable"], bool(seen["writable"])),
        # no recovery takes these away: they were so before, and clients were served
        check("data checksums are on", "on", seen["data_checksums"], seen["data_checksums"] == "on", tier=SHOULD),
        check("every index is valid", 0, seen["invalid_indexes"], int(seen["invalid_indexes"]) == 0, tier=SHOULD),
    ]


def _judge_system(seen: Mapping[str, Any], plan: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """It is a copy of what was lost; all that is asked of one that was repaired where it is and has not moved."""
    found, wanted = str(seen["system_identifier"]), str(plan["system_identifier"])
    return [check("the database system is the planned one", wanted, found, found == wanted)]


def _judge_place(seen: Mapping[str, Any], plan: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """It is where the plan put it; all that is asked of a cluster that was made for a dump."""
    found, wanted = seen["place"], plan["data_directory"]
    return [check("it runs in the planned place", wanted, found, found == wanted)]


def _judge_restore(seen: Mapping[str, Any], plan: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """What must hold of a cluster that was restored to a new place."""
    _parent, ended = switch_point(seen["history"])
    return [
        *_judge_system(seen, plan),
        *_judge_place(seen, plan),
        check(
            "it continues on a new timeline",
            "> %s" % plan["target_timeline"],
            seen["timeline"],
            int(seen["timeline"]) > int(plan["target_timeline"]),
        ),
        _reached(ended, seen["segment_bytes"], plan),
    ]


def _reached(ended: int, segment_bytes: int, plan: Mapping[str, Any]) -> "dict[str, Any]":
    """What the plan counted on is in: WAL to the point that was approved, to the end of the archive, or all that was received."""
    if plan.get("approval"):
        lsn = plan["approval"]["lsn"]
        return check("replay ended where it was approved", lsn, format_lsn(ended), ended == parse_lsn(lsn))
    if plan.get("method") in (PROMOTE, RETURN):
        name = "all WAL that it had received was replayed"
        return check(name, ">= %s" % plan["received"], format_lsn(ended), ended >= parse_lsn(plan["received"]))
    archived = segment_number(plan["archive_end"]["segment"], segment_bytes)
    replayed = segment_of(ended, segment_bytes)
    name = "all archived WAL was replayed"
    return check(name, "segment %d" % archived, "segment %d" % replayed, replayed >= archived)


def judge_tokens(found: Reconciliation, accepted: "list[int]", tier: str = MUST) -> "dict[str, Any]":
    """No acknowledged commit from before the recovery point may be missing, unless a person gave it up by name."""
    lost = [token for token in found.missing_before_recovery_point if token not in accepted]
    before = found.acknowledged - len(found.missing_after_recovery_point)
    observed = "%d of %d missing" % (len(lost), before)
    if not found.acknowledged:
        observed = "the witness saw no commit acknowledged, so nothing is proven"
    if lost:
        observed += ": tokens %s" % ", ".join(str(token) for token in lost[:50])
    return check(
        "every commit acknowledged before the recovery point is there",
        "0 missing",
        observed,
        bool(found.acknowledged) and not lost,
        tier=tier,
    )
