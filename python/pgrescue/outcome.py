"""Judge a run from its records: passed or not, the exit code, and the sentence why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgrescue.journal import Journal
from pgrescue.models import Check, Measurement, Result, Run
from pgrescue.story import Story

PASSED, STEP_FAILED, VALIDATION_FAILED, OBJECTIVE_MISSED, ABORTED, NEEDS_PERSON = 0, 5, 6, 7, 8, 9
REFUSED = 4
RECOVERED = (PASSED, OBJECTIVE_MISSED)
LET_GO = (PASSED, 3, REFUSED, OBJECTIVE_MISSED, ABORTED)  # exit codes of runs that do not hold their service any more
_LET_BACK_IN = ("endpoint_switched", "application_resumed", "traffic_kept")
_IN_PLACE = (
    "partial_loss",
    "undo_merge",
)  # clients go on all the while: none is let back in, and no outage can be measured


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `reason` is one sentence for people."""

    result: Result
    exit_code: int
    reason: str


def judge(run: Run, journal: Journal, story: Story, checks: Sequence[Check], measured: Measurement) -> Outcome:
    """The outcome that the records show; nothing counts as done that they do not show."""
    if run.result == "aborted" or story.end_status == "aborted":
        return Outcome("aborted", ABORTED, "The run was aborted.")
    if journal.broken:
        return Outcome("void", NEEDS_PERSON, f"The journal proves nothing: {journal.broken}.")
    if run.result == "void" or story.end_status == "void":
        return Outcome("void", NEEDS_PERSON, "The run was declared void: it proves nothing.")
    return (
        _unfinished(run, story, checks)
        or _missed(measured)
        or _unmeasured(run, measured)
        or Outcome("passed", PASSED, "")
    )


def _unfinished(run: Run, story: Story, checks: Sequence[Check]) -> Outcome | None:
    failed = [check.name for check in checks if check.tier == "must" and check.verdict != "passed"]
    if failed:
        return Outcome("failed", VALIDATION_FAILED, f"Not passed: {', '.join(failed)}.")
    if not _completed(run, story):
        return _stopped(story)
    if any(failure.phase != "protect" for failure in story.failures):
        return _stopped(story)
    if "validated" not in story.milestones or not checks:
        return Outcome("failed", VALIDATION_FAILED, "The record holds no proof that the data was validated.")
    if _moves_clients(run) and not any(name in story.milestones for name in _LET_BACK_IN):
        return Outcome("failed", STEP_FAILED, "The record does not show that clients were let back in.")
    return None


def _moves_clients(run: Run) -> bool:
    return run.kind != "proof" and run.procedure not in _IN_PLACE


def _completed(run: Run, story: Story) -> bool:
    last = story.phase("resume") or (None if _moves_clients(run) else story.phase("validate"))
    return last is not None and last.status in ("ok", "changed")


def _stopped(story: Story) -> Outcome:
    if not story.failures:
        if story.waiting:
            return Outcome("failed", NEEDS_PERSON, "The run waits for an approval.")
        return Outcome("failed", STEP_FAILED, "The run stopped before its last phase ended; no step failed.")
    failure = story.failures[0]  # the cause of the others
    where = f" on {failure.host}" if failure.host else ""
    said = f": {failure.detail}" if failure.detail else ""
    code = STEP_FAILED if failure.exit_code is None else failure.exit_code
    return Outcome("failed", code, f"Step '{failure.step}' {failure.status}{where}{said}")


def _missed(measured: Measurement) -> Outcome | None:
    missed = [
        words
        for words, wrong in (
            ("the recovery time", measured.verdicts.rto == "missed"),
            ("the recovery point", measured.verdicts.rpo == "missed"),
            (
                "nothing lost before the recovery point",
                bool(measured.lost_acknowledged_before_recovery_point),
            ),
        )
        if wrong
    ]
    if not missed:
        return None
    return Outcome("failed", OBJECTIVE_MISSED, f"Not kept: {', '.join(missed)}.")


def _unmeasured(run: Run, measured: Measurement) -> Outcome | None:
    """An objective that is stated and was not measured is not kept: nobody can show it."""
    if not _moves_clients(run):
        return None
    figures = {
        "the recovery time": (run.objectives.rto_s, measured.verdicts.rto),
        "the recovery point": (run.objectives.rpo_s, measured.verdicts.rpo),
    }
    unknown = [words for words, (stated, verdict) in figures.items() if stated is not None and verdict is None]
    if not unknown:
        return None
    return Outcome("failed", OBJECTIVE_MISSED, f"Not measured: {', '.join(unknown)}.")
