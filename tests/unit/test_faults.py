"""The table of planted faults in the docs is the one the tests use, and every row is planted somewhere."""

from pathlib import Path

import faults
from lint_faults import LINT
from pgrescue.drill import scenario

HOUSE = Path(__file__).parents[2]
# planted in a parametrised test by the key of a table there
TEXT = "\n".join(p.read_text() for d in ("tests/unit", "molecule") for p in (HOUSE / d).rglob("*.py"))


def test_the_table_in_the_docs_is_current():
    assert faults.PAGE.read_text() == faults.page(), "python tests/faults.py writes it"


def test_the_table_has_every_drill_that_breaks_something_and_every_injector():
    page = faults.page()
    broken = [one for one in map(scenario.load, scenario.names()) if one.fault]
    injectors = {path.stem for path in (HOUSE / "roles/fault/tasks").glob("*.yml")} - {"guard", "mark", "page", "slow"}
    assert [one.name for one in broken if f"| {one.name} | {one.says} | `{one.fault}` |" not in page] == []
    assert [name for name in injectors if f"| {name} | " not in page] == []


def test_every_fault_of_the_table_is_planted():
    assert [name for name in set(faults.FAULTS) - set(LINT) if f'"{name}"' not in TEXT] == []
