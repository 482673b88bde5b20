"""Read what the witness wrote: attempts, outcomes, and one time axis to measure them on.

The axis counts seconds. Within one boot of the witness it is its monotonic clock; a log that spans
boots can only use the wall clock, and says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

PROBES = ("commit", "health", "products", "videos")


@dataclass(frozen=True)
class Result:
    """The outcome of one probe. `start` and `end` lie on the log's axis, in seconds.

    `session` counts the starts of the witness before it: between sessions nobody was looking.
    """

    probe: str
    ok: bool
    start: float
    end: float
    wall_end: datetime
    token: int | None = None
    session: int = 0


@dataclass(frozen=True)
class WitnessLog:
    """What the witness saw. `monotonic` tells which clock the axis is."""

    results: tuple[Result, ...]
    attempted: frozenset[int]
    monotonic: bool
    anchors: tuple[tuple[datetime, float], ...]
    unreadable: int = 0

    @cached_property
    def acknowledged(self) -> dict[int, Result]:
        """The first acknowledgement of every acknowledged token."""
        acknowledged: dict[int, Result] = {}
        for result in self.results:
            if result.probe == "commit" and result.ok and result.token is not None:
                acknowledged.setdefault(result.token, result)
        return acknowledged

    def of(self, probe: str) -> list[Result]:
        """The results of one probe in the order in which they were started."""
        return sorted((r for r in self.results if r.probe == probe), key=lambda r: (r.start, r.end))

    def place(self, wall: datetime) -> float | None:
        """Where a moment of the witness's wall clock lies on the axis; None in an empty log.

        The nearest written moment is the anchor, so a clock stepped elsewhere does not shift it.
        """
        if not self.anchors:
            return None
        anchor, at = min(self.anchors, key=lambda pair: abs(pair[0] - wall))
        return at + (wall - anchor).total_seconds()

    def wall(self, place: float) -> datetime | None:
        """The witness's wall clock at a place of the axis; None in an empty log."""
        if not self.anchors:
            return None
        anchor, at = min(self.anchors, key=lambda pair: abs(pair[1] - place))
        return anchor + timedelta(seconds=place - at)


def read(path: Path) -> WitnessLog | None:
    """The log in this file, or None when there is none: then nothing was measured."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return parse(content.splitlines())


def parse(lines: Iterable[bytes | str]) -> WitnessLog:
    """The log in these lines; a line that is not a whole entry is counted, not guessed at."""
    entries, unreadable = [], 0
    for line in lines:
        try:
            entry = json.loads(line)
            if entry["event"] in ("start", "attempt", "result"):
                entries.append(entry)
        except (ValueError, KeyError, TypeError):
            unreadable += bool(line.strip())
    boots = {entry.get("boot_id") for entry in entries if entry["event"] == "start"}
    headless = bool(boots) and entries[0]["event"] != "start"  # begins in a boot it does not name
    return _log(entries, monotonic=len(boots) + headless <= 1, unreadable=unreadable)


def _log(entries: list[dict[str, Any]], *, monotonic: bool, unreadable: int) -> WitnessLog:
    results: list[Result] = []
    anchors: list[tuple[datetime, float]] = []
    attempted: set[int] = set()
    session = 0
    for entry in entries:
        try:
            if entry["event"] == "start":
                session += 1
            elif entry["event"] == "attempt":
                attempted.add(int(entry["token"]))
            else:
                result = _result(entry, monotonic=monotonic, session=session)
                results.append(result)
                anchors.append((result.wall_end, result.end))
        except (ValueError, KeyError, TypeError):
            unreadable += 1
    return WitnessLog(tuple(results), frozenset(attempted), monotonic, tuple(anchors), unreadable)


def _result(entry: dict[str, Any], *, monotonic: bool, session: int) -> Result:
    start, end = _moment(entry["start"]), _moment(entry["end"])
    return Result(
        probe=str(entry["probe"]),
        ok=entry["ok"] is True,
        start=int(entry["start_ns"]) / 1e9 if monotonic else start.timestamp(),
        end=int(entry["end_ns"]) / 1e9 if monotonic else end.timestamp(),
        wall_end=end,
        token=int(entry["token"]) if entry.get("token") is not None else None,
        session=session,
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} names no zone")
    return moment.astimezone(UTC)
