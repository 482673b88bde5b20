"""Draw a run's timeline as SVG: what clients had, what the phases did, and the moments between.

Budgets are minutes where durations may be seconds, so they never share an axis: the drawing keeps to
what happened, and `meter` sets each duration against its budget on its own scale.
Colours are CSS classes of the page, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import ceil

from markupsafe import Markup

from pgrescue.human import span

_TICKS_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    21600,
    43200,
    86400,
    604800,
)
_ROW, _BAR, _HEAD, _FOOT, _MARK = 30, 14, 46, 26, 20
_CHARACTER = 6.6


@dataclass(frozen=True)
class Bar:
    """A stretch on a row. `kind` is a CSS class: up, down, done, failed, running, waiting."""

    start: datetime
    end: datetime
    kind: str


@dataclass(frozen=True)
class Row:
    """A named line of bars with a word behind the last."""

    name: str
    bars: tuple[Bar, ...]
    note: str = ""


@dataclass(frozen=True)
class Mark:
    """A numbered moment; the key below the drawing says what it was."""

    number: int
    when: datetime


@dataclass(frozen=True)
class _Scale:
    zero: datetime
    low: float
    high: float
    left: float
    right: float

    def at(self, when: datetime) -> float:
        return self.place((when - self.zero).total_seconds())

    def place(self, seconds: float) -> float:
        return self.left + (seconds - self.low) / (self.high - self.low) * (self.right - self.left)


def timeline(rows: Sequence[Row], marks: Sequence[Mark], zero: datetime, width: int) -> Markup:
    """The drawing, `width` user units wide; times on the axis count from `zero`."""
    label = 76 if width < 500 else 96  # noqa: PLR2004 - a phone
    scale = _scale(rows, marks, zero, label, width - 14)
    head = _HEAD if marks else 4
    bottom = head + _ROW * len(rows)
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="Timeline of the run">').format(width, bottom + _FOOT),
        Markup(
            '<defs><pattern id="hatch{0}" width="5" height="5" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="5"/></pattern></defs>'
        ).format(width),
        *_axis(scale, head, bottom, ticks=4 if label == 76 else 8),  # noqa: PLR2004 - a phone's label column
        *(part for mark in _spread(marks, scale) for part in _mark(*mark, bottom)),
    ]
    for index, row in enumerate(rows):
        parts += _row(row, head + index * _ROW, scale, width)
    return Markup("").join([*parts, Markup("</svg>")])


def meter(seconds: float, budget: float, width: int = 120) -> Markup:
    """A duration against its budget: the track is the larger of the two, the tick is the budget."""
    longest = max(seconds, budget) or 1.0
    filled = max(1.5, width * seconds / longest) if seconds else 0.0
    tick = width * budget / longest
    return Markup(
        '<svg class="meter" viewBox="0 0 {w} 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '<rect class="track" x="0" y="2" width="{w}" height="6" rx="1"/>'
        '<rect class="{kind}" x="0" y="2" width="{f}" height="6" rx="1"/>'
        '<line class="limit" x1="{t}" x2="{t}" y1="0" y2="10"/></svg>'
    ).format(
        w=width,
        label=f"{span(seconds)} of {span(budget)}",
        kind="over" if seconds > budget else "fill",
        f=f"{filled:.1f}",
        t=f"{min(tick, width - 0.75):.1f}",
    )


def _scale(rows: Sequence[Row], marks: Sequence[Mark], zero: datetime, left: float, right: float) -> _Scale:
    moments = [zero, *(mark.when for mark in marks)]
    moments += [moment for row in rows for bar in row.bars for moment in (bar.start, bar.end)]
    low, high = ((moment - zero).total_seconds() for moment in (min(moments), max(moments)))
    return _Scale(zero, low, high if high > low else low + 1.0, left, right)


def _axis(scale: _Scale, head: float, bottom: float, ticks: int) -> list[Markup]:
    reach = scale.high - scale.low
    step = next((tick for tick in _TICKS_S if reach / tick <= ticks), reach)
    parts = []
    place = ceil(scale.low / step)
    while place * step <= scale.high + 1e-9:
        x = scale.place(place * step)
        anchor = "middle" if x < scale.right - 14 else "end"
        parts.append(Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(x, head, bottom))
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                x, bottom + 17, anchor, _tick(place * step)
            )
        )
        place += 1
    return parts


def _tick(seconds: float) -> str:
    return "0" if not seconds else ("+" if seconds > 0 else "") + span(round(seconds, 1))


def _row(row: Row, top: float, scale: _Scale, width: int) -> list[Markup]:
    middle = top + _ROW / 2
    parts = [Markup('<text class="label" x="0" y="{:.1f}">{}</text>').format(middle + 4, row.name)]
    left, right = scale.right, scale.left
    for bar in row.bars:
        start, end = scale.at(bar.start), scale.at(bar.end)
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="1.5"{}/>').format(
                bar.kind,
                start,
                middle - _BAR / 2 if bar.kind != "up" else middle - 1.5,
                max(2.0, end - start),
                _BAR if bar.kind != "up" else 3,
                Markup(' fill="url(#hatch{})"').format(width) if bar.kind == "waiting" else "",
            )
        )
        if bar.kind != "up":
            left, right = min(left, start), max(right, end, start + 2)
    if row.note:
        parts.append(_note(row, left, right, middle, scale))
    return parts


def _note(row: Row, left: float, right: float, middle: float, scale: _Scale) -> Markup:
    """Behind the bar where there is room, else before it, else upon it."""
    needed = len(row.note) * _CHARACTER + 6
    upon = "note within" if any(bar.kind == "down" for bar in row.bars) else "note upon"  # its bar is pale
    if any(bar.kind == "up" for bar in row.bars) and right - left >= needed:
        x, anchor, kind = right - 6, "end", upon  # a line runs on beside the bar
    elif right + needed <= scale.right:
        x, anchor, kind = right + 6, "start", "note"
    elif left - needed >= scale.left:
        x, anchor, kind = left - 6, "end", "note"
    else:
        x, anchor, kind = right - 6, "end", upon
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, middle + 4, anchor, row.note
    )


def _spread(marks: Sequence[Mark], scale: _Scale) -> list[tuple[int, float, float]]:
    """Each mark's number, its true place, and where its badge stands without touching another."""
    ordered = sorted(marks, key=lambda mark: (mark.when, mark.number))
    badges = [scale.at(mark.when) for mark in ordered]
    for index in range(1, len(badges)):
        badges[index] = max(badges[index], badges[index - 1] + _MARK)
    over = badges[-1] - (scale.right + 4) if badges else 0
    if over > 0:
        badges[-1] -= over
        for index in range(len(badges) - 2, -1, -1):
            badges[index] = min(badges[index], badges[index + 1] - _MARK)
    return [(mark.number, scale.at(mark.when), badge) for mark, badge in zip(ordered, badges, strict=True)]


def _mark(number: int, place: float, badge: float, bottom: float) -> list[Markup]:
    return [
        Markup('<path class="lead" d="M{:.1f} 20 L{:.1f} {} V{}"/>').format(badge, place, _HEAD - 8, bottom),
        Markup('<circle class="badge" cx="{:.1f}" cy="11" r="8.5"/>').format(badge),
        Markup('<text class="number" x="{:.1f}" y="15" text-anchor="middle">{}</text>').format(badge, number),
    ]
