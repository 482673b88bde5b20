"""The timeline of a run: one event a line, each naming the digest of the line before (docs/contracts.md)."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Iterator, Optional

GENESIS = "0" * 64
LOOKING = ("detect", "decide")  # phases that change nothing of the service
GATES = ("Go on when this phase is over", "Stop here when somebody has paused the run")  # the first steps of a phase


def now() -> str:
    """The wall clock as RFC 3339 UTC with microseconds."""
    return stamp(time.time())


def stamp(epoch_s: float) -> str:
    """An instant as RFC 3339 UTC with microseconds."""
    return datetime.fromtimestamp(epoch_s, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def boot_id() -> str:
    """Which boot this machine's monotonic clock belongs to."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
        return source.read().strip()


class Journal:
    """Appends events to `timeline.jsonl`, flushed to disk as they happen. Writers take turns, line by line."""

    def __init__(self, path: str, actor: str) -> None:
        self.path = path
        self.actor = actor
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        with self._turn():
            self._seal_torn_line()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let no other writer, a person with a note for one, come between what is read of the file and what is appended."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _seal_torn_line(self) -> None:
        """A crash can leave a line without its end; close it so that the next event starts on a line of its own."""
        length = os.fstat(self._file).st_size
        if length and os.pread(self._file, 1, length - 1) != b"\n":
            os.write(self._file, b"\n")

    def _last(self) -> "tuple[int, str]":
        """Sequence number and digest of the last line, read from the file: other writers may have been here."""
        length = os.fstat(self._file).st_size
        if not length:
            return -1, GENESIS
        tail = os.pread(self._file, min(length, 65536), max(0, length - 65536)).rstrip(b"\n").split(b"\n")
        last = tail[-1]
        seq = next((json.loads(line)["seq"] for line in reversed(tail) if _whole(line)), -1)
        return seq, hashlib.sha256(last).hexdigest()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Write no more; for whoever opens many of them."""
        os.close(self._file)

    def write(
        self,
        event: str,
        phase: Optional[str] = None,
        step: Optional[str] = None,
        host: Optional[str] = None,
        status: Optional[str] = None,
        **more: Any,
    ) -> None:
        """Append one event; keys of `more` whose value is None are left out."""
        with self._turn():
            seq, prev = self._last()
            line = {
                "seq": seq + 1,
                "wall": now(),
                "monotonic_ns": time.monotonic_ns(),
                "host": host,
                "actor": self.actor,
                "phase": phase,
                "step": step,
                "event": event,
                "status": status,
                "prev": prev,
            }
            line.update({key: value for key, value in more.items() if value is not None})
            os.write(self._file, json.dumps(line, ensure_ascii=False).encode() + b"\n")
            os.fsync(self._file)


def _whole(line: bytes) -> bool:
    try:
        return "seq" in json.loads(line)
    except ValueError:
        return False


def finished_phases(path: str) -> "list[str]":
    """Phases whose end was written with status ok, in order, each once."""
    ends = [e for e in events(path) if e["event"] == "end" and e["phase"] and e["step"] is None]
    return list(dict.fromkeys(e["phase"] for e in ends if e["status"] == "ok"))


def attempts(path: str) -> "list[str]":
    """When the run was begun, and each time it was gone on with."""
    return [e["wall"] for e in events(path) if e["event"] == "start" and not e["phase"] and not e["step"]]


def has_begun(path: str) -> bool:
    """Whether a phase that changes the service did more than see whether to go on."""
    begun = [e for e in events(path) if e["event"] == "start" and e["phase"] not in (None, *LOOKING)]
    return any(e["step"] and e["step"] not in GATES for e in begun)


def events(path: str) -> "list[dict[str, Any]]":
    """The whole lines of a timeline; none when there is no file yet."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as lines:
        return [json.loads(line) for line in lines if _whole(line)]
