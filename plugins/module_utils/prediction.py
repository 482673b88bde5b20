"""How long a recovery would take now, from what earlier ones measured. Pure; None where nothing was measured."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .trend import median, slope, worst_likely

FAR_APART = 2.0  # sizes that differ by this factor tell fixed cost and throughput apart
FAR = 4.0  # times the size that was measured: what is said beyond that is a guess


class Line:
    """Seconds for bytes: a fixed cost and a cost per byte, neither below nothing.

    Where every run had about the same size the time is taken to be proportional, which errs towards too long.
    """

    def __init__(self, points: "Sequence[tuple[float, float]]") -> None:
        sizes = [size for size, _seconds in points]
        steep = slope(points) if max(sizes) >= FAR_APART * max(min(sizes), 1.0) else None
        if steep is None or steep <= 0:
            self.fixed, self.per_byte = 0.0, median([seconds / max(size, 1.0) for size, seconds in points])
        else:
            self.per_byte = steep
            self.fixed = max(median([seconds - steep * size for size, seconds in points]), 0.0)

    def __call__(self, size: float) -> float:
        """Seconds for so many bytes."""
        return self.fixed + self.per_byte * size


def measured(runs: Sequence[Mapping[str, Any]]) -> "list[Mapping[str, Any]]":
    """The runs that measured how fast data was fetched and WAL replayed: recoveries, and proofs."""
    return [run for run in runs if {"fetch_s", "replay_s"} <= set(run)]


def predict(
    runs: Sequence[Mapping[str, Any]], data_bytes: float, wal_bytes: float, procedure: str = ""
) -> "Optional[dict[str, Any]]":
    """Seconds to restore and to be back, as half of the runs would do it and as all but one in twenty would.

    To be back is left out where only proofs were run: nobody waited for them. What it takes beside the restore is told by runs of the
    same procedure, where there are any.
    A run is held against what would have been predicted for it: one of a comparable size says by which factor it can be
    slower, one of far less data only by how many seconds.
    """
    known = measured(runs)
    if not known:
        return None
    fetch = Line([(run["fetched_bytes"], run["fetch_s"]) for run in known])
    replay = Line([(run["replayed_bytes"], run["replay_s"]) for run in known])

    def restore(data: float, wal: float) -> float:
        return fetch(data) + replay(wal)

    now = restore(data_bytes, wal_bytes)
    worse = []
    for run in known:
        took, expected = run["fetch_s"] + run["replay_s"], restore(run["fetched_bytes"], run["replayed_bytes"])
        comparable = run["fetched_bytes"] * FAR >= data_bytes
        worse.append(now * took / (expected or 1.0) if comparable else now + took - expected)
    found = {
        "runs": len(known),
        "measured_bytes": max(run["fetched_bytes"] for run in known),
        "restore_p50_s": round(median(worse), 3),
        "restore_p95_s": round(worst_likely(worse), 3),
    }
    back = [run for run in known if "rta_s" in run]
    same = [run for run in back if run.get("procedure") == procedure]
    others = [max(run["rta_s"] - run["fetch_s"] - run["replay_s"], 0.0) for run in same or back]
    if others:
        found["back_p50_s"] = round(found["restore_p50_s"] + median(others), 3)
        found["back_p95_s"] = round(found["restore_p95_s"] + worst_likely(others), 3)
    return found


def outgrown(
    runs: Sequence[Mapping[str, Any]],
    data_bytes: float,
    wal_bytes: float,
    per_day: float,
    limit_s: float,
    horizon_days: int,
) -> Optional[int]:
    """In how many days growth makes the usual recovery longer than `limit_s`; None when not within the horizon."""

    def too_long(days: int) -> bool:
        found = predict(runs, data_bytes + per_day * days, wal_bytes)
        return bool(found and found.get("back_p50_s", 0.0) > limit_s)

    if per_day <= 0 or not too_long(horizon_days):
        return None
    low, high = 0, horizon_days  # the first day on which it is too long lies in (low, high], or is 0
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if too_long(middle) else (middle + 1, high)
    return low
