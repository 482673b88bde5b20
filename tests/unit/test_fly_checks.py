"""Fly.io's health checks: a contract alone, against a stand-in that answers as its specification says."""

import jsonschema
import pytest
import requests
from modules import module
from pgrescue.core import cloudwatch_data, fly
from platforms import TOKEN, Fly, played
from postgres import free_port

# `CheckStatus` of the Machines API (docs.machines.dev), and the words of its status
CHECK = {
    "type": "object",
    "required": ["name", "status"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "status": {"enum": ["passing", "warning", "critical"]},
        "output": {"type": "string"},
        "updated_at": {"type": "string", "format": "date-time"},
    },
}


@pytest.fixture
def platform():
    with played(Fly("started", "stopped", "started")) as made:
        made.says("18e4", health="passing", disk="passing")
        made.says("28e4", health="critical")  # it was stopped, and says what it said last
        made.says("38e4", health="passing", disk="warning")
        yield made


def asked(platform, **more):
    return module("fly_checks")(**{"url": platform.url, "app": "orders", "token": TOKEN, **more})["fly"]


def test_the_stand_in_answers_as_the_specification_says(platform):
    answer = requests.get(
        f"{platform.url}/v1/apps/orders/machines", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5
    )
    checks = [check for machine in answer.json() for check in machine["checks"]]
    assert len(checks) == 5
    for check in checks:
        jsonschema.validate(check, CHECK)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**checks[0], "status": "fine"}, CHECK)


def test_each_check_of_a_machine_that_runs_is_told(platform):
    seen = asked(platform)
    assert seen["problem"] is None
    assert [(check["machine"], check["name"], check["status"]) for check in seen["checks"]] == [
        ("18e4", "health", "passing"),
        ("18e4", "disk", "passing"),
        ("38e4", "health", "passing"),
        ("38e4", "disk", "warning"),
    ]
    data = {one["MetricName"]: one["Value"] for one in cloudwatch_data.data("shop", {"fly": seen}, 0.0)}
    assert data["FailingChecks"] == 1.0


def test_a_check_that_says_nothing_or_something_new_is_not_passing():
    machine = {"id": "1", "state": "started", "checks": [{"name": "a"}, {"name": "b", "status": "splendid"}, {}]}
    assert [check["status"] for check in fly.checks([machine])] == ["unknown"] * 3
    assert fly.checks([{"id": "1", "state": "started"}, {"id": "2", "state": "destroyed", "checks": [{}]}]) == []


@pytest.mark.parametrize("more", [{"token": "wrong-token"}, {"url": "nowhere"}, {"app": "others"}])
def test_an_api_that_does_not_answer_is_an_observation(platform, more):
    more = {"url": f"http://127.0.0.1:{free_port()}"} if "url" in more else more
    seen = asked(platform, **more)
    assert seen["problem"] and "checks" not in seen
    assert more.get("token", TOKEN) not in seen["problem"]
    assert [one["MetricName"] for one in cloudwatch_data.data("shop", {"fly": seen}, 0.0)] == ["CollectorSuccess"]
