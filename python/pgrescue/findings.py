"""Findings: what a run showed to be wrong, who sees to it until when, and what became of it.

`runs/<id>/findings.json` is derived from the run's record at every close, by `evidence.findings`, and never edited.
What becomes of a finding later is appended to `runs/findings/<service>.jsonl`, one event a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema

from pgrescue.models import Instant, Model

FILE, FOLDER = "findings.json", "findings"
State = Literal["open", "done", "accepted"]
Severity = Literal["high", "medium", "low"]
Day = str  # YYYY-MM-DD
DUE_DAYS: Mapping[Severity, int] = {"high": 14, "medium": 30, "low": 90}


class FindingError(Exception):
    """What is asked of a finding cannot be done; the message says why, and that nothing was changed."""

    def __init__(self, message: str, code: int = 4) -> None:
        super().__init__(message)
        self.code = code


class Finding(Model):
    """One finding, as it was opened by its run, or as it is after all that became of it."""

    id: str
    run: str
    service: str
    title: str
    severity: Severity
    owner: str
    due: Day = Field(pattern=r"^\d{4}-\d\d-\d\d$")
    state: State = "open"
    opened: Instant
    closed: Instant | SkipJsonSchema[None] = None
    reason: str | SkipJsonSchema[None] = None
    evidence: list[str] | SkipJsonSchema[None] = None  # what else shows it, such as a phase over its budget

    def overdue(self, today: date) -> bool:
        """Whether it is open after its day."""
        return self.state == "open" and date.fromisoformat(self.due) < today


class Event(Model):
    """One line of `runs/findings/<service>.jsonl`."""

    at: Instant
    by: str
    id: str
    state: State
    reason: str | SkipJsonSchema[None] = None
    owner: str | SkipJsonSchema[None] = None
    due: Day | SkipJsonSchema[None] = None


def load(runs: Path, service: str | None = None) -> list[Finding]:
    """Every finding as it is now, oldest first. Raises FindingError for a file that cannot be read."""
    found: dict[str, Finding] = {}
    for path in sorted(runs.glob(f"*/{FILE}")):
        if path.parent.is_symlink():
            continue  # latest
        for one in _read(path):
            if service is None or one.service == service:
                found[one.id] = one
    for path in sorted((runs / FOLDER).glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                event = Event.model_validate_json(line)
            except ValidationError as error:
                raise FindingError(
                    f"{path}, line {number} is no event of a finding: {error.errors()[0]['msg']}", 3
                ) from error
            if event.id in found:
                found[event.id] = _after(found[event.id], event)
    return sorted(found.values(), key=lambda one: (one.opened, one.id))


def find(runs: Path, reference: str) -> Finding:
    """The finding that is meant: its id, or the only one whose id contains the text."""
    there = load(runs)
    matching = [one for one in there if one.id == reference] or [one for one in there if reference in one.id]
    if len(matching) != 1:
        said = f"{len(matching)} findings match" if matching else "There is no finding"
        raise FindingError(f"{said} {reference!r}. Nothing was changed. They are: pgrescue findings list --all", 3)
    return matching[0]


def tell(runs: Path, reference: str, event_state: State, by: str, reason: str, **more: str | None) -> Finding:
    """Append what became of a finding. `accepted` and `open` again need a reason; a state it has already is refused."""
    one = find(runs, reference)
    if one.state == event_state and not any(more.values()):
        raise FindingError(f"{one.id} is {one.state} already. Nothing was changed.")
    if not reason.strip():
        raise FindingError(f"{one.id}: say why, --reason. Nothing was changed.", 2)
    due = more.get("due")
    try:
        if due and date.fromisoformat(due).isoformat() != due:
            raise ValueError("another spelling, which no pattern of a record fits")
    except ValueError as error:
        raise FindingError(f"{due!r} is no day such as 2026-12-31. Nothing was changed.", 2) from error
    event = Event(at=datetime.now(UTC), by=by, id=one.id, state=event_state, reason=reason.strip(), **more)
    folder = runs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{one.service}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event.dump(), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return _after(one, event)


def _after(one: Finding, event: Event) -> Finding:
    changed = {"state": event.state, "reason": event.reason, "closed": None if event.state == "open" else event.at}
    changed |= {key: value for key in ("owner", "due") if (value := getattr(event, key))}
    return one.model_copy(update=changed)


def _read(path: Path) -> list[Finding]:
    try:
        return TypeAdapter(list[Finding]).validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        raise FindingError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", 3) from error
