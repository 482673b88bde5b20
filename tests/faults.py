"""Faults that tests plant, and the check that must catch each; docs/faults.md is written from this table.

A test that plants one calls `caught`, which fails when the named check did not fail, or when another did instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "faults.md"


@dataclass(frozen=True)
class Fault:
    """What is planted, and the name of the check that must fail."""

    planted: str
    caught_by: str


FAULTS: dict[str, Fault] = {}


def caught(fault: str, checks: Iterable[Mapping[str, Any]]) -> None:
    """Fail unless the check named for this fault, and no other, says that it failed."""
    failed = [check["name"] for check in checks if check["verdict"] == "failed"]
    assert failed == [FAULTS[fault].caught_by], f"{fault}: {failed}"


def page() -> str:
    """The table as it stands in the docs."""
    rows = [f"| {name} | {fault.planted} | {fault.caught_by} |" for name, fault in sorted(FAULTS.items())]
    head = [
        "# Planted faults",
        "",
        "Each is planted by a test and must be caught by the check named here and by no other. Written by",
        "`python tests/faults.py` from the table the tests use.",
        "",
        "| fault | how it is planted | caught by |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page())
