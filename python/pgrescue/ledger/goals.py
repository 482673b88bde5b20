"""The goals of the quarter and of the year, held against the records up to the month's end."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from pgrescue.core.trend import median, quantile
from pgrescue.human import plural, span
from pgrescue.ledger import month
from pgrescue.ledger.figures import Figure, Goal, minutes, none, number, share
from pgrescue.ledger.period import Period, before
from pgrescue.ledger.proportion import faster
from pgrescue.ledger.questions import Questions

FASTER = 0.9  # of the time of the quarter before
COMPLETE = 0.999
AUTOMATED = 0.9
DETECTED_S = 300.0
ARCHIVED_S = 3600.0
DRILLS = ("corruption", "complete_loss", "partial_loss", "region_failure")  # one a quarter
UNREACHABLE = "not reachable this quarter"
LEAST = 3  # drills of one kind, before they say anything
Found = tuple[Figure, bool | None]  # and whether the goal is met, where the records can tell
_RUNS = "service = :service AND started >= :since AND started < :until"
_RECOVERIES = f"{_RUNS} AND kind IN ('incident', 'drill') AND result IN ('passed', 'failed')"


def quarterly(asked: Questions, whole: Period, until: datetime) -> list[Goal]:
    """The goals of a quarter, as far as it has gone by."""
    so_far = whole.cut(until)
    return [
        _judged(*found, over=so_far == whole)
        for found in (
            _faster(asked, so_far, before(whole)),
            _completion(asked, so_far, whole),
            _automation(asked, so_far),
            _detection(asked, so_far),
            _fresh(asked, so_far),
        )
    ]


def annual(asked: Questions, whole: Period, until: datetime) -> list[Goal]:
    """The goals of a year, as far as it has gone by."""
    so_far = whole.cut(until)
    return [
        _judged(*found, over=so_far == whole)
        for found in (
            _archiving(asked, so_far),
            _standbys(asked, so_far),
            _untouched(asked, so_far),
            _four_drills(asked, so_far),
            (none("Document all procedures", "records say which runbooks were run, not which are documented"), None),
        )
    ]


def _judged(figure: Figure, met: bool | None, *, over: bool) -> Goal:
    """With its state: what is not met is missed once the time is over, or when nothing can make up for it."""
    if met is None:
        return Goal(**figure.dump())
    lost = over or figure.text.endswith(UNREACHABLE)
    return Goal(**figure.dump(), state="met" if met else "missed" if lost else "not yet")


def _faster(asked: Questions, now: Period, last: Period) -> Found:
    """Like for like: drills of one procedure, the restore reduced to the size of the data in the quarter before."""
    name = "Reduce RTO by 10%"
    earlier, later = _times(asked, last), _times(asked, now)
    said, factors, few = [], [], []
    for procedure in sorted(earlier.keys() | later.keys()):
        old, new = earlier.get(procedure, []), later.get(procedure, [])
        if len(old) < LEAST or len(new) < LEAST:
            few.append(f"{procedure} {len(old)} and {len(new)}")
            continue
        sizes = [size for _took, _restore, size in old if size]
        usual = median(sizes) if sizes else None
        factor, low, high, level = faster([_like(one, usual) for one in old], [_like(one, usual) for one in new])
        factors.append(factor)
        said.append(
            f"{procedure} takes {percent_of(factor)} of the time ({len(old)} and {len(new)} drills; "
            f"{100 * level:.0f}% interval {percent_of(low)} to {percent_of(high)})"
        )
    if not factors:
        why = f"fewer than {LEAST} drills of one kind in one of the quarters" + (f": {', '.join(few)}" if few else "")
        return (none(name, why), None)
    return (
        Figure(name=name, text="; ".join(said), value=round(median(factors), 4)),
        all(one <= FASTER for one in factors),
    )


def percent_of(factor: float) -> str:
    """A factor in percent."""
    return f"{number(100 * factor)}%"


def _times(asked: Questions, period: Period) -> dict[str, list[tuple[float, float | None, float | None]]]:
    found = defaultdict(list)
    query = (
        "SELECT procedure, rta_s, (SELECT seconds FROM phases p WHERE p.source = runs.source AND phase = 'restore'),"
        f" data_bytes FROM runs WHERE {_RUNS} AND kind = 'drill' AND rta_s IS NOT NULL"
        " AND result IN ('passed', 'failed')"
    )
    for procedure, took, restore, size in asked.rows(query, period):
        found[procedure].append((took, restore, size))
    return found


def _like(one: tuple[float, float | None, float | None], usual: float | None) -> float:
    took, restore, size = one
    if restore is None or not size or usual is None:
        return took
    return max(took - restore, 0.0) + restore * usual / size


def _completion(asked: Questions, so_far: Period, whole: Period) -> Found:
    """Every attempt counts, a retry as well. Whether the rest of the quarter can still make up for what failed."""
    good, of = month.attempts(asked, so_far)
    figure = share("Improve backup completion rate to 99.9%", good, of)
    if not of:
        return (figure, None)
    gone = (so_far.until - so_far.since) / (whole.until - whole.since)
    left = round(of * (1 / gone - 1)) if gone > 0 else 0
    met = good >= COMPLETE * of
    if not met and good + left < COMPLETE * (of + left):
        figure = figure.model_copy(update={"text": f"{figure.text}; {UNREACHABLE}"})
    return (figure, met)


def _automation(asked: Questions, period: Period) -> Found:
    steps, by_hand, approvals = asked.row(
        f"SELECT coalesce(sum(steps), 0), coalesce(sum(skipped + resumed), 0), coalesce(sum(approvals), 0)"
        f" FROM runs WHERE {_RECOVERIES}",
        period,
    )
    figure = share("Automate 90% of recovery steps", steps, steps + by_hand)
    if not steps:
        return (figure, None)
    text = f"{figure.text}; {plural(approvals, 'approval')} not counted"
    return (figure.model_copy(update={"text": text}), steps >= AUTOMATED * (steps + by_hand))


def _detection(asked: Questions, period: Period) -> Found:
    """Of blind drills and of incidents: who breaks a service on a known day detects nothing."""
    name = "Achieve < 5 min detection time"
    times = asked.column(
        "SELECT detection_s FROM runs WHERE service = :service AND started >= :since AND started < :until"
        " AND kind = 'drill' AND detection_s IS NOT NULL UNION ALL"
        " SELECT (julianday(detected) - julianday(started)) * 86400 FROM incidents WHERE service = :service"
        " AND kind = 'incident' AND happened >= :since AND happened < :until"
        " AND started IS NOT NULL AND detected IS NOT NULL",
        period,
    )
    if not times:
        return (none(name), None)
    fast = sum(took < DETECTED_S for took in times)
    most = quantile(times, 0.95)
    text = f"95% within {span(round(most, 1))}, at worst {span(round(max(times), 1))} ({plural(len(times), 'time')})"
    return (
        Figure(name=name, text=text, value=round(max(times), 3), count=fast, of=len(times)),
        most < DETECTED_S,
    )


def _fresh(asked: Questions, period: Period) -> Found:
    name, rpo = "Maintain < 24 hour RPO", asked.objective("rpo_s", period)
    fresh, of = asked.fresh_minutes(period, rpo) if rpo is not None else (0, 0)
    return minutes(name, fresh, of), (fresh == of if of else None)


def _archiving(asked: Questions, period: Period) -> Found:
    name = "Implement continuous archiving (RPO < 1 hour)"
    losses = asked.column(f"SELECT rpa_s FROM runs WHERE {_RECOVERIES} AND rpa_s IS NOT NULL", period)
    if not losses:
        return (none(name), None)
    kept = sum(loss < ARCHIVED_S for loss in losses)
    figure = share(name, kept, len(losses), " of recoveries lost less than an hour")
    return (figure, kept == len(losses))


def _standbys(asked: Questions, period: Period) -> Found:
    name = "Deploy hot standby replicas"
    ready = asked.column(f"SELECT standby_ready FROM runs WHERE {_RUNS} AND standby_ready IS NOT NULL", period)
    figure = share(name, sum(ready), len(ready), " of plans had a standby to promote")
    return (figure, all(ready) if ready else None)


def _untouched(asked: Questions, period: Period) -> Found:
    name = "Achieve zero-touch recovery"
    alone, of = asked.row(
        "SELECT count(*) FILTER (WHERE approvals + skipped + resumed = 0 AND exit_code = 0), count(*)"
        f" FROM runs WHERE {_RECOVERIES}",
        period,
    )
    return (share(name, alone, of, " of recoveries with nobody asked"), alone == of if of else None)


def _four_drills(asked: Questions, period: Period) -> Found:
    rows = asked.rows(
        f"SELECT coalesce(scenario, procedure), count(*) FROM runs WHERE {_RUNS} AND kind = 'drill'"
        " AND result = 'passed' GROUP BY 1",
        period,
    )
    passed: dict[str, int] = {name: times for name, times in rows}  # noqa: C416 - sqlite3.Row is no pair to mypy
    count = sum(passed.values())
    missing = [one.replace("_", " ") for one in DRILLS if one not in passed]
    text = plural(count, "successful drill") + (f"; not among them: {', '.join(missing)}" if missing else "")
    return (
        Figure(name="Complete 4 successful DR drills", text=text, value=count, count=count, of=len(DRILLS)),
        count >= len(DRILLS),
    )
