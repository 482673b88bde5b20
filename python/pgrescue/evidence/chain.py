"""Whether a timeline is the one that was sealed, and if not, at which event it stops being so.

The chain in the file shows what was changed in the middle by somebody who did not chain it anew; the digests of its
lines in the seal show everything else, a cut tail for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pgrescue import journal
from pgrescue.evidence.models import ChainBreak, Kind, TimelineHead
from pgrescue.journal import Line

TIMELINE = "timeline.jsonl"
_HEX = 16  # of each line's SHA-256: they tell lines apart; that the file is the sealed one, its own SHA-256 tells


def head(directory: Path) -> TimelineHead | None:
    """How far a run's timeline goes; None when it has none."""
    lines = journal.read(directory / TIMELINE).lines
    return TimelineHead(lines=len(lines), head=lines[-1].digest, digests="".join(_short(lines))) if lines else None


def begins_with(content: bytes, sealed: TimelineHead) -> bool:
    """Whether a timeline begins with what was sealed earlier, so that it was only added to since."""
    lines = journal.parse(content).lines
    return len(lines) >= sealed.lines and lines[sealed.lines - 1].digest == sealed.head


def examine(content: bytes, sealed: TimelineHead | None) -> ChainBreak | None:
    """The first event at which the timeline is not the sealed one, or at which its own chain does not hold; None else.

    Without `sealed` only the chain is followed, which does not show a cut tail.
    """
    read = journal.parse(content)
    difference = _difference(content, read.lines, sealed) if sealed else None
    if difference or not read.broken:
        return difference
    line = read.broken.line
    return ChainBreak(
        kind="other", event=_event(read.lines, line - 1), line=line, says=f"the chain breaks: {read.broken}"
    )


def _short(lines: Sequence[Line]) -> list[str]:
    return [line.digest[:_HEX] for line in lines]


def _event(lines: Sequence[Line], place: int) -> int:
    """The number of the event that is, or was, on the line at this place: its own, or the one after that before it."""
    if place < len(lines) and (event := lines[place].event):
        return event.seq
    before = next((line.event.seq for line in reversed(lines[:place]) if line.event), -1)
    return before + 1


def _difference(content: bytes, lines: Sequence[Line], sealed: TimelineHead) -> ChainBreak | None:
    now = _short(lines)
    was = [sealed.digests[start : start + _HEX] for start in range(0, len(sealed.digests), _HEX)]
    pairs = enumerate(zip(now, was, strict=False))
    first = next((place for place, (found, wanted) in pairs if found != wanted), min(len(now), len(was)))
    if now == was:
        if content.endswith(b"\n"):
            return None
        last = _event(lines, len(lines) - 1)
        return ChainBreak(kind="cut", event=last, line=len(lines), says=f"the end of event {last} is gone")
    event = _event(lines[:first], first)  # that belongs on this line
    kind, says = _kind(now, was, first, event)
    return ChainBreak(kind=kind, event=event, line=first + 1, says=says)


def _kind(now: Sequence[str], was: Sequence[str], first: int, event: int) -> tuple[Kind, str]:
    """What was done to the lines, of which the one at `first` is no longer what it was."""
    if first == len(now):
        return "cut", f"the last {len(was) - first} of {len(was)} events are gone, from event {event} on"
    if first == len(was):
        return "added", f"{len(now) - first} lines were added after the sealed end, from event {event} on"
    if sorted(now) == sorted(was):
        return "reordered", f"events were reordered, from event {event} on"
    if _within(now, was):
        return "removed", f"{len(was) - len(now)} of {len(was)} events were removed, the first of them event {event}"
    if _within(was, now):
        return "inserted", f"{len(now) - len(was)} lines were inserted, the first of them before event {event}"
    anew = first + 1 < len(now) and not set(now[first:]) & set(was)
    return "changed", f"event {event} was changed" + (", and all after it was written anew" if anew else "")


def _within(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether one is the other with some left out."""
    rest = iter(whole)
    return len(part) < len(whole) and all(one in rest for one in part)
