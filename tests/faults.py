"""Faults that tests plant, and the check that must catch each; docs/faults.md is written from this table.

A test that plants one calls `caught`, which fails when the named check did not fail, or when
another one failed instead.
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


FAULTS: dict[str, Fault] = {
    "dump_data_flipped": Fault("one bit of a dump's data file", "every file is as it was written"),
    "dump_contents_flipped": Fault("one bit of a dump's toc.dat", "every file is as it was written"),
    "dump_globals_flipped": Fault("one bit of a dump's globals.sql", "every file is as it was written"),
    "dump_manifest_flipped": Fault("one bit of a dump's manifest", "the manifest is signed by a key we know"),
    "dump_file_shortened": Fault("a data file of a dump lacks its last byte", "every file is as it was written"),
    "dump_file_missing": Fault("a data file of a dump is gone", "every file of the dump is there"),
    "dump_file_added": Fault("a file that no manifest names", "nothing else is in the dump's folder"),
    "dump_signed_by_a_stranger": Fault("only another public key is known", "the manifest is signed by a key we know"),
    "dump_in_anothers_place": Fault(
        "an older dump in the folder of a newer one", "the manifest is signed by a key we know"
    ),
    "dump_with_two_stories": Fault("one store's manifest signed again", "the manifest is signed by a key we know"),
    "dump_too_small": Fault("a floor above the dump's size", "the dump is not smaller than it may be"),
    "dump_unlike_the_ones_before": Fault("a table of noise since the last dump", "the dump is like the ones before it"),
    "original_flipped": Fault("one bit of an original backup", "the backup matches the checksum beside it"),
    "original_gzip_flipped": Fault("one bit of a compressed one without checksum", "the backup can be read to its end"),
    "original_cut_off": Fault("an original backup without its end", "the backup ends as pg_dump ends one"),
    "original_too_small": Fault("a floor above its size", "the backup is not smaller than it may be"),
    "original_hostile": Fault("a command of psql in it", "the backup holds nothing but what pg_dump writes"),
}


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
