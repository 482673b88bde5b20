"""Generate a page for each runbook, under document control: `python -m pgrescue.pages docs/runbooks`.

A page is a function of the playbook, its `.meta.yml`, the roles and `reviews.yml`, and of no clock: the same files give
the same bytes.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from pgrescue import procedures, runner
from pgrescue.programme import reviews
from pgrescue.programme.reviews import Review

INDEX = "index.md"
_IMPORTS = ("ansible.builtin.import_role", "ansible.builtin.include_role")


@dataclass(frozen=True)
class Step:
    """A task of a play, and the names of what the role that it calls does."""

    name: str
    verb: str
    does: tuple[str, ...]


@dataclass(frozen=True)
class Play:
    """A play, or a playbook that is imported there."""

    name: str
    phase: str
    hosts: str
    imports: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Option:
    """An argument."""

    name: str
    type: str
    required: bool
    says: str


def names() -> list[str]:
    """Every runbook."""
    return sorted(path.stem for path in (runner.ROOT / "playbooks").glob("*.yml") if ".meta." not in path.name)


def version() -> str:
    """The project's version."""
    project = tomllib.loads((runner.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    said: str = project["project"]["version"]
    return said


def page(name: str, known: Mapping[str, Review]) -> str:
    """The page of one runbook, Markdown."""
    meta = yaml.safe_load((runner.ROOT / "playbooks" / f"{name}.meta.yml").read_text(encoding="utf-8"))
    spec, digest, review = meta["argument_specs"][name], procedures.digest(name), known.get(name)
    return _render(
        "runbook.md.j2",
        name=name,
        title=meta["short_description"],
        purpose=meta["description"],
        plays=list(plays(name)),
        options=[_option(key, said) for key, said in (spec.get("options") or {}).items()],
        undo=spec.get("undo") or {},
        skippable=spec.get("skippable") or {},
        rollback=spec.get("rollback"),
        taken_back_by=procedures.load(name).way_back("INVENTORY", "SERVICE", "RUN"),
        examples=str(spec.get("examples") or "").strip(),
        version=version(),
        digest=digest,
        roles=procedures.roles(name),
        review=review,
        changed=review is not None and review.sha256 != digest,
    )


def plays(name: str) -> Iterator[Play]:
    """The plays of a runbook, in order."""
    for play in yaml.safe_load((runner.ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8")):
        inner = play.get("ansible.builtin.import_playbook")
        phase = str(play.get("vars", {}).get("phase", ""))
        yield Play(
            name=play["name"],
            phase=phase,
            hosts=str(play.get("hosts", "")),
            imports=str(inner).removesuffix(".yml") if inner else "",
            steps=tuple(_steps(play.get("tasks") or [])),
        )


def _steps(tasks: list[dict[str, Any]]) -> Iterator[Step]:
    for task in tasks:
        if "block" in task:
            yield from _steps(task["block"])
            continue
        role = next((task[key] for key in _IMPORTS if key in task), None)
        verb = ""
        does: tuple[str, ...] = ()
        if role:
            short = role["name"].rpartition(".")[2]
            verb = f"{short} {role.get('tasks_from', 'main')}"
            does = tuple(_named(runner.ROOT / "roles" / short / "tasks" / f"{role.get('tasks_from', 'main')}.yml"))
        yield Step(task.get("name", "a step without a name"), verb, does)


def _named(path: Path) -> Iterator[str]:
    """The names of a role's tasks; one whose file a variable names has none."""
    if not path.exists():
        return
    waiting = list(yaml.safe_load(path.read_text(encoding="utf-8")) or [])
    while waiting:
        task = waiting.pop(0)
        if "block" in task:
            waiting = [*task["block"], *waiting]
        elif not str(task.get("name", "")).startswith("Go on when this phase is over"):
            yield str(task["name"])


def _option(name: str, said: Mapping[str, Any]) -> Option:
    words = said.get("description", "")
    text = " ".join(words) if isinstance(words, list) else str(words)
    plain = re.sub(r"[CIM]\(([^)]*)\)", r"`\1`", text)
    return Option(name, str(said.get("type", "str")), bool(said.get("required")), plain)


def export(directory: Path) -> list[Path]:
    """Write every page and the index into the directory, remove pages of runbooks that are gone; the paths written."""
    directory.mkdir(parents=True, exist_ok=True)
    made = generate()
    for old in directory.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (directory / name).write_text(text, encoding="utf-8")
    return [directory / name for name in made]


def generate() -> dict[str, str]:
    """Every page by its file's name."""
    known = reviews.load()
    made = {f"{name}.md": page(name, known) for name in names()}
    rows = [(name, procedures.digest(name), known.get(name)) for name in names()]
    return {**made, INDEX: _render("runbooks.md.j2", rows=rows, version=version())}


def _render(template: str, **context: Any) -> str:
    environment = Environment(
        loader=PackageLoader("pgrescue"),
        autoescape=False,  # noqa: S701 - Markdown of our own files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(context)


if __name__ == "__main__":
    for written in export(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/runbooks")):
        print(written)
