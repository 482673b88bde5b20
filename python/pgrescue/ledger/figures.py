"""What a periodic report is made of: figures with a name, a text for people, and values for machines."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from pgrescue.ledger.proportion import wilson
from pgrescue.models import Instant, Model

NO_DATA = "no data"
_TENTH = 0.001  # below which three digits would show nothing


class Figure(Model):
    """One line. `text` is `no data` where the records say nothing, and the other keys are then absent.

    Of a share: `value` in percent, how many (`count`) of how many (`of`), and its 95 % interval in percent.
    """

    name: str
    text: str
    value: float | str | SkipJsonSchema[None] = None
    count: int | SkipJsonSchema[None] = None
    of: int | SkipJsonSchema[None] = None
    low: float | SkipJsonSchema[None] = None
    high: float | SkipJsonSchema[None] = None


class Goal(Figure):
    """A figure with what became of it; `state` is absent where the records cannot tell."""

    state: Literal["met", "missed", "not yet"] | SkipJsonSchema[None] = None


class Section(Model):
    """Figures under one heading."""

    title: str
    figures: list[Figure]


class Action(Model):
    """Something to be done by somebody until some day; of an open finding."""

    id: str
    title: str
    severity: str
    owner: str | SkipJsonSchema[None] = None
    due: str | SkipJsonSchema[None] = None
    overdue: bool = False


class Month(Model):
    """The monthly report of one service. `until` is before the month's end while the month is not over."""

    schema_version: int = 1
    service: str
    month: str = Field(pattern=r"^\d{4}-\d{2}$")
    title: str
    since: Instant
    until: Instant
    complete: bool
    sections: list[Section]
    actions: list[Action]
    findings_known: bool
    review: list[Section]
    quarter: str
    quarterly_goals: list[Goal]
    year: str
    annual_goals: list[Goal]
    outgrown: Figure
    evidence: Figure
    altered: list[str]  # what is not as a manifest says
    problems: list[str]  # records that cannot be read, or not whole


def number(value: float) -> str:
    """With three digits, or as many as the whole part has: `0.0042`, `31.2`, `1204`."""
    if 0 < abs(value) < _TENTH:
        return f"under {_TENTH}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def percent(count: int, of: int, digits: int = 1) -> str:
    """A share in percent; never 100 while one is missing, never 0 while there is one."""
    step: float = 10**-digits
    shown = round(100 * count / of, digits)
    if count < of:
        shown = min(shown, 100 - step)
    if count > 0:
        shown = max(shown, step)
    return f"{shown:.{digits}f}".removesuffix("." + "0" * digits) + "%"


def interval(count: int, of: int) -> str:
    """The interval of a share, in words."""
    low, high = wilson(count, of)
    return f"95% interval {100 * low:.1f}% to {100 * high:.1f}%"


def share(name: str, count: int, of: int, what: str = "", digits: int = 1) -> Figure:
    """`66.7% of drills (2 of 3; 95% interval 20.8% to 93.9%)`; no data of none."""
    if not of:
        return none(name)
    text = f"{percent(count, of, digits)}{what} ({count:,} of {of:,}; {interval(count, of)})"
    return Figure(name=name, text=text, **parts(count, of))


def minutes(name: str, count: int, of: int) -> Figure:
    """`99.93% of minutes (43,170 of 43,200)`; no interval, for one minute is much like the next."""
    if not of:
        return none(name)
    text = f"{percent(count, of, 2)} of minutes ({count:,} of {of:,})"
    return Figure(name=name, text=text, value=round(100 * count / of, 4), count=count, of=of)


def parts(count: int, of: int) -> dict[str, Any]:
    """A share for machines."""
    low, high = wilson(count, of)
    exact = {"value": 100 * count / of, "low": 100 * low, "high": 100 * high}
    return {**{key: round(value, 4) for key, value in exact.items()}, "count": count, "of": of}


def quantity(name: str, value: float | None, unit: str, more: str = "") -> Figure:
    """`31.2 minutes`, or no data."""
    if value is None:
        return none(name)
    return Figure(name=name, text=f"{number(value)} {unit}{more}", value=round(value, 6))


def words(name: str, text: str) -> Figure:
    """A sentence, or no data where it is empty."""
    return Figure(name=name, text=text, value=text) if text else none(name)


def none(name: str, why: str = "") -> Figure:
    """The records say nothing, and perhaps why."""
    return Figure(name=name, text=NO_DATA + (f" ({why})" if why else ""))
