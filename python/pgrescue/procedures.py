"""What a runbook says of itself: in its plays, and beside their arguments in `playbooks/<name>.meta.yml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import yaml

from pgrescue import runner

MOVES = ("switchover", "failback")  # of a primary that was well, which follows then
_ROLE = re.compile(r"(?:name|role): pgrescue\.runbooks\.(\w+)")


@dataclass(frozen=True)
class Procedure:
    """A runbook: what may be left out of it, how each phase is taken back, and which runbook takes all of it back."""

    name: str
    skippable: Mapping[str, str] = field(default_factory=dict)  # step: what is missing then
    undo: Mapping[str, str] = field(default_factory=dict)  # phase: how it is taken back
    rollback: str | None = None  # a runbook
    taken_back_by: str | None = None  # a command of inventory, service and run, where no rollback is
    needed: tuple[str, ...] = ()  # what it must be told when it begins

    def lacking(self, told: Mapping[str, object]) -> list[str]:
        """What it must be told and was not."""
        return [name for name in self.needed if not told.get(name)]

    def way_back(self, inventory: str, service: str, run: str) -> str | None:
        """The command that takes a run back where `rollback` cannot; None where there is none."""
        return self.taken_back_by and self.taken_back_by.format(inventory=inventory, service=service, run=run)


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
        said.get("taken_back_by"),
        tuple(said.get("needed", ())),
    )


def recoveries() -> list[str]:
    """The runbooks that a person may begin and go on with: those that take a service's name typed, and a run."""
    texts = {path: path.read_text(encoding="utf-8") for path in (runner.ROOT / "playbooks").glob("*.meta.yml")}
    return sorted(
        path.name.removesuffix(".meta.yml")
        for path, text in texts.items()
        if "\n      confirm:" in text and "\n      run_id:" in text
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


def digest(name: str) -> str:
    """SHA-256, in hex, over the playbook, those it imports, and the roles they use, with names: what a review is of."""
    files = {path for playbook in imported(name) for path in (playbook, playbook.with_suffix(".meta.yml"))}
    for role in roles(name):
        files |= {path for path in (runner.ROOT / "roles" / role).rglob("*") if path.is_file() and _counts(path)}
    summed = sha256()
    for path in sorted(file for file in files if file.exists()):
        summed.update(f"{path.relative_to(runner.ROOT)}\0{sha256(path.read_bytes()).hexdigest()}\n".encode())
    return summed.hexdigest()


def imported(name: str) -> list[Path]:
    """The playbook and all that it imports."""
    first = runner.ROOT / "playbooks" / f"{name}.yml"
    found, waiting = [first], [first]
    while waiting:
        for play in yaml.safe_load(waiting.pop().read_text(encoding="utf-8")):
            inner = play.get("ansible.builtin.import_playbook")
            path = first.parent / inner if inner else None
            if path and path not in found:
                found.append(path)
                waiting.append(path)
    return found


def roles(name: str) -> list[str]:
    """The roles that the playbook uses, those used by its roles included."""
    found: set[str] = set()
    waiting = list(imported(name))
    while waiting:
        for role in set(_ROLE.findall(waiting.pop().read_text(encoding="utf-8"))) - found:
            if (runner.ROOT / "roles" / role).is_dir():
                found.add(role)
                waiting += (runner.ROOT / "roles" / role).rglob("*.yml")
    return sorted(found)


def _counts(path: Path) -> bool:
    return "__pycache__" not in path.parts
