"""Weeks, months and quarters of the calendar, in UTC. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

QUARTERS = 4


@dataclass(frozen=True, order=True)
class Period:
    """A period of the calendar; `end` is its last day."""

    start: date
    end: date
    name: str

    def has(self, day: date) -> bool:
        """Whether the day is in it."""
        return self.start <= day <= self.end


def period(every: str, day: date) -> Period:
    """The week (Monday to Sunday), month or quarter that the day is in."""
    if every == "week":
        start = day - timedelta(days=day.weekday())
        year, week, _ = day.isocalendar()
        return Period(start, start + timedelta(days=6), f"{year}-W{week:02d}")
    months = 1 if every == "month" else 3
    first = date(day.year, (day.month - 1) // months * months + 1, 1)
    last = first
    for _ in range(months):
        last = (last + timedelta(days=31)).replace(day=1)
    name = f"{first:%Y-%m}" if months == 1 else f"{first.year}-Q{(first.month - 1) // 3 + 1}"
    return Period(first, last - timedelta(days=1), name)


def before(every: str, one: Period) -> Period:
    """The period before it."""
    return period(every, one.start - timedelta(days=1))


def after(every: str, one: Period) -> Period:
    """The period after it."""
    return period(every, one.end + timedelta(days=1))


def since(every: str, begun: date, today: date) -> list[Period]:
    """The whole periods from the day on that are over, oldest first."""
    found, one = [], period(every, begun)
    one = one if one.start == begun else after(every, one)  # a period that was cut short promises nothing
    while one.end < today:
        found.append(one)
        one = after(every, one)
    return found


def turn(count: int, every: str, one: Period) -> int:
    """Which of `count` things is a period's own, so that neighbours differ and a year of quarters has four."""
    if every == "quarter":
        number = one.start.year * QUARTERS + (one.start.month - 1) // 3
    elif every == "month":
        number = one.start.year * 12 + one.start.month - 1
    else:
        number = one.start.toordinal() // 7
    return number % count
