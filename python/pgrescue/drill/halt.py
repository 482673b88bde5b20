"""When a drill stops by itself: something is really ill outside its target, or somebody says so."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgrescue import incidents
from pgrescue.core import journal, records, situations, steering
from pgrescue.drill.record import FILE, Drill, Stopped

FRESH = timedelta(seconds=30)  # how old the word of a watch may be
FOLDER, STOP, FOUND_OUT, GOING_ON = "drills", "stop.json", "found_out.json", "going_on.json"
EVERY_S = 1.0
SOMEBODY = "somebody_stops"  # the condition that a person says so
PAGING = {name for name, level, _ in situations.RULES if level == situations.PAGE}


@dataclass(frozen=True)
class Watched:
    """A drill that may be stopped: where its records are, its service, its conditions, and where a person stops it."""

    runs: Path
    service: str
    conditions: Sequence[str]
    folder: Path


def breach(watched: Watched, now: datetime) -> Stopped | None:
    """Who stops the drill now, and why; None while it may go on.

    What cannot be looked at stops it as well: nobody would notice a guard that sees nothing.
    """
    for condition in watched.conditions:
        try:
            found = _CONDITIONS[condition](watched, now)
        except (OSError, ValueError) as error:
            found = f"it cannot be looked at: {error!r}"
        if found:
            return found if isinstance(found, Stopped) else Stopped(by=f"condition {condition}", at=now, reason=found)
    return None


class DrillGoesOnError(Exception):
    """A drill of the service goes on already; the message says so."""


class NoDrillError(Exception):
    """No drill of the service goes on; the message says so."""


def folder(runs: Path, service: str) -> Path:
    """Where people reach the drill of a service that goes on: one at a time."""
    return runs / FOLDER / service


@contextmanager
def going_on(place: Path, drill: str) -> Iterator[None]:
    """Let people reach the drill while it goes on. Raises DrillGoesOnError when another one does."""
    place.mkdir(parents=True, exist_ok=True)
    lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise DrillGoesOnError(f"Another drill of {place.name} goes on. Nothing was changed.") from error
    try:
        for name in (STOP, FOUND_OUT):
            (place / name).unlink(missing_ok=True)
        records.write_json(str(place / GOING_ON), {"drill": drill, "at": journal.now()})
        yield
    finally:
        (place / GOING_ON).unlink(missing_ok=True)
        os.close(lock)


def tell(place: Path, what: str, by: str, reason: str) -> str:
    """Ask the drill that goes on to stop (`STOP`), or tell it what is wrong (`FOUND_OUT`); the drill's name.

    Raises NoDrillError.
    """
    if not (place / GOING_ON).exists():
        raise NoDrillError(
            f"No drill of {place.name} goes on here. Nothing was changed. Start one: pgrescue drill --blind"
        )
    if not (place / what).exists():  # who says it first is who found it out
        records.write_json(str(place / what), {"by": by, "at": journal.now(), "reason": reason})
    drill: str = records.read_json(str(place / GOING_ON))["drill"]
    return drill


def told(place: Path, what: str) -> Stopped | None:
    """Who said it, when and in which words; None before anybody did."""
    path = place / what
    return Stopped.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None


def wait(watched: Watched, until: datetime) -> Stopped | None:
    """Wait for an instant; what stopped the drill before it came."""
    pause = threading.Event()
    while (left := (until - datetime.now(UTC)).total_seconds()) > 0:
        stopped = breach(watched, datetime.now(UTC))
        if stopped:
            return stopped
        pause.wait(min(left, EVERY_S))  # for the instant, not for a state
    return breach(watched, datetime.now(UTC))


class Guard:
    """Looks while a recovery runs; on a breach the run is paused: it stops before its next phase, in a safe state."""

    def __init__(self, watched: Watched, run_dir: Path) -> None:
        self.stopped: Stopped | None = None
        self._watched, self._run_dir = watched, run_dir
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Guard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            self.stopped = breach(self._watched, datetime.now(UTC))
            if self.stopped:
                said = {"by": self.stopped.by, "at": journal.now(), "reason": self.stopped.reason}
                self._keep(self.stopped)
                records.write_json(str(self._run_dir / steering.PAUSE), said)
                return

    def _keep(self, stopped: Stopped) -> None:
        """Write into the drill's record who stopped it: this controller may not live to its end."""
        path = self._run_dir / FILE
        if path.exists():
            drill = Drill.model_validate_json(path.read_bytes())
            records.write_json(str(path), drill.model_copy(update={"stopped": stopped}).dump())


def _ill_elsewhere(watched: Watched, now: datetime) -> str | None:
    for path in sorted((watched.runs / "watch").glob("*.json")):
        if path.stem == watched.service:
            continue
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            fresh, state = now - datetime.fromisoformat(said["at"]) <= FRESH, said["state"]
        except (ValueError, KeyError, TypeError) as error:  # what cannot be read is no word that all is well
            return f"{path} cannot be read: {error!r}"
        if fresh and state in PAGING:
            return f"{path.stem}: {said.get('says') or state}"
    return None


def _incident_elsewhere(watched: Watched, _: datetime) -> str | None:
    for path in sorted((watched.runs / incidents.FOLDER).glob("*/incident.json")):
        found = incidents.Case(path.parent).readable()
        if found is None:  # what cannot be read is no word that all is well
            return f"{path} cannot be read"
        real = found.kind == "incident" and found.level == "page" and found.resolved is None
        if real and found.service != watched.service:
            return f"incident {found.id}: {found.says}"
    return None


def _somebody(watched: Watched, _: datetime) -> Stopped | None:
    return told(watched.folder, STOP)


_CONDITIONS: dict[str, Callable[[Watched, datetime], Stopped | str | None]] = {
    "another_service_is_ill": _ill_elsewhere,
    "incident_elsewhere": _incident_elsewhere,
    SOMEBODY: _somebody,
}
