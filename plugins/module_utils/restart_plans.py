"""Which server may be started again where it is, and why not another. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import journal, managers
from .guards import PRECONDITION, Stop
from .scene import NO_ANSWER
from .ways import took

RESTART = "restart"


def make(request: "Mapping[str, Any]", run: str) -> "dict[str, Any]":
    """The plan that answers `request`, the arguments of M(plan_restart)."""
    states, hosts = request["states"], request["hosts"]
    managers.agreed(states, request["manager"])
    if request["manager"]:
        raise Stop("%s starts the cluster's servers itself. Nothing was changed." % request["manager"])
    host = target(states, request["target"])
    seen = states[host]
    way = {
        "method": RESTART,
        "host": host,
        "loses_bytes": 0,
        "loses_s": 0.0,
        **took(request["runs"], "method", RESTART),
    }
    ends = (
        ["%s: the server that hangs is killed with all its processes" % host] if seen["role"] == "unresponsive" else []
    )
    fenced = bool(seen.get("fenced"))
    if fenced:
        ends.append("%s: the fence is taken away that an earlier run left: nobody was promoted in its place" % host)
        _refuse_silence(host, sorted(set(hosts) - set(states)))
    starts = request["application_scale"]
    ends_with = ["the application, of which nothing runs: %d instance(s) started" % starts] if starts else []
    return {
        "schema_version": 1,
        "run": run,
        "made": journal.now(),
        "procedure": "restart",
        "service": request["service"],
        "method": RESTART,
        "ways": [way],
        "postgres_version": request["postgres_version"],
        "clients": "asking",
        "system_identifier": seen["system_identifier"],
        "target_host": host,
        "target_address": hosts[host]["address"],
        "data_directory": seen["place"],
        "target_timeline": int(seen["timeline"]),
        "candidates": [],
        "passed_over": [],
        "unreachable": {},
        "unfence": fenced,
        "application_scale": starts,
        "changes": [*ends, "%s: started where it is; it recovers from its own WAL" % host, *ends_with],
        "irreversible": [],
    }


def _refuse_silence(host: str, silent: "list[str]") -> None:
    """A fence is taken away only when every host says that nobody took over."""
    if silent:
        raise Stop(
            "%s was fenced, and %s cannot be asked whether it was promoted since. Nothing was changed. Bring that host back "
            "first, or go on elsewhere: pgrescue recover failover." % (host, " and ".join(silent))
        )


def hangs(seen: "Mapping[str, Any]") -> bool:
    """Whether a server that runs does not answer; one that refuses, for it is starting or full, has answered."""
    return seen["role"] == "unresponsive" and bool(NO_ANSWER.search(str(seen.get("problem"))))


def target(states: "Mapping[str, Any]", wanted: "Optional[str]") -> str:
    """The host whose server is started: the one that was left on the newest timeline, if it was primary and nobody took over."""
    running = sorted(host for host, seen in states.items() if seen["role"] == "primary")
    if running:
        raise Stop(
            "%s is primary and answers: there is nothing to start again. Nothing was changed." % ", ".join(running)
        )
    answering = {host: seen for host, seen in states.items() if seen["role"] == "unresponsive" and not hangs(seen)}
    for host, seen in answering.items():
        said = (
            "The server of %s answers: %s. It is not started again. Nothing was changed. Look again: pgrescue triage."
        )
        raise Stop(said % (host, seen.get("problem")), PRECONDITION)
    down = {
        host: seen
        for host, seen in states.items()
        if seen["role"] in ("stopped", "unresponsive") and seen.get("timeline") and not seen.get("was_standby")
    }
    if wanted and wanted not in down:
        role = states.get(wanted, {}).get("role", "silent")
        raise Stop("%s is %s: it holds no server to start again. Nothing was changed." % (wanted, role), PRECONDITION)
    if not down:
        raise Stop("No host holds a cluster whose server could be started. Nothing was changed.", PRECONDITION)
    newest = max(int(seen["timeline"]) for seen in states.values() if seen.get("timeline"))
    left = sorted(
        host for host, seen in down.items() if int(seen["timeline"]) == newest and host in (wanted or host, wanted)
    )
    if not left:
        said = "The newest timeline, %d, is not on a host whose server is down (%s): somebody else took over from it. Nothing was changed."
        raise Stop(said % (newest, ", ".join(sorted(down))))
    if len(left) > 1:
        raise Stop(
            "%s could each be started. Nothing was changed. Say which was primary: -e restart_host=HOST."
            % " and ".join(left)
        )
    return left[0]
