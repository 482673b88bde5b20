"""What people were told of an incident: which levels, when last, and where each channel goes on. Kept beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from pgrescue.alerting.delivery import Threads
from pgrescue.core import records

FILE = "alerts.json"


class Told:
    """Shared by whoever decides what to send and whoever sends it. Without a folder it is kept in memory alone."""

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._path = folder / FILE if folder else None
        self._say = say
        self._lock = threading.Lock()
        there: dict[str, Any] = records.read_json(str(self._path)) if self._path and self._path.exists() else {}
        self.levels: list[int] = list(there.get("levels", []))
        self.updated = datetime.fromisoformat(there["updated"]) if there.get("updated") else None
        self.acknowledged: bool = bool(there.get("acknowledged"))
        self.threads: Threads = there.get("threads", {})

    def begin_again(self) -> None:
        """Nobody was told of what happens now."""
        self.levels, self.acknowledged = [], False

    def keep(self) -> None:
        """Write it down, as far as that can be done."""
        if self._path is None:
            return
        said = {
            "levels": self.levels,
            "updated": self.updated.isoformat() if self.updated else None,
            "acknowledged": self.acknowledged,
            "threads": self.threads,
        }
        try:
            with self._lock:
                records.write_json(str(self._path), said)
        except OSError as error:
            self._say(f"what was sent cannot be written down: {error}")
