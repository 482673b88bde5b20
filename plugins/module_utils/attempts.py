"""Attempts to back up: one JSON object a line, in a file that is only ever appended to.

Each host keeps its own, for its timer runs without a controller; whoever looks next copies what is new beside the runs. An
attempt that failed is one, and so is each retry; to two repositories there are two.
"""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable, Mapping, Optional

from .times import moment


def now() -> str:
    """The instant, finely enough that two attempts never end at the same one."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def failed(
    reason: str,
    repository: Optional[str] = None,
    kind: Optional[str] = None,
    duration_s: Optional[float] = None,
    at: str = "",
) -> "dict[str, Any]":
    """One that failed, at the instant given or now. What is not known is left out."""
    known = {"repository": repository, "kind": kind, "duration_s": None if duration_s is None else round(duration_s, 3)}
    told = {key: value for key, value in known.items() if value is not None}
    return {"at": at or now(), **told, "result": "failed", "reason": reason}


def passed(at: str, repository: str, kind: str, duration_s: float, **sizes: int) -> "dict[str, Any]":
    """A good one; `at` is the newest moment it can bring back, `sizes` are C(size_bytes) and C(stored_bytes)."""
    return {
        "at": at,
        "repository": repository,
        "kind": kind,
        "result": "passed",
        "duration_s": round(duration_s, 3),
        **sizes,
    }


def read(path: str) -> "list[dict[str, Any]]":
    """Every attempt that a file holds, in the order they were written; a line that a crash left unfinished is none."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as lines:
        return [said for said in map(_attempt, lines) if said]


def _attempt(line: bytes) -> "dict[str, Any]":
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and "at" in said else {}


def since(attempts: "Iterable[dict[str, Any]]", days: float) -> "list[dict[str, Any]]":
    """Those that ended within the last days."""
    oldest = datetime.now(timezone.utc) - timedelta(days=days)
    return [attempt for attempt in attempts if moment(attempt["at"]) >= oldest]


def append(path: str, attempts: "Iterable[Mapping[str, Any]]") -> int:
    """Write those down, durably, that the file does not hold yet; how many. Several processes may do so at once.

    A line that a crash left unfinished stays as it is; what is written begins on a line of its own.
    """
    wanted = [dict(attempt) for attempt in attempts]
    if not wanted:
        return 0
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        there = read(path)
        new = [attempt for attempt in wanted if attempt not in there]
        torn = file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
        lines = (json.dumps(attempt, ensure_ascii=False).encode() + b"\n" for attempt in new)
        file.write((b"\n" if torn and new else b"") + b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
    return len(new)
