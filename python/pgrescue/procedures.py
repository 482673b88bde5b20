"""What a runbook says of itself beside its plays, in `playbooks/<name>.meta.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from pgrescue import runner


@dataclass(frozen=True)
class Procedure:
    """A runbook: what may be left out of it, how each phase is taken back, and which runbook takes all of it back."""

    name: str
    says: str = ""
    skippable: Mapping[str, str] = field(default_factory=dict)  # step: what is missing then
    undo: Mapping[str, str] = field(default_factory=dict)  # phase: how it is taken back
    rollback: str | None = None  # a runbook


def load(name: str) -> Procedure:
    """What the runbook of this name says; nothing when there is none any more."""
    path = runner.ROOT / "playbooks" / f"{name}.meta.yml"
    said = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    return Procedure(
        name,
        said.get("short_description", ""),
        said.get("skippable") or {},
        said.get("undo") or {},
        said.get("rollback"),
    )
