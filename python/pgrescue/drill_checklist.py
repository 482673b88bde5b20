"""The checklist of a drill, `checklist.json`: before, during, after. What is there of it once the drill has begun."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic.json_schema import SkipJsonSchema

from pgrescue.human import plural, span
from pgrescue.models import Instant, Model
from pgrescue.story import Story

if TYPE_CHECKING:
    from pgrescue.record import Record  # which shows this in its report

FILE, LESSONS = "checklist.json", "lessons.md"
SLOWEST = 3


class Item(Model):
    """One item. An item that is not done has a `reason` to go on without it, or stops the drill."""

    item: str
    phase: Literal["before", "during", "after"]
    text: str
    done: bool
    said: str
    by: str
    at: Instant
    reason: str | SkipJsonSchema[None] = None


def during(story: Story, who: str, now: datetime) -> list[Item]:
    """What the run kept by itself while it went."""
    ended = [step for step in story.steps if step.seconds is not None]
    timed = story.started is not None
    return [
        item(
            "timer", "during", "the time runs from the fault", (timed, "running" if timed else "never began"), who, now
        ),
        item("steps", "during", "every step is timed", (bool(ended), plural(len(ended), "step")), who, now),
        item("notes", "during", "what people saw is noted", (True, plural(len(story.notes), "note")), who, now),
    ]


def after(record: Record, findings: int, following: str, who: str, now: datetime) -> list[Item]:
    """What is left to be there when a drill is over."""
    measured = record.measurement
    figures = [
        f"back in {span(measured.rta_s)}" if measured.rta_s is not None else "recovery time not measured",
        f"lost {span(measured.rpa_s)}" if measured.rpa_s is not None else "loss not measured",
    ]
    return [
        item(
            "measured", "after", "the results are measured", (measured.rta_s is not None, ", ".join(figures)), who, now
        ),
        item("findings", "after", "findings have an owner and a day", (True, plural(findings, "finding")), who, now),
        item("lessons", "after", "what was learnt is written down", (True, f"drafted in {LESSONS}"), who, now),
        item(
            "next", "after", "the next drill is planned", (bool(following), following or "nothing plans one"), who, now
        ),
    ]


def lessons(record: Record) -> str:
    """A draft of what was learnt: the slowest steps, and where people were waited for."""
    slowest = sorted((s for s in record.story.steps if s.seconds), key=lambda s: -(s.seconds or 0))[:SLOWEST]
    lines = [f"# Lessons of {record.run.id}", "", "A draft from the record. What people learnt belongs below it.", ""]
    lines += ["## Slowest steps", ""]
    lines += [f"- {step.phase or 'outside phases'}: {step.name}, {span(step.seconds)}" for step in slowest] or [
        "- none"
    ]
    lines += ["", "## Where people were waited for", ""]
    lines += [f"- from {wait.start:%H:%M:%S} UTC, {span(wait.duration.seconds)}" for wait in record.story.waits] or [
        "- nowhere"
    ]
    lines += ["", "## What we would do otherwise", "", "- "]
    return "\n".join(lines) + "\n"


def item(
    name: str,
    phase: Literal["before", "during", "after"],
    text: str,
    found: tuple[bool, str],
    who: str,
    now: datetime,
    reason: str | None = None,
) -> Item:
    """An item; `found` is whether it is done, and what was found."""
    return Item(item=name, phase=phase, text=text, done=found[0], said=found[1], by=who, at=now, reason=reason)
