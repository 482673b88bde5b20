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
    assert set(what.get("variables", {})) <= set(options)
    assert all((HOUSE / what[part]).exists() for part in ("steady_state", "fault", "repair") if part in what)
    assert what["says"].endswith(".")
    assert what["within_s"] > 0
