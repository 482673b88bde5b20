"""The index of all records: `runs/ledger.sqlite`, which can be deleted at any time and is made again from them.

A refresh looks at every source from outside and reads what changed since. For a run that is one call, the time of its
folder, for files of a record are replaced and never written over. A run without a manifest is read each time. What was
touched within the last two seconds is read again too: a file system's clock does not tell two close writes apart.

One transaction does it all. Of two processes the second waits and finds little left to do; one that is killed leaves
the index as it was.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pgrescue.incidents import FOLDER as INCIDENTS
from pgrescue.ledger import attempts, reading
from pgrescue.manifest import MANIFEST
from pgrescue.watch.rehearsal import FOLDER as REHEARSALS

NAME = "ledger.sqlite"
FINDINGS = "findings"
VERSION = 5  # of schema.sql and of what is read: an index of another one is made anew
_YOUNG_NS = 2_000_000_000
_WAIT_S = 600.0  # for another process that builds the index
_RECORD = ("run.json", MANIFEST)  # a folder with neither is no run: a fault by hand, a standby that was rebuilt


class LedgerError(Exception):
    """The ledger cannot be asked; the message says why and what to do."""


@dataclass(frozen=True)
class Refreshed:
    """How many sources were read, and how many are gone."""

    read: int
    gone: int


@dataclass(frozen=True)
class _Seen:
    path: str
    kind: str
    mark: str
    young: bool


def refresh(runs: Path, *, rebuild: bool = False) -> Refreshed:
    """Bring the index up to date with the records, or make it anew. Raises LedgerError when it cannot be written."""
    if not runs.is_dir():
        raise LedgerError(f"{runs} is not there: no run has left a record yet. Nothing was changed.")
    path = runs / NAME
    try:
        return _up_to_date(path, rebuild)
    except sqlite3.Error as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise LedgerError(f"{path}: {error}. The records are as they were, and the index as well.") from error
    for damaged in (path, path.with_name(f"{NAME}-journal")):
        damaged.unlink(missing_ok=True)  # nothing is lost with it
    return _up_to_date(path, rebuild)


@contextmanager
def asking(runs: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only ask, and sees one state of the ledger from its first question to its last.

    Raises LedgerError for what is no question, and for what would change anything.
    """
    try:
        with closing(connect(f"{(runs / NAME).absolute().as_uri()}?mode=ro")) as ledger:
            ledger.set_authorizer(_only_asks)
            ledger.execute("BEGIN")
            yield ledger
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise LedgerError(f"The ledger does not answer this: {error}. Nothing was changed.") from error


def connect(uri: str) -> sqlite3.Connection:
    """A connection that waits for who else is at work on the index; nothing is in a transaction."""
    ledger = sqlite3.connect(uri, uri=True, timeout=_WAIT_S, isolation_level=None)
    ledger.row_factory = sqlite3.Row
    return ledger


def _only_asks(action: int, *_: str | None) -> int:
    asks = (
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    )
    return sqlite3.SQLITE_OK if action in asks else sqlite3.SQLITE_DENY


def _up_to_date(path: Path, rebuild: bool) -> Refreshed:
    with closing(connect(path.absolute().as_uri())) as ledger:
        ledger.execute("PRAGMA foreign_keys = on")  # rows go with their source
        ledger.execute("BEGIN IMMEDIATE")
        if rebuild or ledger.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            _begin_anew(ledger)
        found = _read_what_changed(ledger, path.parent)
        ledger.execute("COMMIT")
    return found


def _begin_anew(ledger: sqlite3.Connection) -> None:
    ledger.execute("PRAGMA defer_foreign_keys = on")
    for (name,) in ledger.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        ledger.execute(f'DROP TABLE "{name}"')
    schema = files("pgrescue.ledger").joinpath("schema.sql").read_text(encoding="utf-8")
    for statement in re.sub(r"--.*", "", schema).split(";"):
        ledger.execute(statement)  # one by one: executescript would commit
    ledger.execute(f"PRAGMA user_version = {VERSION}")


def _read_what_changed(ledger: sqlite3.Connection, runs: Path) -> Refreshed:
    ledger.execute("CREATE TEMP TABLE seen (path TEXT PRIMARY KEY, kind TEXT, mark TEXT, young INTEGER) WITHOUT ROWID")
    ledger.executemany("INSERT INTO seen VALUES (?, ?, ?, ?)", _sources(runs))
    gone = ledger.execute("DELETE FROM sources WHERE path NOT IN (SELECT path FROM seen)").rowcount
    changed = ledger.execute(
        "SELECT seen.* FROM seen LEFT JOIN sources USING (path)"
        " WHERE sources.id IS NULL OR sources.mark <> seen.mark OR NOT sources.settled"
    )
    read = 0
    for path, kind, mark, young in changed:
        _take(ledger, runs, _Seen(path, kind, mark, bool(young)))
        read += 1
    return Refreshed(read, gone)


def take(ledger: sqlite3.Connection, runs: Path, path: str, kind: str, mark: str) -> None:
    """Read one source that is there anew, as of when it was last looked at from outside."""
    settled = ledger.execute("SELECT settled FROM sources WHERE path = ?", (path,)).fetchone()[0]
    _take(ledger, runs, _Seen(path, kind, mark, not settled))


def _take(ledger: sqlite3.Connection, runs: Path, seen: _Seen) -> None:
    begun = reading.read(seen.kind, runs / seen.path)
    try:
        _put(ledger, seen, begun)
    except (OSError, ValueError, OverflowError) as error:  # what no file can be, and what SQLite cannot hold
        _put(ledger, seen, reading.Reading(iter(()), [f"it cannot be read: {error}"], settled=False))


def _put(ledger: sqlite3.Connection, seen: _Seen, begun: reading.Reading) -> None:
    """Put a source and its rows in the place of what was known of it."""
    ledger.execute("DELETE FROM sources WHERE path = ?", (seen.path,))
    source = ledger.execute(
        "INSERT INTO sources (path, kind, mark, settled) VALUES (?, ?, ?, ?)",
        (seen.path, seen.kind, seen.mark, begun.settled and not seen.young),
    ).lastrowid
    for table, row in begun.rows:
        names, places = ", ".join(row), ", ".join("?" * len(row))
        ledger.execute(f"INSERT INTO {table} (source, {names}) VALUES (?, {places})", (source, *row.values()))
    ledger.executemany("INSERT INTO problems VALUES (?, ?)", ((source, said) for said in begun.problems))


def _mark(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}:{status.st_size}"


def mark_of(runs: Path, path: str, kind: str) -> str:
    """How a source looks from outside at this moment; empty where it is gone."""
    try:
        status = (runs / path).stat()
    except FileNotFoundError:
        return ""
    return str(status.st_mtime_ns) if kind == "run" else _mark(status)


def _sources(runs: Path) -> Iterator[tuple[str, str, str, bool]]:
    """Every source as it looks from outside: path, kind, mark, and whether it was touched just now."""
    now = time.time_ns()
    others = {INCIDENTS, REHEARSALS, attempts.FOLDER, FINDINGS}
    with os.scandir(runs) as entries:
        for entry in entries:
            if entry.name in others or not entry.is_dir(follow_symlinks=False):
                continue
            if any(os.path.exists(os.path.join(entry.path, name)) for name in _RECORD):  # noqa: PTH110,PTH118 - for speed
                touched = entry.stat(follow_symlinks=False).st_mtime_ns
                yield entry.name, "run", str(touched), now - touched < _YOUNG_NS
    for kind, folder, pattern, inside in (
        ("incident", INCIDENTS, "*/", "incident.json"),
        ("rehearsal", REHEARSALS, "*.json", ""),
        ("attempts", attempts.FOLDER, "*.jsonl", ""),
        ("finding_events", FINDINGS, "*.jsonl", ""),
    ):
        for found in (runs / folder).glob(pattern):  # from `runs` itself, pathlib would list all runs for each
            path = found / inside
            try:
                status = path.stat()
            except FileNotFoundError:  # an incident that a crash left without one, or it went just now
                yield path.relative_to(runs).as_posix(), kind, "", True
                continue
            mark = _mark(status)
            yield path.relative_to(runs).as_posix(), kind, mark, now - status.st_mtime_ns < _YOUNG_NS
