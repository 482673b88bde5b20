"""Drive a runbook: show it live, close its record, say how it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pgrescue import display, gate, procedures, record, runner, safe_state, verdict, who
from pgrescue.close import finish
from pgrescue.core import controllers
from pgrescue.evidence import reopening
from pgrescue.evidence.settings import EvidenceError
from pgrescue.models import Measurement, Run
from pgrescue.outcome import RECOVERED
from pgrescue.say import say

WRONG_USE, REFUSED, GAVE_UP = 2, 4, 8
STOPPED_HALFWAY = (5, 6, 9)
operator = who.operator


@dataclass(frozen=True)
class Request:
    """What a person asked for."""

    procedure: str
    service: str
    inventory: str
    variables: Mapping[str, Any]


def new_id(request: Request) -> str:
    """The id of a run that starts now."""
    return record.run_id(request.service, request.procedure, datetime.now(UTC))


def execute(request: Request, run_id: str, console: Console) -> int:
    """Run the procedure until its end, close its record, and return the exit code that the record shows."""
    run_dir = runner.RUNS / run_id
    variables = {**request.variables, "service": request.service, "run_id": run_id}
    more = {"PGRESCUE_RUN_ID": run_id, "PGRESCUE_OPERATOR": operator()}
    play = runner.start(f"playbooks/{request.procedure}.yml", request.inventory, variables, more)
    try:
        attend(run_dir, play, console, predicted(request.procedure))
    except KeyboardInterrupt:
        play.cancelled.set()
        play.wait()
        console.print("Stopped here. What a host was doing may go on there; nothing was taken back.")
        say(console, f"Go on: pgrescue resume {run_id}    Give up: pgrescue abort {run_id}")
        return GAVE_UP
    code = play.wait()
    if code and not (run_dir / "run.json").exists():
        if not play.knows_service():
            console.print(play.failures()[0], highlight=False)
            return runner.WRONG_USE
        why = "\n".join(play.failures()) or play.output()
        say(console, why)
        console.print("The run did not begin. Nothing was changed.")
        return play.exit_code()
    if code and refused(run_dir):
        for said in play.failures():
            say(console, said)
        play.forget()
        for said in close(request, run_id, kept_out=True) if not busy(run_dir) else []:
            say(console, said)
        return REFUSED
    if code:
        for said in close(request, run_id, kept_out=False):
            say(console, said)
    play.forget()
    return report(run_dir, console)


def attend(run_dir: Path, play: runner.Play, console: Console, took: Mapping[str, float] | None) -> None:
    """Show the run until it ends, and ask the person who sits here at each gate where it waits for them."""
    since, asks = datetime.now(UTC), gate.can_ask(console)

    def question() -> dict[str, Any] | None:
        return gate.wanted(run_dir, operator(), since) if asks and play.running() else None

    while True:
        display.follow(run_dir, lambda: not play.running() or bool(question()), console=console, predicted=took)
        facts = question()
        if facts:
            gate.answer(run_dir, facts, operator(), console)
        elif not play.running():
            return


def resume(directory: Path, inventory: str, more: Mapping[str, Any], console: Console) -> int:
    """Go on with a run where it stopped; the exit code that its record shows then."""
    said = reopening.reopen(directory, operator())
    if said:
        console.print(said, soft_wrap=True, highlight=False, markup=False)
    found, plan = record.reopen(directory), record.load(directory).plan
    undone = {"rollback_run": plan.undoes} if plan and plan.undoes else {}  # what its runbook cannot do without
    wanted = {**undone, **more, "run_kind": found.kind, "run_scenario": found.scenario or ""}
    return execute(Request(found.procedure, found.service, inventory, wanted), found.id, console)


def over(found: record.Record) -> bool:
    """Whether nothing is left to go on with: it recovered, and protected what it recovered where its runbook does."""
    if (found.seen.outcome.exit_code if found.drill else found.run.exit_code) not in RECOVERED:
        return False
    protect = found.story.phase("protect")
    return protect.status == "ok" if protect else "protect" not in procedures.phases(found.run.procedure).values()


def refused(run_dir: Path) -> bool:
    """Whether another controller holds the run: then its record and its service are not this one's to close."""
    return bool(busy(run_dir)) or "refused" in record.load(run_dir).story.facts


def busy(run_dir: Path) -> int | None:
    """The process of another controller on this machine that is at work on the run."""
    return controllers.others_at_work(str(run_dir), os.getpid())


def close(request: Request, run_id: str, *, kept_out: bool) -> list[str]:
    """Measure and mirror a run that did not get that far itself; what could not be done, in sentences.

    One that another run kept out of the service has nothing to let go, as a proof has not.
    """
    of_run = {"service": request.service, "run_id": run_id}
    more = {"takeover": "true"} if request.variables.get("takeover") else {}
    holds_nothing = kept_out or request.procedure.startswith(("prove", "verify", "last_good_moment"))
    playbook = "close_proof" if holds_nothing else "close_run"
    play = runner.start(f"playbooks/{playbook}.yml", request.inventory, {**of_run, **more})
    play.wait()
    failures = play.failures()
    play.forget()
    return failures + _finished(runner.RUNS / run_id)


def _finished(run_dir: Path) -> list[str]:
    """Close the record; why that was refused, for a recovery does not stop for it."""
    try:
        finish(run_dir)
    except EvidenceError as error:
        return [str(error)]
    return []


def report(run_dir: Path, console: Console) -> int:
    """Say how a run ended and where its report is; its exit code."""
    found = record.load(run_dir)
    for said in verdict.broken_glass(found):
        say(console, said, style="bold red")
    why = next((event.detail for event in found.story.failures if event.detail), None)
    if found.run.result == "failed" and why:
        say(console, f"Why: {why}")  # whole; the display cuts it
    say(console, verdict.verdict_line(found))
    for event in (*found.story.failures, *found.story.notes):
        if event.phase == "protect" and event.detail:
            say(console, f"Left undone: {event.detail}")
    if found.run.kind != "proof" and (found.run.result is None or found.run.exit_code in STOPPED_HALFWAY):
        state = safe_state.reached(found, predicted(found.run.procedure))
        for said in safe_state.lines(state):
            say(console, said)
    if found.run.result is not None:
        say(console, f"Report: {run_dir / 'report.html'}")
    return found.run.exit_code if found.run.exit_code is not None else 5


def predicted(procedure: str) -> dict[str, float] | None:
    """Seconds each phase took in the last run of the procedure that passed; None before there is one.

    A record that cannot be read is passed over: it must not end the recovery of tonight.
    """
    for directory in reversed(record.all_runs(runner.RUNS)):
        run = record.read_part(directory / "run.json", Run.model_validate, [])
        if run and run.procedure == procedure and run.result == "passed":
            measured = record.read_part(directory / "measurement.json", Measurement.model_validate, [])
            if measured:
                return measured.phases
    return None
