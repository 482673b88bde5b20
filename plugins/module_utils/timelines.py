"""The line of timelines that leads to the newest one, as its history file tells it. Pure.

Source: PostgreSQL documentation, "Timelines": a history file names each timeline on the way, and where it was left.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable, Mapping, Optional

from .lsn import format_lsn, parse_lsn, segment_number, segment_timeline

LEFT = re.compile(r"^\s*(\d+)\t([0-9A-F]+/[0-9A-F]+)", re.MULTILINE)


def forks(history: str) -> "dict[int, int]":
    """Each timeline of a history file and the position (bytes) where it was left for the next one, oldest first."""
    return {int(timeline): parse_lsn(position) for timeline, position in LEFT.findall(history)}


@dataclass(frozen=True)
class Line:
    """What a recovery to timeline `newest` goes through. `left` is what `forks` gives; empty when nothing is known."""

    newest: int
    left: Mapping[int, int]

    def misses(self, timeline: int, position: int) -> Optional[str]:
        """Why the recovery never comes by a position (bytes) of a timeline; None when it does."""
        if not self.left or timeline >= self.newest:
            return None
        if timeline not in self.left:
            return "timeline %d, the newest one, does not come from timeline %d" % (self.newest, timeline)
        if position <= self.left[timeline]:
            return None
        return "timeline %d was left at %s on the way to timeline %d, the newest one; this lies beyond, at %s" % (
            timeline,
            format_lsn(self.left[timeline]),
            self.newest,
            format_lsn(position),
        )

    def segments(self, names: Iterable[str], segment_bytes: int) -> "list[str]":
        """The segments that the recovery reads: the one with a fork in it is read from the newer timeline, which copied it."""
        return [
            name
            for name in names
            if not self.left
            or segment_timeline(name) >= self.newest
            or segment_number(name, segment_bytes) < self.left.get(segment_timeline(name), 0) // segment_bytes
        ]
