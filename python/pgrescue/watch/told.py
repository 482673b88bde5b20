"""What people were told of an incident: which levels, when last, and where each channel goes on. Kept beside it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pgrescue.alerting.delivery import Threads
from pgrescue.core import records

FILE = "alerts.json"
AGAIN_S = 15.0  # until a level that nobody could be reached on is tried once more


class Told:
    """Shared by whoever decides what to send and whoever sends it. Without a folder it is kept in memory alone.

    A level counts as told when a channel took the message; while it is being sent it is not sent a second time.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._path = folder / FILE if folder else None
        self._say = say
        self._lock = threading.RLock()
        there = self._read()
        self._levels: list[int] = list(there.get("levels", []))
        self._busy: dict[int, float] = {}  # until when a level is left alone
        self.updated = datetime.fromisoformat(there["updated"]) if there.get("updated") else None
        self.acknowledged = bool(there.get("acknowledged"))
        self.threads: Threads = there.get("threads", {})

    def _read(self) -> dict[str, Any]:
        if self._path is None or not self._path.exists():
            return {}
        try:
            found: dict[str, Any] = records.read_json(str(self._path))
        except (OSError, json.JSONDecodeError) as error:
            self._say(f"what was sent before cannot be read: {error}")
            return {}
        return found

    def begin_again(self) -> None:
        """Nobody was told of what happens now."""
        with self._lock:
            self._levels, self._busy, self.acknowledged = [], {}, False

    def levels(self) -> list[int]:
        """Those that were told."""
        with self._lock:
            return list(self._levels)

    def settled(self) -> list[int]:
        """Those that need not be told now: they were, or it is being tried, or was a moment ago."""
        with self._lock:
            return [*self._levels, *(level for level, until in self._busy.items() if time.monotonic() < until)]

    def sending(self, level: int) -> None:
        """A message to this level is on its way."""
        with self._lock:
            self._busy[level] = float("inf")

    def sent(self, level: int, delivered: bool) -> None:
        """What became of it."""
        with self._lock:
            self._busy[level] = time.monotonic() + AGAIN_S
            if delivered and level not in self._levels:
                self._levels.append(level)
        self.keep()

    def keep(self) -> None:
        """Write it down, as far as that can be done."""
        if self._path is None:
            return
        try:
            with self._lock:
                updated = self.updated.isoformat() if self.updated else None
                said = {
                    "levels": self._levels,
                    "updated": updated,
                    "acknowledged": self.acknowledged,
                    "threads": self.threads,
                }
                records.write_json(str(self._path), said)
        except OSError as error:
            self._say(f"what was sent cannot be written down: {error}")
