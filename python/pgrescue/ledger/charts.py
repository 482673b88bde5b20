"""The monthly report's drawings: recovery times against the objective, backups by day, the size of the data.

Each is a few lines of SVG whose colours are classes of the page, as `pgrescue.drawing` has them, so that one drawing
serves light, dark and paper. No meaning hangs on colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import log10

from markupsafe import Markup

from pgrescue import svg
from pgrescue.human import size, span
from pgrescue.ledger.period import Period
from pgrescue.ledger.questions import Questions

_WIDTHS = (("wide", 880), ("narrow", 356))
_YEAR = timedelta(days=365)
_MOST = 500  # newest points of a drawing
_TICKS_S = (1, 10, 60, 600, 3600, 6 * 3600, 86400)


@dataclass(frozen=True)
class Drawing:
    """A drawing for wide pages and for phones, each with its CSS class, and what it shows."""

    title: str
    caption: str
    pictures: list[tuple[str, Markup]]


Drawn = list[Drawing]


@dataclass(frozen=True)
class _Point:
    when: datetime
    value: float
    kind: str  # a CSS class


def draw(asked: Questions, period: Period) -> Drawn:
    """All drawings for which there is something to draw."""
    return [one for one in (_times(asked, period), _days(asked, period), _sizes(asked, period)) if one]


def _both(title: str, caption: str, draw_one: Callable[[int], Markup]) -> Drawing:
    return Drawing(title, caption, [(name, draw_one(width)) for name, width in _WIDTHS])


def _times(asked: Questions, period: Period) -> Drawing | None:
    year = Period(period.until - _YEAR, period.until)
    points = [
        _Point(datetime.fromisoformat(row["started"]), max(row["rta_s"], 1.0), row["kind"])
        for row in asked.rows(
            "SELECT started, rta_s, CASE WHEN rto_verdict = 'missed' THEN 'missed' ELSE kind END AS kind FROM runs"
            " WHERE service = :service AND started >= :since AND started < :until AND rta_s IS NOT NULL"
            " AND kind IN ('drill', 'incident') ORDER BY started DESC LIMIT :most",
            year,
            most=_MOST,
        )
    ]
    if not points:
        return None
    limit = asked.objective("rto_s", period)
    dashed = f" Dashed: the objective, {span(limit)}." if limit is not None else ""
    caption = (
        f"Circle: a drill. Square: an incident. Cross: the objective was missed.{dashed} The scale is logarithmic."
    )
    return _both("Recovery times of twelve months", caption, lambda width: _scatter(points, limit, year, width))


def _time_scale(values: Sequence[float]) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """Where a duration stands between 0 and 1, and the lines of the scale."""
    low = max([tick for tick in _TICKS_S if tick <= min(values)], default=_TICKS_S[0])
    high = min([tick for tick in _TICKS_S if tick >= max(values) and tick > low], default=max(*values, 2 * low))
    ticks = [(float(tick), span(tick)) for tick in _TICKS_S if low <= tick <= high]
    return lambda seconds: (log10(seconds) - log10(low)) / (log10(high) - log10(low)), ticks


def _scatter(
    points: Sequence[_Point],
    limit: float | None,
    over: Period,
    width: int,
) -> Markup:
    height, left, right, foot = 190, 62, width - 10, 24
    place, ticks = _time_scale([*([limit] if limit else []), *(point.value for point in points)])
    length = (over.until - over.since).total_seconds()

    def x(when: datetime) -> float:
        return left + (when - over.since).total_seconds() / length * (right - left)

    def y(value: float) -> float:
        return height - foot - place(value) * (height - foot - 14)

    parts = [svg.opened(width, height, "Recovery times of twelve months")]
    for value, name in ticks:
        parts.append(svg.rule("grid", left, right, y(value)))
        parts.append(svg.text("tick", left - 6, y(value) + 4, name, "end"))
    parts += _months(over, x, height, 3 if width < 500 else 1)  # noqa: PLR2004 - a phone
    if limit is not None:
        parts.append(svg.rule("promise", left, right, y(limit)))
    for point in points:
        cx, cy = x(point.when), y(point.value)
        shape = {
            "incident": '<rect class="incident" x="{l:.1f}" y="{t:.1f}" width="8" height="8"/>',
            "missed": '<path class="missed" d="M{l:.1f} {t:.1f} l8 8 m-8 0 l8 -8"/>',
        }.get(point.kind, '<circle class="drill" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(Markup(shape).format(l=cx - 4, t=cy - 4, x=cx, y=cy))  # noqa: S704 - of constants
    return Markup("").join([*parts, Markup("</svg>")])


def _months(over: Period, x: Callable[[datetime], float], height: int, every: int) -> list[Markup]:
    parts = []
    for number in range(1, 13):
        years, month = divmod(over.since.month - 1 + number, 12)
        begin = datetime(over.since.year + years, month + 1, 1, tzinfo=UTC)
        if number % every == 0 and begin < over.until:
            parts.append(svg.text("tick", x(begin), height - 6, f"{begin:%b}", "middle"))
    return parts


def _days(asked: Questions, period: Period) -> Drawing | None:
    counts = {
        int(row["day"]): (row["good"], row["bad"])
        for row in asked.rows(
            "SELECT substr(at, 9, 2) AS day, count(*) FILTER (WHERE result = 'passed') AS good,"
            " count(*) FILTER (WHERE result <> 'passed') AS bad FROM attempts"
            " WHERE service = :service AND at >= :since AND at < :until GROUP BY 1",
            period,
        )
    }
    if not counts:
        return None
    days = (period.until - timedelta(microseconds=1)).day
    caption = "Each day: good backups above, failed ones below with a cross. A day with neither is an empty frame."
    return _both("Backups by day", caption, lambda width: _calendar(counts, days, width))


def _calendar(counts: dict[int, tuple[int, int]], days: int, width: int) -> Markup:
    cell = width / 31
    parts = [svg.opened(width, 66, "Backups by day")]
    for day in range(1, days + 1):
        good, bad = counts.get(day, (0, 0))
        left = (day - 1) * cell
        kind = "bad-day" if bad else "good-day" if good else "no-day"
        frame = Markup('<rect class="{}" x="{:.1f}" y="2" width="{:.1f}" height="40" rx="1.5"/>')
        parts.append(frame.format(kind, left, cell - 2))
        middle = left + (cell - 2) / 2
        if good:
            parts.append(svg.text("upon count", middle, 19, str(good), "middle"))
        if bad:
            parts.append(svg.text("upon count", middle, 36, f"x{bad}" if cell > 16 else "x", "middle"))  # noqa: PLR2004
        if day == 1 or day % 5 == 0:
            parts.append(svg.text("tick", middle, 60, str(day), "middle" if day > 1 else "start"))
    return Markup("").join([*parts, Markup("</svg>")])


def _sizes(asked: Questions, period: Period) -> Drawing | None:
    year = Period(period.until - _YEAR, period.until)
    points = [
        _Point(datetime.fromisoformat(row["at"]), float(row["bytes"]), "size")
        for row in asked.rows(
            "SELECT max(at) AS at, size_bytes AS bytes FROM attempts WHERE service = :service AND result = 'passed'"
            " AND size_bytes IS NOT NULL AND at >= :since AND at < :until GROUP BY substr(at, 1, 7) ORDER BY 1",
            year,
        )
    ]
    if len(points) < 2:  # noqa: PLR2004 - one is no line
        return None
    return _both(
        "Size of the data", "As the last good backup of each month says.", lambda width: _line(points, year, width)
    )


def _line(points: Sequence[_Point], over: Period, width: int) -> Markup:
    height, left, right, foot = 150, 62, width - 10, 24
    length, top = (over.until - over.since).total_seconds(), max(1.0, *(point.value for point in points))

    def x(when: datetime) -> float:
        return left + (when - over.since).total_seconds() / length * (right - left)

    def y(value: float) -> float:
        return height - foot - value / top * (height - foot - 24)

    parts = [svg.opened(width, height, "Size of the data")]
    for value in (0.0, top / 2, top):
        parts.append(svg.rule("grid", left, right, y(value)))
        parts.append(svg.text("tick", left - 6, y(value) + 4, size(int(value)), "end"))
    parts += _months(over, x, height, 3 if width < 500 else 1)  # noqa: PLR2004 - a phone
    parts.append(svg.curve("size", [(x(point.when), y(point.value)) for point in points]))
    return Markup("").join([*parts, Markup("</svg>")])
