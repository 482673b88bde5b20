"""Read one source below runs/ into rows of the ledger. What cannot be read is said in sentences, never passed over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from pgrescue import journal
from pgrescue.core import history
from pgrescue.drill.record import FILE as DRILL_FILE
from pgrescue.drill.record import Drill
from pgrescue.findings import FILE, Event, Finding
from pgrescue.incidents import Incident
from pgrescue.ledger.attempts import Attempt
from pgrescue.manifest import MANIFEST
from pgrescue.models import Check, Instant, Measurement, Model, Plan, Run, rfc3339
from pgrescue.record import misnamed, read_part
from pgrescue.story import Story, fold

_SAID_YES = ("approved", "ok")  # what passes a gate is another event of the same gate
Row = tuple[str, dict[str, Any]]
_STAMP = re.compile(r"^(\d{8}T\d{6}Z)-")
_OF_AN_INCIDENT = (  # columns of the ledger; an incident says more than those
    "id", "service", "kind", "state", "says", "cause", "level", "started", "detected", "acknowledged", "decided",
    "mitigated", "resolved", "acknowledged_by", "decision", "outages",
)  # fmt: skip

_CHECKS, _FINDINGS = TypeAdapter(list[Check]), TypeAdapter(list[Finding])


class Rehearsal(Model):
    """`rehearsals/*.json`: of each channel the seconds it took, or why it did not take the message."""

    service: str
    at: Instant
    passed: bool
    noticed: bool
    channels: dict[str, float | str] = Field(default_factory=dict)


@dataclass
class Reading:
    """The rows of a source, and what could not be read of it. `settled`: it is sealed and does not change any more."""

    rows: Iterator[Row]
    problems: list[str]
    settled: bool = True


def read(kind: str, path: Path) -> Reading:
    """Begin to read a source of this kind; `rows` does the reading, `problems` is whole when it has ended."""
    problems: list[str] = []
    if kind == "run":
        return Reading(_run(path, problems), problems, settled=(path / MANIFEST).exists())
    return Reading(_READERS[kind](path, problems), problems)


def stamp(name: str) -> str | None:
    """The moment that a record's name begins with, as the ledger writes times."""
    found = _STAMP.match(name)
    return rfc3339(datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)) if found else None


def _run(folder: Path, problems: list[str]) -> Iterator[Row]:
    run = read_part(folder / "run.json", Run.model_validate, problems)
    if run is None:
        problems[:] = problems or ["run.json: there is none"]
        return
    if wrong := misnamed(folder, run.id):
        problems.append(wrong)
        return
    measured = read_part(folder / "measurement.json", Measurement.model_validate, problems) or Measurement()
    plan = read_part(folder / "plan.json", Plan.model_validate, problems)
    checks = read_part(folder / "checks.json", _CHECKS.validate_python, problems) or []
    findings = read_part(folder / FILE, _FINDINGS.validate_python, problems)
    lines = journal.read(folder / "timeline.jsonl")
    if lines.broken:
        problems.append(f"timeline.jsonl, {lines.broken}")
    story = fold(lines.events)
    if story.started is None and stamp(folder.name) is None:
        problems.append("timeline.jsonl: nothing says when the run began, so that it belongs to no month")
    drill = read_part(folder / DRILL_FILE, Drill.model_validate, problems)
    kind = "unjudged" if run.kind == "drill" and not (drill and drill.judged) else run.kind
    yield "runs", _run_row(folder, run, kind, _detected(measured, run, drill), plan, lines, story, findings is not None)
    for name, seconds in measured.phases.items():
        budget, verdict = run.objectives.phases.get(name), measured.verdicts.phases.get(name)
        yield "phases", {"phase": name, "seconds": seconds, "budget_s": budget, "verdict": verdict}
    for n, step in enumerate(story.steps):
        yield "steps", {"n": n, "phase": step.phase, "name": step.name, "status": step.status, "seconds": step.seconds}
    for n, check in enumerate(checks):
        yield "checks", {"n": n, "name": check.name, "tier": check.tier, "verdict": check.verdict}
    for finding in findings or []:
        yield "findings", {name: value for name, value in _columns(finding).items() if name != "evidence"}


def _detected(measured: Measurement, run: Run, drill: Drill | None) -> Measurement:
    """Without a time of detection where nobody detected: a drill declares its own fault unless it is blind."""
    told = run.kind == "drill" and (drill is None or drill.blind is None)
    return measured.model_copy(update={"detection_s": None}) if told else measured


def _run_row(
    folder: Path,
    run: Run,
    kind: str,
    measured: Measurement,
    plan: Plan | None,
    lines: journal.Journal,
    story: Story,
    found: bool,
) -> dict[str, Any]:
    events = lines.events
    candidate = plan.candidates[0] if plan and plan.candidates else None
    ways = plan.ways if plan and plan.ways else []
    return {
        "id": run.id,
        "service": run.service,
        "kind": kind,
        "procedure": run.procedure,
        "scenario": run.scenario,
        "operator": run.operator,
        "started": rfc3339(story.started) if story.started else stamp(folder.name),
        "ended": rfc3339(story.ended) if story.ended else None,
        "result": run.result,
        "exit_code": run.exit_code,
        "sealed": (folder / MANIFEST).exists(),
        "rto_s": run.objectives.rto_s,
        "rpo_s": run.objectives.rpo_s,
        "rta_s": measured.rta_s,
        "rpa_s": measured.rpa_s,
        "rto_verdict": measured.verdicts.rto,
        "rpo_verdict": measured.verdicts.rpo,
        "detection_s": measured.detection_s,
        "human_wait_s": measured.human_wait_s,
        "acknowledged": measured.acknowledged,
        "lost": measured.lost_acknowledged,
        "lost_before_recovery_point": measured.lost_acknowledged_before_recovery_point,
        "data_bytes": measured.data_bytes,
        "method": plan.method if plan else None,
        "standby_ready": any(way.method == "promote" and way.closed is None for way in ways) if ways else None,
        "backup": candidate.label if candidate else None,
        "repository": candidate.repo if candidate else None,
        "begun": bool(story.begun),
        "steps": sum(step.status != "skipped" for step in story.steps),
        "approvals": len({event.step for event in events if event.event == "approval" and event.status in _SAID_YES}),
        "skipped": sum(event.event == "decision" and event.status == "skipped" for event in events),
        "resumed": story.resumed,
        "notes": sum(event.event == "note" and event.step is None for event in events),
        "broke_glass": len(run.broke_glass),
        "has_findings": found,
        **(_speeds(run, plan, lines) if candidate else {}),
    }


def _speeds(run: Run, plan: Plan | None, lines: journal.Journal) -> dict[str, Any]:
    """Bytes and seconds of the fetch and the replay, as predictions want them."""
    events = [json.loads(line.raw) for line in lines.lines if line.event]
    facts = history.folded({"result": None, **run.dump()}, {}, plan.dump() if plan else {}, [], events)
    return {name: facts.get(name) for name in ("fetched_bytes", "fetch_s", "replayed_bytes", "replay_s")}


def _incident(path: Path, problems: list[str]) -> Iterator[Row]:
    found = read_part(path, Incident.model_validate, problems)
    if found is None:
        problems[:] = problems or ["incident.json: there is none"]
        return
    said = _columns(found)
    happened = said.get("detected") or said.get("started") or stamp(path.parent.name)
    yield "incidents", {**{name: said[name] for name in _OF_AN_INCIDENT if name in said}, "happened": happened}
    for run in found.runs:
        yield "incident_runs", {"run": run}


def _rehearsal(path: Path, problems: list[str]) -> Iterator[Row]:
    found = read_part(path, Rehearsal.model_validate, problems)
    if found is None:
        return
    yield "rehearsals", {k: v for k, v in _columns(found).items() if k in ("service", "at", "passed", "noticed")}
    for name, took in found.channels.items():
        yield "channels", {"name": name, **({"problem": took} if isinstance(took, str) else {"seconds": took})}


def _lines[M: Model](path: Path, model: type[M], problems: list[str]) -> Iterator[tuple[int, M]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, model.model_validate_json(line)
                except ValidationError as error:
                    first = error.errors()[0]
                    where = ".".join(str(part) for part in first["loc"])
                    problems.append(f"line {number}: {where + ': ' if where else ''}{first['msg']}")


def _attempts(path: Path, problems: list[str]) -> Iterator[Row]:
    for n, attempt in _lines(path, Attempt, problems):
        yield "attempts", {"n": n, "service": path.stem, **_columns(attempt)}


def _finding_events(path: Path, problems: list[str]) -> Iterator[Row]:
    for n, event in _lines(path, Event, problems):
        yield "finding_events", {"n": n, "service": path.stem, **_columns(event)}


def _columns(model: Model) -> dict[str, Any]:
    """What a record says, as the ledger keeps it; keys that its model does not know are not asked for."""
    said = model.dump()
    return {name: said[name] for name in type(model).model_fields if name in said}


_READERS: dict[str, Callable[[Path, list[str]], Iterator[Row]]] = {
    "incident": _incident,
    "rehearsal": _rehearsal,
    "attempts": _attempts,
    "finding_events": _finding_events,
}
