"""The ways back that are open to a service, each with what it loses and how long it takes. Pure.

A way that is closed is told too, with the reason: whoever reads the plan at night asks why it was not taken.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from . import network
from .lsn import DEFAULT_SEGMENT_BYTES, parse_lsn, segment_number
from .prediction import predict
from .times import epoch_s
from .trend import median, worst_likely

FAR_BEHIND_BYTES = 64 << 20
PROMOTE, RESTORE, RETURN = "promote", "restore", "return"
WARM = "warm_restore"  # a restore that fetches only what an older copy on the host has not
LOGICAL = "logical"  # a dump, restored into a cluster that is made for it
NO_SPARE = "no host of the service is clean and configured: add a spare to the inventory and run protect.yml"


def ways(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Every way, the open ones first, the one that loses least first among them. `request`: the arguments of M(plan_recovery)."""
    wanted = request.get("method") or ""
    found = []
    restores = _restores(request)
    warm = _warm(request, restores)
    for way in restores:
        way["closed"] = way["closed"] or _no_clean_host(request, warm)
    others = _promotions(request) + restores + warm + _returns(request)
    for way in others + _reloads(request, others):
        if (RESTORE if way["method"] in (WARM, LOGICAL) else way["method"]) not in request["methods"]:
            continue
        if request["manager"] and way["method"] != PROMOTE:
            way["closed"] = "%s manages the cluster, and would have to start it" % request["manager"]
        if wanted and way["method"] != wanted and not way["closed"]:
            way["closed"] = "a person chose to %s" % wanted
        found.append({key: value for key, value in way.items() if value is not None})
    return sorted(found, key=lambda way: _rank(way, request))


def _rank(way: Mapping[str, Any], request: Mapping[str, Any]) -> "tuple[Any, ...]":
    """Open before closed, a dump last, least loss, promotion before restore, a clean host before one that was left, the preferred region."""
    return (
        "closed" in way,
        way["method"] == LOGICAL,
        way.get("loses_bytes", 0),
        (PROMOTE, RESTORE, WARM, LOGICAL, RETURN).index(way["method"]),
        _is_far_behind(way, request),
        request["hosts"].get(way.get("host"), {}).get("region") != request.get("prefer_region"),
        way.get("host", ""),
        _newest_first(way, request),
    )


def _is_far_behind(way: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a standby would be waited for: it loses nothing by that, and another one is quicker."""
    seen = request["states"].get(way.get("host"), {})
    if way["method"] != PROMOTE or not seen:
        return False
    return newest_position(request, seen["system_identifier"]) - position(seen) > FAR_BEHIND_BYTES


def _newest_first(way: Mapping[str, Any], request: Mapping[str, Any]) -> int:
    """Where the backup of a way stands among the candidates, which are tried in their order."""
    labels = [(one["label"], one["repo"]) for one in (request["catalog"] or {}).get("candidates", [])]
    mine = (way.get("backup"), way.get("repository"))
    return labels.index(mine) if mine in labels else len(labels)


def _promotions(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """A way for each standby that was seen."""
    found = []
    for host, seen in request["states"].items():
        if seen["role"] != "standby":
            continue
        newest = newest_position(request, seen["system_identifier"])
        received = parse_lsn(seen.get("received") or seen["lsn"])
        # a primary that is well is shut down, and the standby receives all of it before it is promoted
        lacks = (
            {"loses_bytes": 0, "loses_s": 0.0}
            if request["planned"]
            else {
                "loses_bytes": max(newest - received, 0),
                "loses_s": _since(seen.get("replayed_s"), request),
            }
        )
        found.append(
            {
                "method": PROMOTE,
                "host": host,
                **lacks,
                **took(request["runs"], "method", PROMOTE, request["procedure"], request["planned"]),
                "closed": _unfit(host, seen, request, newest_line(request, seen["system_identifier"])),
            }
        )
    return found


def _unfit(host: str, seen: Mapping[str, Any], request: Mapping[str, Any], newest_line: int) -> Optional[str]:
    """Why a standby is not promoted; None when it can be."""
    delay_ms = int((seen.get("settings") or {}).get("recovery_min_apply_delay") or 0)
    asked_for = host == request["target"]
    reasons = (
        (request["despite_copies"], "the copies that run are wrong too, a person says"),
        (request["target"] and not asked_for, "%s was asked for" % request["target"]),
        (host not in request["hosts"], "it is not a host of the service"),
        (
            request["only_in"] not in (None, request["hosts"].get(host, {}).get("region")),
            "it is not in %s" % request["only_in"],
        ),
        (
            request["system_identifier"] not in (None, seen["system_identifier"]),
            "it is a copy of database system %s" % seen["system_identifier"],
        ),
        (
            int(seen["timeline"]) < newest_line,
            "it follows timeline %s and the service is on %d" % (seen["timeline"], newest_line),
        ),
        (delay_ms and not asked_for, "it stays behind on purpose"),
        (seen.get("replay") not in (None, "not paused"), "its replay is paused"),
        (
            network.listens_alone((seen.get("settings") or {}).get("listen_addresses")),
            "it listens to its own host alone, so that no client would reach it: set listen_addresses and restart it",
        ),
    )
    return next((why for holds, why in reasons if holds), None)


def _restores(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """A way for each repository that offers a backup."""
    catalog = request["catalog"] or {}
    end = catalog.get("archive_end") or {}
    closed = _still_running(request) or _of_another_system(request, catalog.get("system_identifier"))
    found = []
    for repository in sorted({candidate["repo"] for candidate in catalog.get("candidates", [])}):
        first = next(c for c in catalog["candidates"] if c["repo"] == repository)
        size = int(first.get("segment_bytes") or DEFAULT_SEGMENT_BYTES)
        reached = (segment_number(end["segment"], size) + 1) * size if end.get("segment") else 0
        replayed = reached - segment_number(first["wal_start"], size) * size
        known = predict(request["runs"], first.get("size_bytes") or 0, max(replayed, 0), request["procedure"]) or {}
        found.append(
            {
                "method": RESTORE,
                "repository": repository,
                "backup": first["label"],
                "loses_bytes": max(newest_position(request, catalog.get("system_identifier")) - reached, 0)
                if reached
                else None,
                "loses_s": _since(epoch_s(end["time"]) if end.get("time") else None, request),
                "takes_s": known.get("back_p50_s"),
                "takes_p95_s": known.get("back_p95_s"),
                "closed": closed,
            }
        )
    return found


def _still_running(request: Mapping[str, Any]) -> Optional[str]:
    """Why nothing is restored while a server runs that may know more; None when none does."""
    running = [host for host, seen in request["states"].items() if seen["role"] in ("primary", "unresponsive")]
    if not running or request["despite_copies"]:
        return None
    return "%s still runs and may hold what the archive does not" % ", ".join(sorted(running))


def _of_another_system(request: Mapping[str, Any], system: Any) -> Optional[str]:
    """Why a backup is not restored where the hosts hold copies of other systems alone; None where they do not, or it was asked for."""
    held = set(systems_held(request).values())
    if request["system_identifier"] or not held or system is None or str(system) in held:
        return None
    said = (
        "the repositories hold database system %s, and the hosts %s; -e system_identifier=%s restores it all the same"
    )
    return said % (system, ", ".join(sorted(held)), system)


def _warm(request: Mapping[str, Any], restores: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Each restore over the copy that a stopped host was left with, which is read and stays: a way for each such host."""
    system = str((request["catalog"] or {}).get("system_identifier"))
    found = []
    for host, seen in request["states"].items():
        if seen["role"] != "stopped" or host not in request["hosts"]:
            continue
        reasons = (
            (request["target"] and request["target"] != host, "%s was asked for" % request["target"]),
            (str(seen.get("system_identifier")) != system, "it is a copy of another database system"),
            (not seen.get("ready"), "its server is not configured to start where a restore is put"),
            (seen.get("tablespaces"), "it has tablespaces, whose places both copies would share"),
        )
        cold = next((why for holds, why in reasons if holds), None)
        for way in restores:
            usual = {
                "takes_s": None,
                "takes_p95_s": None,
                **took(request["runs"], "method", WARM, request["procedure"]),
            }
            found.append({**way, **usual, "method": WARM, "host": host, "closed": way["closed"] or cold})
    return found


def _reloads(request: Mapping[str, Any], others: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """The way of a dump: at most one, for an older one loses more."""
    offered = dumps_offered(request)
    if not offered:
        return []
    return [
        {
            "method": LOGICAL,
            "backup": offered[0]["id"],
            "loses_s": _since(epoch_s(offered[0]["started"]), request),
            **took(request["runs"], "method", LOGICAL, request["procedure"]),
            "closed": _still_running(request)
            or _no_clean_host(request, [])
            or _not_chosen(request, others, offered[0]),
        }
    ]


def dumps_offered(request: Mapping[str, Any]) -> "list[Mapping[str, Any]]":
    """The dumps of the database system that is wanted, newest first; those that failed a proof after all others."""
    wanted, named = request["system_identifier"], request["dump"]
    offered = [
        dump
        for dump in (request["dumps"] or {}).get("dumps", [])
        if not wanted or str(dump.get("system_identifier") or wanted) == str(wanted)
        if not named or dump["id"] == named
    ]
    ranked = sorted(offered, key=_failed)
    if request["method"] == LOGICAL or not ranked or lacking(ranked[0]) or _failed(ranked[0]):
        return ranked
    return [dump for dump in ranked if not lacking(dump) and not _failed(dump)]  # what is taken unasked


def _failed(dump: Mapping[str, Any]) -> bool:
    """Whether a proof found it wrong."""
    return bool((dump.get("proof") or {}).get("state") == "failed")


def lacking(dump: Mapping[str, Any]) -> "list[str]":
    """The databases that a dump has not, though they held something."""
    return sorted(str(one["name"]) for one in dump.get("excluded") or [] if one["reason"] != "empty")


def _not_chosen(request: Mapping[str, Any], others: "list[dict[str, Any]]", dump: Mapping[str, Any]) -> Optional[str]:
    """Why a dump is taken only when a person says so; None when one did, or nothing else is left.

    It brings no passwords and no settings, and makes another database system: whatever a person could open goes before it.
    """
    if request["method"] == LOGICAL:
        return None
    catalog = request["catalog"] or {}
    left_out = lacking(dump)
    reasons = (
        (any(not way["closed"] for way in others), "another way is open"),
        (others, "what is said of the others may be mended"),
        (catalog.get("passed_over"), "there are backups that were passed over"),
        (not catalog.get("empty"), "not every repository could be looked at"),
        (_failed(dump), "it failed its proof"),
        (left_out, "it has not all databases: %s" % ", ".join(left_out)),
    )
    why = next((why for holds, why in reasons if holds), None)
    return "%s; a person can choose it, -e recovery_method=%s" % (why, LOGICAL) if why else None


def _no_clean_host(request: Mapping[str, Any], warm: "list[dict[str, Any]]") -> Optional[str]:
    """Why nothing is restored on a clean host, where another one can be taken; None when it can be, or was asked for."""
    if request["target"]:
        other = request["target"] in {way["host"] for way in warm if not way["closed"]}
        return "%s was asked for" % request["target"] if other else None
    spares = any(seen["role"] == "spare" and seen.get("ready") for seen in request["states"].values())
    return None if spares else NO_SPARE


def _returns(request: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """The way back to the primary that an earlier run left: at most one."""
    host = (request["undoes"] or {}).get("left")
    if not host:
        return []
    seen = request["states"].get(host, {"role": "silent"})
    undone = request["undoes"]
    reasons = (
        (seen["role"] != "stopped", "it is %s, not stopped and fenced" % seen["role"]),
        (
            str(seen.get("system_identifier")) != str(undone["system_identifier"]),
            "it holds database system %s now" % seen.get("system_identifier"),
        ),
        (
            int(seen.get("timeline") or 0) > int(undone["target_timeline"]),
            "it is on timeline %s already, which came after" % seen.get("timeline"),
        ),
    )
    return [
        {
            "method": RETURN,
            "host": host,
            "loses_bytes": max(newest_position(request, undone["system_identifier"]) - position(seen), 0),
            **took(request["runs"], "method", RETURN, request["procedure"]),
            "closed": next((why for holds, why in reasons if holds), None),
        }
    ]


def systems_held(request: Mapping[str, Any]) -> "dict[str, str]":
    """The database system that each host holds a copy of; a host that holds none is left out."""
    return {
        host: str(seen["system_identifier"])
        for host, seen in request["states"].items()
        if seen.get("system_identifier")
    }


def _copies(request: Mapping[str, Any], system: Any) -> "list[Mapping[str, Any]]":
    """What was seen of the copies of one database system, and of those that do not say of which they are.

    A host may keep a copy of a system that was given up for a dump.
    """
    return [
        seen
        for seen in request["states"].values()
        if seen.get("system_identifier") is None or str(seen["system_identifier"]) == str(system)
    ]


def newest_line(request: Mapping[str, Any], system: Any) -> int:
    """The newest timeline that any host knows of a database system."""
    return max([int(seen["timeline"]) for seen in _copies(request, system) if seen.get("timeline")], default=0)


def newest_position(request: Mapping[str, Any], system: Any) -> int:
    """The highest WAL position (bytes) that any host that answers is known to have of a database system."""
    return max([position(seen) for seen in _copies(request, system)], default=0)


def position(seen: Mapping[str, Any]) -> int:
    """How far a host's WAL reaches, in bytes; 0 when it does not say."""
    text = seen.get("received") or seen.get("lsn")
    return parse_lsn(text) if text else 0


def _since(moment_s: Optional[float], request: Mapping[str, Any]) -> Optional[float]:
    """Seconds of commits that may be missing: from a moment to the last one acknowledged, where the client stands."""
    if moment_s is None or request.get("last_acknowledged_s") is None:
        return None
    return round(max(float(request["last_acknowledged_s"]) - float(moment_s), 0.0), 3)


def took(
    runs: Sequence[Mapping[str, Any]], key: str, value: str, procedure: str = "", planned: bool = False
) -> "dict[str, float]":
    """What earlier runs took, usually and at worst, of those whose C(key) is this value; nothing when none measured it.

    Those of the same procedure tell more than others, and of them those that began like this one: before clients noticed anything, or
    after. A run that was interrupted and gone on with measures the interruption, and does not count.
    """
    seen = [run for run in runs if run.get(key) == value and "rta_s" in run and run.get("attempts", 1) == 1]
    same = [run for run in seen if run.get("procedure") == procedure]
    alike = [run for run in same if ("detection_s" not in run) == planned]
    times = [float(run["rta_s"]) for run in alike or same or seen]
    return {"takes_s": round(median(times), 3), "takes_p95_s": round(worst_likely(times), 3)} if times else {}
