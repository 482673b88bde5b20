"""The command `pgrescue`. It drives the playbooks; whatever must hold without it lives in roles and plugins."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pgrescue import (
    cli_adopt,
    cli_evidence,
    cli_ledger,
    cli_metrics,
    cli_programme,
    cli_schedule,
    cli_steering,
    cli_watch,
    close,
    gate,
    lab,
    lint,
    panels,
    record,
    recovery,
    runner,
    safe_state,
    upkeep,
)
from pgrescue.drill import conduct, halt
from pgrescue.drill.record import FILE as DRILL_FILE
from pgrescue.evidence import reopening
from pgrescue.options import (
    LAB,
    Extra,
    Inventory,
    Json,
    ProcedureName,
    Service,
    check_told,
    here,
    idle,
    inventory_path,
    refuse,
    runbook,
    variables,
)
from pgrescue.outcome import LET_GO
from pgrescue.programme import plan as plans
from pgrescue.say import say

app = typer.Typer(cls=panels.Grouped, no_args_is_help=True, add_completion=False, help=(
    "PostgreSQL recovery runbooks that time and prove themselves.\n\n"
    "Exit codes: 0 recovered and validated, 2 usage, 3 precondition, 4 refused by a guard, 5 step failed, "
    "6 validation failed and traffic not switched, 7 recovered but an objective missed or not measured, 8 aborted, "
    "9 needs a person."
))  # fmt: skip
app.add_typer(cli_evidence.app, name="evidence")
app.add_typer(lab.app, name="lab")
app.add_typer(cli_schedule.app, name="schedule")


@app.command()
def recover(
    procedure: ProcedureName,  # none is taken for granted: triage proposes
    service: Service = "shop",
    inventory: Inventory = LAB,
    confirm: Annotated[str | None, typer.Option(help="The service's name, instead of typing it when asked.")] = None,
    extra: Extra = None,
) -> None:
    """Recover a service. Example: pgrescue recover complete_loss -s shop -i inventories/prod"""
    console = Console()
    wanted = {**gate.variables(confirm, console), **variables(extra)}
    request = recovery.Request(runbook(procedure), service, inventory_path(inventory), wanted)
    check_told(procedure, wanted)
    raise typer.Exit(recovery.execute(request, recovery.new_id(request), console))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="The run's id, part of it, or latest.")] = "latest",
    inventory: Inventory = LAB,
    takeover: Annotated[bool, typer.Option(help="Take the run over from another controller that is gone.")] = False,
    confirm: Annotated[
        str | None, typer.Option(help="The service's name, where its plan was not carried out yet.")
    ] = None,
    extra: Extra = None,
) -> None:
    """Go on with a run where it stopped; on another machine its record is fetched from an object store first."""
    inventory = inventory_path(inventory)
    directory = here(run, inventory)
    idle(directory)
    found = record.load(directory)
    console, drilled, over = Console(), conduct.interrupted(found), recovery.over(found)
    if found.drill is None and (directory / DRILL_FILE).exists():
        lost = f"{DRILL_FILE} cannot be read: what the drill broke is not put back by this."
        if over:
            refuse(f"{lost} The run has ended. Nothing was changed.", 3)
        say(console, lost)
    put_back = found.drill is not None and found.drill.put_back
    if found.run.result == "aborted" or put_back or (over and not drilled):
        recovery.report(directory, console)
        say(console, "The run has ended; there is nothing to go on with. Nothing was changed.")
        raise typer.Exit(0)
    wanted = {**gate.variables(confirm, console), **variables(extra)}
    if takeover:
        wanted["takeover"] = "true"
    if not drilled:
        raise typer.Exit(recovery.resume(directory, inventory, wanted, console))
    try:
        raise typer.Exit(conduct.resume(found, inventory, wanted, plans.load(), console))
    except plans.ProgrammeError as error:
        refuse(str(error), 2)
    except halt.DrillGoesOnError as error:
        refuse(str(error), 4)


@app.command()
def abort(
    run: Annotated[
        str, typer.Argument(help="The run's id or part of it; latest at a terminal alone, which asks.")
    ] = "latest",
    inventory: Inventory = LAB,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Give a run up; say which safe state it reached, what it changed and what can be done now. Takes nothing back."""
    console = Console()
    if run == "latest" and not gate.can_ask(console):
        refuse("Nobody is here to ask which run is meant: pgrescue abort RUN. Nothing was changed.", 2)
    directory = here(run, inventory_path(inventory))
    idle(directory)
    ended = record.load(directory).run
    if ended.exit_code in LET_GO:
        refuse(f"Run {ended.id} has ended ({ended.result}) and holds nothing. Nothing was changed.", 4)
    if not yes and gate.can_ask(console) and not gate.gives_up(ended, console):
        refuse("Not confirmed. The run stays as it is; nothing was changed.", 4)
    said = reopening.reopen(directory, recovery.operator())
    if said:
        typer.echo(said, err=True)
    found = close.finish(directory, "aborted")
    # whoever gives it up may be another than the one who began it
    request = recovery.Request(found.procedure, found.service, inventory_path(inventory), {"takeover": "true"})
    recovery.close(request, found.id, kept_out=recovery.refused(directory))
    state = safe_state.reached(record.load(directory), recovery.predicted(found.procedure), given_up=True)
    if as_json:
        typer.echo(safe_state.as_json(state))
        raise typer.Exit(recovery.GAVE_UP)
    code = recovery.report(directory, console)
    say(console, "\n".join(safe_state.lines(state)))
    raise typer.Exit(code)


cli_steering.register(app)
cli_watch.register(app)
cli_programme.register(app)
cli_ledger.register(app)
cli_metrics.register(app)
cli_adopt.register(app)


EngineOption = Annotated[
    upkeep.Engine | None, typer.Option("--engine", help="Only physical backups, or only dumps; both when left out.")
]


def keep_up(verb: str, service: str, inventory: str, engine: upkeep.Engine | None, wanted: dict[str, str]) -> NoReturn:
    """Run one verb of the upkeep and end with its exit code."""
    try:
        raise typer.Exit(upkeep.run(verb, service, inventory_path(inventory), engine, wanted, Console()))
    except upkeep.UpkeepError as error:
        refuse(str(error), upkeep.WRONG_USE)


@app.command()
def backup(
    service: Service = "shop", inventory: Inventory = LAB, engine: EngineOption = None, extra: Extra = None
) -> None:
    """Take a backup now, besides the scheduled ones. Example: pgrescue backup -e pgbackrest_backup_type=diff"""
    keep_up("backup", service, inventory, engine, variables(extra))


@app.command()
def verify(
    service: Service = "shop", inventory: Inventory = LAB, engine: EngineOption = None, extra: Extra = None
) -> None:
    """Read every byte of every backup, the archive and the newest dump, and check that each is as it was written."""
    keep_up("verify", service, inventory, engine, variables(extra))


@app.command()
def prove(
    service: Service = "shop",
    inventory: Inventory = LAB,
    engine: EngineOption = None,
    at_random: Annotated[
        bool, typer.Option("--random", help="Any backup, to any point, instead of the newest.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Makes a random choice repeatable.")] = None,
    extra: Extra = None,
) -> None:
    """Restore a backup where nobody can reach it, check all it holds, remove it, note at the backup what was found."""
    mode = {"proof_mode": "random"} if at_random else {}
    drawn = {} if seed is None else {"proof_seed": str(seed)}
    keep_up("prove", service, inventory, engine, {**mode, **drawn, **variables(extra)})


@app.command("lint")
def lint_service(
    service: Service = "shop",
    inventory: Inventory = LAB,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Say which objective cannot be met, why, and what would change that; exit 3 when there is one."""
    raise typer.Exit(lint.run(service, inventory_path(inventory), as_json, Console()))


@app.command()
def mark(
    name: Annotated[str, typer.Argument(help="The point's name; a name is used once.")],
    service: Service = "shop",
    inventory: Inventory = LAB,
) -> None:
    """Make a named point to recover to, before something risky. Example: pgrescue mark before_migration_42"""
    raise typer.Exit(upkeep.play("mark", service, inventory_path(inventory), {"mark_name": name}, Console()))


panels.arrange(app)


def main() -> None:
    """Entry point; known errors are one sentence."""
    os.environ.setdefault("CONTAINERS_CONF", str(runner.ROOT / "lab" / "containers.conf"))
    try:
        app()
    except record.RecordError as error:
        say(Console(stderr=True), str(error))
        sys.exit(3)
