"""The ways back from corruption, the cheapest safe one first, and the plan of the one that is taken. Pure.

Whatever a disk did to a page is not in WAL: an older backup with all WAL replayed is whole and loses nothing. What a statement
did is in WAL: only a point before it helps, and everything after it is given up.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import damage, journal, managers, plans, recovery_targets
from .copy_checks import WITHOUT
from .guards import PRECONDITION, Stop
from .lsn import parse_lsn
from .prediction import predict
from .trend import median

REINDEX, PROMOTE, RESTORE = "reindex", "promote", "restore"
METHODS = (REINDEX, PROMOTE, RESTORE)
FAILOVER = "failover"  # the procedure that promotes


def make(request: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """The plan that answers `request`, the arguments of M(plan_corruption) with `runs`, what earlier runs measured."""
    managers.check(request["states"])
    target = recovery_targets.parse(request["recover_to"], request["exclusive"])
    found = ways(request, target)
    way = next((way for way in found if "closed" not in way), None)
    check_called_for(request, target)
    if way is None:
        reasons = "; ".join("%s: %s" % (about(way), way["closed"]) for way in found)
        raise Stop("No way is open (%s). Nothing was changed." % (reasons or "no host answers"), PRECONDITION)
    plan = {
        "schema_version": 1,
        "run": run,
        "made": journal.now(),
        "procedure": request["procedure"],
        "service": request["service"],
        "method": way["method"],
        "ways": found,
        "damage": {
            host: [damage.in_words(one) for one in seen["damaged"]] for host, seen in sorted(request["damage"].items())
        },
        "postgres_version": request["postgres_version"],
        "application_scale": request["application_scale"],
    }
    details = {REINDEX: _reindex_plan, PROMOTE: _promote_plan, RESTORE: _restore_plan}[way["method"]]
    return {**plan, **details(request, way, target, run)}


def about(way: Mapping[str, Any]) -> str:
    """What names a way to a reader."""
    where = way.get("host") or ("repository %d" % way["repository"] if "repository" in way else "")
    return ("%s %s" % (way["method"], where)).strip()


def check_called_for(request: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    """Refuse when nothing calls for a repair of the primary."""
    if target["type"] != "default" or request["method"]:
        return
    bad = {host: seen for host, seen in request["damage"].items() if seen["damaged"]}
    primary = primary_of(request)
    if primary and primary not in bad and bad:
        raise Stop(
            "%s, the primary, has nothing damaged that could be found; %s has. Stop that one, move its data away, and build it "
            "anew: playbooks/rebuild_standbys.yml. Nothing was changed." % (primary, ", ".join(sorted(bad))),
            PRECONDITION,
        )
    if primary and not bad:
        left = [said for seen in request["damage"].values() for said in serious(seen)]
        unknown = "; not known: %s" % damage.shortened(left) if left else ""
        raise Stop(
            "Nothing damaged was found on %s%s. If the data is wrong, as after a bad statement, say to which point before it: "
            "-e recover_to=... (%s) Nothing was changed."
            % (", ".join(sorted(request["damage"])) or "any host", unknown, recovery_targets.HELP),
            PRECONDITION,
        )


def primary_of(request: Mapping[str, Any]) -> Optional[str]:
    """The host that is primary; None when none answers."""
    there = [host for host, seen in request["states"].items() if seen["role"] == "primary"]
    return there[0] if len(there) == 1 else None


def serious(seen: Mapping[str, Any]) -> "list[str]":
    """What a look did not get to, beyond what an extension that is missing would tell."""
    return [said for said in seen["unknown"] if WITHOUT not in said]


def ways(request: Mapping[str, Any], target: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Every way with what it loses, how long it takes and what it changes: the open ones first, the cheapest first among them.

    A closed one is told with its reason: whoever reads the plan at night asks why it was not taken.
    """
    found = []
    for way in [*_reindex(request), *_promotions(request), *_restores(request, target)]:
        reason = way.pop("closed", None)
        if not reason and target["type"] != "default" and way["method"] != RESTORE:
            reason = "a point to recover to was named, and this leads to none"
        if not reason and request["method"] and way["method"] != request["method"]:
            reason = "a person chose to %s" % request["method"]
        closed = {"closed": reason} if reason else {}
        found.append({**{key: value for key, value in way.items() if value is not None}, **closed})
    return sorted(found, key=lambda way: ("closed" in way, METHODS.index(way["method"]), way.get("loses_bytes", 0)))


def _reindex(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """To make damaged indexes again from their tables, with clients at work."""
    primary = primary_of(request)
    seen = request["damage"].get(primary) if primary else None
    if not primary or seen is None:
        return []
    bad, closed = seen["damaged"], None
    others = [one for one in bad if one["kind"] != "index" or one["catalog"]]
    locking = [one["name"] for one in bad if one.get("excludes")]
    if not bad:
        closed = "no index is known to be damaged"
    elif others:
        closed = "not only indexes are damaged: %s" % damage.shortened([damage.in_words(one) for one in others])
    elif serious(seen):
        closed = "not everything could be looked at: %s" % damage.shortened(serious(seen))
    elif locking:
        closed = "%s keeps an exclusion constraint and cannot be made again beside clients" % ", ".join(locking)
    read = sum(one.get("table_bytes", 0) for one in bad)
    speed = seen["data_bytes"] / seen["worked_s"] if seen.get("worked_s") else None
    return [
        {
            "method": REINDEX,
            "host": primary,
            "loses_bytes": 0,
            "loses_s": 0.0,
            "takes_s": round(2 * read / speed, 1) if speed else None,  # a table is read to build and to validate
            "changes": ["%s: REINDEX INDEX CONCURRENTLY %s" % (primary, one["name"]) for one in bad],
            "closed": closed,
        }
    ]


def _promotions(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """To go over to a standby that is sound. It is another procedure."""
    primary = primary_of(request)
    at = parse_lsn(request["states"][primary]["lsn"]) if primary else 0
    lines = [int(seen["timeline"]) for seen in request["states"].values() if seen.get("timeline")]
    took = [run["rta_s"] for run in request["runs"] if run.get("procedure") == FAILOVER and "rta_s" in run]
    found = []
    for host, seen in sorted(request["states"].items()):
        if seen["role"] != "standby":
            continue
        found.append(
            {
                "method": PROMOTE,
                "host": host,
                "loses_bytes": max(at - parse_lsn(seen["lsn"]), 0) if primary else None,
                "takes_s": round(median(took), 1) if took else None,
                "changes": [
                    "the primary is stopped, and kept from starting",
                    "%s: promoted, on a new timeline" % host,
                    "the service's name points at %s" % request["hosts"][host]["address"],
                ],
                "closed": _unsound(host, request, max(lines)),
            }
        )
    return found


def _unsound(host: str, request: Mapping[str, Any], newest_line: int) -> Optional[str]:
    """Why a standby is not promoted; None when it can be."""
    seen, state = request["damage"].get(host), request["states"][host]
    delay_ms = int((state.get("settings") or {}).get("recovery_min_apply_delay") or 0)
    if seen is None:
        return "it could not be looked at"
    unseen, bad = serious(seen), [damage.in_words(one) for one in seen["damaged"]]
    line = int(state["timeline"])
    reasons = {
        "damaged too: %s" % damage.shortened(bad): bad,
        "not everything could be looked at: %s" % damage.shortened(unseen): unseen,
        "its pages have no checksums and it has not amcheck: it cannot be known to be sound": (
            seen["unknown"] and not seen["data_checksums"]
        ),
        "it follows timeline %d and the service is on %d" % (line, newest_line): line < newest_line,
        "it stays behind on purpose": delay_ms,
        "its replay is paused": state.get("replay") not in (None, "not paused"),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _restores(request: Mapping[str, Any], target: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """To restore an older backup to a new place and replay to the target, for each repository that offers one."""
    catalog = request["catalog"] or {}
    offered = catalog.get("candidates", [])
    fits, _passed_over = recovery_targets.fitting(offered, target, request["backup_before"])
    closed = _no_spare(request)
    found = []
    for repository in sorted({backup["repo"] for backup in offered}):
        mine = [backup for backup in fits if backup["repo"] == repository]
        first = mine[0] if mine else next(backup for backup in offered if backup["repo"] == repository)
        known = predict(request["runs"], first.get("size_bytes") or 0, 0) or {}
        latest = target["type"] == "default"
        found.append(
            {
                "method": RESTORE,
                "repository": repository,
                "backup": first["label"],
                # a primary that runs archives its last WAL when it is stopped
                "loses_bytes": 0 if latest and primary_of(request) else None,
                "takes_s": known.get("back_p50_s"),
                "changes": [
                    "the application and the primary are stopped; the old place is kept as it is",
                    "a spare host: backup %s, replayed to %s" % (first["label"], recovery_targets.in_words(target)),
                    *([] if latest else ["every commit after that point is given up"]),
                    "the service's name points at the spare host",
                ],
                "closed": closed or (None if mine else "no backup of it lies before the target, or before the damage"),
            }
        )
    return found


def _no_spare(request: Mapping[str, Any]) -> Optional[str]:
    """Why there is nowhere to restore to; None when there is."""
    try:
        plans.choose_target(request["states"], request["hosts"], request["target"], request["prefer_region"])
    except Stop as stop:
        return str(stop)
    return None


def _reindex_plan(request: Mapping[str, Any], way: Mapping[str, Any], _target: Any, _run: str) -> "dict[str, Any]":
    host = way["host"]
    bad = request["damage"][host]["damaged"]
    return {
        **_of_host(request, host),
        "safety_copy": "backup",  # the repair changes the damaged side itself
        "indexes": [{key: one[key] for key in ("database", "name", "sql", "method")} for one in bad],
        "changes": way["changes"],
        "irreversible": [],
    }


def _promote_plan(request: Mapping[str, Any], way: Mapping[str, Any], _target: Any, _run: str) -> "dict[str, Any]":
    return {
        **_of_host(request, way["host"]),
        "safety_copy": "old place",
        "changes": way["changes"],
        "irreversible": ["the database continues on a new timeline"],
    }


def _of_host(request: Mapping[str, Any], host: str) -> "dict[str, Any]":
    """What a plan says of a host that runs already."""
    seen = request["states"][host]
    return {
        "system_identifier": str(seen["system_identifier"]),
        "target_host": host,
        "target_address": request["hosts"][host]["address"],
        "data_directory": seen["data_directory"],
        "target_timeline": int(seen["timeline"]),
        "candidates": [],
        "passed_over": [],
        "unreachable": {},
    }


def _restore_plan(
    request: Mapping[str, Any], _way: Mapping[str, Any], target: Mapping[str, Any], run: str
) -> "dict[str, Any]":
    catalog = request["catalog"]
    primary = primary_of(request)
    if primary and str(request["states"][primary]["system_identifier"]) != str(catalog["system_identifier"]):
        raise Stop(
            "The repositories hold system %s, and %s runs system %s. Nothing was changed."
            % (catalog["system_identifier"], primary, request["states"][primary]["system_identifier"])
        )
    spare = plans.choose_target(request["states"], request["hosts"], request["target"], request["prefer_region"])
    host = request["hosts"][spare]
    fits, passed_over = recovery_targets.fitting(catalog["candidates"], target, request["backup_before"])
    left = [h for h, s in sorted(request["states"].items()) if s["role"] == "standby"]
    kept = {h: s["data_directory"] for h, s in sorted(request["states"].items()) if s["role"] in ("primary", "stopped")}
    return {
        "system_identifier": catalog["system_identifier"],
        "target_host": spare,
        "target_address": host["address"],
        "data_directory": "%s/%s" % (host["root"], run),
        "target_timeline": catalog["timeline"],
        "candidates": fits,
        "passed_over": [*catalog["passed_over"], *passed_over],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "recovery_target": dict(target),
        "safety_copy": "old place",  # the restore goes to another host; nothing of the damaged side is touched
        "kept": kept,
        "changes": [
            "%s: a new data directory %s/%s, PostgreSQL started" % (spare, host["root"], run),
            "the application is stopped, and started again",
            "%s: stopped, and kept from starting; the data stays as it is" % (primary or "the primary"),
            *["%s: left as it is; it follows what was given up, and is to be built anew" % h for h in left],
            "the service's name points at %s" % host["address"],
        ],
        "irreversible": [
            "commits after %s are given up" % recovery_targets.in_words(target),
            "the database continues on a new timeline",
        ],
    }


def decisions(plan: Mapping[str, Any]) -> "list[dict[str, str]]":
    """What the timeline shall say of a plan: every way, then what is done."""
    said = [{"event": "decision", "detail": in_words(way)} for way in plan["ways"]]
    if plan["method"] == RESTORE:
        ends = recovery_targets.in_words(plan["recovery_target"])
        return [*said, *plans.decisions(plan), {"event": "decision", "detail": "Replay ends at %s" % ends}]
    chosen = plan["ways"][0]
    return [*said, {"event": "decision", "detail": "Chosen: %s" % about(chosen)}]


def in_words(way: Mapping[str, Any]) -> str:
    """A way with what it costs, in one sentence."""
    loses = {0: "loses nothing"}.get(way.get("loses_bytes", -1), "loses %s bytes of WAL" % way.get("loses_bytes"))
    if "loses_bytes" not in way:
        loses = "what it loses is not known before"
    takes = "takes about %.0f s" % way["takes_s"] if "takes_s" in way else "how long was never measured"
    said = "Way %s: %s, %s; %s" % (about(way), loses, takes, "; ".join(way["changes"]))
    return said + (". Closed: %s" % way["closed"] if "closed" in way else "")
