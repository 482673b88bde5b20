"""The command `pgrescue`. It drives the playbooks; whatever must hold without it lives in roles and plugins."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pgrescue import drill as drills
from pgrescue import lab, lint, record, recovery, runner, upkeep
from pgrescue.manifest import MANIFEST, verify_manifest

app = typer.Typer(no_args_is_help=True, add_completion=False, help=(
    "PostgreSQL recovery runbooks that time and prove themselves.\n\n"
    "Exit codes: 0 recovered and validated, 2 usage, 3 precondition, 4 refused by a guard, 5 step failed, "
    "6 validation failed and traffic not switched, 7 recovered but an objective missed or not measured, 8 aborted, "
    "9 needs a person."
))  # fmt: skip
evidence = typer.Typer(no_args_is_help=True, help="Check the evidence a run left.")
app.add_typer(evidence, name="evidence")
app.add_typer(lab.app, name="lab")

Service = Annotated[
    str, typer.Option("--service", "-s", envvar="PGRESCUE_SERVICE", help="The service: an inventory group.")
]
Inventory = Annotated[str, typer.Option("--inventory", "-i", envvar="PGRESCUE_INVENTORY", help="The inventory.")]
Extra = Annotated[list[str] | None, typer.Option("--extra", "-e", help="A variable for the playbook, key=value.")]
LAB = "inventories/lab"
RECOVERED = (0, 7)
AGREED_LATER = ("partial_loss", "undo_merge")  # show first what they would do: their plan alone is no consent
LET_GO = (*RECOVERED, 3, 4, 8)  # exit codes of runs that do not hold their service any more


def inventory_path(inventory: str) -> str:
    """The inventory as given, else the one of that name in the repository."""
    path = inventory if Path(inventory).exists() else str(runner.ROOT / inventory)
    if not Path(path).exists():
        refuse(f"There is no inventory {inventory}. Nothing was changed.", 2)
    return path


def variables(extra: list[str] | None) -> dict[str, str]:
    """`key=value` options as a mapping."""
    pairs = [item.partition("=") for item in extra or []]
    if any(not value for _key, sep, value in pairs if not sep):
        refuse("A variable is given as key=value. Nothing was changed.", 2)
    return {key: value for key, _sep, value in pairs}


def refuse(sentence: str, code: int) -> NoReturn:
    """Say why and leave."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def confirmed(service: str, given: str | None, procedure: str) -> str:
    """The service's name as a person typed it."""
    if given is not None or procedure in AGREED_LATER or not sys.stdin.isatty():
        return given or ""
    typer.echo(f"This stops the traffic of {service} and brings up a restored copy in its place.")
    return str(typer.prompt(f"Type the service's name ({service}) to go on"))


@app.command()
def recover(
    procedure: Annotated[str, typer.Argument(help="The runbook, such as complete_loss.")] = "complete_loss",
    service: Service = "shop",
    inventory: Inventory = LAB,
    confirm: Annotated[str | None, typer.Option(help="The service's name, instead of typing it when asked.")] = None,
    extra: Extra = None,
) -> None:
    """Recover a service. Example: pgrescue recover complete_loss -s shop -i inventories/prod"""
    if not (runner.ROOT / "playbooks" / f"{procedure}.yml").exists():
        refuse(f"There is no runbook playbooks/{procedure}.yml. Nothing was changed.", 2)
    wanted = {**variables(extra), "confirm": confirmed(service, confirm, procedure)}
    request = recovery.Request(procedure, service, inventory_path(inventory), wanted)
    raise typer.Exit(recovery.execute(request, recovery.new_id(request), Console()))


@app.command()
def resume(
    run: Annotated[str, typer.Argument(help="The run's id, part of it, or latest.")] = "latest",
    inventory: Inventory = LAB,
    takeover: Annotated[bool, typer.Option(help="Take the run over from another controller that is gone.")] = False,
    confirm: Annotated[str | None, typer.Option(help="The service's name, where no plan was agreed to yet.")] = None,
    extra: Extra = None,
) -> None:
    """Go on with a run where it stopped; on another machine its record is fetched from an object store first."""
    inventory = inventory_path(inventory)
    directory = here(run, inventory)
    idle(directory)
    found = record.load(directory)
    protect = found.story.phase("protect")
    if found.run.result == "aborted" or (found.run.exit_code in RECOVERED and protect and protect.status == "ok"):
        recovery.report(directory, Console())
        typer.echo("The run has ended; there is nothing to go on with. Nothing was changed.")
        raise typer.Exit(0)
    service = found.run.service
    procedure = found.run.procedure
    agreed = (directory / "plan.json").exists() and procedure not in AGREED_LATER
    wanted = {**variables(extra), "confirm": service if agreed else confirmed(service, confirm, procedure)}
    if takeover:
        wanted["takeover"] = "true"
    raise typer.Exit(recovery.resume(directory, inventory, wanted, Console()))


def here(run: str, inventory: str) -> Path:
    """A run's directory; when it is not on this machine its record is fetched from an object store."""
    try:
        return record.find(runner.RUNS, run)
    except record.RecordError as unknown:
        named = re.fullmatch(r"\d{8}T\d{6}Z-(.+)-[a-z_]+", run)
        if not named:
            refuse(f"{unknown} To fetch one from an object store, give its whole id.", 3)
        play = runner.start("playbooks/fetch_run.yml", inventory, {"service": named[1], "run_id": run})
        failed = play.wait()
        said = "; ".join(play.failures())
        play.forget()
        if failed:
            refuse(said or f"{unknown} It could not be fetched from an object store.", 3)
        return runner.RUNS / run


def idle(directory: Path) -> None:
    """Refuse while a controller on this machine is at work on the run."""
    process = recovery.busy(directory)
    if process:
        refuse(f"Process {process} is at work on run {directory.name}: stop it first. Nothing was changed.", 4)


@app.command()
def abort(
    run: Annotated[str, typer.Argument(help="The run's id, part of it, or latest.")] = "latest",
    inventory: Inventory = LAB,
) -> None:
    """Give a run up: its record is closed as aborted and the service is let go. Nothing is taken back."""
    directory = here(run, inventory_path(inventory))
    idle(directory)
    ended = record.load(directory).run
    if ended.exit_code in LET_GO:
        refuse(f"Run {ended.id} has ended ({ended.result}) and holds nothing. Nothing was changed.", 4)
    found = record.finish(directory, "aborted")
    # whoever gives it up may be another than the one who began it
    request = recovery.Request(found.procedure, found.service, inventory_path(inventory), {"takeover": "true"})
    recovery.close(request, found.id)
    raise typer.Exit(recovery.report(directory, Console()))


@app.command()
def drill(
    name: Annotated[str, typer.Argument(help="The drill, a file in drills/.")] = "complete_loss",
    service: Service = "shop",
    inventory: Inventory = LAB,
    seed: Annotated[int | None, typer.Option(help="Makes the instant of the fault repeatable.")] = None,
    extra: Extra = None,
) -> None:
    """Break the lab's service for real, recover it, and keep the proof."""
    if not (runner.ROOT / "drills" / f"{name}.yml").exists():
        refuse(f"There is no drill {name}. Nothing was changed.", 2)
    raise typer.Exit(drills.run(name, service, inventory_path(inventory), seed, variables(extra), Console()))


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


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="The run's id, part of it, or latest.")] = "latest",
    as_json: Annotated[bool, typer.Option("--json", help="Print run and measurement as JSON.")] = False,
) -> None:
    """Say how a run ended, and whether its record is as its manifest says; exit 1 when not."""
    directory = record.find(runner.RUNS, run)
    found = record.load(directory)
    differences = verify_manifest(directory) if (directory / MANIFEST).exists() else []
    for difference in differences:
        typer.echo(f"The record is not as its manifest says: {difference}", err=True)
    if as_json:
        typer.echo(json.dumps({"run": found.run.dump(), "measurement": found.measurement.dump()}, indent=2))
    else:
        recovery.report(directory, Console())
    raise typer.Exit(1 if differences else 0)


@evidence.command("verify")
def evidence_verify(run: Annotated[str, typer.Argument(help="A run's directory or id, or latest.")]) -> None:
    """Compare every file of a run with its manifest; exit 1 and name each that differs."""
    directory = Path(run) if Path(run).is_dir() else record.find(runner.RUNS, run)
    if not (directory / MANIFEST).exists():
        refuse(f"{directory} holds no {MANIFEST}: the run is still open, or this is no record.", 3)
    differences = verify_manifest(directory)
    for difference in differences:
        typer.echo(str(difference))
    if differences:
        raise typer.Exit(1)
    typer.echo(f"{directory}: every file is as the manifest says")


def main() -> None:
    """Entry point; known errors are one sentence."""
    os.environ.setdefault("CONTAINERS_CONF", str(runner.ROOT / "lab" / "containers.conf"))
    try:
        app()
    except record.RecordError as error:
        typer.echo(str(error), err=True)
        sys.exit(3)
