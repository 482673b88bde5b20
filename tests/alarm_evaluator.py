"""What Amazon CloudWatch makes of an alarm and of data points, after its documentation.

"Configuring how CloudWatch alarms treat missing data" and "Alarm evaluation" in the CloudWatch User Guide
(docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html). Alarms are as DescribeAlarms
gives them. No stand-in evaluates alarms; tests/unit/test_alarm_evaluator.py holds this one against the guide's tables.
"""

from __future__ import annotations

import bisect
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Points = Sequence[float | None]  # oldest first; None is missing
Sample = tuple[float, float]  # instant in seconds, value

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"
SPARE = 2  # the guide retrieves 5 for 3; it gives no figure for others
COMPARISONS = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
STATISTICS = {"Maximum": max, "Minimum": min, "Sum": sum, "SampleCount": len}
DAY_S = 86400


def state(alarm: Mapping[str, Any], points: Points, before: str) -> str:
    """The state after an evaluation of the points of the evaluation range; `before` is the state until then."""
    wanted = alarm["EvaluationPeriods"]
    enough = alarm.get("DatapointsToAlarm", wanted)
    breaches = [None if point is None else _breaches(alarm, point) for point in points]
    real = [breach for breach in breaches if breach is not None][-wanted:]
    filled = wanted - len(real)
    treat = alarm.get("TreatMissingData", "missing")
    bad = sum(real) + (filled if treat == "breaching" else 0)
    if bad >= enough:
        return ALARM
    if not filled or treat in ("breaching", "notBreaching") or not all(real):
        return OK
    if treat == "ignore":
        return before
    # all that is there is bad and there is too little of it: it counts once it could have been as many as are needed
    return ALARM if True in breaches and len(breaches) - breaches.index(True) >= enough else INSUFFICIENT


def _breaches(alarm: Mapping[str, Any], value: float) -> bool:
    return bool(COMPARISONS[alarm["ComparisonOperator"]](value, alarm["Threshold"]))


def points(alarm: Mapping[str, Any], samples: Sequence[Sample], now: float) -> Points:
    """The data points of the evaluation range: one a period, the last of which ends now (a sliding window).

    Samples are in order of time.
    """
    period, count = alarm["Period"], alarm["EvaluationPeriods"] + SPARE
    bins: list[list[float]] = [[] for _ in range(count)]
    # a period holds its first instant, not its end
    first, end = (bisect.bisect_left(samples, (at,)) for at in (now - count * period, now))
    for at, value in samples[first:end]:
        bins[count - math.ceil((now - at) / period)].append(value)
    return [STATISTICS[alarm["Statistic"]](found) if found else None for found in bins]


def states(
    alarm: Mapping[str, Any], samples: Sequence[Sample], until: float, since: float = 0.0, every: float = 60.0
) -> list[tuple[float, str]]:
    """The state after each evaluation, one a minute; a new alarm begins without data."""
    now, current, found = since, INSUFFICIENT, []
    while now <= until:
        current = state(alarm, points(alarm, samples, now), current)
        found.append((now, current))
        now += every
    return found


def told(alarm: Mapping[str, Any], history: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Whom an alarm tells what: the actions of each state that is entered; a state without actions tells nobody."""
    actions = {OK: "OKActions", ALARM: "AlarmActions", INSUFFICIENT: "InsufficientDataActions"}
    before, found = INSUFFICIENT, []
    for at, current in history:
        if current != before and alarm.get(actions[current]):
            found.append((at, current))
        before = current
    return found


def problems(alarm: Mapping[str, Any]) -> list[str]:
    """What PutMetricAlarm would refuse."""
    found = []
    period = alarm["Period"]
    if period not in (10, 20, 30) and (period <= 0 or period % 60):
        found.append("Period is 10, 20, 30 or a multiple of 60")
    if period * alarm["EvaluationPeriods"] > (DAY_S if period < 3600 else 7 * DAY_S):
        found.append("the evaluation is longer than a day, or than seven for periods of an hour and more")
    if not 1 <= alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]:
        found.append("DatapointsToAlarm is between 1 and EvaluationPeriods")
    for kind in ("AlarmActions", "OKActions", "InsufficientDataActions"):
        for arn in alarm.get(kind, []):
            parts = arn.split(":")
            if parts[:1] != ["arn"] or len(parts) < 6 or not (parts[4].isdecimal() and len(parts[4]) == 12):
                found.append(f"{kind}: {arn} is no ARN with an account of 12 digits")
    return found
