"""WAL positions and segment names: pure arithmetic.

Source: PostgreSQL documentation, "WAL Internals"; a segment name is timeline, log and segment number, 8 hex digits each.
"""

from __future__ import annotations

import re
from typing import Iterable, Optional

SEGMENT_NAME = re.compile(r"^[0-9A-F]{24}$")
DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024


def parse_lsn(text: str) -> int:
    """The position in bytes that `16/B374D848` names."""
    high, _slash, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(position: int) -> str:
    """The name of a position in bytes, such as `16/B374D848`."""
    return "%X/%X" % (position >> 32, position & 0xFFFFFFFF)


def segment_number(name: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> int:
    """Number of a segment since the beginning of WAL, whatever its timeline."""
    per_log = 0x100000000 // segment_bytes
    return int(name[8:16], 16) * per_log + int(name[16:24], 16)


def segment_size(ends: "Iterable[tuple[int, str]]") -> int:
    """The segment size of a cluster of which some positions, and the name of the segment with the byte before each, are known.

    No two sizes give a position the same name, unless it lies in the first segment of its 4 GB: the default is taken then.
    """
    known = list(ends)
    sizes = (DEFAULT_SEGMENT_BYTES, *(1 << power for power in range(20, 31)))
    return max(sizes, key=lambda size: sum(segment_number(name, size) == segment_of(at, size) for at, name in known))


def segment_timeline(name: str) -> int:
    """The timeline a segment belongs to."""
    return int(name[:8], 16)


def segment_of(lsn: int, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> int:
    """Number of the segment that holds the byte before `lsn`, which is the last one written when WAL ends at `lsn`."""
    return max(lsn - 1, 0) // segment_bytes


def contiguous_end(names: Iterable[str], start: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> Optional[str]:
    """The last segment reachable from `start` without a gap, following timelines upwards; None when `start` is missing.

    Asynchronous archiving may leave a later segment in the repository without the one before it; what follows a gap
    cannot be replayed and must not be promised.
    """
    there: "dict[int, list[str]]" = {}
    for name in filter(SEGMENT_NAME.match, names):
        there.setdefault(segment_number(name, segment_bytes), []).append(name)
    number, timeline = segment_number(start, segment_bytes), segment_timeline(start)
    last = None
    while True:
        # an old primary that came back may have archived more of a timeline that was left
        on = [name for name in there.get(number, []) if segment_timeline(name) >= timeline]
        if not on:
            return last
        last = max(on, key=segment_timeline)
        number, timeline = number + 1, segment_timeline(last)


def gaps(names: Iterable[str], start: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> "list[tuple[str, str]]":
    """Where the archive from `start` on breaks: the last segment before each gap, and the first one after it.

    When `start` itself is missing it stands for the segment before the gap.
    """
    there = [name for name in names if SEGMENT_NAME.match(name)]
    found: "list[tuple[str, str]]" = []
    at = start
    while True:
        end = contiguous_end(there, at, segment_bytes) or at
        later = [
            name
            for name in there
            if segment_number(name, segment_bytes) > segment_number(end, segment_bytes)
            and segment_timeline(name) >= segment_timeline(end)
        ]
        if not later:
            return found
        at = min(later, key=lambda name: (segment_number(name, segment_bytes), segment_timeline(name)))
        found.append((end, at))
