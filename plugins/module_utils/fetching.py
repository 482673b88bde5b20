"""Where a standby fetches WAL from while it is promoted: only from repositories that answer.

Before it ends its recovery a server asks the archive for later segments and for the history of the timeline that it is about to make. A
repository that is cut off costs each of these questions the engine's time-outs, which add up to minutes.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Sequence

from . import pgbackrest, postgres

ENGINE = re.compile(r"\bpgbackrest\b(?!.*--repo=)")
TAKEN_OVER_WITHIN_S = 5
LOOK_EVERY_S = 0.05


def limited(command: str, answering: "Sequence[str]") -> str:
    """A restore command that asks the first of these repositories alone, or nobody; one of another engine is left as it is."""
    if not ENGINE.search(command):
        return command
    return ENGINE.sub("pgbackrest --repo=%s" % answering[0], command, count=1) if answering else ""


@contextmanager
def from_those_that_answer(
    connection: Any, endpoints: "Mapping[str, str]", silent: "Mapping[str, str]"
) -> Iterator[None]:
    """Let the standby behind the connection ask no silent repository meanwhile.

    `connection` returns rows as mappings.
    """
    before = connection.execute("SELECT current_setting('restore_command') AS command").fetchone()["command"]
    answering = [str(number) for number in endpoints if str(number) not in silent]
    wanted = limited(before, answering) if silent else before
    if wanted == before:
        yield
        return
    _set(connection, wanted)
    found = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'").fetchone()
    over = threading.Event()
    # the recovery reads its configuration between two looks for WAL, and asks by the old one until then
    ending = threading.Thread(target=_end_questions, args=(found["pid"] if found else 0, over), daemon=True)
    ending.start()
    try:
        yield
    finally:
        over.set()
        ending.join()
        _set(connection, before)


def _set(connection: Any, command: str) -> None:
    from psycopg import sql

    connection.execute(sql.SQL("ALTER SYSTEM SET restore_command = {}").format(sql.Literal(command)))
    connection.execute("SELECT pg_reload_conf()")
    asked = "SELECT current_setting('restore_command') = %s AS so"
    postgres.wait_until(
        lambda: connection.execute(asked, (command,)).fetchone()["so"], TAKEN_OVER_WITHIN_S, poll_s=0.02
    )


def _end_questions(startup: int, over: "threading.Event") -> None:
    """End the engine where the recovery asks all repositories, until it is over.

    Told to, it ends with a code of its own; the shell between it and the server must live, for the server itself ends when that is killed.
    So it does when the engine is: one that has only just begun, and does not catch the signal yet, waits for the next look.
    """
    while startup and not over.wait(LOOK_EVERY_S):
        for pid in pgbackrest.family(startup)[1:]:
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as line:
                    words = line.read().decode(errors="replace").split("\0")
                if any(word.startswith("--repo=") for word in words) or not _is_engine_that_catches(
                    pid, signal.SIGTERM
                ):
                    continue
                os.kill(pid, signal.SIGTERM)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended by itself


def _is_engine_that_catches(pid: int, wanted: int) -> bool:
    """Whether a process is the engine and handles this signal itself, by what the kernel says of it."""
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as lines:
        said = dict(line.split(":", 1) for line in lines if ":" in line)
    return said["Name"].strip() == "pgbackrest" and bool(int(said["SigCgt"], 16) >> (wanted - 1) & 1)
