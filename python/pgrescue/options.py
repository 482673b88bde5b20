"""What several verbs of the command share: options, and finding the run that is meant."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from pgrescue import procedures, record, recovery, runner
from pgrescue.say import say

Service = Annotated[
    str, typer.Option("--service", "-s", envvar="PGRESCUE_SERVICE", help="The service: an inventory group.")
]
Inventory = Annotated[str, typer.Option("--inventory", "-i", envvar="PGRESCUE_INVENTORY", help="The inventory.")]
Extra = Annotated[
    list[str] | None, typer.Option("--extra", "-e", help="A variable for the playbook, key=value, or a JSON object.")
]
RunName = Annotated[str, typer.Argument(help="The run's id, part of it, or latest.")]
Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the record.")]
ProcedureName = Annotated[str, typer.Argument(help=f"The runbook: {', '.join(procedures.recoveries())}.")]
LAB = "inventories/lab"


def refuse(sentence: str, code: int) -> NoReturn:
    """Say why and leave."""
    say(Console(stderr=True), sentence)
    raise typer.Exit(code)


def inventory_path(inventory: str) -> str:
    """The inventory as given, else the one of that name in the repository."""
    path = inventory if Path(inventory).exists() else str(runner.ROOT / inventory)
    if not Path(path).exists():
        refuse(f"There is no inventory {inventory}. Nothing was changed.", 2)
    return path


def runbook(procedure: str) -> str:
    """The procedure's name, when there is such a runbook."""
    if not (runner.ROOT / "playbooks" / f"{procedure}.yml").exists():
        known = ", ".join(procedures.recoveries())
        refuse(f"There is no runbook playbooks/{procedure}.yml; there are {known}. Nothing was changed.", 2)
    return procedure


def check_told(procedure: str, told: Mapping[str, Any]) -> None:
    """Refuse at once what the runbook would refuse after it had looked at every host."""
    lacking = procedures.load(procedure).lacking(told)
    if lacking:
        wanted = " ".join(f"-e {name}=..." for name in lacking)
        refuse(f"{procedure} needs to be told {wanted} (docs/runbooks/{procedure}.md). Nothing was changed.", 2)


def variables(extra: list[str] | None) -> dict[str, Any]:
    """Options as a mapping: `key=value`, or a JSON object as ansible-playbook takes it."""
    found: dict[str, Any] = {}
    for item in extra or []:
        key, sep, value = item.partition("=")
        if item.lstrip().startswith("{"):
            found |= _object(item)
        elif sep and key:
            found[key] = value
        else:
            refuse("A variable is given as key=value, or as a JSON object. Nothing was changed.", 2)
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        refuse(f"-e {text}: that is no JSON object: {error}. Nothing was changed.", 2)
    return found


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
