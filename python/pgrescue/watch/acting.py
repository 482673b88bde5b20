"""What the watch does itself, where the inventory allows it: it calls the playbook that asks again whether it may."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from pgrescue import incidents, recovery, runner
from pgrescue.core import alone

ACTOR = "pgrescue watch"


def called_for(policy: Mapping[str, Any], situation: Mapping[str, Any]) -> str | None:
    """The action that the inventory allows for a situation; None when there is none."""
    for action, said in policy.items():
        if situation["state"] in said.get("states", alone.ACTIONS.get(action, ())):
            return action
    return None


def act(service: str, inventory: str, known: Mapping[str, Any], case: incidents.Case | None) -> str:
    """Do it, and say what came of it. The run is a record like any other."""
    request = recovery.Request(
        "act_alone", service, inventory, {"watch_known": {key: value for key, value in known.items() if key != "power"}}
    )
    run = recovery.new_id(request)
    said = io.StringIO()
    code = recovery.execute(request, run, Console(file=said, width=200, no_color=True))
    if case is not None and (runner.RUNS / run / "run.json").exists():
        incidents.belongs(case, ACTOR, run)
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    why = next((line for line in lines if line.startswith(("Why:", "A "))), lines[0] if lines else "it said nothing")
    return f"acted alone, exit code {code}: {why}"
