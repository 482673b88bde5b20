"""The shape of one finding of the linter, and the order of several."""

from __future__ import annotations

from typing import Any, Iterable

LEVELS = ("error", "warning", "advice")
OBJECTIVES = ("rpo", "rto", "protection")


def finding(
    name: str, level: str, objective: str, says: str, change: str, *, where: str = "", **because: Any
) -> "dict[str, Any]":
    """One finding. `says` is what is wrong, `change` what would put it right, `because` the figures that were used.

    Names of figures end in their unit: _s, _bytes, _days, _share. What nobody knows is left out.
    """
    assert level in LEVELS and objective in OBJECTIVES, (name, level, objective)
    known = {key: value for key, value in because.items() if value is not None}
    return {
        "id": name,
        "level": level,
        "objective": objective,
        "where": where,
        "says": says,
        "because": known,
        "change": change,
    }


def worst_first(found: "Iterable[dict[str, Any]]") -> "list[dict[str, Any]]":
    """By level, then by what is at stake; equal ones stay in the order of the rules."""
    return sorted(found, key=lambda one: (LEVELS.index(one["level"]), OBJECTIVES.index(one["objective"])))
