"""`pgrescue status`: can the service be recovered now, to when, how proven, how long by each way; what is degraded."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from pgrescue import incidents, record, runner, triage
from pgrescue.core import controllers
from pgrescue.human import moment, size, span
from pgrescue.models import Run
from pgrescue.outcome import LET_GO, PASSED
from pgrescue.triage_view import headline

NAMES = 17  # columns of a row's name
FRESH_S = 30.0  # how old the word of a watch may be
ONCE_MORE = ", gone on with: measures no way"  # an interruption is in its time
LIST_S = 30  # whoever asks how things stand has more patience than who waits for a proposal, in seconds
FINE, WRONG = 0, 1


def run(service: str, inventory: str, as_json: bool, console: Console) -> int:
    """Look at one service and print; 1 when something is degraded, 0 when nothing is."""
    with console.status(f"Looking at {service} from all its hosts"):
        said = facts(service, inventory)
    if as_json:
        print(json.dumps(said, indent=2), file=console.file)
    else:
        console.print(render(said), highlight=False)
    return WRONG if said["degraded"] else FINE


def facts(service: str, inventory: str) -> dict[str, Any]:
    """All that is said of a service. Raises TriageError when its hosts cannot be looked at."""
    found = triage.look(service, inventory, more={"watch_list_limit_s": LIST_S})
    held = holder(runner.RUNS, service)
    return {
        "service": service,
        "at": datetime.now(UTC).isoformat(),
        "situation": found["situation"],
        **found["standing"],
        "degraded": found["standing"]["degraded"] + ([held] if held else []),
        "objectives": found["objectives"],
        "last_drill": last_drill(runner.RUNS, service),
        "incident": open_incident(service),
    }


def holder(runs: Path, service: str) -> str | None:
    """Which run of this machine holds the service, as a sentence; None where the newest that could has let it go."""
    for directory in reversed(record.all_runs(runs)):
        run = record.read_part(directory / "run.json", Run.model_validate, [])
        if run is None or run.service != service or run.kind == "proof":
            continue
        # what a drill made of it says nothing of the service
        code = record.load(directory).seen.outcome.exit_code if run.result == "void" else run.exit_code
        if code == PASSED:  # it has had the service, so that no earlier one holds it
            return None
        if code in LET_GO:
            continue
        if controllers.others_at_work(str(directory), os.getpid()):
            return f"run {run.id} is at work on it"
        return (
            f"run {run.id} stopped half way and holds the service: pgrescue resume {run.id}, or pgrescue abort {run.id}"
        )
    return None


def last_drill(runs: Path, service: str) -> dict[str, Any] | None:
    """The newest drill of a service that ended: procedure, result, recovery time and when; None before one."""
    for directory in reversed(record.all_runs(runs)):
        try:
            found = record.load(directory)
        except record.RecordError:  # `pgrescue metrics` counts it, and `pgrescue ledger` says why
            continue
        if found.run.service == service and found.run.kind == "drill" and found.run.result:
            at = datetime.strptime(directory.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            measured = {"rta_s": found.measurement.rta_s} if found.measurement.rta_s is not None else {}
            begun = [e for e in found.journal.events if e.event == "start" and not e.phase and not e.step]
            again = {"interrupted": True} if len(begun) > 1 else {}
            drill = {"procedure": found.run.procedure, "result": found.run.result, "at": at.isoformat()}
            return {**drill, **measured, **again}
    return None


def open_incident(service: str) -> str | None:
    """The incident of a service that is open on this machine."""
    case = incidents.open_case(runner.RUNS, service)
    return case.folder.name if case else None


def render(said: dict[str, Any]) -> Group:
    """One screen of 80 columns."""
    situation = said["situation"]
    sign, says, style = headline(said["service"], situation, said["degraded"])
    now = datetime.fromisoformat(said["at"])
    parts: list[RenderableType] = [_sentence(sign, says, style)]
    parts.append(_row("NOW", f"{now:%H:%M:%S} UTC  ({now.astimezone():%H:%M:%S %Z} here)"))
    parts.append(_row("PRIMARY", str(situation["about"] or "nobody knows")))
    if said["incident"]:
        parts.append(_row("INCIDENT", f"{said['incident']}   pgrescue incident show"))
    missing = "never" if said["listed"] else "not known"
    parts.append(_row("RECOVERABLE TO", _instant(said["recoverable_to"], now, "by a backup", missing)))
    parts.append(_row("PROVEN", _instant(said["proven"], now, "", missing)))
    for repository in said["repositories"]:
        age = f"{_ago(repository['stopped'], now)} old" if repository["stopped"] else "age not known"
        text = repository["problem"] or f"backup {repository['backup']}, {age}"
        parts.append(_row(f"  repository {repository['repository']}", text))
    parts.append(Text("IF THE PRIMARY WERE LOST NOW", style="bold"))
    parts += [Padding(Text(_way(way)), (0, 0, 0, 2)) for way in said["estimates"]]
    promised = said["objectives"]
    parts.append(
        _row("PROMISED", f"back within {span(promised.get('rto_s'))}, losing {span(promised.get('rpo_s'))} at most")
    )
    drill = said["last_drill"]
    again = ONCE_MORE if drill and drill.get("interrupted") else ""
    words = (
        f"{drill['procedure']}, {drill['result']}, {span(drill.get('rta_s'))}, {_ago(drill['at'], now)} ago{again}"
        if drill
        else "none here"
    )
    parts.append(_row("LAST DRILL", words))
    for sentence in said["degraded"][situation["level"] != "none" :]:  # the first of them is the head line then
        parts.append(_sentence(" !", sentence, "yellow"))
    command = (
        f"pgrescue triage -s {said['service']}"
        if situation["level"] != "none"
        else f"pgrescue drill -s {said['service']}"
    )
    parts.append(_row("NEXT", command))
    return Group(*parts)


def _way(way: dict[str, Any]) -> str:
    name = f"{way['method'].replace('_', ' ')} {way.get('host') or way.get('backup') or ''}"
    if "closed" in way:
        return f"{name:<32} no: {way['closed']}"
    took = span(way["takes_s"]) if "takes_s" in way else "never measured in one go"
    worst = f" (at worst {span(way['takes_p95_s'])})" if "takes_p95_s" in way else ""
    lost = (
        f"loses {span(way['loses_s'])}"
        if "loses_s" in way
        else f"loses {size(way['loses_bytes'])}"
        if "loses_bytes" in way
        else ""
    )
    return f"{name:<32} {took}{worst}  {lost}"


def _instant(text: str | None, now: datetime, what: str, missing: str) -> str:
    if not text:
        return missing
    at = datetime.fromisoformat(text)
    return f"{moment(at.replace(microsecond=0))}, {_ago(text, now)} ago {what}".rstrip()


def _ago(text: str, now: datetime) -> str:
    return span(round(max((now - datetime.fromisoformat(text)).total_seconds(), 0.0)))


def _row(name: str, value: str) -> Table:
    row = Table.grid(Column(width=NAMES), Column())
    row.add_row(Text(name, style="bold"), Text(value))
    return row


def _sentence(sign: str, text: str, style: str) -> Table:
    row = Table.grid(Column(width=len(sign) + 1), Column())
    row.add_row(Text(sign, style=style), Text(text, style=style))
    return row


def fleet(as_json: bool, console: Console) -> int:
    """Every service that is watched from here, by what its watch last said; 1 when one is not well or not heard of."""
    now = datetime.now(UTC)
    found = []
    for path in sorted((runner.RUNS / "watch").glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        age = (now - datetime.fromisoformat(said["at"])).total_seconds()
        silent = age > FRESH_S
        found.append(
            {
                "service": said["service"],
                "state": "not watched" if silent else said["state"],
                "says": f"its watch was last heard of {span(round(age))} ago" if silent else said["says"],
                "silent_hosts": said["silent"],
            }
        )
    if as_json:
        print(json.dumps(found, indent=2), file=console.file)
    for one in [] if as_json else sorted(found, key=lambda one: one["state"] == "well"):
        hosts = f"  silent: {', '.join(one['silent_hosts'])}" if one["silent_hosts"] else ""
        sign = "ok" if one["state"] == "well" else "!!"
        print(f"{sign} {one['service']:<24} {one['state']:<16} {one['says']}{hosts}", file=console.file)
    if not found and not as_json:
        print("No service is watched from this machine: pgrescue watch", file=console.file)
    return FINE if found and all(one["state"] == "well" for one in found) else WRONG
