"""What a few cases say about a share, and what a few times say about having become faster."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, sqrt
from statistics import NormalDist

from pgrescue.core.trend import median

LEVEL = 0.95
_MANY = 1000  # pairs from which on the normal distribution is as good as counting
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def wilson(passed: int, of: int) -> tuple[float, float]:
    """The 95 % interval (Wilson's score) of a share of which `passed` of `of` cases were seen; `of` is at least 1."""
    share, z2 = passed / of, _Z * _Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = _Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    low, high = max(middle - reach, 0.0), min(middle + reach, 1.0)
    return (0.0 if passed == 0 else low), (1.0 if passed == of else high)


def faster(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float, float]:
    """By which factor durations changed: the factor, its interval, and the level that the interval really has.

    The factor is the median of all `after/before` (Hodges and Lehmann). The interval comes from counting orders (Mann
    and Whitney), without assuming how durations are spread; three against three can give no more than 90 %.
    """
    ratios = sorted(late / early for early in before for late in after)
    cut, level = _cut(len(before), len(after))
    return median(ratios), ratios[cut], ratios[-1 - cut], level


def _cut(m: int, n: int) -> tuple[int, float]:
    """How many of the pairs are cut off at either end for an interval of the level, and the level that is left then."""
    if m * n > _MANY:
        reach = _Z * sqrt(m * n * (m + n + 1) / 12)
        return int(m * n / 2 - reach), LEVEL
    counts, ways = _orders(m, n), comb(m + n, m)
    outside, cut = counts[0], 0
    while 2 * (outside + counts[cut + 1]) <= (1 - LEVEL) * ways:
        cut += 1
        outside += counts[cut]
    return cut, 1 - 2 * outside / ways


def _orders(m: int, n: int) -> list[int]:
    """Of all orders of m and n things, how many have u pairs in which one of the n comes first: a list over u."""
    counts = [1] + [0] * (m * n)
    for k in range(1, n + 1):  # the Gaussian binomial coefficient, factor by factor
        for u in range(m * n, m + k - 1, -1):
            counts[u] -= counts[u - m - k]
        for u in range(k, m * n + 1):
            counts[u] += counts[u - k]
    return counts
