"""`mapping.csv`: which item of a pack supports which control. The mapping is data, in `controls.yml`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import yaml

CONTROLS = Path(__file__).with_name("controls.yml")


@cache
def controls() -> list[dict[str, Any]]:
    """The mapping: items, what each shows, and the controls that it supports, by framework."""
    loaded: list[dict[str, Any]] = yaml.safe_load(CONTROLS.read_text(encoding="utf-8"))
    return loaded


def table(names: Iterable[str]) -> str:
    """The mapping of the items that are among these files, one control a line."""
    out, present = io.StringIO(), sorted(names)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("item", "shows", "framework", "control"))
    for one in controls():
        for item in one["items"]:
            for name in (n for n in present if fnmatch(n, item)):
                for framework, ids in one["controls"].items():
                    writer.writerows((name, one["shows"], framework, control) for control in ids)
    return out.getvalue()
