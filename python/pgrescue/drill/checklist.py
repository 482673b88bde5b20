"""The checklist of a drill, `checklist.json`: before, during, after. What is there of it once the drill has begun."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema

from pgrescue.drill import samples, tape
from pgrescue.human import plural, span
from pgrescue.models import Instant, Model
from pgrescue.story import Story

if TYPE_CHECKING:
    from pgrescue.record import Record  # which shows this in its report

SAMPLING = "sampling"  # before the drill: who goes on without it samples nothing
FILE, LESSONS = "checklist.json", "lessons.md"


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
    standing: bool = False  # the reason is the programme's, for every drill


def during(story: Story, directory: Path, before: Sequence[Item], who: str, now: datetime) -> list[Item]:
    """What the run kept by itself while it went. Who gave a reason to sample nothing gave it for this as well."""
    taped = (directory / tape.FILE).exists()
    ended = [step for step in story.steps if step.seconds is not None]
    timed = story.started is not None
    kept = {
        "timer": ("the time runs from the fault", (timed, "running" if timed else "never began")),
        "steps": ("every step is timed", (bool(ended), plural(len(ended), "step"))),
        "notes": ("what people saw is noted", (True, plural(len(story.notes), "note"))),
        "recording": ("the terminal is recorded", (taped, tape.FILE if taped else "nothing was")),
        "samples": ("every host is sampled each second", _sampled(directory)),
    }
    without = next((one for one in before if one.item == SAMPLING and one.reason), None)
    reasons = {"samples": (without.reason, without.standing)} if without else {}
    return [item(name, "during", text, found, who, now, *reasons.get(name, ())) for name, (text, found) in kept.items()]


def _sampled(directory: Path) -> tuple[bool, str]:
    try:
        hosts = samples.read(directory)
    except samples.SamplesError as error:
        return False, f"cannot be read: {error}"
    if not hosts:
        return False, "nothing was sampled"
    empty = [f"{one.host}: {one.problem or one.ended or 'no sample'}" for one in hosts if not one.samples]
    short = [f"{one.host} ends at {one.samples[-1].at:%H:%M:%S}" for one in hosts if one.samples and one.ended]
    return not empty, "; ".join([plural(len(hosts), "host"), *empty, *short])


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


def read(directory: Path) -> tuple[Item, ...]:
    """The checklist of a record; empty where there is none. Raises ValueError when it cannot be read."""
    path = directory / FILE
    if not path.exists():
        return ()
    try:
        return TypeAdapter(tuple[Item, ...]).validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from error


def item(
    name: str,
    phase: Literal["before", "during", "after"],
    text: str,
    found: tuple[bool, str],
    who: str,
    now: datetime,
    reason: str | None = None,
    standing: bool = False,
) -> Item:
    """An item; `found` is whether it is done, and what was found."""
    return Item(
        item=name,
        phase=phase,
        text=text,
        done=found[0],
        said=found[1],
        by=who,
        at=now,
        reason=reason,
        standing=standing,
    )
