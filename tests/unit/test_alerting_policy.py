"""Whom to alert and when, and what a variable that cannot be meant is told."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pgrescue.alerting import draft
from pgrescue.alerting.message import Message
from pgrescue.alerting.policy import PolicyError, due_levels, read, update_due
from sinks import AT, KEY, SECRET, message

HOOK = {"kind": "webhook", "url": "https://hooks.example/" + SECRET}
SAID = {
    "channels": {"first": HOOK, "second": HOOK, "third": HOOK},
    "levels": [
        {"channels": ["first"]},
        {"channels": ["second"], "after_s": 300},
        {"channels": ["third"], "after_s": 900},
    ],
}
POLICY = read(SAID)


def after(seconds):
    return AT + timedelta(seconds=seconds)


def test_the_example_of_the_page_is_a_policy():
    page = (Path(__file__).parents[2] / "docs/alerting.md").read_text()
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    assert len(read(example["service_alerts"]).levels) == 3


def test_what_is_not_said_is_as_documented():
    assert (POLICY.update_every_s, POLICY.retry.attempts, POLICY.retry.budget_s) == (900, 3, 30)
    assert POLICY.channels["first"].timeout_s == 5
    assert read({}).levels == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chanels": {}}, "service_alerts.chanels is not a key that is known here."),
        ({"levels": [{"channels": ["fourth"]}]}, "level 0 names the channel fourth, which is not among the channels."),
        ({"levels": [{"channels": []}]}, "service_alerts.levels.0.channels: List should have at least 1 item"),
        ({"levels": [{"channels": ["first"], "after_s": 9}, {"channels": ["second"]}]}, "level 1 comes before the one"),
        ({"levels": [{"channels": ["first"], "afters": 9}]}, "service_alerts.levels.0.afters is not a key"),
        (
            {"channels": {"first": {"kind": "pigeon"}}},
            "service_alerts.channels.first has a kind that is not among 'slack'",
        ),
        ({"channels": {"first": {}}}, "service_alerts.channels.first has no kind."),
        ({"channels": {"first": {**HOOK, "urls": 1}}}, "service_alerts.channels.first.urls is not a key"),
        ({"channels": {"first": {**HOOK, "timeout_s": 0}}}, "service_alerts.channels.first.timeout_s: "),
        ({"channels": {"first": {**HOOK, "url": "ftp://" + SECRET}}}, "an address begins with https:// or http://"),
        ({"channels": {"fir st": HOOK}}, "service_alerts.channels.fir st"),
        ({"retry": {"attempts": 0}}, "service_alerts.retry.attempts: "),
        ({"update_every_s": float("nan")}, "service_alerts.update_every_s: "),
        (
            {"channels": {"first": {"kind": "sns", "region": "eu-west-1"}}},
            "service_alerts.channels.first: either phone or topic is given.",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(PolicyError) as refused:
        read(SAID | changes)
    assert sentence in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("said", [None, [], "slack", {"channels": ["slack"]}, {"levels": {}}])
def test_a_variable_of_another_shape_is_refused(said):
    with pytest.raises(PolicyError, match="service_alerts"):
        read(said)


@pytest.mark.parametrize(
    ("acknowledged", "sent", "now", "due"),
    [
        (None, [], 0, [0]),
        (None, [0], 0, []),
        (None, [0], 299.9, []),
        (None, [0], 300, [1]),
        (None, [0, 1], 899, []),
        (None, [0, 1], 900, [2]),
        (None, [0, 1, 2], 90000, []),
        (None, [], 5000, [0, 1, 2]),  # whoever decides was away for so long
        (None, [1], 300, [0]),
        (100, [0], 5000, []),
        (300, [0], 300, []),
        (None, [], -60, [0]),  # the clock was set back
        (None, [0], -60, []),
    ],
)
def test_the_next_level_is_told_while_nobody_acknowledges(acknowledged, sent, now, due):
    acknowledged_at = None if acknowledged is None else after(acknowledged)
    assert due_levels(POLICY, AT, acknowledged_at, sent, after(now)) == due


@given(st.lists(st.floats(0, 2000), max_size=20))
def test_each_level_is_told_once_and_in_turn_whenever_somebody_looks(looks):
    sent = []
    for now in sorted(looks):
        due = due_levels(POLICY, AT, None, sent, after(now))
        assert not set(due) & set(sent)
        sent += due
    latest = max(looks, default=-1)
    assert sent == [n for n, level in enumerate(POLICY.levels) if level.after_s <= latest]


@pytest.mark.parametrize(
    ("every", "now", "due"), [(900, 899.9, False), (900, 900, True), (0, 90000, False), (900, -5, False)]
)
def test_an_update_is_due_every_quarter_of_an_hour(every, now, due):
    assert update_due(read(SAID | {"update_every_s": every}), AT, after(now)) is due


def test_an_update_is_drafted_from_what_is_known():
    made = draft.status_update(
        draft.Situation(
            key=KEY, service="shop", severity="critical", seen="Orders cannot be placed", since=AT,
            doing=("restoring 20261124-010000F on db2", "the application waits"),
            next_update=after(1800), now=after(900.4),
            lost="at most 12 s of commits", commands=("pgrescue status --service shop",),
        )
    )  # fmt: skip
    assert isinstance(made, Message)
    assert draft.as_text(made).splitlines() == [
        "shop: Orders cannot be placed",
        "Since: 2026-11-24 01:20:50 UTC, for 15 min",
        "Being done: restoring 20261124-010000F on db2",
        "Being done: the application waits",
        "Data: at most 12 s of commits",
        "Next update: 01:50:50Z",
        "pgrescue status --service shop",
    ]


def test_an_update_says_what_is_not_known():
    made = draft.status_update(
        draft.Situation(KEY, "shop", "warning", "Replication stands still", AT, (), None, after(60))
    )
    assert made.lines[1:] == (
        "Being done: nothing yet",
        "Data: whether anything is lost is not known yet",
        "Next update: when something changes",
    )


@pytest.mark.parametrize("changes", [{"at": datetime(2026, 11, 24)}, {"kind": "shout"}, {"severity": "dire"}])
def test_a_message_that_is_none_is_refused(changes):
    with pytest.raises(ValueError, match="message"):
        message(**changes)
