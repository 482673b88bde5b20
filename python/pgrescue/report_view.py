"""What a report shows, gathered from a record once for every format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgrescue import drawing
from pgrescue.drawing import Bar, Mark, Row
from pgrescue.human import plural, span
from pgrescue.models import PHASES, Check
from pgrescue.record import Record
from pgrescue.story import Phase

_MOMENTS = {
    "declared": "declared",
    "traffic_stopped": "traffic stopped",
    "restored": "restored",
    "writable": "writable",
    "rows_back": "rows back",
    "validated": "validated",
    "endpoint_switched": "endpoint switched",
    "application_resumed": "application resumed",
}
_WIDE, _NARROW = 880, 356


@dataclass(frozen=True)
class Moment:
    """A numbered moment of the drawing, with its distance from the axis's zero in seconds."""

    number: int
    name: str
    when: datetime
    after_s: float


@dataclass(frozen=True)
class PhaseRow:
    """A phase against its budget; `seconds` is None when it never began."""

    name: str
    status: str
    seconds: float | None
    budget: float | None
    remark: str

    @property
    def over(self) -> bool:
        """Whether it took longer than its budget."""
        return self.seconds is not None and self.budget is not None and self.seconds > self.budget


def zero(record: Record) -> tuple[datetime, str] | None:
    """Where the drawing's axis counts from, and what that moment was."""
    choices = (
        (record.story.fault, "the fault"),
        (record.measurement.last_success_before, "the last success"),
        (record.story.started, "the start of the run"),
    )
    return next(((when, name) for when, name in choices if when is not None), None)


def moments(record: Record) -> list[Moment]:
    """Every moment of the drawing, in order."""
    origin = zero(record)
    if origin is None:
        return []
    named = [
        ("last success", record.measurement.last_success_before),
        ("fault", record.story.fault),
        *((words, record.story.milestones.get(name)) for name, words in _MOMENTS.items()),
        ("first success", record.measurement.first_success_after),
    ]
    known = sorted(((when, name) for name, when in named if when is not None), key=lambda pair: pair[0])
    return [
        Moment(number, name, when, (when - origin[0]).total_seconds()) for number, (when, name) in enumerate(known, 1)
    ]


def drawings(record: Record) -> list[tuple[str, Any]]:
    """The timeline for wide pages and for phones, each with its CSS class; empty with no journal."""
    origin = zero(record)
    if origin is None or record.story.last is None:
        return []
    rows = _rows(record)
    marks = [Mark(moment.number, moment.when) for moment in moments(record)]
    return [
        (name, drawing.timeline(rows, marks, origin[0], width))
        for name, width in (("wide", _WIDE), ("narrow", _NARROW))
    ]


def _rows(record: Record) -> list[Row]:
    rows = [_phase_row(record, phase) for phase in record.story.phases]
    last, first = record.measurement.last_success_before, record.measurement.first_success_after
    if last is None:
        return rows
    edges = [moment for phase in record.story.phases for moment in (phase.start, phase.end)]
    low = min([last, *edges, *([record.story.fault] if record.story.fault else [])])
    high = max([first or last, *edges, *record.story.milestones.values()])
    bars = [
        Bar(low, last, "up"),
        Bar(last, first or high, "down"),
        *([Bar(first, high, "up")] if first else []),
    ]
    rta = record.measurement.rta_s
    note = f"no service {span(rta)}" if rta is not None else "no service, not back"
    return [Row("clients", tuple(bar for bar in bars if bar.end > bar.start), note), *rows]


def _phase_row(record: Record, phase: Phase) -> Row:
    kind = {"failed": "failed", "unreachable": "failed", "interrupted": "failed", "running": "running"}
    last = len(phase.intervals) - 1
    bars = [
        Bar(interval.start, interval.end, kind.get(phase.status, "done") if index == last else "done")
        for index, interval in enumerate(phase.intervals)
    ]
    for wait in record.story.waits:
        start, end = max(wait.start, phase.start), min(wait.end, phase.end)
        if start < end:
            bars.append(Bar(start, end, "waiting"))
    words = span(phase.active_s) + (f", {phase.status}" if phase.status in kind else "")
    return Row(phase.name, tuple(bars), words)


def phases(record: Record) -> list[PhaseRow]:
    """Every phase that ran, in order, and of a run that did not pass those with a budget that it did not get to."""
    budgets, passed = record.run.objectives.phases, record.run.result == "passed"
    names = [name for name in PHASES if (name in budgets and not passed) or record.story.phase(name)]
    names += [phase.name for phase in record.story.phases if phase.name not in names]
    rows = []
    for name in names:
        phase = record.story.phase(name)
        if phase is None:
            rows.append(PhaseRow(name, "not begun", None, budgets.get(name), ""))
        else:
            rows.append(PhaseRow(name, phase.status, phase.active_s, budgets.get(name), _remark(phase)))
    return rows


def _remark(phase: Phase) -> str:
    remarks = []
    if phase.wall_s - phase.active_s > 1:
        times = len(phase.intervals)
        remarks.append(f"{plural(times, 'stretch', 'stretches')}, {span(phase.wall_s)} from first to last")
    if phase.by_wall:
        remarks.append("timed by the wall clock across a reboot")
    return "; ".join(remarks)


def check_summary(checks: tuple[Check, ...]) -> str:
    """`8 of 8 that must pass, 5 of 6 others`."""
    words = []
    for tier, name in (("must", "that must pass"), ("should", "others")):
        of_tier = [check for check in checks if check.tier == tier]
        if of_tier:
            passed = sum(check.verdict == "passed" for check in of_tier)
            words.append(f"{passed} of {len(of_tier)} {name}")
    return ", ".join(words)


def value(thing: Any) -> str:
    """An expected or observed value as text."""
    if thing is None:
        return ""
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False, sort_keys=True)
