"""The monthly review: its checklist, answered from records."""

from __future__ import annotations

from datetime import timedelta

from pgrescue.core.trend import median
from pgrescue.human import plural, size, span
from pgrescue.ledger import month
from pgrescue.ledger.figures import Figure, Section, minutes, none, number, quantity, share, words
from pgrescue.ledger.growth import growth
from pgrescue.ledger.period import Period, before
from pgrescue.ledger.questions import Questions

_RUNS = "service = :service AND started >= :since AND started < :until"
_RECOVERIES = f"{_RUNS} AND kind IN ('incident', 'drill')"
_REFUSED = "(exit_code = 4 AND NOT begun)"
_GOOD = "service = :service AND result = 'passed' AND at >= :since AND at < :until"
_DAYS = timedelta(days=90)


def sections(asked: Questions, period: Period) -> list[Section]:
    """The four parts of the checklist."""
    last = before(period)
    return [
        Section(title="Backup Performance", figures=_backups(asked, period, last)),
        Section(title="RTO/RPO Metrics", figures=_metrics(asked, period)),
        Section(title="Process Optimization", figures=_process(asked, period)),
        Section(title="Infrastructure Changes", figures=_infrastructure(asked, period, last)),
    ]


def _backups(asked: Questions, period: Period, last: Period) -> list[Figure]:
    good, total = month.attempts(asked, period)
    took = f"SELECT avg(duration_s) / 60 FROM attempts WHERE {_GOOD}"
    stored = f"SELECT sum(stored_bytes) FROM attempts WHERE {_GOOD}"
    packed = (
        f"SELECT 1.0 * sum(size_bytes) / sum(stored_bytes) FROM attempts WHERE {_GOOD}"
        " AND kind = 'full' AND size_bytes IS NOT NULL AND stored_bytes > 0"
    )
    return [
        _beside("Average backup duration", asked, took, period, last, "minutes"),
        share("Backup failure rate", total - good, total),
        _bytes_beside("Storage consumption trends", asked, stored, period, last, " written"),
        _beside("Compression efficiency", asked, packed, period, last, "to 1"),
    ]


def _metrics(asked: Questions, period: Period) -> list[Figure]:
    rpo = asked.objective("rpo_s", period)
    ended = (
        f"SELECT count(*) FILTER (WHERE exit_code IN (0, 7)), count(*) FROM runs"
        f" WHERE {_RECOVERIES} AND result IN ('passed', 'failed') AND NOT {_REFUSED}"
    )
    recovered, recoveries = asked.row(ended, period)
    fresh = asked.fresh_minutes(period, rpo) if rpo is not None else (0, 0)
    return [
        _times(asked, period),
        minutes("Backup freshness", *fresh),
        _alerts(asked, period),
        share("Recovery success rate", recovered, recoveries, " of recoveries"),
    ]


def _times(asked: Questions, period: Period) -> Figure:
    name, target = "Actual vs target RTO", asked.objective("rto_s", period)
    times = asked.column(f"SELECT rta_s FROM runs WHERE {_RECOVERIES} AND rta_s IS NOT NULL", period)
    if not times:
        return none(name)
    against = f" of {span(target)}" if target is not None else ""
    spread = f" (worst {span(max(times))}, {plural(len(times), 'run')})" if len(times) > 1 else " (1 run)"
    return Figure(name=name, text=f"{span(median(times))}{against}{spread}", value=round(median(times), 3))


def _alerts(asked: Questions, period: Period) -> Figure:
    waits = asked.column(
        "SELECT (julianday(acknowledged) - julianday(detected)) * 86400 FROM incidents WHERE service = :service"
        " AND kind = 'incident' AND level = 'page' AND acknowledged IS NOT NULL AND detected IS NOT NULL"
        " AND happened >= :since AND happened < :until",
        period,
    )
    passed, of = asked.row(
        "SELECT coalesce(sum(passed), 0), count(*) FROM rehearsals"
        " WHERE service = :service AND at >= :since AND at < :until",
        period,
    )
    said = []
    if waits:
        said.append(f"acknowledged after {span(round(median(waits)))}, at worst {span(round(max(waits)))}")
    if of:
        said.append(f"{passed} of {plural(of, 'rehearsal')} reached every channel")
    figure = words("Alert response time", "; ".join(said))
    return figure.model_copy(update={"value": round(median(waits), 1)}) if waits else figure


def _process(asked: Questions, period: Period) -> list[Figure]:
    slowest = asked.rows(
        "SELECT name, avg(seconds) AS took, count(*) AS times FROM steps JOIN runs USING (source)"
        f" WHERE {_RECOVERIES} AND seconds IS NOT NULL GROUP BY name ORDER BY avg(seconds) DESC, name LIMIT 3",
        period,
    )
    by_hand = asked.row(
        "SELECT count(*) AS runs, total(human_wait_s) AS waited, total(approvals) AS approvals,"
        " count(*) FILTER (WHERE resumed) AS gone_on, total(resumed) AS resumed, total(skipped) AS skipped,"
        f" count(*) FILTER (WHERE skipped OR resumed) AS left FROM runs WHERE {_RECOVERIES}",
        period,
    )
    runs = by_hand["runs"]
    steps = "; ".join(
        f"{row['name']}: {span(row['took'])} on average ({plural(row['times'], 'time')})" for row in slowest
    )
    gone_on, times = int(by_hand["gone_on"]), int(by_hand["resumed"])
    asked_people = (
        f"{plural(int(by_hand['approvals']), 'approval')} took {span(by_hand['waited'])}; "
        f"{plural(gone_on, 'run')} gone on with by hand{f' ({plural(times, "time")})' if times else ''}; "
        f"{plural(int(by_hand['skipped']), 'step')} left out"
    )
    return [
        words("Script performance", steps),
        words("Automation opportunities", asked_people if runs else ""),
        share("Documentation accuracy", runs - by_hand["left"], runs, " of runs went as the runbook says"),
        _people(asked, period),
    ]


def _people(asked: Questions, period: Period) -> Figure:
    """Who recovered something within 90 days, and who did within a year but not since."""
    by = f"SELECT DISTINCT operator FROM runs WHERE {_RECOVERIES} AND operator IS NOT NULL ORDER BY operator LIMIT 20"
    recent = asked.column(by, Period(period.until - _DAYS, period.until))
    others = [name for name in asked.column(by, Period(period.until - 4 * _DAYS, period.until)) if name not in recent]
    said = [f"recovered within 90 days: {', '.join(recent) or 'nobody'}"] if recent or others else []
    said += [f"not since: {', '.join(others)}"] if others else []
    return words("Team readiness", "; ".join(said))


def _infrastructure(asked: Questions, period: Period, last: Period) -> list[Figure]:
    grown = growth(asked, period.until)
    speed = (
        "SELECT sum(fetched_bytes) / sum(fetch_s) / 1e6 FROM runs"
        f" WHERE {_RUNS} AND fetch_s > 0 AND fetched_bytes IS NOT NULL"
    )
    stored = asked.one(f"SELECT sum(stored_bytes) FROM attempts WHERE {_GOOD}", period)
    size_now = none("Database size growth")
    if grown.bytes_now is not None:
        a_day = f", {size(int(grown.per_day))} a day" if grown.per_day is not None and grown.per_day >= 0 else ""
        if grown.per_day is not None and grown.per_day < 0:
            a_day = f", {size(int(-grown.per_day))} less a day"
        size_now = Figure(
            name="Database size growth", text=f"{size(int(grown.bytes_now))} now{a_day}", value=grown.bytes_now
        )
    return [
        size_now,
        _beside("Performance impacts", asked, speed, period, last, "MB/s restored"),
        _room(asked, period),
        none("Cost optimization", f"{size(int(stored))} were written to repositories; no price is on record")
        if stored
        else none("Cost optimization"),
    ]


def _room(asked: Questions, period: Period) -> Figure:
    """What the objective leaves over, as far as the worst recovery of the month used it."""
    used = asked.one(f"SELECT max(rta_s / rto_s) FROM runs WHERE {_RECOVERIES} AND rto_s > 0", period)
    if used is None:
        return none("Capacity planning")
    text = f"the slowest recovery used {number(100 * used)}% of its objective"
    return Figure(name="Capacity planning", text=text, value=round(100 * used, 3))


def _beside(name: str, asked: Questions, query: str, period: Period, last: Period, unit: str) -> Figure:
    """A quantity, and what it was the month before."""
    now, earlier = asked.one(query, period), asked.one(query, last)
    return quantity(name, now, unit, f" ({number(earlier)} the month before)" if earlier is not None else "")


def _bytes_beside(name: str, asked: Questions, query: str, period: Period, last: Period, more: str) -> Figure:
    now, earlier = asked.one(query, period), asked.one(query, last)
    if now is None:
        return none(name)
    compared = f" ({size(int(earlier))} the month before)" if earlier is not None else ""
    return Figure(name=name, text=f"{size(int(now))}{more}{compared}", value=float(now))
