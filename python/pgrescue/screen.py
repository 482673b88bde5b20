"""Draw the live screen from what is known now: a pure function, 80 columns, words beside every sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from rich.text import Text

from pgrescue.event_line import line
from pgrescue.human import short, span, time_of_day
from pgrescue.models import PHASES, Event, Objectives, Plan, Run
from pgrescue.story import Phase, Story

_WIDEST, _BAR, _RECENT = 80, 22, 6
_SIGNS = {
    "ok": "ok",
    "changed": "ok",
    "running": ">>",
    "failed": "!!",
    "unreachable": "!!",
    "interrupted": "!!",
}
_STYLES = {"ok": "green", ">>": "bold", "!!": "bold red", "..": "dim", "--": "dim"}


@dataclass(frozen=True)
class Screen:
    """Everything that the live screen is drawn from."""

    name: str
    run: Run | None
    plan: Plan | None
    objectives: Objectives
    predicted: Mapping[str, float] | None
    story: Story
    events: tuple[Event, ...]
    now: datetime


def render(screen: Screen, width: int = 80, *, ascii_only: bool = False) -> Text:
    """The screen as text of at most 80 columns."""
    columns = min(width, _WIDEST)
    lines = [*_broken_glass(screen), *_head(screen), Text()]
    lines += [_phase(screen, name, ascii_only) for name in _names(screen)]
    lines += [Text(), *_now(screen), Text(), *_recent(screen)]
    for drawn in lines:
        drawn.truncate(columns, overflow="crop" if ascii_only else "ellipsis")
    return Text("\n").join(lines)


def origin(story: Story) -> tuple[datetime, str] | None:
    """What the total counts from: the fault, else the declaration, else the start of the run."""
    choices = (
        (story.fault, "the fault"),
        (story.milestones.get("declared"), "it was declared"),
        (story.started, "the start"),
    )
    return next(((when, name) for when, name in choices if when is not None), None)


def arrival(screen: Screen) -> float | None:
    """Predicted seconds from the origin to the end; None unless every phase left is predicted.

    A phase that has outlasted its prediction counts as ending now.
    """
    start = origin(screen.story)
    if start is None or screen.predicted is None or screen.story.ended:
        return None
    left = 0.0
    for name in PHASES:
        phase = screen.story.phase(name)
        if phase and phase.status not in ("running", "interrupted"):
            continue
        if name not in screen.predicted:
            return None
        left += max(0.0, screen.predicted[name] - (_active(screen, phase) if phase else 0.0))
    return (screen.now - start[0]).total_seconds() + left


def recovery_point(screen: Screen) -> str | None:
    """What the plan can recover to: `recoverable to 01:20:31Z, 19 s before the fault`."""
    end = screen.plan.archive_end.time if screen.plan and screen.plan.archive_end else None
    if end is None:
        return None
    fault = screen.story.fault
    age = ((fault or screen.now) - end).total_seconds()
    if fault and age < 0:
        return f"recoverable to {time_of_day(end)}, past the fault"
    return f"recoverable to {time_of_day(end)}, {span(age)} {'before the fault' if fault else 'ago'} (estimate)"


def _broken_glass(screen: Screen) -> list[Text]:
    return [
        Text(f"BREAK-GLASS at gate {one.gate} by {one.by}: {one.reason}", style="bold red")
        for one in (screen.run.broke_glass if screen.run else [])
    ]


def _head(screen: Screen) -> list[Text]:
    run, story = screen.run, screen.story
    if run:
        what = (run.scenario or run.procedure).replace("_", " ")
        title = Text.assemble(
            (run.kind.upper(), "bold reverse" if run.kind == "incident" else "bold"),
            f"  {what} of {run.service}",
        )
    else:
        title = Text("RUN", style="bold")
    title.append(" " * max(2, _WIDEST - len(title) - len(time_of_day(screen.now))))
    title.append(time_of_day(screen.now), style="dim")
    start = origin(story)
    if start is None:
        return [title, Text("waiting for the first event", style="dim")]
    until = story.ended or screen.now
    elapsed = (until - start[0]).total_seconds()
    objective = screen.objectives.rto_s
    clock = Text.assemble((short(elapsed), "bold"), f" since {start[1]}")
    if objective is not None:
        clock.append(f"   objective {short(objective)}", style="bold red" if elapsed > objective else "")
        if elapsed > objective:
            clock.append(" MISSED", style="bold red")
    eta = arrival(screen)
    if eta is not None:
        clock.append(f"   expected {short(eta)}")
    point = recovery_point(screen)
    return [title, clock, *([Text(point)] if point else [])]


def _names(screen: Screen) -> list[str]:
    return [*PHASES, *(phase.name for phase in screen.story.phases if phase.name not in PHASES)]


def _phase(screen: Screen, name: str, ascii_only: bool) -> Text:
    phase = screen.story.phase(name)
    budget = screen.objectives.phases.get(name)
    over_and_well = screen.story.ended and (screen.story.end_status or "ok") == "ok"  # then nothing is still to come
    sign = _SIGNS.get(phase.status, "ok") if phase else "--" if over_and_well else ".."
    seconds = _active(screen, phase) if phase else None
    over = seconds is not None and budget is not None and seconds > budget
    text = Text.assemble((f" {sign}", _STYLES[sign]), " ", (f"{name:<9}", "" if phase else "dim"))
    text.append(f"{short(seconds) if phase else '':>8}  ", style="bold" if sign == ">>" else "")
    if budget:
        text.append_text(_bar((seconds or 0.0) / budget, over, sign, ascii_only))
        text.append(f"  of {short(budget)}", style="" if phase else "dim")
    words = "over budget" if over else ""
    if phase and phase.status in ("failed", "interrupted", "unreachable"):
        words = f"{words}, {phase.status}" if words else phase.status
    if words:
        text.append(f"  {words}", style="bold red")
    return text


def _active(screen: Screen, phase: Phase) -> float:
    """Seconds worked on the phase; while it runs it goes on between events."""
    since = (screen.now - phase.end).total_seconds() if phase.status == "running" else 0.0
    return phase.active_s + max(0.0, since)


def _bar(share: float, over: bool, sign: str, ascii_only: bool) -> Text:
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    filled = min(_BAR, max(1 if share > 0 else 0, int(share * _BAR)))
    style = "red" if over or sign == "!!" else ("green" if sign == "ok" else "cyan")
    return Text.assemble((full * filled, style), (empty * (_BAR - filled), "dim"))


def _now(screen: Screen) -> list[Text]:
    story = screen.story
    if story.ended:
        bad = story.end_status not in (None, "ok")
        return [Text(f"run ended: {story.end_status or 'ok'}", style="bold red" if bad else "bold green")]
    if story.waiting:
        since = (screen.now - story.waits[-1].start).total_seconds()
        facts = story.facts.get("gate", {})
        who = " and ".join("the " + str(word).replace("_", " ") for word in facts.get("lacking", [])) or "a person"
        where = f" at gate {facts['gate']}" if "gate" in facts else ""
        most = f" of {short(facts['wait_s'])}" if "wait_s" in facts else ""
        return [
            Text(f"waiting for {who}{where}, {short(since)}{most}", style="bold yellow"),
            Text(f'pgrescue approve {screen.name} --reason "..."'),
        ]
    step = story.current_step
    if step is None:
        return [Text("between steps" if story.started else "", style="dim")]
    since = (screen.now - step.start).total_seconds()
    drawn = [Text.assemble((">> ", "bold"), step.name, (f"  {short(since)}", "bold"))]
    if step.hosts:
        finished = ", ".join(f"{host.host} {host.status} ({span(host.seconds)})" for host in step.hosts)
        drawn.append(Text(f"   {finished}", style="dim"))
    return drawn


def _recent(screen: Screen) -> list[Text]:
    told = [
        event
        for event in screen.events
        if event.event != "start" and event.status != "skipped" and not (event.event == "note" and event.step)
    ]
    drawn = []
    for event in told[-_RECENT:]:
        bad = event.status in ("failed", "unreachable") or event.event == "fault"
        drawn.append(Text(line(event, screen.story), style="red" if bad else "dim"))
    return drawn
