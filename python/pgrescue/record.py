"""Open, find and read the directory of a run: the record, from which all else is derived."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pgrescue import journal as journals
from pgrescue import who, witness_journal
from pgrescue.drill import rules
from pgrescue.drill.record import FILE as DRILL_FILE
from pgrescue.drill.record import Drill
from pgrescue.evidence import reopening
from pgrescue.files import link, write_json
from pgrescue.journal import Journal
from pgrescue.manifest import Difference, verify_manifest
from pgrescue.measurement import measure
from pgrescue.models import Check, Measurement, Plan, Reconciliation, Run
from pgrescue.outcome import NEEDS_PERSON, Outcome, judge
from pgrescue.story import Story, fold

__all__ = [
    "Difference",
    "Record",
    "RecordError",
    "all_runs",
    "create",
    "find",
    "load",
    "read_part",
    "reopen",
    "run_id",
    "verify_manifest",
]


class RecordError(Exception):
    """A record that cannot be found or read; the message says what to do next."""


@dataclass(frozen=True)
class Record:
    """A run's directory, read. `problems` names each file that could not be read, in sentences."""

    directory: Path
    run: Run
    journal: Journal
    story: Story
    checks: tuple[Check, ...]
    plan: Plan | None
    reconciliation: Reconciliation | None
    measurement: Measurement
    problems: tuple[str, ...] = ()
    drill: Drill | None = None

    @property
    def outcome(self) -> Outcome:
        """How the run ended, as far as the records show."""
        if self.drill:
            return rules.overall(self.drill, self.seen)
        alone = self.seen.outcome
        if alone.result == "passed" and (self.directory / DRILL_FILE).exists():
            why = f"{DRILL_FILE} cannot be read, so nobody can judge the drill."
            return Outcome("void", NEEDS_PERSON, why)
        return alone

    @property
    def seen(self) -> rules.Seen:
        """What the rules of a drill look at, with how the recovery alone ended."""
        # the result that a drill's rules gave is no word on the recovery; only one that a person declared is
        run = self.run.model_copy(update={"result": None}) if self.drill and self.run.result == "void" else self.run
        alone = judge(run, self.journal, self.story, self.checks, self.measurement)
        return rules.Seen(self.run, self.story, self.checks, self.measurement, alone)


def run_id(service: str, procedure: str, now: datetime) -> str:
    """The id of a run, sortable by time: `20261124T012050Z-shop-complete_loss`."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{service}-{procedure}"


def create(root: Path, run: Run) -> Path:
    """Make the run's directory with its `run.json`, and point `latest` at it.

    Raises FileExistsError when the run exists already.
    """
    directory = root / run.id
    directory.mkdir(parents=True)
    write_json(directory / "run.json", run.dump())
    link(root / "latest", run.id)
    return directory


def all_runs(root: Path) -> list[Path]:
    """Every run's directory under the root, oldest first."""
    return sorted(p.parent for p in root.glob("*/run.json") if not p.parent.is_symlink())


def misnamed(directory: Path, run: str) -> str:
    """Why a folder is not the run's, which is called by the run's id: a copy would count again. Empty where it is."""
    there = directory.resolve().name  # of `latest`, what it points at
    return (
        ""
        if there == run
        else f"run.json is of {run} and its folder is called {there}: a copy, which counts for nothing"
    )


def find(root: Path, reference: str = "latest") -> Path:
    """The run that is meant: `latest`, a directory, an id, or the only id that contains the text.

    Raises RecordError when none or several match.
    """
    for candidate in (root / reference, Path(reference)):
        if (candidate / "run.json").is_file():
            return candidate.resolve()
    matches = [run for run in all_runs(root) if reference in run.name]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise RecordError(f"No run '{reference}' is here (ls {root} lists them). Nothing was changed.")
    names = ", ".join(run.name for run in matches[-5:])
    raise RecordError(f"'{reference}' may mean {len(matches)} runs ({names}). Nothing was changed. Name one.")


def load(directory: Path) -> Record:
    """Read a record; only `run.json` must be readable, else RecordError.

    The measurement is computed, not read, so that a report can never differ from its records.
    """
    problems: list[str] = []
    run = read_part(directory / "run.json", Run.model_validate, problems)
    if run is None:
        raise RecordError(
            f"{directory} holds no readable run.json: {'; '.join(problems) or 'there is none'}. Nothing was changed."
        )
    checks = read_part(directory / "checks.json", TypeAdapter(list[Check]).validate_python, problems)
    plan = read_part(directory / "plan.json", Plan.model_validate, problems)
    held = read_part(directory / "reconciliation.json", Reconciliation.model_validate, problems)
    drill = read_part(directory / DRILL_FILE, Drill.model_validate, problems)
    journal = journals.read(directory / "timeline.jsonl")
    witness = witness_journal.read(directory / "witness.jsonl")
    if journal.broken:
        problems.append(f"timeline.jsonl, {journal.broken}")
    problems += [f"timeline.jsonl, line {line}: left unfinished by a crash" for line in journal.torn]
    if witness and witness.unreadable:
        problems.append(f"witness.jsonl: {witness.unreadable} unreadable lines were passed over")
    story = fold(journal.events)
    target = plan.recovery_target if plan else None
    measured = measure(story, run.objectives, witness, held, target.instant if target else None)
    return Record(directory, run, journal, story, tuple(checks or ()), plan, held, measured, tuple(problems), drill)


def reopen(directory: Path) -> Run:
    """Open a finished run again, to resume it: result, exit code and manifest go, and its drill goes on."""
    reopening.reopen(directory, who.operator())
    record = load(directory)
    run = record.run.model_copy(update={"result": None, "exit_code": None})
    write_json(directory / "run.json", run.dump())
    if record.drill:  # its clean-up is still to come, so what it looks for afterwards was not looked for
        write_json(directory / DRILL_FILE, record.drill.model_copy(update={"state": "open"}).dump())
    return run


def read_part[T](path: Path, validate: Callable[[Any], T], problems: list[str]) -> T | None:
    """What a file of a record holds; None when it is not there or cannot be read, which `problems` then says."""
    try:
        return validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors()[0]
        problems.append(f"{path.name}: {'.'.join(str(p) for p in first['loc']) or 'it'}: {first['msg']}")
    except (ValueError, OSError) as error:
        problems.append(f"{path.name}: {error}")
    return None
