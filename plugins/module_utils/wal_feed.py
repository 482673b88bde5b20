"""WAL that is handed to a server bit by bit: it replays what it was given, and stands still there for as long as it is asked.

A standby asks its archive again and again for the segment that it stopped in. One that ends with zeros is to it the end of what there
is so far. So replay stops before any record, without a restart, and goes on when more is given.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Sequence

from . import lsn


class Feed:
    """The folder that a server restores its WAL from; `segments` are in `source`, in the order in which they are replayed."""

    def __init__(self, source: str, folder: str, segments: "Sequence[str]", segment_bytes: int) -> None:
        self.source, self.folder, self.segments, self.segment_bytes = source, folder, list(segments), segment_bytes
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(source):
            if name.endswith(".history"):
                self._give(name)

    def up_to(self, position: int) -> None:
        """Give everything before a position (bytes) where a record begins, and nothing from there on."""
        number = position // self.segment_bytes
        for name in self.segments:
            if lsn.segment_number(name, self.segment_bytes) < number:
                self._give(name)
        for name in self.segments:
            if lsn.segment_number(name, self.segment_bytes) == number:
                self._cut(name, position % self.segment_bytes)

    def all(self) -> None:
        """Give everything."""
        for name in self.segments:
            self._give(name)

    def _give(self, name: str) -> None:
        whole, given = os.path.join(self.source, name), os.path.join(self.folder, name)
        if os.path.exists(given) and os.path.samefile(whole, given):
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(given + ".partial")  # of an attempt that was killed
        os.link(whole, given + ".partial")
        os.replace(given + ".partial", given)

    def _cut(self, name: str, keep: int) -> None:
        given = os.path.join(self.folder, name)
        with open(os.path.join(self.source, name), "rb") as whole, open(given + ".partial", "wb") as out:
            remaining = keep
            while remaining:
                part = whole.read(min(remaining, 1 << 20))
                out.write(part)
                remaining -= len(part)
            out.truncate(self.segment_bytes)
        shutil.copymode(os.path.join(self.source, name), given + ".partial")
        os.replace(given + ".partial", given)
