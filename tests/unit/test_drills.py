"""A drill names what is there, and its rules are ones that can be judged."""

import copy
from pathlib import Path

import pytest
import yaml
from pgrescue.drill import scenario
from pydantic import ValidationError

HOUSE = Path(__file__).parents[2]
DRILLS = [path.stem for path in sorted((HOUSE / "drills").glob("*.yml")) if path.stem != "programme"]


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_names_a_runbook_and_playbooks_that_are_there_and_options_that_the_runbook_has(name):
    what = scenario.raw(name)
    runbook = HOUSE / "playbooks" / f"{what['procedure']}.meta.yml"
    options = yaml.safe_load(runbook.read_text())["argument_specs"][what["procedure"]]["options"]
    assert {*what.get("variables", {}), *what.get("just_before", [])} <= set(options)
    assert all((HOUSE / path).exists() for path in [what["steady_state"], what.get("fault", "."), *what["repair"]])
    assert what["says"].endswith(".")
    assert what["within_s"] > 0


@pytest.mark.parametrize("name", DRILLS)
def test_every_drill_says_what_it_is_for_what_counts_and_what_stops_it(name):
    what = scenario.load(name)
    assert what.objective.endswith(".")
    rules = {rule.rule for rule in what.must}
    assert {"recovered"} <= rules
    assert {"validated", "steady_after"} <= rules or what.fails_on_purpose
    assert set(what.stop_when) == {"another_service_is_ill", "incident_elsewhere", "somebody_stops"}


def test_the_drill_that_must_fail_is_there_alone():
    assert [name for name in DRILLS if scenario.load(name).fails_on_purpose] == ["impossible_promise"]


WRONG = {
    "a rule that nobody knows": lambda d: d["must"].append("fast_enough"),
    "a limit where none is": lambda d: d["must"].append({"recovered": 3}),
    "no limit where one is": lambda d: d["must"].append("rto_within"),
    "a limit by phase for a time": lambda d: d["must"].append({"rto_within": {"restore": 3}}),
    "one limit for all phases": lambda d: d["must"].append({"phase_within": 3}),
    "a promise that no inventory makes": lambda d: d["must"].append({"detection_within": "promised"}),
    "a window without an end": lambda d: d.update(within_s=float("inf")),
    "a limit below zero": lambda d: d["must"].append({"rto_within": -1}),
    "no must": lambda d: d["must"].clear(),
    "a key that nobody reads": lambda d: d.update(mustn="x"),
    "no stop": lambda d: d["stop_when"].clear(),
    "an unknown stop": lambda d: d["stop_when"].append("rain"),
    "an effect without a fault": lambda d: d.pop("fault"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_scenario_that_would_not_be_judged_is_refused(wrong):
    data = copy.deepcopy(scenario.raw("complete_loss"))
    scenario.Scenario(name="x", **data)
    WRONG[wrong](data)
    with pytest.raises(ValidationError):
        scenario.Scenario(name="x", **data)


def test_a_drill_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(scenario.ScenarioError, match=r"no drill nothing; there are complete_loss.*Nothing"):
        scenario.load("nothing")
