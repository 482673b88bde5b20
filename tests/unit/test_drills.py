"""A drill names what is there."""

from pathlib import Path

import pytest
import yaml
from pgrescue import drill

HOUSE = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [path.stem for path in sorted((HOUSE / "drills").glob("*.yml"))])
def test_a_drill_names_a_runbook_and_playbooks_that_are_there_and_options_that_the_runbook_has(name):
    what = drill.scenario(name)
    runbook = HOUSE / "playbooks" / f"{what['procedure']}.meta.yml"
    options = yaml.safe_load(runbook.read_text())["argument_specs"][what["procedure"]]["options"]
    assert {*what.get("variables", {}), *what.get("just_before", [])} <= set(options)
    assert all((HOUSE / path).exists() for path in [what["steady_state"], what.get("fault", "."), *what["repair"]])
    assert what["says"].endswith(".")
    assert what["within_s"] > 0
