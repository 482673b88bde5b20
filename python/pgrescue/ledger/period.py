"""Months, and the quarter and year that they belong to, in UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pgrescue.models import rfc3339

MONTHS = 12


@dataclass(frozen=True)
class Period:
    """From `since` up to, and without, `until`. `name` is how people call it."""

    since: datetime
    until: datetime
    name: str = ""
    months: int = 0  # how long it is when it has gone by; 0 of no calendar's period

    @property
    def bounds(self) -> dict[str, str]:
        """What queries bind."""
        return {"since": rfc3339(self.since), "until": rfc3339(self.until)}

    def cut(self, now: datetime) -> Period:
        """As far as it has gone by."""
        return replace(self, until=max(min(self.until, now), self.since))


def month(text: str) -> Period:
    """The month that `YYYY-MM` names. Raises ValueError for what names none."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise ValueError(f"{text!r} is no month: write it as 2026-11")
    return _months(int(text[:4]), int(text[5:]), 1)


def before(period: Period) -> Period:
    """The whole one of the same length before."""
    return _months(period.since.year, period.since.month - period.months, period.months)


def quarter(of: Period) -> Period:
    """The calendar quarter of a month."""
    first = of.since.month - (of.since.month - 1) % 3
    return _months(of.since.year, first, 3)


def year(of: Period) -> Period:
    """The calendar year of a month."""
    return _months(of.since.year, 1, MONTHS)


def _months(year: int, first: int, length: int) -> Period:
    since, until = _start(year, first), _start(year, first + length)
    names = {
        1: f"{since:%B %Y}",
        3: f"quarter {(since.month - 1) // 3 + 1} of {since.year}",
        MONTHS: f"{since.year}",
    }
    return Period(since, until, names[length], length)


def _start(year: int, month: int) -> datetime:
    return datetime(year + (month - 1) // MONTHS, (month - 1) % MONTHS + 1, 1, tzinfo=UTC)
