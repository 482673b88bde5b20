"""What hosts did during a drill, as a report shows it: a row of small charts for each host.

All share the axis of time; those of one figure share its scale, so that hosts can be compared. A line ends where the
samples do, with a cross, and has a gap where some are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from markupsafe import Markup

from pgrescue import svg
from pgrescue.drill.samples import Sample, Samples
from pgrescue.human import plural, size

_WIDTH, _HEIGHT, _EDGE = 150, 36, 4
_GAP_S = 3.0  # between two samples, beyond which no line joins them


def _sum(*values: float | None) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) if there else None


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _per_second(value: float) -> str:
    return f"{size(round(value))}/s"


@dataclass(frozen=True)
class _Figure:
    name: str
    of: Callable[[Sample], float | None]
    words: Callable[[float], str]


_FIGURES = (
    _Figure("CPU", lambda one: one.cpu_busy_percent, _percent),
    _Figure("Memory", lambda one: one.memory_used_percent, _percent),
    _Figure("Load", lambda one: one.load_1, lambda value: f"{value:.2f}"),
    _Figure("Disk", lambda one: _sum(one.disk_read_bytes_s, one.disk_written_bytes_s), _per_second),
    _Figure("Network", lambda one: _sum(one.network_received_bytes_s, one.network_sent_bytes_s), _per_second),
)


@dataclass(frozen=True)
class Cell:
    """One figure of one host: the most that was seen, in words, and the chart; neither where nothing was."""

    name: str
    most: str
    picture: Markup


@dataclass(frozen=True)
class HostRow:
    """One host: its charts, and what there is to say of its samples."""

    host: str
    said: str
    cells: tuple[Cell, ...]


def rows(hosts: Sequence[Samples], fault: datetime | None) -> tuple[HostRow, ...]:
    """Every host's row; without a sample of any host all charts are empty."""
    ats = [sample.at for one in hosts for sample in one.samples]
    low, high = (min(ats), max(ats)) if ats else (None, None)
    tops = [max((v for one in hosts for s in one.samples if (v := figure.of(s)) is not None), default=0.0)
            for figure in _FIGURES]  # fmt: skip
    return tuple(
        HostRow(
            one.host,
            said(one),
            tuple(_cell(one, figure, top, (low, high), fault) for figure, top in zip(_FIGURES, tops, strict=True)),
        )
        for one in hosts
    )


def said(one: Samples) -> str:
    """How many samples a host has, and why no more."""
    if not one.samples:
        return f"no sample: {one.problem or one.ended or 'none came'}"
    count = plural(len(one.samples), "sample")
    return f"{count}, ends at {one.samples[-1].at:%H:%M:%S}: {one.ended}" if one.ended else count


def _cell(
    one: Samples, figure: _Figure, top: float, over: tuple[datetime | None, datetime | None], fault: datetime | None
) -> Cell:
    points = [(sample.at, value) for sample in one.samples if (value := figure.of(sample)) is not None]
    low, high = over
    if not points or low is None or high is None:
        return Cell(figure.name, "no data", Markup(""))
    length = max((high - low).total_seconds(), 1.0)

    def x(when: datetime) -> float:
        return _EDGE + (when - low).total_seconds() / length * (_WIDTH - 2 * _EDGE)

    def y(value: float) -> float:
        return _HEIGHT - _EDGE - value / (top or 1.0) * (_HEIGHT - 2 * _EDGE)

    parts = [svg.opened(_WIDTH, _HEIGHT, f"{figure.name} of {one.host}"), svg.rule("grid", 0, _WIDTH, y(0.0))]
    if fault is not None and low <= fault <= high:
        parts.append(Markup('<path class="lead" d="M{:.1f} 0 V{}"/>').format(x(fault), _HEIGHT))
    parts += [svg.curve("sample", [(x(at), y(value)) for at, value in line]) for line in _unbroken(points)]
    if one.ended:
        at, value = points[-1]
        cross = '<path class="sample" d="M{:.1f} {:.1f} l6 6 m-6 0 l6 -6"/>'
        parts.append(Markup(cross).format(x(at) - 3, y(value) - 3))  # noqa: S704 - of a constant
    most = figure.words(max(value for _, value in points))
    return Cell(figure.name, most, Markup("").join([*parts, Markup("</svg>")]))


def _unbroken(points: Sequence[tuple[datetime, float]]) -> list[list[tuple[datetime, float]]]:
    """The points, parted where samples are missing between two."""
    lines = [[points[0]]]
    for before, point in pairwise(points):
        if (point[0] - before[0]).total_seconds() > _GAP_S:
            lines.append([])
        lines[-1].append(point)
    return lines
