"""Which files of a pack are the record itself. All others are made of those, or are about them, at every close."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pgrescue.evidence import blocks
from pgrescue.evidence.settings import SCOPE
from pgrescue.manifest import MANIFEST

PARTS = (
    SCOPE,
    "people.json",
    "objectives.json",
    "findings.json",
    "deviations.md",
    "lessons.md",
    "mapping.csv",
)
_MADE = {*PARTS, blocks.BLOCKS, MANIFEST, "measurement.json", "report.html", "report.md"}
_BESIDE = re.compile(r"seal-\d+\.tsr|signoff-\d+\.json")


def changed(earlier: Mapping[str, str], later: Mapping[str, str]) -> list[str]:
    """The files of the record that are not the same in two states of it, each a file's SHA-256 by its name."""
    names = {name for name in {*earlier, *later} if name not in _MADE and not _BESIDE.fullmatch(name)}
    return sorted(name for name in names if earlier.get(name) != later.get(name))
