"""What a recovery binds itself to before it changes anything."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import journal
from .guards import PRECONDITION, Stop

RUNNING = ("primary", "standby", "unresponsive")


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
            "No host of the service is clean and configured: add a spare to the inventory and run protect.yml.",
            PRECONDITION,
        )
    return min(spares, key=lambda host: (hosts[host]["region"] != region, host))


def is_clean(seen: Mapping[str, Any]) -> bool:
    """Whether a host holds no cluster, and its server is configured to start on the place that a restore puts in use."""
    return seen.get("role") == "spare" and bool(seen.get("ready"))


def check_copies(states: Mapping[str, Any], despite: bool) -> None:
    """Refuse to restore from the archive while a running copy holds at least as much."""
    running = ["%s (%s)" % (host, seen["role"]) for host, seen in states.items() if seen["role"] in RUNNING]
    if running and not despite:
        raise Stop(
            "Not a complete loss: %s still runs and may hold what the archive does not. Fail over to it, or, if its data is wrong "
            "too, stop it or say -e recovery_despite_copies=true. Nothing was changed." % ", ".join(running)
        )


def make(request: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """The plan that answers `request`, the arguments of M(plan_recovery)."""
    catalog = request["catalog"]
    check_copies(request["states"], request["despite_copies"])
    if not catalog["candidates"]:
        reasons = "; ".join("%(label)s: %(reason)s" % b for b in catalog["passed_over"])
        raise Stop("No backup can be restored (%s)." % reasons, PRECONDITION)
    target = choose_target(request["states"], request["hosts"], request["target"], request["prefer_region"])
    host = request["hosts"][target]
    return {
        "schema_version": 1,
        "run": run,
        "made": journal.now(),
        "procedure": request["procedure"],
        "service": request["service"],
        "system_identifier": catalog["system_identifier"],
        "target_host": target,
        "target_address": host["address"],
        "data_directory": "%s/%s" % (host["root"], run),
        "postgres_version": request["postgres_version"],
        "target_timeline": catalog["timeline"],
        "candidates": catalog["candidates"],
        "passed_over": catalog["passed_over"],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "application_scale": request["application_scale"],
        "changes": [
            "%s: a new data directory %s/%s, PostgreSQL started" % (target, host["root"], run),
            "the application is stopped, and started again",
            "the service's name points at %s" % host["address"],
        ],
        "irreversible": ["commits after the recovery point are given up", "the database continues on a new timeline"],
    }


def decisions(plan: Mapping[str, Any]) -> "list[dict[str, str]]":
    """What the timeline shall say of a plan."""
    said = [
        {"event": "decision", "detail": "Go on without repository %s, which does not answer: %s" % item}
        for item in sorted(plan["unreachable"].items())
    ]
    said += [
        {"event": "decision", "detail": "Backup %(label)s in repository %(repo)s passed over: %(reason)s" % b}
        for b in plan["passed_over"]
    ]
    first = plan["candidates"][0]
    end = plan["archive_end"]
    said.append(
        {
            "event": "decision",
            "detail": "Restore %s from repository %s on %s" % (first["label"], first["repo"], plan["target_host"]),
        }
    )
    if end:
        said.append({"event": "decision", "detail": "Replay WAL to %s, archived at %s" % (end["segment"], end["time"])})
    return said
