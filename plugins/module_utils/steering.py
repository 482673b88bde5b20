"""What people ask of a run while it is going: to stop where it is safe, or to leave a step out. Files beside its plan."""

from __future__ import annotations

import os
from typing import Any

from . import journal, records, times

PAUSE, SKIPS = "pause.json", "skips.json"


def pause(run_dir: str) -> "dict[str, Any]":
    """Who wants the run to stop where it is safe, and why; empty when nobody does.

    Running the procedure again is what goes on with a run, so a wish from before this attempt is fulfilled.
    """
    path = os.path.join(run_dir, PAUSE)
    if not os.path.exists(path):
        return {}
    wish: "dict[str, Any]" = records.read_json(path)
    begun = journal.attempts(os.path.join(run_dir, "timeline.jsonl"))
    return wish if not begun or times.epoch_s(wish["at"]) >= times.epoch_s(begun[-1]) else {}


def skips(run_dir: str) -> "list[dict[str, Any]]":
    """The steps that people want left out, each with who, when and why."""
    path = os.path.join(run_dir, SKIPS)
    found: "list[dict[str, Any]]" = records.read_json(path) if os.path.exists(path) else []
    return found
