"""The newest commit that could be recovered now, measured by positions rather than by when a segment was stored. Pure.

A segment that an archiver was late with is stored long after its commits were made, and on an idle primary nothing is archived although
nothing would be lost. So what the primary wrote until when is kept, and held against how far the archive reaches.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional

MOST = 4096  # looks that are kept; every other one goes when there are more


class Written(NamedTuple):
    """A look at a primary: all commits made before `at` (epoch seconds) end before `lsn`; `snapshot` is the one it was seen in."""

    at: float
    lsn: int
    snapshot: str


class RecoveryPoint:
    """What one primary wrote until when. It begins to know when the archive reaches its first look."""

    def __init__(self) -> None:
        self._looks: "List[Written]" = []
        self._timeline: "Optional[int]" = None

    def note(self, look: Written, timeline: int) -> None:
        """Keep a look; those of another timeline say nothing of this one."""
        if timeline != self._timeline:
            self._timeline, self._looks = timeline, []
        self._looks.append(look)
        if len(self._looks) > MOST:
            self._looks = self._looks[::2]

    def newest(self, archived_lsn: int) -> "Optional[float]":
        """Until when (epoch seconds) all commits are in an archive that reaches there; None while that is not known.

        While the snapshot stays the same no transaction has ended, so that what is not archived holds no commit.
        """
        covered = [look for look in self._looks if look.lsn <= archived_lsn]
        if not covered:
            return None
        last = covered[-1]
        self._looks = self._looks[len(covered) - 1 :]
        same = [look.at for look in self._looks if look.snapshot == last.snapshot]
        return max(same)
