"""The table of planted faults in the docs is the one the tests use, and every row is planted somewhere."""

from pathlib import Path

import faults
from lint_faults import LINT

HOUSE = Path(__file__).parents[2]
# planted in a parametrised test by the key of a table there
TEXT = "\n".join(p.read_text() for d in ("tests/unit", "molecule") for p in (HOUSE / d).rglob("*.py"))


def test_the_table_in_the_docs_is_current():
    assert faults.PAGE.read_text() == faults.page(), "python tests/faults.py writes it"


def test_every_fault_of_the_table_is_planted():
    assert [name for name in set(faults.FAULTS) - set(LINT) if f'"{name}"' not in TEXT] == []
