"""Where a cluster left the line of the new primary, and whether it can be taken back there. Pure.

Sources: PostgreSQL documentation, "pg_rewind" (prerequisites) and "WAL Internals" (the head of a page).
"""

from __future__ import annotations

import re
import struct
from typing import Any, Iterable, Mapping, Optional

from .lsn import segment_number
from .timelines import forks

CLEAN = ("shut down", "shut down in recovery")
OPEN_END = 1 << 64  # a timeline that nobody has left
COMMITS = re.compile(
    r"^rmgr: Transaction .*?tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+),.*?desc: COMMIT(?:_PREPARED)? "
    r"(?:\d+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S+?);?(?:\s|$)",
    re.MULTILINE,
)
PAGE_HEAD = struct.Struct("<HHIQ")  # magic, flags, timeline, position


def own_timeline(control: Mapping[str, str]) -> int:
    """The timeline a cluster is on: after a promotion the checkpoint names the old one for a while."""
    labels = ("Latest checkpoint's TimeLineID", "Min recovery ending loc's timeline")
    return max(int(control.get(label, "0")) for label in labels)


def misses(control: Mapping[str, str]) -> "list[str]":
    """Prerequisites of pg_rewind that a cluster does not fulfil, as its control file has them."""
    problems = []
    if control.get("wal_log_hints setting") != "on" and int(control.get("Data page checksum version", "0")) == 0:
        problems.append("it has neither data checksums nor wal_log_hints")
    if control.get("Latest checkpoint's full_page_writes") != "on":
        problems.append("full_page_writes was off")
    return problems


def line(timeline: int, history: str) -> "list[tuple[int, int]]":
    """Each timeline up to this one and the position where it was left, oldest first."""
    return [*forks(history).items(), (timeline, OPEN_END)]


def parting(ours: "list[tuple[int, int]]", theirs: "list[tuple[int, int]]") -> "Optional[tuple[int, int]]":
    """The last timeline that two lines share, and where they part on it; None when ours goes nowhere that theirs does not.

    What we wrote up to that position is theirs as well; what we wrote beyond it is ours alone.
    """
    shared = None
    for (timeline, left), (other, left_there) in zip(ours, theirs):
        if timeline != other:
            break
        shared = (timeline, min(left, left_there))
        if left != left_there:
            break
    if shared is None or shared[1] == OPEN_END:
        return None
    return shared


def later_timelines(ours: "list[tuple[int, int]]", shared: int) -> "list[tuple[int, int]]":
    """Timelines that we went on to after the last shared one, each with the position where it began."""
    began = dict(zip([timeline for timeline, _left in ours[1:]], [left for _timeline, left in ours]))
    return [(timeline, began[timeline]) for timeline, _left in ours if timeline > shared]


def is_written(head: bytes, name: str, segment_bytes: int) -> bool:
    """Whether a segment's first page belongs where its name says: one that was recycled waits with old content."""
    if len(head) < PAGE_HEAD.size:
        return False
    _magic, _flags, timeline, position = PAGE_HEAD.unpack(head[: PAGE_HEAD.size])
    # the segment with a fork in it begins with a page of the timeline before
    return bool(position == segment_number(name, segment_bytes) * segment_bytes and timeline <= int(name[:8], 16))


def segment_name(timeline: int, number: int, segment_bytes: int) -> str:
    """The name of a segment."""
    per_log = 0x100000000 // segment_bytes
    return "%08X%08X%08X" % (timeline, number // per_log, number % per_log)


def commits(waldump: str) -> "list[dict[str, Any]]":
    """The transactions that committed, as pg_waldump shows them."""
    return [{"xid": int(xid), "lsn": lsn, "at": at} for xid, lsn, at in COMMITS.findall(waldump)]


def needed(said: str) -> bool:
    """Whether pg_rewind found something to do."""
    return "no rewind required" not in said


def sentence(lost: Mapping[str, Any]) -> str:
    """What was written on the side that is given up."""
    count = len(lost["transactions"])
    what = (
        "%d transaction(s) of it were never on the new primary" % count if count else "no transaction was lost by that"
    )
    return "It parted from the new primary at %s of timeline %d; %s, and WAL from there on is kept in %s" % (
        lost["parted_at"],
        lost["timeline"],
        what,
        lost["folder"],
    )


def first_line(said: Iterable[str]) -> str:
    """The first complaint of a program."""
    lines = [line.strip() for part in said for line in part.splitlines() if line.strip()]
    return next((one for one in lines if "error:" in one or "fatal:" in one), lines[-1] if lines else "it said nothing")
