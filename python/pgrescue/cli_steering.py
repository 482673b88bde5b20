"""Verbs about a plan before it is carried out, and about a run while it is going."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pgrescue import gate, plan_view, record, recovery, runner, steering
from pgrescue.options import (
    LAB,
    Extra,
    Inventory,
    Json,
    ProcedureName,
    Reason,
    RunName,
    Service,
    check_told,
    here,
    inventory_path,
    refuse,
)
from pgrescue.options import runbook as known
from pgrescue.options import variables as given
from pgrescue.outcome import LET_GO
from pgrescue.say import say


def plan(
    procedure: ProcedureName = "complete_loss",
    service: Service = "shop",
    inventory: Inventory = LAB,
    as_json: Json = False,
    extra: Extra = None,
) -> None:
    """Show what a procedure would do now, what it would lose and how long it takes. Acts on nothing."""
    request = recovery.Request(known(procedure), service, inventory_path(inventory), given(extra))
    check_told(procedure, request.variables)
    console = Console()
    try:
        with console.status(f"Looking at {service} from all its hosts, and planning"):
            view = plan_view.look(request)
        plan_view.show(view, as_json, console)
    except plan_view.PlanError as error:
        refuse(str(error), error.code)


def approve(
    run: RunName,
    gate_name: Annotated[str, typer.Argument(metavar="[GATE]", help="The gate; the one before any change.")] = "plan",
    reason: Reason = "",
    confirm: Annotated[str | None, typer.Option(help="The service's name, instead of typing it when asked.")] = None,
    deny: Annotated[bool, typer.Option("--deny", help="Say no: the run stops there.")] = False,
    inventory: Inventory = LAB,
    as_json: Json = False,
) -> None:
    """Approve the plan of a run, as the second person, from any machine that reads its object stores."""
    if not reason.strip():
        refuse("An approval needs a reason: --reason. Nothing was changed.", 4)
    inventory, console = inventory_path(inventory), Console()
    directory = here(run, inventory)
    found = record.load(directory)
    if found.run.result and found.run.exit_code in LET_GO:
        refuse(
            f"Run {found.run.id} has ended ({found.run.result}): nothing of it waits for anybody. Nothing was changed.",
            4,
        )
    if found.plan is None:
        refuse(f"Run {found.run.id} has no plan yet, so there is nothing to approve. Nothing was changed.", 4)
    if confirm is None and not deny:
        if not gate.can_ask(console):
            refuse(f"Nobody is here to ask: --confirm {found.run.service}. Nothing was changed.", 4)
        confirm = gate.name_typed(directory, gate_name, console)
    if not deny and confirm != found.run.service:
        refuse(f"{confirm!r} was typed, not {found.run.service!r}. Nothing was changed.", 4)
    wanted = {"service": found.run.service, "run_id": found.run.id, "gate": gate_name, "reason": reason}
    wanted["verdict"] = "denied" if deny else "approved"
    play = runner.start("playbooks/approve.yml", inventory, wanted, {"PGRESCUE_OPERATOR": recovery.operator()})
    failed, said = play.wait(), play.failures()
    code, written = play.exit_code() if failed else 0, play.results()
    output = play.output() if failed and not said else ""
    play.forget()
    if failed:
        refuse("\n".join(said) or output, code)
    if as_json:
        typer.echo(json.dumps(written, indent=2))
        return
    expires = written["approval"]["expires"]
    typer.echo(f"{wanted['verdict'].capitalize()}: gate {gate_name} of {found.run.id}, until {expires}.")
    if "second_person" in written["lacking"] and not deny:
        typer.echo(
            f"{written['approval']['by']} does not count as the second person of a run by {found.run.operator}: "
            f'somebody else is still missing: pgrescue approve {found.run.id} --reason "..."',
            err=True,
        )
    for store, why in sorted(written["missing_from"].items()):
        typer.echo(f"Not in {store}: {why}", err=True)
    if not written["held"]:
        typer.echo("No object store holds it: it counts on this machine alone.", err=True)


def _steer(act: Callable[[Path], str], run: str) -> None:
    try:
        say(Console(), act(record.find(runner.RUNS, run)))
    except steering.SteerError as error:
        refuse(str(error), error.code)


def pause(run: RunName = "latest", reason: Reason = "") -> None:
    """Let a run stop before its next phase, in a safe state; it keeps the service, and exits with 9."""
    _steer(lambda directory: steering.pause(directory, reason), run)


def skip(
    run: RunName,
    step: Annotated[str, typer.Argument(help="A step that the runbook lets be left out; plan lists them.")],
    reason: Reason = "",
) -> None:
    """Leave a step out, with a reason; the report says so. Never a fence, a validation or an approval."""
    _steer(lambda directory: steering.skip(directory, step, reason), run)


def note(run: RunName, text: Annotated[str, typer.Argument(help="What the timeline shall say.")]) -> None:
    """Put a sentence into a run's timeline, also while it is going."""
    _steer(lambda directory: steering.note(directory, text), run)


def commit(run: RunName = "latest", reason: Reason = "") -> None:
    """Close the commit window of a run early: the way back is given up, the old side may be used again."""
    _steer(lambda directory: steering.commit(directory, reason), run)


def rollback(
    run: RunName = "latest",
    inventory: Inventory = LAB,
    confirm: Annotated[str | None, typer.Option(help="The service's name, instead of typing it when asked.")] = None,
    extra: Extra = None,
) -> None:
    """Take a run back while its commit window is open. A run of its own, with its own plan and gate."""
    inventory, console = inventory_path(inventory), Console()
    directory = here(run, inventory)
    try:
        name = steering.check_rollback(directory, inventory)
    except steering.SteerError as error:
        refuse(str(error), error.code)
    service = record.load(directory).run.service
    wanted = {**given(extra), "rollback_run": directory.name, **gate.variables(confirm, console)}
    request = recovery.Request(name, service, inventory, wanted)
    raise typer.Exit(recovery.execute(request, recovery.new_id(request), console))


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (plan, approve, pause, skip, note, commit, rollback):
        app.command()(verb)
