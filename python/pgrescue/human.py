"""Durations, instants and sizes as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY, _KILO = 60, 3600, 86400, 1000
NOT_MEASURED = "not measured"


def hms(seconds: float | None) -> str:
    """Seconds as `hh:mm:ss`, rounded to the nearest second."""
    if seconds is None:
        return NOT_MEASURED
    whole = max(0, int(seconds + 0.5))
    return f"{whole // _HOUR:02d}:{whole % _HOUR // _MINUTE:02d}:{whole % _MINUTE:02d}"


def short(seconds: float | None) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on, cut to whole seconds, for a running clock."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, _HOUR)
    return f"{hours}:{rest // _MINUTE:02d}:{rest % _MINUTE:02d}" if hours else f"{rest // _MINUTE}:{rest % _MINUTE:02d}"


def span(seconds: float | None) -> str:
    """Seconds as one phrase of at most two units: `0.04 s`, `11.9 s`, `4 min 10 s`, `24 h`, `3 d`."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 0:
        return "-" + span(-seconds)
    if 0 < seconds < 0.1:  # noqa: PLR2004 - below a tenth, one decimal would show nothing
        return "under 0.01 s" if seconds < 0.005 else f"{seconds:.2f} s"  # noqa: PLR2004
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = int(seconds + 0.5)
    if whole < 2 * _DAY:
        minutes = whole < _HOUR
        return _pair(whole, _MINUTE, "min", 1, "s") if minutes else _pair(whole, _HOUR, "h", _MINUTE, "min")
    return _pair(whole, _DAY, "d", _HOUR, "h")


def _pair(whole: int, big: int, big_name: str, small: int, small_name: str) -> str:
    rest = whole % big // small
    return f"{whole // big} {big_name}" + (f" {rest} {small_name}" if rest else "")


def moment(when: datetime | None) -> str:
    """A moment as `2026-11-24 01:20:50.120 UTC`, without the fraction when it has none."""
    if when is None:
        return NOT_MEASURED
    fraction = f".{when.microsecond // 1000:03d}" if when.microsecond else ""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") + fraction + " UTC"


def time_of_day(when: datetime) -> str:
    """A moment as `01:20:50Z`."""
    return when.astimezone(UTC).strftime("%H:%M:%SZ")


def size(count: int | None) -> str:
    """Bytes in decimal units, `1.5 GB`."""
    if count is None:
        return NOT_MEASURED
    value = float(count)
    units = ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= _KILO and len(units) > 1:
        value /= _KILO
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 commit`, `14 commits`, with thousands grouped."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def ranges(numbers: Iterable[int]) -> list[str]:
    """Sorted numbers folded into ranges: 3, 4, 5, 9 become `3-5` and `9`."""
    folded: list[list[int]] = []
    for number in sorted(set(numbers)):
        if folded and number == folded[-1][1] + 1:
            folded[-1][1] = number
        else:
            folded.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in folded]
