"""The checklist of a drill, `checklist.json`: before, during, after. What is there of it once the drill has begun."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.json_schema import SkipJsonSchema

from pgrescue.drill import samples, tape
from pgrescue.files import write_json
from pgrescue.human import plural, span
from pgrescue.models import Instant, Model
from pgrescue.story import Story

if TYPE_CHECKING:
    from pgrescue.record import Record  # which shows this in its report

SAMPLING = "sampling"  # before the drill: who goes on without it samples nothing
NOTES = "notes"  # of people: an unattended drill has none, and the programme says why
FILE, LESSONS = "checklist.json", "lessons.md"
LEARNT = "lessons:"  # what a note begins with that says what was learnt


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


def during(
    story: Story, directory: Path, before: Sequence[Item], who: str, now: datetime, unseen: str | None = None
) -> list[Item]:
    """What was kept while the run went. Who gave a reason to sample nothing gave it for this as well.

    `unseen`: why the programme has drills in which nobody notes anything.
    """
    said = len(story.said)
    taped = (directory / tape.FILE).exists()
    ended = [step for step in story.steps if step.seconds is not None]
    timed = story.started is not None
    kept = {
        "timer": ("the time runs from the fault", (timed, "running" if timed else "never began")),
        "steps": ("every step is timed", (bool(ended), plural(len(ended), "step"))),
        NOTES: ("what people saw is noted", (bool(said), plural(said, "note") if said else "nobody noted anything")),
        "recording": ("the terminal is recorded", (taped, tape.FILE if taped else "nothing was")),
        "samples": ("every host is sampled each second", _sampled(directory)),
    }
    without = next((one for one in before if one.item == SAMPLING and one.reason), None)
    reasons = {"samples": (without.reason, without.standing)} if without else {}
    if unseen and not said:
        reasons[NOTES] = (unseen, True)
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
    measured, promised = record.measurement, record.run.objectives
    held = [took for took, wanted in ((measured.rta_s, promised.rto_s), (measured.rpa_s, promised.rpo_s)) if wanted]
    whole = None not in (held or [measured.rta_s])
    told = next((note for note in reversed(record.story.said) if tells_lessons(note.detail)), None)
    figures = [
        f"back in {span(measured.rta_s)}" if measured.rta_s is not None else "recovery time not measured",
        f"lost {span(measured.rpa_s)}" if measured.rpa_s is not None else "loss not measured",
    ]
    return [
        item("measured", "after", "the results are measured", (whole, ", ".join(figures)), who, now),
        item("findings", "after", "findings have an owner and a day", (True, plural(findings, "finding")), who, now),
        _lessons(told.detail or "", told.actor or who, told.wall) if told else _asked(record.run.id, who, now),
        item(
            "next", "after", "the next drill is planned", (bool(following), following or "nothing plans one"), who, now
        ),
    ]


def tells_lessons(words: str | None) -> bool:
    """Whether a note is somebody's word that what was learnt is written down."""
    return (words or "").lower().startswith(LEARNT)


def learnt(directory: Path, words: str, who: str, now: datetime) -> None:
    """Keep in a drill's checklist that somebody wrote down what was learnt. One that has no such item stays as it is.

    Raises ValueError when it cannot be read.
    """
    items = read(directory)
    if any(one.item == "lessons" for one in items):
        kept = [_lessons(words, who, now) if one.item == "lessons" else one for one in items]
        write_json(directory / FILE, [one.dump() for one in kept])


def _asked(run: str, who: str, now: datetime) -> Item:
    said = f'to be filled in: a copy of {LESSONS}, then pgrescue note {run} "{LEARNT} where it is"'
    return item("lessons", "after", _WRITTEN_DOWN, (False, said), who, now)


def _lessons(words: str, who: str, now: datetime) -> Item:
    return item("lessons", "after", _WRITTEN_DOWN, (True, words), who, now)


_WRITTEN_DOWN = "what was learnt is written down"


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
