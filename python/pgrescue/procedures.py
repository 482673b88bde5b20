"""What a runbook says of itself: in its plays, and beside their arguments in `playbooks/<name>.meta.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from pgrescue import runner


@dataclass(frozen=True)
class Procedure:
    """A runbook: what may be left out of it, how each phase is taken back, and which runbook takes all of it back."""

    name: str
    skippable: Mapping[str, str] = field(default_factory=dict)  # step: what is missing then
    undo: Mapping[str, str] = field(default_factory=dict)  # phase: how it is taken back
    rollback: str | None = None  # a runbook


def load(name: str) -> Procedure:
    """What the runbook of this name says; nothing when there is none any more."""
    path = runner.ROOT / "playbooks" / f"{name}.meta.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"] if path.exists() else {}
    said = specs.get(name, {})
    return Procedure(
        name,
        said.get("skippable", {}),
        said.get("undo", {}),
        said.get("rollback"),
    )


def phases(name: str) -> dict[str, str]:
    """The phase of each play that has one, by the play's name; those of imported playbooks are among them."""
    found: dict[str, str] = {}
    for play in yaml.safe_load((runner.ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")):
        imported = play.get("ansible.builtin.import_playbook")
        if imported:
            found |= phases(imported.removesuffix(".yml"))
        elif "phase" in play.get("vars", {}):
            found[play["name"]] = play["vars"]["phase"]
    return found
