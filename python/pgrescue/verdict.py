"""The one line that says how a run ended, for the report, the display and the command."""

from __future__ import annotations

from pgrescue.human import hms, plural, span
from pgrescue.models import Run
from pgrescue.outcome import OBJECTIVE_MISSED, VALIDATION_FAILED
from pgrescue.record import Record

_WORDS = {
    2: "STOPPED: WRONG USE",
    3: "STOPPED: A PRECONDITION DOES NOT HOLD",
    4: "REFUSED BY A GUARD",
    5: "FAILED",
    6: "VALIDATION FAILED",
    7: "RECOVERED, OBJECTIVE MISSED",
    8: "ABORTED",
    9: "STOPPED: A PERSON MUST DECIDE",
}


def headline(record: Record) -> str:
    """The verdict in capitals: `RECOVERED AND VALIDATED`, `FAILED IN RESTORE`, `STILL OPEN`."""
    run = record.run
    if run.result is None:
        return "STILL OPEN"
    if run.result == "passed":
        return _proof_word(run) if run.kind == "proof" else "RECOVERED AND VALIDATED"
    if run.result == "void":
        return "VOID: THIS RUN PROVES NOTHING"
    if run.kind == "proof" and run.exit_code == VALIDATION_FAILED:
        return f"NOT {_proof_word(run)}"
    words = _WORDS.get(run.exit_code or 5, "FAILED")
    if run.exit_code == OBJECTIVE_MISSED and not _missed(record):
        own = record.drill is not None and record.seen.outcome.result == "passed"
        words = "RECOVERED, A RULE OF THE DRILL NOT KEPT" if own else "RECOVERED, OBJECTIVE NOT MEASURED"
    failed_in = next((f.phase for f in reversed(record.story.failures) if f.phase), None)
    if words == "FAILED" and failed_in:
        words += f" IN {failed_in.upper()}"
    if run.exit_code == VALIDATION_FAILED and not _let_in(record):
        words += ", TRAFFIC NOT SWITCHED"
    return words


def verdict_line(record: Record) -> str:
    """The headline with the figures: time and loss against their objectives; of a proof, what it proves."""
    if record.run.kind == "proof":
        return " - ".join([headline(record), *filter(None, [subject_words(record), check_words(record)])])
    return " - ".join([headline(record), *filter(None, [time_words(record), loss_words(record)])])


def broken_glass(record: Record) -> list[str]:
    """What a report begins with: each time somebody did without the second person, and why."""
    return [
        f"BREAK-GLASS at gate {one.gate}: {one.by} went on without a second person: {one.reason}"
        for one in record.run.broke_glass
    ]


def subject_words(record: Record) -> str:
    """`backup 20261124-215450F of repository 1 at lsn 0/1B04AC10`: what a proof restored."""
    if record.plan is None or not record.plan.candidates:
        return ""
    backup, target = record.plan.candidates[0], record.plan.recovery_target
    where = f" of repository {backup.repo}" if backup.repo else ""
    point = f" at {target.type} {target.value}" if target and target.value else ""
    return f"backup {backup.label}{where}{point}"


def check_words(record: Record) -> str:
    """`31 of 31 checks passed`; empty before anything was checked."""
    passed = sum(check.verdict == "passed" for check in record.checks)
    return f"{passed} of {plural(len(record.checks), 'check')} passed" if record.checks else ""


def _proof_word(run: Run) -> str:
    if run.procedure == "last_good_moment":
        return "FOUND"
    return "VERIFIED" if run.procedure.startswith("verify") else "PROVEN"


def time_words(record: Record) -> str:
    """`back in 00:00:27 of 01:00:00`, `not back`, or that it was not measured."""
    measured, objective = record.measurement, record.run.objectives.rto_s
    of = f" of {hms(objective)}" if objective is not None else ""
    if measured.rta_s is not None:
        return f"back in {hms(measured.rta_s)}{of}"
    if measured.last_success_before is not None:
        return "clients not back when the record ends"
    return "recovery time not measured"


def loss_words(record: Record) -> str:
    """`lost 14 acknowledged commits, 11.9 s of 24 h allowed`, or that it was not measured."""
    measured, objective = record.measurement, record.run.objectives.rpo_s
    allowed = f" of {span(objective)} allowed" if objective is not None else ""
    if measured.lost_acknowledged is None:
        return "loss not measured"
    if "rows_back" in record.story.milestones and measured.rpa_s is not None and not measured.lost_acknowledged:
        return f"rows as of {span(measured.rpa_s)}{allowed} before the fault, lost no acknowledged commit"
    if not measured.lost_acknowledged:
        return "lost no acknowledged commit"
    lost = f"lost {plural(measured.lost_acknowledged, 'acknowledged commit')}"
    if measured.rpa_s is None:
        return f"{lost}, reaching back further than the witness's log"
    return f"{lost}, {span(measured.rpa_s)}{allowed}"


def _missed(record: Record) -> bool:
    measured = record.measurement
    return "missed" in (measured.verdicts.rto, measured.verdicts.rpo) or bool(
        measured.lost_acknowledged_before_recovery_point
    )


def _let_in(record: Record) -> bool:
    return "endpoint_switched" in record.story.milestones or "application_resumed" in record.story.milestones
