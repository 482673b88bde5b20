"""Places that look at a service: a program on each host, run over SSH for as long as the watch runs, a look a line."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

PATIENCE_S = 0.5  # beyond what the rhythm of the looks explains
AGAIN_S = 1.0  # until a place that ended is started again
DEAD = 3  # times overdue: what looks there is ended and started again


class Place:
    """One host that looks. `look` gives its newest look, or why there is none."""

    def __init__(self, name: str, command: Sequence[str], interval_s: float, patience_s: float) -> None:
        self.name = name
        self._command = [*command, "--every", str(interval_s)]
        self._overdue_s = 1.5 * max(interval_s, patience_s) + PATIENCE_S
        self._latest: tuple[float, dict[str, Any]] | None = None
        self._reason = ""
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name=f"look from {name}", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._process:
            self._process.kill()
        self._thread.join()

    def look(self) -> dict[str, Any]:
        """The newest look; when that is overdue, or there never was one, `unreachable` and why."""
        latest = self._latest
        if latest and time.monotonic() - latest[0] <= self._overdue_s:
            return latest[1]
        since = latest[0] if latest else self._began
        return {"place": self.name, "unreachable": self._reason or f"no look for {time.monotonic() - since:.0f} s"}

    def seen_at(self) -> float | None:
        """When its newest look came, by the monotonic clock; None while there is none that counts."""
        return self._latest[0] if self._latest and "unreachable" not in self.look() else None

    def settled(self) -> bool:
        """Whether it has looked, or has had the time to."""
        return (
            self._latest is not None or time.monotonic() - self._began > 2 * self._overdue_s + 5
        )  # SSH's own time-out

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                ) as process:
                    self._process = process
                    self._read(process)
            except OSError as error:
                self._reason = f"what looks there cannot be started: {error}"
            self._stop.wait(AGAIN_S)

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Take its looks until it ends, and keep why it did."""
        said: list[str] = []
        complaints = threading.Thread(target=_keep_last, args=(process.stderr, said), daemon=True)
        complaints.start()
        ended = threading.Event()
        threading.Thread(target=self._end_when_dead, args=(process, ended), daemon=True).start()
        for line in process.stdout or ():
            try:
                self._latest = (time.monotonic(), json.loads(line))
                self._reason = ""
            except ValueError:
                self._reason = f"it says {line.strip()[:200]!r}"
        code = process.wait()
        ended.set()
        complaints.join(PATIENCE_S)
        self._reason = said[-1] if said else f"what looks there ended with {code}"

    def _end_when_dead(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """End what looks there when it lives and says nothing, as SSH into a frozen host does."""
        began = time.monotonic()
        while not ended.wait(self._overdue_s):
            heard = max(self._latest[0] if self._latest else began, began)
            if time.monotonic() - heard > DEAD * self._overdue_s + 5:
                process.kill()


def _keep_last(lines: Any, said: list[str]) -> None:
    """Keep the last line of what a program complains about, so that it never waits for a reader."""
    for line in lines:
        said[:] = [line.strip()[:300]]
