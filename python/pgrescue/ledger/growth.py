"""How the data grows, and the month in which that makes a recovery longer than was promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from sqlite3 import Row
from typing import Any

from pgrescue.core.prediction import outgrown, predict
from pgrescue.core.trend import median, slope
from pgrescue.human import size, span
from pgrescue.ledger.figures import Figure, none
from pgrescue.ledger.period import Period
from pgrescue.ledger.questions import Questions

HORIZON_DAYS = 5 * 365
_WINDOW = timedelta(days=90)  # growth is that of now, not that of the first year
_RUNS = 50
_DAY_S = 86400.0


@dataclass(frozen=True)
class Growth:
    """Bytes now, bytes a day over the last 90 days, and since when sizes are known in them. None: nobody measured."""

    bytes_now: float | None
    per_day: float | None
    points: int


def growth(asked: Questions, until: datetime) -> Growth:
    """What backups, and runs beside them, say of the size of the data."""
    sizes = [(datetime.fromisoformat(row["at"]).timestamp() / _DAY_S, row["bytes"]) for row in _sizes(asked, until)]
    if not sizes:
        return Growth(None, None, 0)
    return Growth(sizes[-1][1], slope(sizes), len(sizes))


def _sizes(asked: Questions, until: datetime) -> list[Row]:
    """The size of each day of the window on which it was measured, as its last measurement says."""
    query = """
    SELECT max(at) AS at, bytes FROM (
      SELECT at, size_bytes AS bytes FROM attempts
      WHERE service = :service AND result = 'passed' AND size_bytes IS NOT NULL AND at >= :since AND at < :until
      UNION ALL
      SELECT started, data_bytes FROM runs
      WHERE service = :service AND data_bytes IS NOT NULL AND started >= :since AND started < :until
    ) GROUP BY substr(at, 1, 10) ORDER BY 1
    """
    return list(asked.rows(query, Period(until - _WINDOW, until)))


def measured_runs(asked: Questions, until: datetime) -> list[Mapping[str, Any]]:
    """The newest runs that measured fetch and replay, as predictions want them."""
    query = """
    SELECT rta_s, fetched_bytes, fetch_s, replayed_bytes, replay_s FROM runs
    WHERE service = :service AND started < :until AND fetch_s IS NOT NULL AND replay_s IS NOT NULL
      AND result = 'passed' ORDER BY started DESC LIMIT :most
    """
    rows = asked.rows(query, Period(until, until), most=_RUNS)
    return [{key: row[key] for key in row.keys() if row[key] is not None} for row in rows]  # noqa: SIM118 - sqlite3.Row


def breaking_month(asked: Questions, until: datetime) -> Figure:
    """The month in which the usual recovery from a backup becomes longer than the objective."""
    name = "Objective outgrown in"
    limit, grown = asked.objective("rto_s", Period(until, until)), growth(asked, until)
    runs = measured_runs(asked, until)
    wal = median([run["replayed_bytes"] for run in runs]) if runs else 0.0
    if limit is None or grown.bytes_now is None or grown.per_day is None:
        missing = "no objective is on record" if limit is None else "the size of the data was not measured on two days"
        return none(name, missing)
    now = predict(runs, grown.bytes_now, wal)
    if now is None or "back_p50_s" not in now:
        return none(name, "no run measured how fast data is fetched and replayed, and how long clients waited")
    days = outgrown(runs, grown.bytes_now, wal, grown.per_day, limit, HORIZON_DAYS)
    today = f"a usual recovery takes {span(now['back_p50_s'])} of {span(limit)} at {size(int(grown.bytes_now))}"
    growing = f"{size(int(abs(grown.per_day)))} {'more' if grown.per_day >= 0 else 'less'} a day"
    if days is None:
        return Figure(name=name, text=f"not within 5 years ({today}, {growing})")
    month = f"{until + timedelta(days=days):%B %Y}"
    return Figure(name=name, text=f"{month} ({today}, {growing})", value=f"{until + timedelta(days=days):%Y-%m}")
