"""Questions to the ledger about one service."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgrescue.ledger.period import Period

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Questions:
    """A connection, and whom it is asked about. Queries name `:service`, `:since`, `:until`."""

    ledger: sqlite3.Connection
    service: str

    def rows(self, query: str, period: Period, **more: Any) -> Iterator[sqlite3.Row]:
        """What a query finds, one row after the other."""
        yield from self.ledger.execute(query, {"service": self.service, **period.bounds, **more})

    def row(self, query: str, period: Period, **more: Any) -> Any:
        """The one row of a query that always finds one."""
        return next(self.rows(query, period, **more))

    def one(self, query: str, period: Period, **more: Any) -> Any:
        """The first column of the first row; None where there is no row."""
        row = next(self.rows(query, period, **more), None)
        return row[0] if row else None

    def column(self, query: str, period: Period, **more: Any) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self.rows(query, period, **more)]

    def objective(self, name: str, period: Period) -> float | None:
        """What was promised, in seconds (`rto_s`, `rpo_s`), by the newest run before the period's end that says so."""
        return self.one(  # type: ignore[no-any-return]
            f"SELECT {name} FROM runs WHERE service = :service AND started < :until AND {name} IS NOT NULL"
            " ORDER BY started DESC LIMIT 1",
            period,
        )

    def backups(self, period: Period) -> Iterator[tuple[datetime | None, datetime]]:
        """When each good backup of the period ended, after the one before it."""
        previous = self._newest_backup(period.bounds["since"])
        for (text,) in self.rows(
            "SELECT at FROM attempts WHERE service = :service AND result = 'passed'"
            " AND at >= :since AND at < :until ORDER BY at",
            period,
        ):
            at = datetime.fromisoformat(text)
            yield previous, at
            previous = at

    def within(self, period: Period, rpo_s: float) -> tuple[int, int]:
        """How many good backups ended no later after the one before than the recovery point allows, of how many."""
        gaps = [(at - previous).total_seconds() for previous, at in self.backups(period) if previous]
        return sum(gap <= rpo_s for gap in gaps), len(gaps)

    def fresh_minutes(self, period: Period, rpo_s: float) -> tuple[int, int]:
        """At how many full minutes a good backup no older than the recovery point was there, of how many.

        Counted from the first attempt on record: what was before it nobody knows. By backups alone: where WAL is
        archived the newest point is a later one.
        """
        first = self.one("SELECT min(at) FROM attempts WHERE service = :service", period)
        if not first:
            return 0, 0
        begin = max(period.since, datetime.fromisoformat(first))
        limit = timedelta(seconds=rpo_s) + _TICK  # a backup that is just as old as allowed will do
        kept, newest = 0, self._newest_backup(period.bounds["since"])
        for _previous, at in self.backups(period):
            kept += _minutes(period.since, max(newest, begin), min(newest + limit, at)) if newest else 0
            newest = at
        kept += _minutes(period.since, max(newest, begin), min(newest + limit, period.until)) if newest else 0
        return kept, _minutes(period.since, begin, period.until)

    def _newest_backup(self, until: str) -> datetime | None:
        (text,) = self.ledger.execute(
            "SELECT max(at) FROM attempts WHERE service = ? AND result = 'passed' AND at < ?", (self.service, until)
        ).fetchone()
        return datetime.fromisoformat(text) if text else None

    def findings(self, period: Period, having: str, **more: Any) -> Iterator[sqlite3.Row]:
        """Findings as they stand at the end of the period, those of later too; `having` is a condition on them."""
        yield from self.rows(f"{_FINDINGS} SELECT * FROM standing WHERE {having}", period, **more)


_TICK = timedelta(microseconds=1)
_FINDINGS = """
WITH later AS (
  SELECT id, at, n, state, owner, due FROM finding_events WHERE service = :service AND at < :until
), standing AS (
  SELECT f.id, f.run, f.title, f.severity, f.opened, r.kind AS kind, r.started AS started,
    coalesce((SELECT l.state FROM later l WHERE l.id = f.id AND l.state IS NOT NULL ORDER BY at DESC, n DESC LIMIT 1),
      f.state) AS state,
    coalesce((SELECT l.at FROM later l WHERE l.id = f.id AND l.state IS NOT NULL ORDER BY at DESC, n DESC LIMIT 1),
      f.closed) AS changed,
    coalesce((SELECT l.owner FROM later l WHERE l.id = f.id AND l.owner IS NOT NULL ORDER BY at DESC, n DESC LIMIT 1),
      f.owner) AS owner,
    coalesce((SELECT l.due FROM later l WHERE l.id = f.id AND l.due IS NOT NULL ORDER BY at DESC, n DESC LIMIT 1),
      f.due) AS due
  FROM findings f JOIN runs r USING (source) WHERE f.service = :service
)
"""


def _minutes(grid: datetime, start: datetime, end: datetime) -> int:
    """How many full minutes, counted from `grid`, lie in [start, end)."""
    first = -((grid - start) // _MINUTE)  # rounded up
    last = -((grid - end) // _MINUTE)
    return max(last - first, 0)
