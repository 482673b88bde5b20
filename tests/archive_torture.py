"""Generate WAL under a real pgBackRest while its processes are killed, and account for every segment."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

from backups import Repositories
from postgres import PostgresServer, until

SEGMENT_BYTES = 1024 * 1024  # the smallest there is: what is counted are segments, not bytes


def server() -> PostgresServer:
    """A server with small segments, not started yet."""
    settings = {"wal_keep_size": "1MB", "max_wal_size": "64MB", "min_wal_size": "8MB"}
    return PostgresServer(settings=settings, initdb=("-k", "--wal-segsize=1"))


def asynchronous(made: Repositories) -> None:
    """Let it archive the way roles/pgbackrest configures it, but wait less for a process that was killed."""
    text = made.config.read_text().replace("archive-timeout=20", "archive-timeout=2")
    made.config.write_text(text.replace("[global]\n", "[global]\narchive-async=y\nprocess-max=2\n", 1))


def archivers(made: Repositories) -> list[int]:
    """Processes of pgBackRest that push WAL of this server."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_text()
        except OSError:
            continue  # it ended meanwhile
        if str(made.config) in words and "archive-push" in words and "pgbackrest\0" in words:
            found.append(int(entry.parent.name))
    return found


class Killer(threading.Thread):
    """Kills archivers with -9 at random instants, `pause` seconds apart, until it is told to stop."""

    def __init__(self, made: Repositories, seed: int, pause: tuple[float, float] = (0.05, 0.5)) -> None:
        super().__init__(daemon=True)
        self.pause = pause
        self.made, self.chance, self.over, self.killed = made, random.Random(seed), threading.Event(), 0

    def run(self) -> None:
        while not self.over.wait(self.chance.uniform(*self.pause)):
            for pid in archivers(self.made):
                if self.chance.random() < 0.5:
                    try:
                        os.kill(pid, signal.SIGKILL)
                        self.killed += 1
                    except ProcessLookupError:
                        pass  # it ended meanwhile


def generate(made: Repositories, count: int) -> None:
    """Fill and switch that many segments."""
    with made.server.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS filler (text text)")
        for _ in range(count):
            connection.execute("INSERT INTO filler VALUES ('x')")
            connection.execute("SELECT pg_switch_wal()")


def waiting(made: Repositories) -> int:
    """Segments the server has not seen archived yet."""
    return sum(1 for _ in (made.server.data / "pg_wal/archive_status").glob("*.ready"))


def keeps_up(made: Repositories, behind: int, stuck_s: float = 300) -> None:
    """Wait until at most `behind` segments wait; fail when for `stuck_s` none was archived.

    After three failures PostgreSQL pauses for a minute; a reload wakes its archiver.
    """
    woken = time.monotonic()
    left = waiting(made)

    def archived_some() -> bool:
        nonlocal woken
        if time.monotonic() - woken > 1 and not archivers(made):
            made.server.psql("SELECT pg_reload_conf()")
            woken = time.monotonic()
        return waiting(made) < max(left, 1)

    while left > behind:
        until(archived_some, stuck_s, "the archiver goes on")
        left = waiting(made)


def drained(made: Repositories) -> None:
    """Wait until everything is archived."""
    keeps_up(made, 0)


def number(name: str) -> int:
    """Number of a segment since the beginning of WAL."""
    return int(name[8:16], 16) * (0x100000000 // SEGMENT_BYTES) + int(name[16:24], 16)


def gaps(made: Repositories, repo: int) -> list[int]:
    """Segments that are missing between the first and the last one in a repository."""
    there = {number(path.name[:24]) for path in made.segments(repo)}
    return sorted(set(range(min(there), max(there) + 1)) - there)
