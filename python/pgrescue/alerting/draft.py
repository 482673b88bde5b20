"""The status update that is due every quarter of an hour, drafted from facts so that a person only has to read it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pgrescue.alerting.message import Message, Severity
from pgrescue.human import moment, span, time_of_day


@dataclass(frozen=True)
class Situation:
    """What is known at one moment. What is not known is left empty, and the update says so."""

    key: str
    service: str
    severity: Severity
    seen: str  # what a client sees, one sentence
    since: datetime
    doing: tuple[str, ...]  # what is being done
    next_update: datetime | None
    now: datetime
    lost: str | None = None  # what of the data is lost, as far as it is known
    commands: tuple[str, ...] = ()


def status_update(situation: Situation) -> Message:
    """The update as a message for every channel."""
    lasted = span(float(int((situation.now - situation.since).total_seconds())))
    return Message(
        key=situation.key,
        kind="update",
        severity=situation.severity,
        service=situation.service,
        title=situation.seen,
        lines=(
            f"Since: {moment(situation.since)}, for {lasted}",
            *(f"Being done: {step}" for step in situation.doing or ("nothing yet",)),
            f"Data: {situation.lost or 'whether anything is lost is not known yet'}",
            f"Next update: {time_of_day(situation.next_update)}"
            if situation.next_update
            else "Next update: when something changes",
        ),
        commands=situation.commands,
        at=situation.now,
    )


def as_text(message: Message) -> str:
    """A message as plain text, to be pasted where no channel reaches: a status page, a telephone call."""
    return "\n".join([f"{message.service}: {message.title}", *message.lines, *message.commands])
