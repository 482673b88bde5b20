"""Incidents: what happened to a service, its milestones as clocks, its people and notes, in a hash-chained timeline.

An incident is a folder `runs/incidents/<id>/` with `incident.json` and `timeline.jsonl`, which is written as a run's
is. A service has one open incident at a time: whoever declares a second one joins the first.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from pgrescue.core import journal, records
from pgrescue.core.inert import inert
from pgrescue.models import SCHEMA_VERSION, Instant, Model

FOLDER = "incidents"
MILESTONES = ("started", "detected", "acknowledged", "decided", "mitigated", "resolved")


class IncidentError(Exception):
    """What was asked of an incident cannot be done; the message says why, and that nothing was changed."""

    def __init__(self, message: str, code: int = 4) -> None:
        super().__init__(message)
        self.code = code


class Incident(Model):
    """`incident.json`. A milestone that has not been reached is absent."""

    schema_version: int = SCHEMA_VERSION
    id: str
    service: str
    kind: Literal["incident", "rehearsal"] = "incident"
    state: str  # the situation, as the rules name it; `declared` where a person saw it first
    says: str
    level: Literal["page", "ticket"] = "page"
    declared_by: str | SkipJsonSchema[None] = None  # the person who saw it first, and who closes it
    began: Instant | SkipJsonSchema[None] = None  # the outage that goes on now: escalation counts from here
    started: Instant | SkipJsonSchema[None] = None  # when clients were last served
    detected: Instant | SkipJsonSchema[None] = None
    acknowledged: Instant | SkipJsonSchema[None] = None
    decided: Instant | SkipJsonSchema[None] = None
    mitigated: Instant | SkipJsonSchema[None] = None  # clients are served again
    resolved: Instant | SkipJsonSchema[None] = None
    acknowledged_by: str | SkipJsonSchema[None] = None
    decision: str | SkipJsonSchema[None] = None
    cause: str | SkipJsonSchema[None] = None  # why it happened, for the month's report
    people: dict[str, str] = Field(default_factory=dict)  # name: role
    runs: list[str] = Field(default_factory=list)  # of recoveries that belong to it
    outages: int = 1  # how often clients were cut off while it was open
    facts: list[dict[str, str]] = Field(default_factory=list)
    proposed: list[dict[str, Any]] = Field(default_factory=list)
    not_offered: list[dict[str, Any]] = Field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """An incident where it lies."""

    folder: Path

    @property
    def incident(self) -> Incident:
        """What its file says now."""
        return Incident.model_validate(records.read_json(str(self.folder / "incident.json")))

    def readable(self) -> Incident | None:
        """The same; None where the file cannot be read, which must keep nobody from paging."""
        try:
            return self.incident
        except (OSError, ValueError):
            return None

    def events(self) -> list[dict[str, Any]]:
        """Its timeline."""
        return journal.events(str(self.folder / "timeline.jsonl"))

    def change(self, who: str, event: str, step: str | None, detail: str, **values: Any) -> Incident:
        """Write what happened into the timeline, and then what is so since into the file."""
        with _turn(self.folder.parent):
            found = self.incident
            with journal.Journal(str(self.folder / "timeline.jsonl"), who) as timeline:
                timeline.write(event, step=step, detail=detail)
            changed = found.model_copy(update=values)
            records.write_json(str(self.folder / "incident.json"), changed.dump())
        return changed


def now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Let one process at a time decide about the incidents of a machine."""
    root.mkdir(parents=True, exist_ok=True)
    lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def cases(runs: Path, service: str | None = None) -> list[Case]:
    """Every incident, oldest first."""
    there = [Case(path.parent) for path in sorted((runs / FOLDER).glob("*/incident.json"))]
    return [case for case in there if (found := case.readable()) and service in (None, found.service)]


def open_case(runs: Path, service: str) -> Case | None:
    """The incident of a service that is open; None when there is none."""
    return next((case for case in reversed(cases(runs, service)) if case.incident.resolved is None), None)


def find(runs: Path, reference: str) -> Case:
    """The incident that is meant: `latest`, its id, the only id that contains the text, or a service's open one."""
    there = cases(runs)
    if reference == "latest" and there:
        return there[-1]
    matching = [case for case in there if reference in case.folder.name]
    exact = [case for case in matching if case.folder.name == reference]
    if len(exact or matching) == 1:
        return (exact or matching)[0]
    opened = open_case(runs, reference)
    if opened:
        return opened
    said = "no incident" if not matching else f"{len(matching)} incidents"
    raise IncidentError(f"There is {said} {reference!r} in {runs / FOLDER}. Nothing was changed.", 3)


def begin(
    runs: Path, service: str, who: str, situation: Mapping[str, Any], started: datetime | None, kind: str = "incident"
) -> tuple[Case, bool]:
    """Open an incident, or find the one that is open; whether it is new. `situation`: state, says, level, facts."""
    root = runs / FOLDER
    with _turn(root):
        there = open_case(runs, service)
        if there:
            return there, False
        at = now()
        name = f"{at:%Y%m%dT%H%M%SZ}-{service}"
        folder = root / name
        for number in range(2, 100):
            if not folder.exists():
                break
            folder = root / f"{name}-{number}"  # two within a second
        folder.mkdir(parents=True)
        opened = Incident(
            id=folder.name,
            service=service,
            kind="rehearsal" if kind == "rehearsal" else "incident",
            state=str(situation["state"]),
            says=str(situation["says"]),
            level="ticket" if situation.get("level") == "ticket" else "page",
            started=started,
            detected=at,
            began=at,
            declared_by=who if situation["state"] == "declared" else None,
            facts=[dict(said) for said in situation.get("facts", [])],
        )
        with journal.Journal(str(folder / "timeline.jsonl"), who) as timeline:
            if started:
                timeline.write("milestone", step="started", detail=f"clients were last served at {started.isoformat()}")
            timeline.write("milestone", step="detected", detail=opened.says)
            for said in opened.facts:
                timeline.write("note", host=said["by"], detail=said["says"])
        records.write_json(str(folder / "incident.json"), opened.dump())
    return Case(folder), True


def note(case: Case, who: str, text: str) -> None:
    """Keep a sentence."""
    if not text.strip():
        raise IncidentError("A note says something. Nothing was changed.", 2)
    case.change(who, "note", None, _one_line(text))


def acknowledge(case: Case, who: str) -> bool:
    """Somebody looks after it; whether they are the first to say so."""
    if _still_open(case).acknowledged:
        return False
    case.change(who, "milestone", "acknowledged", f"{who} looks after it", acknowledged=now(), acknowledged_by=who)
    return True


def join(case: Case, who: str, role: str) -> None:
    """Somebody takes a role."""
    people = {**_still_open(case).people, who: role}
    case.change(who, "note", None, f"{who} is here as {_one_line(role)}", people=people)


def decide(case: Case, who: str, what: str) -> None:
    """It was decided what to do. The first decision is the milestone; later ones are kept as well."""
    _still_open(case)
    if not what.strip():
        raise IncidentError("A decision says what is done. Nothing was changed.", 2)
    first = {} if case.incident.decided else {"decided": now()}
    case.change(who, "decision", "decided", _one_line(what), decision=_one_line(what), **first)


def belongs(case: Case, who: str, run: str) -> None:
    """A recovery was begun for it."""
    if run not in case.incident.runs:
        case.change(who, "note", None, f"run {run} belongs to it", runs=[*case.incident.runs, run])


def mitigate(case: Case, who: str) -> None:
    """Clients are served again."""
    case.change(who, "milestone", "mitigated", "clients are served again", mitigated=now())


def again(case: Case, who: str, situation: Mapping[str, Any]) -> Incident:
    """Clients are cut off once more while it is open: whoever acknowledged the first outage must hear of this one."""
    found = case.incident
    return case.change(
        who,
        "milestone",
        "detected",
        str(situation["says"]),
        state=str(situation["state"]),
        says=str(situation["says"]),
        facts=[dict(said) for said in situation["facts"]],
        level="ticket" if situation.get("level") == "ticket" else "page",
        outages=found.outages + 1,
        began=now(),
        mitigated=None,
        acknowledged=None,
        acknowledged_by=None,
    )


def resolve(case: Case, who: str, reason: str, cause: str = "") -> None:
    """It is over; `cause` is why it happened, where somebody knows. What a person declared needs a person's reason."""
    if _still_open(case) and not reason.strip():
        raise IncidentError("To resolve an incident needs a reason: --reason. Nothing was changed.", 2)
    known = {"cause": _one_line(cause)} if cause.strip() else {}
    said = f"{_one_line(reason)}; its cause: {known['cause']}" if known else _one_line(reason)
    case.change(who, "milestone", "resolved", said, resolved=now(), **known)


def explain(case: Case, who: str, cause: str) -> None:
    """Why it happened, once that is known, also after it was resolved; the newest word counts."""
    if not cause.strip():
        raise IncidentError("A cause says why it happened. Nothing was changed.", 2)
    case.change(who, "note", None, f"its cause: {_one_line(cause)}", cause=_one_line(cause))


def _still_open(case: Case) -> Incident:
    found = case.incident
    if found.resolved:
        raise IncidentError(
            f"Incident {found.id} was resolved at {found.resolved:%Y-%m-%d %H:%M:%S} UTC. Nothing was changed."
        )
    return found


def _one_line(text: str) -> str:
    """What a person wrote, in one line of 10,000 characters at most, without what a terminal obeys."""
    return inert(text)[:10_000]


def clocks(incident: Incident) -> dict[str, float]:
    """Seconds from one milestone to the next, as far as both were reached; started is when clients were last served."""
    at = {name: getattr(incident, name) for name in MILESTONES}
    pairs = {
        "detection_s": ("started", "detected"),
        "acknowledgement_s": ("detected", "acknowledged"),
        "decision_s": ("acknowledged", "decided"),
        "mitigation_s": ("started", "mitigated"),
        "resolution_s": ("detected", "resolved"),
    }
    return {
        name: round((at[last] - at[first]).total_seconds(), 3)
        for name, (first, last) in pairs.items()
        if at[first] and at[last]
    }


def checklist(incident: Incident) -> list[tuple[str, str | None]]:
    """What is to be decided, and the answer as far as facts give one."""
    best = incident.proposed[0] if incident.proposed else {}
    restores = [way for way in incident.proposed if way.get("backup")]
    took = (
        f"{best['takes_s']:.0f} s, at worst {best.get('takes_p95_s', best['takes_s']):.0f} s"
        if "takes_s" in best
        else None
    )
    loses = f"at most {best['loses_s']:.1f} s of commits" if "loses_s" in best else None
    if loses is None and best and not best.get("destructive"):
        loses = "nothing, by the first proposal"
    people = ", ".join(f"{name} ({role})" for name, role in incident.people.items()) or incident.acknowledged_by
    return [
        ("Identify incident type", None if incident.state == "declared" else incident.says),
        ("Assess data loss scope", loses),
        ("Determine backup recency", restores[0]["backup"] if restores else None),
        ("Check backup availability", f"repository {restores[0].get('repository')}" if restores else None),
        ("Estimate recovery time", took),
        ("Activate DR team", people),
    ]
