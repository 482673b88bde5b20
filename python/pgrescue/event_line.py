"""One event of a run as one plain line, for logs, screen readers and the live screen's last lines."""

from __future__ import annotations

from pgrescue.human import span, time_of_day
from pgrescue.models import Event
from pgrescue.story import Story

_BAD = ("failed", "unreachable")


def line(event: Event, story: Story) -> str:
    """One event as `01:20:50Z  restore  Start PostgreSQL  x1 ok (0.4 s)`."""
    words = [time_of_day(event.wall), event.phase or "run"]
    if event.step:
        words.append(event.step.replace("_", " ") if event.event == "milestone" else event.step)
    outcome = [event.host or ""] if event.step else []
    if event.event == "start":
        outcome.append("started")
    elif event.event == "end":
        outcome += [event.status or "ended", _took(event, story)]
    else:
        outcome += [event.event, event.status or ""]
    words.append(" ".join(filter(None, outcome)))
    if event.detail and (event.event not in ("start", "end") or event.status in _BAD):
        words.append(" ".join(event.detail.split()))
    return "  ".join(words)


def _took(event: Event, story: Story) -> str:
    if event.step is None:
        phase = story.phase(event.phase) if event.phase else None
        return f"({span(phase.active_s)})" if phase else ""
    for step in reversed(story.steps):
        if (step.phase, step.name) == (event.phase, event.step) and step.hosts:
            return f"({span(step.hosts[-1].seconds)})"
    return ""
