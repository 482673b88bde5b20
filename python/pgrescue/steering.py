"""What a person asks of a run: to stop where it is safe, to leave a step out, to keep a note, to take it back.

Each is a file or a line in the run's own record, so that the runbook sees it however it was started.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pgrescue import close, procedures, record, recovery
from pgrescue.core import guards, journal, records, steering, windows
from pgrescue.drill import checklist
from pgrescue.evidence import reopening
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.manifest import MANIFEST

PRECONDITION, REFUSED = 3, 4


class SteerError(Exception):
    """What was asked for is refused; the message says why and what to do, the code is the command's."""

    def __init__(self, sentence: str, code: int = REFUSED) -> None:
        super().__init__(sentence)
        self.code = code


@contextmanager
def writing(directory: Path) -> Iterator[journal.Journal]:
    """The run's timeline and its other files, to write into; a record that was closed is closed again.

    Raises SteerError for a closed one that is not as it was sealed.
    """
    closed = (directory / MANIFEST).exists()
    if closed:
        try:
            reopening.reopen_held(directory, recovery.operator(), Settings.of(directory))
        except EvidenceError as error:
            raise SteerError(str(error), error.code) from error
    with journal.Journal(str(directory / "timeline.jsonl"), recovery.operator()) as timeline:
        yield timeline
    if closed:
        close.finish(directory)


def pause(directory: Path, reason: str) -> str:
    """Ask the run to stop at the next point where it is safe; what is going to happen, in a sentence."""
    if not recovery.busy(directory):
        raise SteerError(
            f"No process on this machine is at work on run {directory.name}; where it runs, pause it there. "
            "Nothing was changed.",
            PRECONDITION,
        )
    wish = {"by": recovery.operator(), "at": journal.now(), "reason": reason}
    records.write_json(str(directory / steering.PAUSE), wish)
    return f"Run {directory.name} stops before its next phase. Go on then: pgrescue resume {directory.name}"


def skip(directory: Path, step: str, reason: str) -> str:
    """Leave a step out that the runbook declares skippable; what is missing then, in a sentence."""
    found = record.load(directory)
    run, procedure = found.run, procedures.load(found.run.procedure)
    if step not in procedure.skippable:
        may = ", ".join(sorted(procedure.skippable)) or "no step"
        raise SteerError(f"{run.procedure} does not let '{step}' be left out, only {may}. Nothing was changed.")
    if not reason.strip():
        raise SteerError("A step is left out for a reason: --reason. Nothing was changed.")
    if run.result in ("void", "aborted"):
        raise SteerError(f"Run {run.id} has ended ({run.result}). Nothing was changed.")
    protect = found.story.phase("protect")
    if protect and protect.status == "ok":
        raise SteerError(f"Run {run.id} has done all its steps. Nothing was changed.")
    before = steering.skips(str(directory))
    if any(one["step"] == step for one in before):
        return f"{step} was left out already; {procedure.skippable[step]}."
    one = {"step": step, "by": recovery.operator(), "at": journal.now(), "reason": reason}
    with writing(directory) as timeline:
        records.write_json(str(directory / steering.SKIPS), [*before, one])
        timeline.write("decision", step=step, status="skipped", detail=reason)
    return f"{step} is left out of run {run.id}; {procedure.skippable[step]}. The report says so."


def note(directory: Path, text: str) -> str:
    """Put a sentence of a person's into the timeline."""
    if not text.strip():
        raise SteerError("A note needs words. Nothing was changed.", 2)
    lesson = checklist.tells_lessons(text.strip())
    if lesson:
        try:
            checklist.read(directory)
        except ValueError as error:
            raise SteerError(f"{checklist.FILE} cannot be read: {error}. Nothing was changed.") from error
    with writing(directory) as timeline:
        if lesson:
            checklist.learnt(directory, text.strip(), recovery.operator(), datetime.now(UTC))
        timeline.write("note", detail=text.strip())
    return f"Noted in run {directory.name}."


def check_rollback(directory: Path, inventory: str = "INVENTORY") -> str:
    """The runbook that takes a run back, or a refusal."""
    run = record.load(directory).run
    procedure = procedures.load(run.procedure)
    name, command = procedure.rollback, procedure.way_back(inventory, run.service, run.id)
    if command:
        raise SteerError(
            f"{run.procedure} moves no traffic and opens no window. Nothing was changed. To take it back: {command}",
            PRECONDITION,
        )
    if name is None:
        again = (
            "the way back is another switchover"
            if run.procedure in procedures.MOVES
            else "it leaves nothing to go back to"
        )
        raise SteerError(
            f"There is no rollback of {run.procedure}: {again}. Nothing was changed. "
            f"Where it stands: pgrescue report {run.id}",
            PRECONDITION,
        )
    window = windows.read(str(directory))
    if window is None:
        raise SteerError(
            f"Run {run.id} opened no commit window: it moved no traffic. Nothing was changed.", PRECONDITION
        )
    try:
        windows.check(window, windows.OPEN)
    except guards.Stop as stop:
        raise SteerError(str(stop), stop.exit_code) from stop
    return name


def commit(directory: Path, reason: str) -> str:
    """Close the commit window early: the old side is let go of, and there is no way back by one command."""
    window = windows.read(str(directory))
    if window is None:
        raise SteerError(f"Run {directory.name} opened no commit window. Nothing was changed.", PRECONDITION)
    if windows.state(window) == windows.CLOSED:
        return f"The commit window of run {directory.name} is closed already."
    with writing(directory) as timeline:
        windows.write(str(directory), windows.closed(window, recovery.operator(), reason))
        timeline.write("decision", step="commit_window", status="closed", detail=reason or "no reason given")
    return f"The commit window of run {directory.name} is closed: {', '.join(window['old_side'])} may be used again."
