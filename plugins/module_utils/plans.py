"""What a recovery binds itself to before it changes anything."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import dumps, journal, managers
from .guards import PRECONDITION, Stop
from .ways import (
    LOGICAL,
    NO_SPARE,
    PROMOTE,
    RESTORE,
    RETURN,
    WARM,
    dumps_offered,
    lacking,
    newest_line,
    systems_held,
    ways,
)

# what becomes of the clients while a plan is carried out
CLIENTS = {
    "stopped": "the application is stopped, and started again",
    "asking": "the application goes on asking, and is restarted",
    "held": "clients are held at PgBouncer, and go on",
}


def choose_target(
    states: Mapping[str, Any], hosts: Mapping[str, Any], wanted: Optional[str], region: Optional[str]
) -> str:
    """The clean host to restore on: the one asked for, else the first spare, the preferred region first."""
    spares = [host for host in hosts if is_clean(states.get(host, {}))]
    if wanted:
        if wanted not in spares:
            seen = states.get(wanted, {}).get("role", "silent")
            raise Stop(
                "%s is not a clean host (%s). A restore goes to a new place. Nothing was changed." % (wanted, seen)
            )
        return wanted
    if not spares:
        raise Stop(
            "%s." % NO_SPARE.capitalize(),
            PRECONDITION,
        )
    return min(spares, key=lambda host: (hosts[host]["region"] != region, host))


def is_clean(seen: Mapping[str, Any]) -> bool:
    """Whether a host holds no cluster, and its server is configured to start on the place that a restore puts in use."""
    return seen.get("role") == "spare" and bool(seen.get("ready"))


def check_called_for(request: Mapping[str, Any]) -> None:
    """Refuse a procedure that what was seen does not call for: a primary that is well is left by a switchover, which loses nothing."""
    running = sorted(host for host, seen in request["states"].items() if seen["role"] == "primary")
    procedure, others = request["procedure"], RESTORE in request["methods"]
    if request["planned"] and len(running) != 1:
        raise Stop(
            "A %s needs one primary that is well; seen: %s. Without one: playbooks/failover.yml. Nothing was changed."
            % (procedure, ", ".join(running) or "none"),
            PRECONDITION,
        )
    if request["region_lost"] and not request["lost_regions"]:
        raise Stop(
            "Every region has hosts that answer: no region is lost. Look at what is: playbooks/failover.yml, or "
            "playbooks/complete_loss.yml. Nothing was changed.",
            PRECONDITION,
        )
    if RETURN in request["methods"]:
        return  # the primary that runs is what is taken back
    if running and not request["planned"] and request["manager"]:
        raise Stop(
            "%s is primary and answers, and %s would choose another one itself as soon as it is stopped. Switch over: "
            "playbooks/switchover.yml. Nothing was changed." % (", ".join(running), request["manager"])
        )
    if request["planned"] or not running or request["despite_copies"] or request["despite_primary"]:
        return
    if others:
        said = "Not a loss: %s still runs and may hold what the archive does not. Switch over from it (playbooks/switchover.yml), or, "
        said += "if its data is wrong too, stop it or say -e recovery_despite_copies=true. Nothing was changed."
    else:
        said = "%s is primary and answers: a switchover loses nothing (playbooks/switchover.yml). If it must be given up all the same: "
        said += "-e recovery_despite_primary=true. Nothing was changed."
    raise Stop(said % ", ".join(running))


def present_system(request: Mapping[str, Any]) -> Optional[str]:
    """The database system that is meant where hosts hold several: that of the one primary, else what the repositories serve."""
    held = systems_held(request)
    if len(set(held.values())) < 2:
        return None
    running = {system for host, system in held.items() if request["states"][host]["role"] == "primary"}
    served = (request["catalog"] or {}).get("system_identifier")
    if len(running) == 1:
        return running.pop()
    return str(served) if served and str(served) in held.values() else None


def check_one_system(request: Mapping[str, Any]) -> None:
    """Refuse to choose among copies of different database systems."""
    systems = {system: host for host, system in systems_held(request).items()}
    wanted = request["system_identifier"]
    if PROMOTE in request["methods"] and not wanted and len(systems) > 1:
        said = ", ".join(
            "%s on %s" % (system, host) for system, host in sorted(systems.items(), key=lambda item: item[1])
        )
        raise Stop(
            "The hosts hold copies of several database systems: %s. Say which: -e system_identifier=NUMBER. Nothing was changed."
            % said
        )


def make(request: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """The plan that answers `request`, the arguments of M(plan_recovery)."""
    managers.agreed(request["states"], request["manager"])
    request = {**request, "system_identifier": request["system_identifier"] or present_system(request)}
    check_called_for(request)
    check_one_system(request)
    found = ways(request)
    way = next((way for way in found if "closed" not in way), None)
    if way is None:
        raise Stop(no_way(request, found), PRECONDITION)
    plan = {
        "schema_version": 1,
        "run": run,
        "made": journal.now(),
        "procedure": request["procedure"],
        "service": request["service"],
        "method": RESTORE if way["method"] == WARM else way["method"],
        "ways": found,
        "postgres_version": request["postgres_version"],
        "application_scale": request["application_scale"],
        "clients": request["clients"],
        "lost_regions": request["lost_regions"],
        "planned": request["planned"],
        "fence": to_fence(request),
        "left": left(request),
        "through": request["manager"] or None,
    }
    return {**plan, **BINDINGS[way["method"]](request, way, run)}


def no_way(request: Mapping[str, Any], found: "list[dict[str, Any]]") -> str:
    """Why nothing can be done, and what would help."""
    if found and all(way["method"] == RETURN for way in found):
        said = (
            "%(host)s cannot be gone back to: %(closed)s. The service stays where it is. Nothing was changed."
            % found[0]
        )
        silent = role(request, found[0]["host"]) == "silent"
        return said + (" Let its host answer, its server down, and roll back again." if silent else "")
    if request["target"] and RESTORE not in request["methods"]:
        return not_promotable(request, found)
    reasons = ["%s %s: %s" % (way["method"], way.get("host") or way["backup"], way["closed"]) for way in found]
    for catalog in (request["catalog"] or {}, request["dumps"] or {}):
        reasons += [catalog["problem"]] if catalog.get("problem") else []
    reasons += ["%(label)s: %(reason)s" % b for b in (request["catalog"] or {}).get("passed_over", [])]
    reasons += ["dump %(label)s %(reason)s" % over for over in dumps.passed_over(request["dumps"] or {})]
    if RESTORE not in request["methods"] and not request["planned"]:
        reasons.append("from the backups: playbooks/complete_loss.yml")
    return "No standby and no backup can be used (%s). Nothing was changed." % ("; ".join(reasons) or "none was seen")


def not_promotable(request: Mapping[str, Any], found: "list[dict[str, Any]]") -> str:
    """Why the host that a person asked for is not promoted, and which others there are."""
    target = request["target"]
    closed = next((way["closed"] for way in found if way.get("host") == target), None)
    known = "it is %s" % role(request, target) if target in request["hosts"] else "it is no host of the service"
    others = ways({**request, "target": None})
    standbys = [
        "%s%s" % (w["host"], " (%s)" % w["closed"] if "closed" in w else "") for w in others if w.get("host") != target
    ]
    return "%s %s; other standbys: %s. Nothing was changed. Leave out -e recovery_on, or name one of them." % (
        target,
        "cannot be promoted: %s" % closed if closed else "has no copy that could be promoted: %s" % known,
        ", ".join(standbys) or "none",
    )


def role(request: Mapping[str, Any], host: str) -> str:
    """What a host was seen as; `silent` when it did not answer."""
    return str(request["states"].get(host, {}).get("role", "silent"))


def upstreams(request: Mapping[str, Any]) -> "list[str]":
    """The hosts that the standbys stream from, as far as they are the service's."""
    wanted = request["system_identifier"]
    named = {
        seen.get("upstream")
        for seen in request["states"].values()
        if seen["role"] == "standby" and (not wanted or str(seen.get("system_identifier")) == str(wanted))
    }
    return sorted(host for host, known in request["hosts"].items() if named & set(known["names"]))


def to_fence(request: Mapping[str, Any]) -> "list[str]":
    """Hosts on which a client may still write, or could again.

    Every primary and every server that cannot be asked; of the hosts that do not answer those that the standbys stream from, or all
    where no standby tells. Nobody where a manager hands over from a primary that is well: it makes a standby of that one first.
    """
    if request["planned"] and request["manager"]:
        return []
    above = upstreams(request) or list(request["hosts"])
    return sorted(
        host
        for host in request["hosts"]
        if role(request, host) in ("primary", "unresponsive") or (role(request, host) == "silent" and host in above)
    )


def left(request: Mapping[str, Any]) -> Optional[str]:
    """The primary that is left: the one that was seen, else the one that the standbys streamed from; None when neither is known."""
    seen = [host for host in request["hosts"] if role(request, host) == "primary"]
    above = [host for host in upstreams(request) if role(request, host) in ("silent", "unresponsive", "stopped")]
    known = seen or above
    return known[0] if len(known) == 1 else None


def promotion(request: Mapping[str, Any], way: Mapping[str, Any], _run: str) -> "dict[str, Any]":
    """What a plan says of the standby that it promotes."""
    target = way["host"]
    seen, host = request["states"][target], request["hosts"][target]
    return {
        "system_identifier": seen["system_identifier"],
        "target_host": target,
        "target_address": host["address"],
        "data_directory": seen["place"],
        "target_timeline": int(seen["timeline"]),
        "received": seen.get("received") or seen["lsn"],
        "candidates": [],
        "passed_over": [],
        "unreachable": {},
        "changes": [
            CLIENTS[request["clients"]],
            *_given_up(request),
            "%s: promoted%s" % (target, " by %s" % request["manager"] if request["manager"] else ""),
            "the service's name points at %s" % host["address"],
        ],
        "irreversible": [
            *([] if request["planned"] else ["commits that %s had not received are given up" % target]),
            "the database continues on a new timeline",
        ],
    }


def _given_up(request: Mapping[str, Any]) -> "list[str]":
    """What becomes of the primary that is left."""
    if request["planned"] and request["manager"]:
        return ["%s: made a standby by %s" % (left(request), request["manager"])]
    return ["%s: stopped, and kept from starting" % (", ".join(to_fence(request)) or "no host")]


def restoration(request: Mapping[str, Any], way: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """What a plan says of the backup that it restores, and of the place it is restored to."""
    catalog, warm = request["catalog"], way["method"] == WARM
    if warm:
        target = way["host"]
    else:
        target = choose_target(request["states"], request["hosts"], request["target"], request["prefer_region"])
    host = request["hosts"][target]
    old = request["states"][target]["place"] if warm else None
    return {
        "warm_from": old,
        "system_identifier": catalog["system_identifier"],
        "target_host": target,
        "target_address": host["address"],
        "data_directory": "%s/%s" % (host["root"], run),
        "target_timeline": catalog["timeline"],
        "candidates": catalog["candidates"],
        "passed_over": catalog["passed_over"],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "changes": [
            "%s: a new data directory %s/%s, PostgreSQL started" % (target, host["root"], run),
            *(["%s: %s is read for what the backup has as well, and stays as it is" % (target, old)] if old else []),
            CLIENTS[request["clients"]],
            "the service's name points at %s" % host["address"],
        ],
        "irreversible": ["commits after the recovery point are given up", "the database continues on a new timeline"],
    }


def reload(request: Mapping[str, Any], _way: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """What a plan says of the dump that it restores, and of the cluster that is made for it."""
    catalog = request["dumps"]
    target = choose_target(request["states"], request["hosts"], request["target"], request["prefer_region"])
    host = request["hosts"][target]
    return {
        "system_identifier": None,  # the cluster is yet to be made
        "target_host": target,
        "target_address": host["address"],
        "data_directory": "%s/%s" % (host["root"], run),
        "target_timeline": 0,
        "candidates": [
            {
                "label": dump["id"],
                "type": "dump",
                "started": dump["started"],
                "size_bytes": dump["size_bytes"],
                "system_identifier": dump.get("system_identifier"),
            }
            for dump in dumps_offered(request)
        ],
        "passed_over": dumps.passed_over(catalog),
        "unreachable": catalog["unreachable"],
        "changes": [
            "%s: a new cluster in %s/%s, into which the dump is restored" % (target, host["root"], run),
            CLIENTS[request["clients"]],
            "the service's name points at %s" % host["address"],
            "the repositories go on with another database system; the backups that they have stay",
        ],
        "irreversible": [
            "commits after the dump was begun are given up",
            *["database %s is not in the dump" % name for name in lacking(dumps_offered(request)[0])],
            "roles have the passwords that the inventory gives them (dump_role_passwords), and no others",
        ],
    }


def resumption(request: Mapping[str, Any], way: Mapping[str, Any], _run: str) -> "dict[str, Any]":
    """What a plan says of the old primary that goes on."""
    target = way["host"]
    seen, host = request["states"][target], request["hosts"][target]
    return {
        "system_identifier": seen["system_identifier"],
        "target_host": target,
        "target_address": host["address"],
        "data_directory": seen["place"],
        "target_timeline": newest_line(request, seen["system_identifier"]),
        "received": seen["lsn"],
        "undoes": request["undoes"]["run"],
        "candidates": [],
        "passed_over": [],
        "unreachable": {},
        "changes": [
            CLIENTS[request["clients"]],
            "%s: stopped, and kept from starting" % (", ".join(to_fence(request)) or "no host"),
            "%s: started, on a new timeline" % target,
            "the service's name points at %s" % host["address"],
        ],
        "irreversible": ["commits since %s was left are given up; they stay where they are" % target],
    }


BINDINGS = {
    PROMOTE: promotion,
    RESTORE: restoration,
    WARM: restoration,
    LOGICAL: reload,
    RETURN: resumption,
}


def decisions(plan: Mapping[str, Any]) -> "list[dict[str, str]]":
    """What the timeline shall say of a plan."""
    what, where = ("Dump", "store") if plan["method"] == LOGICAL else ("Backup", "repository")
    said = [
        "Go on without %s %s, which does not answer: %s" % (where, *item)
        for item in sorted(plan["unreachable"].items())
    ]
    for passed in plan["passed_over"]:
        place = " in repository %s" % passed["repo"] if "repo" in passed else ""
        said.append("%s %s%s passed over: %s" % (what, passed["label"], place, passed["reason"]))
    said += _chosen(plan)
    return [{"event": "decision", "detail": line} for line in said]


def _chosen(plan: Mapping[str, Any]) -> "list[str]":
    """The way that is taken."""
    if plan["method"] == RETURN:
        return ["Go on with %s, which run %s had left" % (plan["target_host"], plan["undoes"])]
    if plan["method"] == PROMOTE:
        return ["Promote %s, which received %s" % (plan["target_host"], plan["received"])]
    first, end = plan["candidates"][0], plan.get("archive_end")
    if plan["method"] == LOGICAL:
        return ["Restore dump %s on %s" % (first["label"], plan["target_host"])]
    said = ["Restore %s from repository %s on %s" % (first["label"], first["repo"], plan["target_host"])]
    return said + (["Replay WAL to %s, archived at %s" % (end["segment"], end["time"])] if end else [])
