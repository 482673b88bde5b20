"""Sets of token numbers as sorted, closed ranges: a day of tokens fits in a line."""

from __future__ import annotations

from typing import Iterable, Sequence

Range = Sequence[int]


def to_ranges(numbers: Iterable[int]) -> "list[list[int]]":
    """`[1, 2, 3, 7]` becomes `[[1, 3], [7, 7]]`."""
    ranges: "list[list[int]]" = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ranges


def size(ranges: Iterable[Range]) -> int:
    """How many numbers the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def subtract(ranges: Iterable[Range], removed: Iterable[Range]) -> "list[list[int]]":
    """The numbers of `ranges` that are not in `removed`."""
    left: "list[list[int]]" = []
    gone = sorted([list(r) for r in removed])
    for first, last in sorted([list(r) for r in ranges]):
        at = first
        for low, high in gone:
            if high < at or low > last:
                continue
            if low > at:
                left.append([at, low - 1])
            at = max(at, high + 1)
        if at <= last:
            left.append([at, last])
    return left


def clip(ranges: Iterable[Range], low: int, high: int) -> "list[list[int]]":
    """The numbers of `ranges` between `low` and `high`, both included."""
    return [[max(a, low), min(b, high)] for a, b in ranges if b >= low and a <= high]
