"""What is done, due and overdue, and how far the programme reaches. Pure: records and a day in, facts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pgrescue.programme import periods
from pgrescue.programme.past import Past
from pgrescue.programme.periods import Period
from pgrescue.programme.plan import Obligation, Programme

State = Literal["done", "due", "overdue"]


@dataclass(frozen=True)
class Duty:
    """One obligation of one service in the present period; `missed` are the periods in which it was not kept."""

    service: str
    name: str
    says: str
    kind: Literal["drill", "proof"]
    every: str
    period: str
    by: date
    state: State
    scenario: str | None
    run: str | None
    last_passed: date | None
    missed: tuple[str, ...]


def duties(programme: Programme, past: Sequence[Past], today: date, service: str | None = None) -> list[Duty]:
    """Every obligation of every service of the programme, or of one."""
    wanted = [name for name in programme.services if service in (None, name)]
    return [_duty(one, name, programme, past, today) for name in wanted for one in programme.obligations]


def scenario_of(one: Obligation, period: Period) -> str | None:
    """The scenario that is a period's own; None where any counts."""
    return one.scenarios[periods.turn(len(one.scenarios), one.every, period)] if one.scenarios else None


def _duty(one: Obligation, service: str, programme: Programme, past: Sequence[Past], today: date) -> Duty:
    now = periods.period(one.every, today)
    over = periods.since(one.every, programme.begun, today)
    kept = _kept(one, service, now, past)
    missed = [period.name for period in over if not _kept(one, service, period, past)]
    # what was not kept in the period before, and not caught up with since, is overdue
    late = bool(over) and over[-1].name in missed and not kept
    matching = [p for p in past if _counts(one, service, p)]
    return Duty(
        service=service,
        name=one.name,
        says=one.says,
        kind=one.kind,
        every=one.every,
        period=now.name,
        by=free_day(programme, now.end, now.start) or first_free(programme, now.end),
        state="done" if kept else "overdue" if late else "due",
        scenario=scenario_of(one, now),
        run=kept[-1].run if kept else None,
        last_passed=max((p.at.date() for p in matching), default=None),
        missed=tuple(missed),
    )


def _counts(one: Obligation, service: str, run: Past) -> bool:
    right = not one.procedures or run.procedure in one.procedures
    return run.passed and run.service == service and run.kind == one.kind and right


def _kept(one: Obligation, service: str, period: Period, past: Sequence[Past]) -> list[Past]:
    scenario = scenario_of(one, period)
    return [
        run
        for run in past
        if _counts(one, service, run) and period.has(run.at.date()) and scenario in (None, run.scenario)
    ]


def free_day(programme: Programme, last: date, first: date) -> date | None:
    """The last day of a stretch on which something may be broken; None when all are blocked."""
    day = last
    while day >= first:
        if not programme.why_blocked(day):
            return day
        day -= timedelta(days=1)
    return None


def first_free(programme: Programme, day: date) -> date:
    """The first day from this one on, on which something may be broken; rather late than when it may not be."""
    while programme.why_blocked(day):
        day += timedelta(days=1)
    return day


def next_drill(programme: Programme, service: str, past: Sequence[Past], today: date) -> tuple[str, date] | None:
    """Scenario and day of the next drill: the rotation's where it is not done yet, else the one proven longest ago.

    None where the programme rotates nothing, or does not know the service.
    """
    rotating = next((one for one in programme.obligations if one.scenarios), None)
    if rotating is None or service not in programme.services:
        return None
    period = periods.period(rotating.every, today)
    if _kept(rotating, service, period, past):
        period = periods.after(rotating.every, period)
        scenario = scenario_of(rotating, period)
        first = period.start
    else:
        scenario, first = scenario_of(rotating, period), today + timedelta(days=1)
    assert scenario is not None
    return scenario, first_free(programme, first)


def coverage(past: Sequence[Past], key: str) -> Mapping[str, dict[str, object]]:
    """By procedure, service or operator: how many drills passed of those that rules judge, and when."""
    found: dict[str, dict[str, object]] = {}
    drills = [run for run in past if run.kind == "drill" and run.judged]
    for name in sorted({str(getattr(run, key) or "not recorded") for run in drills}):
        of_it = [run for run in drills if str(getattr(run, key) or "not recorded") == name]
        passed = [run for run in of_it if run.passed]
        facts: dict[str, object] = {"passed": len(passed), "ended": len(of_it)}
        if passed:
            facts["last_passed"] = max(run.at for run in passed).date().isoformat()
        if key == "operator":
            facts["procedures"] = sorted({run.procedure for run in passed})
        found[name] = facts
    return found
