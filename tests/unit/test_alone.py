"""What may be done without asking anybody."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pgrescue.core import alone, guards

STOPPED = {"state": "stopped", "followed": True}
NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC).timestamp()  # a Friday
POLICY = {"restart": {"states": ["stopped"], "at_most": 1, "within_s": 3600}}


def test_it_is_off_where_nothing_is_said():
    assert alone.why_not({}, "restart", STOPPED, [], NOW) == "service_alone does not have it"


@pytest.mark.parametrize(
    ("policy", "situation", "past", "says"),
    [
        (POLICY, STOPPED, [], None),
        (POLICY, {**STOPPED, "state": "hung"}, [], "the service is hung"),
        ({"restart": {}}, {**STOPPED, "state": "hung"}, [], None),
        ({"restart": {}}, {**STOPPED, "state": "host_gone"}, [], "the service is host_gone"),
        (POLICY, STOPPED, [{"action": "restart", "at_s": NOW - 3599}], "1 times"),
        (POLICY, STOPPED, [{"action": "restart", "at_s": NOW - 3601}], None),
        ({"restart": {"windows": ["22:00-06:00"]}}, STOPPED, [], None),
        ({"restart": {"windows": ["thu 22:00-06:00"]}}, STOPPED, [], None),  # it began on Thursday
        ({"restart": {"windows": ["fri 22:00-06:00"]}}, STOPPED, [], "outside"),
        ({"restart": {"windows": ["sat,sun 00:00-24:00"]}}, STOPPED, [], "outside"),
        ({"restart": {"followed": True}}, {**STOPPED, "followed": False}, [], "no standby follows"),
    ],
)
def test_each_condition_is_held(policy, situation, past, says):
    found = alone.why_not(policy, "restart", situation, past, NOW)
    assert found is None if says is None else says in str(found)


@pytest.mark.parametrize(
    "policy",
    [
        {"failover": {}},
        {"restart": None},
        {"restart": {"evry": 1}},
        {"restart": {"states": ["host_gone"]}},
        {"restart": {"windows": ["22-06"]}},
        {"restart": {"windows": ["caturday 22:00-06:00"]}},
        {"restart": {"windows": ["22:61-25:00"]}},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(policy):
    with pytest.raises(guards.Stop) as refusal:
        alone.check(policy)
    assert refusal.value.exit_code == guards.PRECONDITION


def test_of_twenty_that_ask_at_once_one_is_let_through(tmp_path):
    arguments = {
        "service": "shop",
        "action": "restart",
        "policy": POLICY,
        "situation": STOPPED,
        "directory": str(tmp_path),
    }
    program = (
        "import json, sys; from modules import module; print(json.dumps(module('alone_slot')(**json.load(sys.stdin))))"
    )
    tests = Path(__file__).resolve().parents[1]

    def ask(_number: int) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(arguments),
            capture_output=True,
            text=True,
            check=True,
            cwd=tests,
        )
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(20)))
    assert sum(bool(answer.get("changed")) for answer in answers) == 1
    refused = [answer for answer in answers if answer.get("failed")]
    assert len(refused) == 19 and {answer["exit_code"] for answer in refused} == {guards.REFUSED}


def test_a_policy_is_read_from_yaml_as_it_is_written():
    import yaml

    page = (Path(__file__).resolve().parents[2] / "docs/watch.md").read_text()
    written = page.split("```yaml")[1].split("```")[0]
    policy = yaml.safe_load(written)["service_alone"]
    alone.check(policy)  # a key such as `on` would be read as true
    assert policy["restart"]["states"] == ["stopped", "hung"]
