"""Straight lines through few and noisy points: pure, and not bent by an outlier."""

from __future__ import annotations

from typing import Iterable, Optional, Sequence


def median(values: Iterable[float]) -> float:
    """The middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def slope(points: "Sequence[tuple[float, float]]") -> Optional[float]:
    """The median of the slopes between all pairs, each weighed by its distance; None when all have the same x.

    Theil and Sen's line, weighed so that a crowd of points beside each other does not outvote the few that are far apart.
    """
    pairs = [
        ((later[1] - earlier[1]) / (later[0] - earlier[0]), abs(later[0] - earlier[0]))
        for at, earlier in enumerate(points)
        for later in points[at + 1 :]
        if later[0] != earlier[0]
    ]
    half, seen = sum(weight for _slope, weight in pairs) / 2, 0.0
    for steep, weight in sorted(pairs):
        seen += weight
        if seen >= half:
            return steep
    return None
