"""A test that did not happen is told once for each obligation and period, and once when it was caught up with."""

import json
from datetime import UTC, date, datetime

import pytest
from pgrescue import cli, runner
from pgrescue.alerting import policy as alert_policy
from pgrescue.findings import Finding
from pgrescue.programme import alerts, due
from pgrescue.programme import plan as plans
from pgrescue.watch import setting
from sinks import running
from test_programme import programme, ran
from typer.testing import CliRunner

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
TODAY = NOW.date()
FINDING = Finding(
    id="20261101T000000Z-shop-failover/rto", run="20261101T000000Z-shop-failover", service="shop", title="Too slow",
    severity="high", owner="lena", due="2026-11-15", opened=NOW,
)  # fmt: skip


@pytest.fixture(scope="module")
def sink(tmp_path_factory):
    with running(tmp_path_factory.mktemp("sink")) as there:
        yield there


def policy(sink, **more):
    hook = {"kind": "webhook", "url": f"{sink.url}/webhook"}
    said = {"channels": {"team": hook}, "tickets": ["team"], "retry": {"attempts": 1, "budget_s": 5}}
    return alert_policy.read({**said, **more})


def overdue(*runs, today=TODAY, findings=()):
    monthly = programme(obligations=[{"name": "full_drill", "says": "x", "every": "month", "kind": "drill"}])
    return alerts.late(due.duties(monthly, runs, today), findings, today)


SEPTEMBER = ran(date(2026, 9, 30))


def tell(runs, what, sink, **more):
    return alerts.tell(runs, ["shop"], what, lambda _: policy(sink, **more), NOW)


def kinds(sink, key):
    return [one["payload"]["kind"] for one in sink.received(key)]


def test_what_is_overdue_says_what_was_promised_since_when_and_what_to_type():
    (late,) = overdue(SEPTEMBER)
    assert late.key == "programme:shop:full_drill:2026-10"
    assert late.title == "full_drill did not happen in 2026-10"
    assert "It last passed on 2026-09-30." in late.lines
    assert late.commands == ("pgrescue drill -s shop", "pgrescue programme -s shop")
    assert overdue(SEPTEMBER, ran(NOW.date())) == []
    (found,) = overdue(SEPTEMBER, ran(NOW.date()), findings=[FINDING])
    assert found.title == "A finding is overdue: 20261101T000000Z-shop-failover/rto"


def test_each_is_told_once_for_its_period_and_resolved_once_when_it_is_done(tmp_path, sink):
    key, later = "programme:shop:full_drill:2026-10", "programme:shop:full_drill:2026-11"
    assert tell(tmp_path, overdue(SEPTEMBER), sink).said == [
        "Told through team: shop: full_drill did not happen in 2026-10"
    ]
    assert tell(tmp_path, overdue(SEPTEMBER), sink).said == []
    assert kinds(sink, key) == ["opened"]
    tell(tmp_path, overdue(SEPTEMBER, today=date(2026, 12, 1)), sink)  # another month went by: it is not over
    assert (kinds(sink, key), kinds(sink, later)) == (["opened"], ["opened"])
    for _ in range(2):
        tell(tmp_path, overdue(SEPTEMBER, ran(NOW.date())), sink)
    assert (kinds(sink, key), kinds(sink, later)) == (["opened", "resolved"], ["opened", "resolved"])
    assert alerts.read(tmp_path).told == {}


def test_what_nobody_took_is_said_and_told_again_the_next_time(tmp_path, sink):
    nowhere = {"channels": {"team": {"kind": "webhook", "url": "http://127.0.0.1:9/x"}}}
    late = overdue(findings=[FINDING])
    came = tell(tmp_path, late, sink, **nowhere)
    assert (came.said, len(came.failed)) == ([], 2)
    assert came.failed[0].startswith("Nobody was told: shop: full_drill did not happen in 2026-10: team: ")
    assert len(tell(tmp_path, late, sink).said) == 2


def test_the_end_of_what_was_told_is_tried_again_when_nobody_took_it(tmp_path, sink):
    tell(tmp_path, overdue(SEPTEMBER), sink)
    nowhere = {"channels": {"team": {"kind": "webhook", "url": "http://127.0.0.1:9/x"}}}
    assert tell(tmp_path, [], sink, **nowhere).failed
    assert tell(tmp_path, [], sink).said == ["Told through team: shop: Over: full_drill did not happen in 2026-10"]


def test_no_two_services_share_a_key():
    """A service's name may hold what is between names elsewhere, and two services may have findings of one name."""
    named = [FINDING.model_copy(update={"service": service}) for service in ("shop", "orders")]
    keys = [one.key for one in overdue(findings=named)]
    assert len(set(keys)) == len(keys) == 3


def test_another_service_s_alerts_are_left_alone(tmp_path, sink):
    tell(tmp_path, overdue(SEPTEMBER), sink)
    assert alerts.tell(tmp_path, ["orders"], [], lambda _: policy(sink), NOW).said == []
    assert alerts.read(tmp_path).told


def test_nobody_is_asked_where_there_is_no_news(tmp_path):
    def ask(_):
        raise AssertionError("asked")

    assert alerts.tell(tmp_path, ["shop"], [], ask, NOW).said == []


def test_a_service_without_a_channel_and_a_state_that_cannot_be_read_are_refused(tmp_path, sink):
    with pytest.raises(alerts.AlertsError, match=r"no channel for what wakes nobody. Nobody was told"):
        tell(tmp_path, overdue(SEPTEMBER), sink, tickets=[])
    (tmp_path / "programme").mkdir()
    (tmp_path / "programme/alerts.json").write_text("{")
    with pytest.raises(alerts.AlertsError, match=r"Nobody was told. Look at it, or remove it"):
        tell(tmp_path, overdue(SEPTEMBER), sink)


@pytest.fixture
def typed(tmp_path, monkeypatch, sink):
    """The command, with an inventory that names this policy."""
    late = programme(begun="2026-01-01", blocked=[])
    monkeypatch.setattr(plans, "load", lambda: late)
    monkeypatch.setattr(runner, "RUNS", tmp_path)

    def ask(said, *words):
        made = setting.Setting("shop", "x", {}, {}, 2.0, 2.0, {}, said)
        monkeypatch.setattr(setting, "read", lambda *_: made)
        return CliRunner().invoke(cli.app, ["programme", "--alert", "-i", "inventories/lab", *words])

    return ask


def test_one_command_tells_and_ends_as_without_it(typed, sink, tmp_path):
    first = typed(policy(sink), "--json")
    assert first.exit_code == 1
    assert "Told through team: shop: restore_test did not happen in " in first.stderr
    assert {one["state"] for one in json.loads(first.stdout)["duties"]} == {"overdue"}
    assert (typed(policy(sink)).exit_code, typed(policy(sink)).stderr) == (1, "")


def test_the_command_ends_with_5_when_nobody_was_told_and_3_when_there_is_no_way(typed, sink):
    nowhere = policy(sink, channels={"team": {"kind": "webhook", "url": "http://127.0.0.1:9/x"}})
    assert typed(nowhere).exit_code == 5
    assert typed(policy(sink, tickets=[])).exit_code == 3
