"""The evaluator of CloudWatch alarms held against the examples that Amazon publishes, the original alarm against it."""

from itertools import pairwise

import pytest
from alarm_evaluator import ALARM, DAY_S, INSUFFICIENT, OK, points, problems, state, states, told
from hypothesis import given
from hypothesis import strategies as st

MODES = ("missing", "ignore", "breaching", "notBreaching")
KEEP = "Retain current state"
# CloudWatch User Guide, "Configuring how CloudWatch alarms treat missing data": evaluation range 5, newest right,
# 0 within the threshold, X breaching it, - missing. Columns as MODES.
THREE_OF_THREE = {
    "0 - X - X": (OK, OK, OK, OK),
    "0 - - - -": (OK, OK, OK, OK),
    "- - - - -": (INSUFFICIENT, KEEP, ALARM, OK),
    "0 X X - X": (ALARM, ALARM, ALARM, ALARM),
    "- - X - -": (ALARM, KEEP, ALARM, OK),
}
TWO_OF_THREE = {
    "0 - X - X": (ALARM, ALARM, ALARM, ALARM),
    "0 0 X 0 X": (ALARM, ALARM, ALARM, ALARM),
    "0 - X - -": (OK, OK, ALARM, OK),
    "- - - - 0": (OK, OK, ALARM, OK),
    "- - - X -": (ALARM, KEEP, ALARM, OK),
}
# "Avoiding premature transitions to alarm state" says that these do not become ALARM at once; the state instead of it
# stands in the guide's table of 2018, whose fifth row is the first of them
PREMATURE = {"- - - - X": (INSUFFICIENT, KEEP, ALARM, OK), "- - - X -": (INSUFFICIENT, KEEP, ALARM, OK)}
TABLES = [(3, row, PREMATURE[row]) for row in PREMATURE]
TABLES += [(3, row, said) for row, said in THREE_OF_THREE.items()]
TABLES += [(2, row, said) for row, said in TWO_OF_THREE.items()]

ORIGINAL = {  # the source document's alarm
    "AlarmName": "DatabaseBackupFailed",
    "Namespace": "AI-Affiliate-Empire",
    "MetricName": "BackupSuccess",
    "Statistic": "Sum",
    "Period": DAY_S,
    "EvaluationPeriods": 1,
    "Threshold": 0,
    "ComparisonOperator": "LessThanOrEqualToThreshold",
    "AlarmActions": ["arn:aws:sns:us-east-1:123456789:database-alerts"],
}


def of_three(enough, treat):
    return {
        "EvaluationPeriods": 3,
        "DatapointsToAlarm": enough,
        "TreatMissingData": treat,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 0,
    }


@pytest.mark.parametrize("before", [OK, ALARM, INSUFFICIENT])
@pytest.mark.parametrize(("enough", "row", "said"), TABLES, ids=str)
def test_the_published_examples(enough, row, said, before):
    seen = [{"0": 0.0, "X": 1.0, "-": None}[point] for point in row.split()]
    for treat, expected in zip(MODES, said, strict=True):
        assert state(of_three(enough, treat), seen, before) == (before if expected == KEEP else expected), treat


@given(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=5, max_size=5), st.sampled_from(MODES), st.integers(1, 3))
def test_what_the_guide_says_in_words(seen, treat, enough):
    alarm = of_three(enough, treat)
    real = [point for point in seen if point is not None]
    found = {state(alarm, seen, before) for before in (OK, ALARM, INSUFFICIENT)}
    if len(real) >= 3:  # "the value you set for how to treat missing data is not needed and is ignored"
        assert found == {ALARM if sum(real[-3:]) >= enough else OK}
    elif treat in ("breaching", "notBreaching"):
        assert found == {ALARM if sum(real) + (3 - len(real)) * (treat == "breaching") >= enough else OK}
    assert treat == "ignore" or len(found) == 1, "only `ignore` keeps a state"
    assert treat == "missing" or INSUFFICIENT not in found or treat == "ignore"


def test_a_data_point_is_what_fell_into_its_period():
    alarm = {"Period": 300, "EvaluationPeriods": 3, "Statistic": "Maximum"}
    assert points(alarm, [(-1, 5), (0, 1), (299, 9), (300, 2), (1500, 7)], 1500) == [9, 2, None, None, None]
    assert points({**alarm, "Statistic": "Sum"}, [(1200, 1), (1499, 2)], 1500)[-1] == 3


DAYS = st.lists(st.booleans(), min_size=1, max_size=7)


@given(DAYS, st.integers(0, DAY_S - 1), st.lists(st.integers(-3600, 3600), min_size=7, max_size=7))
def test_the_original_alarm_cannot_fire_whatever_backups_do(days, hour, drift):
    """A backup that fails publishes nothing, so no point is ever 0; what is missing is not bad and tells nobody."""
    samples = [
        (DAY_S + day * DAY_S + hour + late, 1.0)
        for day, (good, late) in enumerate(zip(days, drift, strict=False))
        if good
    ]
    history = states(ORIGINAL, samples, (len(days) + 5) * DAY_S, every=3600)
    assert ALARM not in {seen for _at, seen in history}
    assert told(ORIGINAL, history) == []


def test_what_would_have_let_the_original_fire_is_seen_by_the_evaluator():
    """Else the test above could not fail."""
    failure = states(ORIGINAL, [(DAY_S, 1.0), (2 * DAY_S + 60, 0.0)], 2 * DAY_S + 3600, every=60)
    assert failure[-1][1] == ALARM
    silence = states({**ORIGINAL, "TreatMissingData": "breaching"}, [(DAY_S, 1.0)], 6 * DAY_S, every=3600)
    assert silence[-1][1] == ALARM
    first = next(at for at, seen in silence if seen == ALARM and at > DAY_S)
    assert first >= 4 * DAY_S, "with a period of a day silence is noticed after three"


def test_the_original_would_not_even_be_taken():
    assert problems(ORIGINAL) == [
        "AlarmActions: arn:aws:sns:us-east-1:123456789:database-alerts is no ARN with an account of 12 digits"
    ]
    assert "multiple of 60" in problems({**ORIGINAL, "Period": 90})[0]
    assert "longer than a day" in problems({**ORIGINAL, "Period": 300, "EvaluationPeriods": 289})[0]
    assert "between 1 and" in problems({**ORIGINAL, "DatapointsToAlarm": 2})[0]


def test_a_state_tells_once_and_only_where_it_has_actions():
    history = [(0, INSUFFICIENT), (1, OK), (2, OK), (3, ALARM), (4, ALARM), (5, OK)]
    alarm = {"AlarmActions": ["a"], "OKActions": ["a"]}
    assert told(alarm, history) == [(1, OK), (3, ALARM), (5, OK)]
    assert all(a < b for (a, _), (b, _) in pairwise(history))
