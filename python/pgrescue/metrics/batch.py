"""What the records say of jobs that ended, as samples: the last proof, dump and drill, every run, open findings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pgrescue.core.series import Sample, sample
from pgrescue.core.times import epoch_s
from pgrescue.ledger import index

KEPT = timedelta(days=400)  # a year, and the time to report on it: older runs are asked of the ledger
_ENGINE = "CASE WHEN procedure LIKE '%dump%' THEN 'dump' ELSE 'pgbackrest' END"


def samples(runs: Path, now: datetime) -> list[Sample]:
    """All samples that the records give. Raises LedgerError when they cannot be asked."""
    index.refresh(runs)
    with index.asking(runs) as ledger:
        since = (now.astimezone(UTC) - KEPT).strftime("%Y-%m-%dT%H:%M:%S")
        found = [*_proofs(ledger), *_dumps(ledger), *_drills(ledger), *_runs(ledger, since), *_findings(ledger)]
        (problems,) = ledger.execute("SELECT count(*) FROM problems").fetchone()
        return found + sample("records_problems", problems)


def _proofs(ledger: sqlite3.Connection) -> Iterator[Sample]:
    query = (
        f"SELECT service, {_ENGINE} AS engine, started, max(ended) AS ended, data_bytes FROM runs"
        " WHERE kind = 'proof' AND result = 'passed' AND ended IS NOT NULL GROUP BY service, engine"
    )
    for row in ledger.execute(query):  # SQLite takes the other columns from the row with the maximum
        labels = (row["service"], row["engine"])
        yield from sample("restore_test_last_success_timestamp_seconds", epoch_s(row["ended"]), *labels)
        took = epoch_s(row["ended"]) - epoch_s(row["started"])
        yield from sample("restore_test_last_duration_seconds", took, *labels)
        yield from sample("restore_test_last_bytes", row["data_bytes"], *labels)


def _dumps(ledger: sqlite3.Connection) -> Iterator[Sample]:
    """Attempts to dump, which are made from here, unlike those to back up. One without a store failed for all."""
    for row in ledger.execute(_DUMPED):
        labels = (row["service"], "dump", row["repository"])
        yield from sample("backup_last_attempt_timestamp_seconds", row["ended_s"], *labels)
        yield from sample("backup_last_attempt_success", row["result"] == "passed", *labels)
        for result in ("passed", "failed"):
            yield from sample("backup_attempts_total", row[result], *labels, result)


def _drills(ledger: sqlite3.Connection) -> Iterator[Sample]:
    query = (
        "SELECT service, coalesce(scenario, procedure) AS scenario, max(ended) AS ended FROM runs"
        " WHERE kind = 'drill' AND result = 'passed' AND ended IS NOT NULL GROUP BY 1, 2"
    )
    for row in ledger.execute(query):
        labels = (row["service"], row["scenario"])
        yield from sample("drill_last_success_timestamp_seconds", epoch_s(row["ended"]), *labels)


def _runs(ledger: sqlite3.Connection, since: str) -> Iterator[Sample]:
    query = (
        "SELECT source, service, id, kind, coalesce(scenario, procedure) AS scenario, ended, result, rta_s, rpa_s,"
        " detection_s, rto_s, rpo_s FROM runs WHERE ended >= ? AND result IN ('passed', 'failed') ORDER BY ended"
    )
    for row in ledger.execute(query, (since,)):
        labels = (row["service"], row["id"], row["kind"], row["scenario"])
        yield from sample("run_end_timestamp_seconds", epoch_s(row["ended"]), *labels)
        yield from sample("run_success", row["result"] == "passed", *labels)
        for name in ("rta", "rpa", "detection"):
            yield from sample(f"run_{name}_seconds", row[f"{name}_s"], *labels)
        for name in ("rto", "rpo"):
            yield from sample("run_objective_seconds", row[f"{name}_s"], *labels, name)
        for phase, seconds in ledger.execute("SELECT phase, seconds FROM phases WHERE source = ?", (row["source"],)):
            yield from sample("run_phase_seconds", seconds, *labels, phase)


def _findings(ledger: sqlite3.Connection) -> Iterator[Sample]:
    for service, severity, number in ledger.execute(_OPEN):
        yield from sample("finding_open", number, service, severity)


_DUMPED = """
WITH dumped AS (
  SELECT service, repository, result,  -- one that passed is noted by when it began
    (julianday(at) - 2440587.5) * 86400 + iif(result = 'passed', coalesce(duration_s, 0), 0) AS ended_s
  FROM attempts WHERE kind = 'dump'
)
SELECT store.service, store.repository, max(a.ended_s) AS ended_s, a.result,
  count(*) FILTER (WHERE a.result = 'passed') AS passed, count(*) FILTER (WHERE a.result = 'failed') AS failed
FROM (SELECT DISTINCT service, repository FROM dumped WHERE repository IS NOT NULL) store
JOIN dumped a ON a.service = store.service AND coalesce(a.repository, store.repository) = store.repository
GROUP BY store.service, store.repository
"""
_OPEN = """
SELECT service, severity, count(*) FILTER (WHERE coalesce(
  (SELECT state FROM finding_events e WHERE e.service = f.service AND e.id = f.id AND e.state IS NOT NULL
   ORDER BY at DESC, n DESC LIMIT 1), f.state) = 'open')
FROM findings f GROUP BY service, severity
"""
