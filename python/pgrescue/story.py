"""Fold the events of a run into what happened: phases, steps, milestones, waits.

Between two events of one boot the monotonic clock counts; across boots only the wall clock is left,
and the duration says so. A phase that a crash interrupted and a resume went on with has several
intervals: `active_s` is their sum, `wall_s` runs from the first start to the last end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pgrescue.core.journal import GATES, LOOKING
from pgrescue.models import PHASES, Event

_FAILED = ("failed", "unreachable")
# of names the database's counts, which is the first that is moved; the application's may follow
_FIRST_COUNTS = ("declared", "traffic_stopped", "endpoint_switched")


@dataclass(frozen=True)
class Duration:
    """Seconds between two events, and whether only the wall clock could say."""

    seconds: float
    by_wall: bool = False


@dataclass(frozen=True)
class Interval:
    """A stretch of activity. While `open`, it reaches to the newest event of the journal."""

    start: datetime
    end: datetime
    duration: Duration
    open: bool = False


@dataclass(frozen=True)
class Phase:
    """One phase over all its intervals; `status` is running, interrupted, or that of its last end."""

    name: str
    intervals: tuple[Interval, ...]
    status: str

    @property
    def start(self) -> datetime:
        """When it first began."""
        return self.intervals[0].start

    @property
    def end(self) -> datetime:
        """When it last ended, or was last seen."""
        return self.intervals[-1].end

    @property
    def active_s(self) -> float:
        """Seconds in which the phase was being worked on."""
        return sum(interval.duration.seconds for interval in self.intervals)

    @property
    def wall_s(self) -> float:
        """Seconds from first start to last end, interruptions included."""
        if len(self.intervals) == 1:
            return self.active_s
        return max(0.0, (self.end - self.start).total_seconds())

    @property
    def by_wall(self) -> bool:
        """Whether any part could only be timed by the wall clock."""
        return any(interval.duration.by_wall for interval in self.intervals)


@dataclass(frozen=True)
class HostResult:
    """How a step ended on one host."""

    host: str
    status: str
    seconds: float
    detail: str | None = None
    changed: bool | None = None


@dataclass(frozen=True)
class Step:
    """One task; `seconds` is its slowest host, None while no host has finished."""

    phase: str | None
    name: str
    start: datetime
    hosts: tuple[HostResult, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Duration of the slowest host."""
        return max((host.seconds for host in self.hosts), default=None)

    @property
    def status(self) -> str:
        """The worst status of any host, or `running`."""
        seen = {host.status for host in self.hosts}
        for status in ("failed", "unreachable", "changed", "ok", "skipped"):
            if status in seen:
                return status
        return next(iter(sorted(seen)), "running")


@dataclass(frozen=True)
class Story:
    """What a journal says happened."""

    started: datetime | None = None
    ended: datetime | None = None
    end_status: str | None = None
    last: datetime | None = None
    fault: datetime | None = None
    milestones: dict[str, datetime] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    steps: tuple[Step, ...] = ()
    failures: tuple[Event, ...] = ()
    waits: tuple[Interval, ...] = ()
    notes: tuple[Event, ...] = ()
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    current_phase: str | None = None
    current_step: Step | None = None
    resumed: int = 0

    @property
    def human_wait_s(self) -> float:
        """Seconds spent waiting for a person's approval."""
        return sum(wait.duration.seconds for wait in self.waits)

    @property
    def begun(self) -> tuple[str, ...]:
        """Phases that may have changed something of the service: they did more than see whether to go on."""
        worked = {step.phase for step in self.steps if step.name not in GATES}
        return tuple(phase.name for phase in self.phases if phase.name not in LOOKING and phase.name in worked)

    @property
    def said(self) -> tuple[Event, ...]:
        """What people noted; a note with a step is the machine's."""
        return tuple(note for note in self.notes if note.detail and note.step is None)

    @property
    def waiting(self) -> bool:
        """Whether a person is being waited for now."""
        return any(wait.open for wait in self.waits)

    def phase(self, name: str) -> Phase | None:
        """The phase of this name, if it began."""
        return next((phase for phase in self.phases if phase.name == name), None)


def fold(events: Sequence[Event]) -> Story:
    """What happened, from the events in order."""
    teller = _Teller()
    for event in events:
        teller.take(event)
    return teller.tell()


@dataclass(frozen=True)
class _Stamp:
    wall: datetime
    monotonic_ns: int
    boot: str | None

    def until(self, later: _Stamp) -> Duration:
        if self.boot is not None and self.boot == later.boot:
            return Duration(max(0.0, (later.monotonic_ns - self.monotonic_ns) / 1e9))
        return Duration(max(0.0, (later.wall - self.wall).total_seconds()), by_wall=True)


class _Teller:
    """The fold's state. One `_on_<event>` method per kind of event; unknown kinds are passed by."""

    def __init__(self) -> None:
        self.boot: str | None = None
        self.first: _Stamp | None = None
        self.last: _Stamp | None = None
        self.ended: _Stamp | None = None
        self.end_status: str | None = None
        self.fault: datetime | None = None
        self.milestones: dict[str, datetime] = {}
        self.intervals: dict[str, list[Interval]] = {}
        self.status: dict[str, str] = {}
        self.open_phase: tuple[str, _Stamp] | None = None
        self.steps: list[Step] = []
        self.step_stamps: list[_Stamp] = []
        self.step_open = False
        self.running: set[tuple[str | None, str]] = set()  # started, and ended on no host
        self.failures: list[Event] = []
        self.waits: list[Interval] = []
        self.open_wait: _Stamp | None = None
        self.notes: list[Event] = []
        self.facts: dict[str, dict[str, Any]] = {}
        self.resumed = 0

    def take(self, event: Event) -> None:
        if event.event == "start" and event.phase is None and event.step is None:
            self.boot = event.boot_id
        stamp = _Stamp(event.wall, event.monotonic_ns, event.boot_id or self.boot)
        handle = getattr(self, f"_on_{event.event}", None)
        if handle:
            handle(event, stamp)
        self.last = stamp

    def _on_start(self, event: Event, stamp: _Stamp) -> None:
        if event.step is not None:
            if (event.phase, event.step) not in self.running:  # hosts that go on by themselves start a task each
                self.running.add((event.phase, event.step))
                self.steps.append(Step(event.phase, event.step, event.wall))
                self.step_stamps.append(stamp)
            self.step_open = True
        elif event.phase is not None:
            self._close_phase(stamp, "interrupted")
            self.open_phase = (event.phase, stamp)
            self.running.clear()
            self.status[event.phase] = "running"
            self.step_open = False
        else:
            self._on_run_start(stamp)

    def _on_run_start(self, stamp: _Stamp) -> None:
        if self.first is None:
            self.first = stamp
        else:
            self.resumed += 1
            self._close_phase(self.last or stamp, "interrupted")
            self._close_wait(self.last or stamp)  # nobody was waited for while nothing ran
        self.step_open = False
        self.ended = self.end_status = None
        self.failures = []  # of an earlier attempt: this one is judged by its own
        self.facts.pop("refused", None)

    def _on_end(self, event: Event, stamp: _Stamp) -> None:
        if event.step is not None:
            self._end_step(event, stamp)
        elif event.phase is not None:
            self._close_phase(stamp, event.status or "ok", event.phase)
            self.step_open = False
        else:
            self._close_phase(stamp, "interrupted")
            self.ended, self.end_status, self.step_open = stamp, event.status, False

    def _end_step(self, event: Event, stamp: _Stamp) -> None:
        if event.status in _FAILED:
            self.failures.append(event)
        self.running.discard((event.phase, event.step))
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            if (step.phase, step.name) == (event.phase, event.step):
                seconds = self.step_stamps[index].until(stamp).seconds
                result = HostResult(event.host or "-", event.status or "ok", seconds, event.detail, event.changed)
                self.steps[index] = Step(step.phase, step.name, step.start, (*step.hosts, result))
                return

    def _on_milestone(self, event: Event, _: _Stamp) -> None:
        if event.step and not (event.step in self.milestones and event.step in _FIRST_COUNTS):
            self.milestones[event.step] = event.wall

    def _on_fault(self, event: Event, _: _Stamp) -> None:
        self.fault = self.fault or event.wall

    def _on_decision(self, event: Event, stamp: _Stamp) -> None:
        if event.status == "waiting" and self.open_wait is None:
            self.open_wait = stamp

    def _on_approval(self, _: Event, stamp: _Stamp) -> None:
        self._close_wait(stamp)

    def _close_wait(self, stamp: _Stamp) -> None:
        if self.open_wait is not None:
            self.waits.append(Interval(self.open_wait.wall, stamp.wall, self.open_wait.until(stamp)))
            self.open_wait = None

    def _on_note(self, event: Event, _: _Stamp) -> None:
        fact = _json_object(event.detail) if event.step else None
        if event.step and fact is not None:
            if event.step == "clock" and "wall" in fact:
                fact = self._clock_offset(event, str(fact["wall"]))
            self.facts.setdefault(event.step, {}).update(fact)
        else:
            self.notes.append(event)

    def _clock_offset(self, event: Event, told: str) -> dict[str, float]:
        """What a host's clock is ahead of ours, when it told its time at some instant of the step that asked it."""
        asked = self.steps[-1].start if self.steps else event.wall
        half = (event.wall - asked) / 2
        offset = datetime.fromisoformat(told) - (asked + half)
        return {"offset_s": round(offset.total_seconds(), 6), "uncertainty_s": round(half.total_seconds(), 6)}

    def _close_phase(self, stamp: _Stamp, status: str, only: str | None = None) -> None:
        if self.open_phase is None or (only is not None and self.open_phase[0] != only):
            return
        name, start = self.open_phase
        self.intervals.setdefault(name, []).append(Interval(start.wall, stamp.wall, start.until(stamp)))
        self.status[name] = status
        self.open_phase = None

    def _phases(self) -> tuple[Phase, ...]:
        intervals = {name: list(spans) for name, spans in self.intervals.items()}
        if self.open_phase and self.last:
            name, start = self.open_phase
            now = Interval(start.wall, self.last.wall, start.until(self.last), open=True)
            intervals.setdefault(name, []).append(now)
        order = {name: place for place, name in enumerate(PHASES)}
        names = sorted(intervals, key=lambda name: order.get(name, len(order)))
        return tuple(Phase(name, tuple(intervals[name]), self.status[name]) for name in names)

    def tell(self) -> Story:
        waits = list(self.waits)
        if self.open_wait and self.last:
            until = self.open_wait.until(self.last)
            waits.append(Interval(self.open_wait.wall, self.last.wall, until, open=True))
        return Story(
            started=self.first.wall if self.first else None,
            ended=self.ended.wall if self.ended else None,
            end_status=self.end_status,
            last=self.last.wall if self.last else None,
            fault=self.fault,
            milestones=dict(self.milestones),
            phases=self._phases(),
            steps=tuple(self.steps),
            failures=tuple(self.failures),
            waits=tuple(waits),
            notes=tuple(self.notes),
            facts=dict(self.facts),
            current_phase=self.open_phase[0] if self.open_phase else None,
            current_step=self.steps[-1] if self.step_open else None,
            resumed=self.resumed,
        )


def _json_object(text: str | None) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
