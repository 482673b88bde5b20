"""Those who take part in a drill are told of it through the channel that the programme names, before they are asked."""

import pytest
from pgrescue import runner
from pgrescue.alerting import policy as alert_policy
from pgrescue.drill import conduct
from pgrescue.programme import plan as plans
from pgrescue.watch import setting
from rich.console import Console
from sinks import running
from test_programme import programme

PEOPLE = ["ada", {"name": "omar", "channel": "team"}, {"name": "noor", "channel": "team"}]
SAYS = "A drill: failover."


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sink")) as there:
        yield there


@pytest.fixture
def prepared(tmp_path, monkeypatch, sink):
    """The checklist before a drill with these people; what was said of them, and what the channel got."""
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    asked = []

    def ask(people=PEOPLE, url="/webhook", failing=None, acknowledged=(), **more):
        def read(*_):
            asked.append(1)
            if failing:
                raise setting.WatchError(failing)
            hook = {"kind": "webhook", "url": url if "://" in url else f"{sink.url}{url}"}
            alerts = alert_policy.read({"channels": {"team": hook}, "retry": {"attempts": 1, "budget_s": 5}})
            return setting.Setting("shop", "x", {}, {}, 2.0, 2.0, {}, alerts)

        monkeypatch.setattr(setting, "read", read)
        before, out = len(sink.received()), Console(record=True, width=300, force_terminal=False)
        service = {"owner": "lena", "participants": people, **more.pop("service", {})}
        items = conduct.prepared(
            ["failover"], SAYS, conduct.Wish("shop", str(tmp_path), acknowledged=acknowledged, **more),
            programme(services={"shop": service}), out,
        )  # fmt: skip
        return items, out.export_text(), sink.received()[before:], len(asked)

    return ask


def test_everybody_with_a_channel_is_told_once_and_must_still_acknowledge(prepared):
    items, said, got, _ = prepared()
    assert items is None
    assert "not acknowledged by ada, noor, omar; omar told through team; noor told through team" in said
    (one,) = got
    payload = one["payload"]
    assert (payload["kind"], payload["severity"], payload["title"]) == ("rehearsal", "info", SAYS)
    assert "it is no incident" in payload["lines"][0]
    assert payload["commands"] == ['pgrescue drill --stop "why" -s shop']


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"url": "http://127.0.0.1:9/x"}, "omar not told: team: "),
        ({"failing": "no host answers. Nothing is watched."}, "omar not told: no host answers."),
        ({"people": [{"name": "omar", "channel": "nowhere"}]}, "omar not told: nowhere: There is no channel"),
    ],
)
def test_who_could_not_be_told_is_said_and_is_not_taken_for_told(prepared, more, words):
    items, said, _, _ = prepared(**more)
    assert items is None
    assert words in said


def test_what_came_of_telling_them_is_kept_with_their_acknowledgement(prepared):
    reasons = dict.fromkeys(("parity", "runbook_reviewed", "page_proven", "credentials"), "a test")
    items, said, _, _ = prepared(acknowledged=("ada", "omar", "noor"), without=reasons)
    kept = next(one for one in items or [] if one.item == "participants")
    assert (kept.done, "Not done" in said) == (True, False)
    assert kept.said == "ada, omar, noor acknowledged; omar told through team; noor told through team"


def test_nobody_is_told_where_the_drill_goes_on_without_them_or_no_channel_is_named(prepared):
    assert prepared(without={"participants": "a test"})[2:] == ([], 0)
    assert prepared(service={"going_without": {"participants": "a test"}})[2:] == ([], 0)
    assert prepared(people=["ada", "omar"])[2:] == ([], 0)


def test_a_participant_is_a_name_or_a_name_and_a_channel():
    people = programme(services={"shop": {"owner": "lena", "participants": PEOPLE}}).services["shop"].participants
    assert people[:2] == [plans.Participant(name="ada"), plans.Participant(name="omar", channel="team")]
