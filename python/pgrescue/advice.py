"""What to do next, derived from a record: sentences, each with the command where there is one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from pgrescue import procedures
from pgrescue.human import hms, moment, plural, span
from pgrescue.models import Run, Window
from pgrescue.outcome import LET_GO
from pgrescue.record import Record, read_part


@dataclass(frozen=True)
class Advice:
    """One thing to do."""

    sentence: str
    command: str | None = None


def inventory_of(run: Run) -> str:
    """The inventory that a run was played with, for a shell; a word to be replaced where its record does not say."""
    return shlex.quote(run.inventory or "INVENTORY")


def next_steps(record: Record) -> list[Advice]:
    """What is left to do, most urgent first."""
    return [*_about_the_end(record), *_about_the_window(record), *_about_the_data(record), *_about_the_proof(record)]


def _about_the_end(record: Record) -> Iterator[Advice]:
    run = record.run
    if run.result is None:
        yield Advice("This run is still open. See where it stands, or go on with it.", f"pgrescue resume {run.id}")
    elif run.result == "passed" and (
        back := procedures.load(run.procedure).way_back(inventory_of(run), run.service, run.id)
    ):
        yield Advice("If that was not what you wanted, take it back:", back)
    elif run.result == "failed" and run.exit_code == 7:  # noqa: PLR2004 - objective missed, recovered
        yield Advice("Find the slowest steps below and decide what would have kept the objective.")
    elif run.result == "failed" and run.exit_code == 9:  # noqa: PLR2004 - a person must decide
        yield Advice("Look at what it waits for, put it right, then go on:", f"pgrescue resume {run.id}")
    elif run.result == "failed" and run.exit_code in LET_GO and not record.story.begun:
        yield Advice(
            "Nothing was changed, and the service is not held. Do what the refusal says, then plan again:",
            f"pgrescue plan {run.procedure} -s {run.service} -i {inventory_of(run)}",
        )
    elif run.result == "failed":
        yield Advice("Put the cause right, then go on where the run stopped:", f"pgrescue resume {run.id}")
        if run.exit_code not in LET_GO:
            yield Advice("Or give the run up:", f"pgrescue abort {run.id}")
    elif run.result in ("void", "aborted"):
        yield Advice("Repeat the run before the objective counts as proven.")


def _about_the_window(record: Record) -> Iterator[Advice]:
    """While the old side is kept, somebody decides."""
    window = read_part(record.directory / "window.json", Window.model_validate, [])
    if record.run.result != "passed" or window is None or window.closed:
        return
    old, run = " and ".join(window.old_side), record.run
    yield Advice(
        f"Until {moment(window.closes)} it can be taken back; {old} is kept as it was, and does not follow:",
        f"pgrescue rollback {run.id} -i {inventory_of(run)}",
    )
    yield Advice("Or keep it before that time, so that the old side may follow:", f"pgrescue commit {run.id}")


def _about_the_data(record: Record) -> Iterator[Advice]:
    measured, held = record.measurement, record.reconciliation
    if measured.lost_acknowledged and held:
        yield Advice(
            f"{plural(measured.lost_acknowledged, 'commit')} that clients were told had succeeded "
            f"{'is' if measured.lost_acknowledged == 1 else 'are'} gone. "
            "Tell the application's owners; the tokens are listed below."
        )
    if measured.lost_acknowledged_before_recovery_point:
        yield Advice(
            f"{plural(measured.lost_acknowledged_before_recovery_point, 'commit')} older than the recovery "
            "point did not come back. That is damage, not lag: do not trust this restore unexplained."
        )
    for check in record.checks:
        if check.verdict != "passed" and check.tier == "should":
            yield Advice(f"Look at the check '{check.name}' ({check.verdict}).")


def _about_the_proof(record: Record) -> Iterator[Advice]:
    run, measured = record.run, record.measurement
    for name, verdict in measured.verdicts.phases.items():
        if verdict == "missed":
            took, budget = measured.phases[name], run.objectives.phases[name]
            yield Advice(f"Phase {name} took {span(took)} of its {span(budget)}: change the procedure or the budget.")
    if measured.clock is None and run.kind != "proof" and run.result is not None:
        yield Advice(
            "The recovery time was not measured. A witness must run before, during and after:",
            f"ansible-playbook playbooks/protect.yml -i {inventory_of(run)} -e service={run.service}",
        )
    if measured.human_wait_s and measured.rta_s and measured.human_wait_s > measured.rta_s / 2:
        yield Advice(f"People were waited for during {hms(measured.human_wait_s)}: more than half of the outage.")
    for said in _undone(record):
        yield Advice(f"After the recovery something was left undone: {said}")
    protect = record.story.phase("protect")
    if run.result == "passed" and run.kind != "proof" and (protect is None or protect.status != "ok"):
        yield Advice(
            "Make sure that the service is protected again.",
            f"ansible-playbook playbooks/protect.yml -i {inventory_of(run)} -e service={run.service}",
        )
    if run.result is not None:
        yield Advice(
            "Check that this record is unchanged before you file it.", f"pgrescue evidence verify runs/{run.id}"
        )


def _undone(record: Record) -> list[str]:
    """What the phase after the recovery failed to do or noted, the last time it was gone through."""
    began = [phase.intervals[-1].start for phase in record.story.phases if phase.name == "protect"]
    said = (*record.story.failures, *record.story.notes)
    return [e.detail for e in said if e.phase == "protect" and e.detail and began and e.wall >= began[0]]
