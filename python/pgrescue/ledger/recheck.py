"""Make what the index has of a month anew from its records, and name what it said otherwise.

A refresh trusts the index where nothing was touched, and whoever can write beside the runs can write into it too.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from pgrescue.incidents import FOLDER as INCIDENTS
from pgrescue.ledger import attempts, index
from pgrescue.ledger.period import Period
from pgrescue.models import rfc3339
from pgrescue.watch.rehearsal import FOLDER as REHEARSALS

_TABLES = (
    "runs", "phases", "steps", "checks", "findings", "finding_events", "incidents", "incident_runs", "rehearsals",
    "channels", "attempts", "problems",
)  # fmt: skip
_BEFORE = timedelta(days=1)  # a folder's name may be older than its run's first event


def month(runs: Path, service: str, period: Period) -> list[str]:
    """What the index said otherwise than the records, of runs, incidents, rehearsals, attempts and findings."""
    with closing(index.connect((runs / index.NAME).absolute().as_uri())) as ledger:
        ledger.execute("PRAGMA foreign_keys = on")
        ledger.execute("BEGIN IMMEDIATE")
        said = _of_no_record(ledger)
        for source in _sources(ledger, service, period):
            before, row = _digests(ledger, source["id"]), _run(ledger, source["id"])
            index.take(ledger, runs, source["path"], source["kind"], source["mark"])
            again = ledger.execute("SELECT id FROM sources WHERE path = ?", (source["path"],)).fetchone()[0]
            after = _digests(ledger, again)
            untouched = index.mark_of(runs, source["path"], source["kind"]) == source["mark"]
            if before != after and untouched:  # a run that is being closed is another than it was a moment ago
                differ = _columns(row, _run(ledger, again)) or [name for name in _TABLES if before[name] != after[name]]
                said.append(f"{source['path']}: the index said otherwise than the record: {', '.join(differ)}")
        ledger.execute("COMMIT")
    return said


def _sources(ledger: sqlite3.Connection, service: str, period: Period) -> list[sqlite3.Row]:
    since, until = _stamp(period.since - _BEFORE), _stamp(period.until)
    named = " OR ".join(f"path >= '{folder}' || :first AND path < '{folder}' || :last" for folder in _FOLDERS)
    query = (
        f"SELECT id, path, kind, mark FROM sources WHERE {named}"
        " OR path IN (:attempts, :findings)"
        " OR id IN (SELECT source FROM runs WHERE service = :service AND started >= :since AND started < :until)"
    )
    asked = {
        "first": since,
        "last": until,
        "attempts": f"{attempts.FOLDER}/{service}.jsonl",
        "findings": f"{index.FINDINGS}/{service}.jsonl",
        "service": service,
        "since": rfc3339(period.since),
        "until": rfc3339(period.until),
    }
    return ledger.execute(query, asked).fetchall()


_FOLDERS = ("", f"{INCIDENTS}/", f"{REHEARSALS}/")


def _stamp(at: datetime) -> str:
    return f"{at:%Y%m%dT%H%M%SZ}"


def _of_no_record(ledger: sqlite3.Connection) -> list[str]:
    """Take away rows that no record has written."""
    said = []
    for table in _TABLES:
        many = ledger.execute(f"DELETE FROM {table} WHERE source NOT IN (SELECT id FROM sources)").rowcount
        said += [f"{index.NAME}: {many} rows of {table} were of no record"] if many else []
    return said


def _digests(ledger: sqlite3.Connection, source: int) -> dict[str, int]:
    """What the index has of one source, table by table, in whatever order."""
    found = {}
    for table in _TABLES:
        rows = ledger.execute(f"SELECT * FROM {table} WHERE source = ?", (source,))
        told = (repr([(name, row[name]) for name in row.keys() if name != "source"]) for row in rows)  # noqa: SIM118
        found[table] = sum(int.from_bytes(sha256(one.encode()).digest()) for one in told)
    return found


def _run(ledger: sqlite3.Connection, source: int) -> sqlite3.Row | None:
    row: sqlite3.Row | None = ledger.execute("SELECT * FROM runs WHERE source = ?", (source,)).fetchone()
    return row


def _columns(was: sqlite3.Row | None, now: sqlite3.Row | None) -> list[str]:
    if was is None or now is None:
        return []
    names = [name for name in now.keys() if name != "source" and was[name] != now[name]]  # noqa: SIM118 - it is no dict
    return [f"{name} {was[name]}, not {now[name]}" for name in names]
