"""Read `timeline.jsonl`: its lines, and whether the hash chain holds.

`prev` of each line is the SHA-256 of the bytes of the line before, without its newline. The chain
shows a changed, removed or inserted line; a cut tail it cannot show, the manifest does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from pgrescue.models import Event

GENESIS = "0" * 64


@dataclass(frozen=True)
class Line:
    """One line as it stands in the file; `event` is None when it is not a whole event."""

    number: int
    raw: bytes
    event: Event | None

    @property
    def digest(self) -> str:
        """What the next line must carry as `prev`."""
        return sha256(self.raw).hexdigest()


@dataclass(frozen=True)
class Break:
    """The first line at which the chain does not hold, and why."""

    line: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


@dataclass(frozen=True)
class Journal:
    """The events of a run in order. `torn` numbers the lines that a crash left unfinished."""

    lines: tuple[Line, ...]
    torn: tuple[int, ...] = ()
    broken: Break | None = None

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of every whole line."""
        return tuple(line.event for line in self.lines if line.event)


def parse(content: bytes) -> Journal:
    """The journal held in these bytes. Never raises: what is wrong is named in the result.

    A torn line is one that is not a whole event and is either the last, or is continued by a line
    whose `prev` matches its bytes (a writer that found it after a crash and went on).
    """
    raws = content.split(b"\n")
    if raws and not raws[-1]:
        raws.pop()
    lines = tuple(Line(number, raw, _event(raw)) for number, raw in enumerate(raws, 1))
    broken = _first_break(lines)
    torn = tuple(line.number for line in lines if line.event is None and not (broken and broken.line == line.number))
    return Journal(lines, torn, broken)


def read(path: Path) -> Journal:
    """The journal in this file; a file that does not exist yet is an empty journal."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return Journal(())


def _event(raw: bytes) -> Event | None:
    try:
        return Event.model_validate_json(raw)
    except ValidationError:
        return None


def _first_break(lines: Iterable[Line]) -> Break | None:
    expected, before, seq = GENESIS, None, None
    for line in lines:
        if line.event is None:
            if before is not None and before.event is None:
                return Break(before.number, "is not a journal event")
            before, expected = line, line.digest
            continue
        if line.event.prev != expected:
            if before is None:
                return Break(line.number, "is not the first line of a journal: lines before it are missing")
            if before.event is None:
                return Break(before.number, "is not a journal event, and the line after it does not continue it")
            return Break(
                line.number,
                f"does not continue line {before.number}: one of the two was changed, removed or inserted",
            )
        if seq is not None and line.event.seq <= seq:
            return Break(line.number, f"has seq {line.event.seq} after {seq}")
        before, expected, seq = line, line.digest, line.event.seq
    return None
