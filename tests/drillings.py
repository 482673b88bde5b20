"""Synthesise what a drill leaves beside its run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pgrescue import close, record
from pgrescue.drill import scenario
from pgrescue.drill.record import FILE, Drill, Steady
from run_fixture import ZERO, Synthetic


def drill(name: str = "complete_loss", **more: Any) -> Drill:
    """A drill that went well, of this scenario."""
    steady = Steady(held=True, at=ZERO)
    well = {"state": "ended", "steady_before": steady, "steady_after": steady, "cleaned_up": True}
    return Drill(scenario=scenario.load(name), **{**well, **more})


def ended(root: Path, said: Drill | None = None, **parts: Any) -> record.Record:
    """The record of a run with this drill, finished."""
    directory = Synthetic(**parts).write(root)
    (directory / FILE).write_text(json.dumps((said or drill()).dump()))
    close.finish(directory)
    return record.load(directory)


def sar(seconds: int) -> str:
    """What a host's shell is told: the role's own words."""
    role = yaml.safe_load(Path("roles/samples/tasks/hand_over.yml").read_text())
    command: str = role[0]["vars"]["samples_command"][0].replace("{{ samples_limit_s | int }}", str(seconds))
    return command
