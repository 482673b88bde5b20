"""Straight lines through few and noisy points: pure, and not bent by an outlier."""

from __future__ import annotations

import math
from typing import Iterable, Optional, Sequence

# Student's t at 95 %, one side, by degrees of freedom; beyond the last it is close enough to 1.7
T95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77, 1.76, 1.75, 1.75, 1.74, 1.73, 1.73)
LEAST_SPREAD = 0.2  # of the logarithm: runs that happened to take the same time do not promise that the next one will
FEW_SPREAD = 0.5  # the same where one run, or none, tells


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


def worst_likely(values: Iterable[float]) -> float:
    """What all but one in twenty of the next values will not exceed, as far as so few can tell: never less than the worst that was seen.

    Durations are taken to be spread as their logarithms are, normally; few of them leave the spread itself unsure (Student's t, and its
    prediction interval).
    """
    seen = [max(value, 1e-3) for value in values]
    logs = [math.log(value) for value in seen]
    count, middle = len(logs), sum(logs) / len(logs)
    if count < 3:
        return max(seen) * math.exp(1.65 * FEW_SPREAD / math.sqrt(count))
    spread = max(math.sqrt(sum((value - middle) ** 2 for value in logs) / (count - 1)), LEAST_SPREAD)
    t = T95[min(count - 2, len(T95) - 1)] if spread > LEAST_SPREAD else 1.7
    return max(*seen, math.exp(middle + t * spread * math.sqrt(1 + 1 / count)))


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
