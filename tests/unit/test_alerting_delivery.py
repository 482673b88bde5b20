"""A level's channels in turn: what is tried again, what is gone past, and that all of it is written down."""

import json
from datetime import timedelta

import pytest
from pgrescue.alerting import policy
from pgrescue.alerting.delivery import deliver, deliver_level
from sinks import AT, KEY, message, running


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sink")) as sink:
        yield sink


@pytest.fixture
def sink(process):
    yield process
    process.quiet()


class Hands:
    """A clock whose hands move while a delivery pauses."""

    def __init__(self):
        self.now = AT
        self.pauses = []

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def hands():
    return Hands()


def read(sink, **changes):
    levels = [{"channels": ["slack", "discord", "smtp"]}, {"channels": ["pagerduty", "sns", "webhook"], "all": True}]
    return policy.read({"channels": sink.channels(), "levels": levels, **changes})


def outcomes(delivery):
    return [(attempt.channel, attempt.outcome) for attempt in delivery.attempts]


def test_the_first_that_takes_it_is_enough(sink, hands):
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert (made.delivered, outcomes(made), hands.pauses) == (True, [("slack", "delivered")], [])


def test_a_channel_that_asks_for_patience_gets_it(sink, hands):
    sink.order("slack", 429, times=2, retry_after=4)
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert outcomes(made) == [("slack", "failed"), ("slack", "failed"), ("slack", "delivered")]
    assert hands.pauses == [4, 4]


def test_patience_beyond_the_budget_goes_to_the_next_at_once(sink, hands):
    sink.order("slack", 429, retry_after=31)
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert (outcomes(made), hands.pauses) == ([("slack", "failed"), ("discord", "delivered")], [])


def test_a_channel_that_stays_broken_is_gone_past(sink, hands):
    sink.order("slack", 500, times=9)
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert outcomes(made) == [("slack", "failed")] * 3 + [("discord", "delivered")]
    assert made.channels == ["discord"]
    assert made.reasons == ["slack: It answered 500."] * 3
    first, second = hands.pauses
    assert 0.25 <= first <= 0.5 <= second <= 1.0


def test_a_refusal_for_good_is_not_tried_again(sink, hands):
    sink.order("slack", 403, times=9)
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert (outcomes(made), hands.pauses) == ([("slack", "refused"), ("discord", "delivered")], [])


def test_one_that_hangs_costs_no_more_than_its_time_out(sink):
    sink.order("slack", "hang", times=9)
    channels = sink.channels() | {"slack": sink.channels()["slack"] | {"timeout_s": 0.3}}
    said = read(sink, channels=channels, retry={"attempts": 2, "budget_s": 5})
    made = deliver_level(message(), 0, said, {})
    assert outcomes(made) == [("slack", "failed"), ("slack", "failed"), ("discord", "delivered")]
    assert "slack: No answer within 0.3 s." in made.reasons
    for attempt in made.attempts[:2]:
        assert 0.25 < (attempt.ended - attempt.started).total_seconds() < 3


def test_no_attempt_lasts_longer_than_the_budget(sink):
    sink.order("slack", "drip", times=9)
    made = deliver(message(), ["slack"], read(sink, retry={"attempts": 9, "budget_s": 0.5}), {})
    assert outcomes(made) == [("slack", "failed")]
    assert (made.attempts[-1].ended - made.attempts[0].started).total_seconds() < 3


def test_when_nobody_takes_it_that_is_what_is_written_down(sink, hands):
    for channel, answer in (("slack", 500), ("discord", 400), ("smtp", 429)):
        sink.order(channel, answer, times=9)
    made = deliver_level(message(), 0, read(sink), {}, hands.clock, hands.pause)
    assert not made.delivered
    assert outcomes(made) == [("slack", "failed")] * 3 + [("discord", "refused")] + [("smtp", "failed")] * 3
    record = json.loads(json.dumps(made.dump()))
    assert record["delivered"] is False
    assert record["attempts"][0] == {
        "channel": "slack", "started": "2026-11-24T01:20:50.000000Z", "ended": "2026-11-24T01:20:50.000000Z",
        "outcome": "failed", "reason": "It answered 500.",
    }  # fmt: skip


def test_all_of_a_level_are_told_side_by_side(sink, hands):
    sink.order("sns", 403)
    made = deliver_level(message(key="side-by-side"), 1, read(sink), {}, hands.clock, hands.pause)
    assert sorted(outcomes(made)) == [("pagerduty", "delivered"), ("sns", "refused"), ("webhook", "delivered")]
    assert made.delivered


def test_side_by_side_one_that_hangs_keeps_nobody_waiting(sink):
    sink.order("pagerduty", "hang", times=9)
    made = deliver_level(message(key="hung"), 1, read(sink, retry={"attempts": 1, "budget_s": 0.8}), {})
    ended = {attempt.channel: attempt.ended for attempt in made.attempts}
    assert (ended["pagerduty"] - ended["webhook"]).total_seconds() > 0.3
    assert set(made.channels) == {"sns", "webhook"}


def test_a_name_that_is_none_is_written_down(sink, hands):
    made = deliver(message(), ["pigeon", "webhook"], read(sink), {}, hands.clock, hands.pause)
    assert outcomes(made) == [("pigeon", "refused"), ("webhook", "delivered")]
    assert not deliver(message(), [], read(sink), {}).delivered


def test_what_a_channel_remembers_is_kept_by_the_caller(sink):
    threads = {}
    for names in (["slack", "smtp"], ["smtp"], ["webhook"]):
        assert deliver(message(), names, read(sink), threads).delivered
    assert set(threads) == {"slack", "smtp"}
    before = json.dumps(threads)
    assert deliver(
        message(kind="resolved"), ["slack", "smtp"], read(sink), json.loads(before), side_by_side=True
    ).delivered
    sent = [entry["payload"] for entry in sink.received(KEY) if entry["channel"] == "slack"]
    assert sent[-1]["thread_ts"] == threads["slack"][KEY]["ts"]
    sink.order("slack", 500, times=9)
    deliver(message(), ["slack"], read(sink, retry={"attempts": 1, "budget_s": 5}), threads)
    assert json.dumps(threads) == before, "a failure forgets nothing"
