"""`pgrescue findings`: what drills and incidents showed to be wrong, and what became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from pgrescue import findings, recovery, runner
from pgrescue.human import plural
from pgrescue.options import Json, Reason, refuse

app = typer.Typer(no_args_is_help=True, help="What drills and incidents showed to be wrong, and what became of it.")
Which = Annotated[str, typer.Argument(help="The finding's id, or part of it.")]
Due = Annotated[str | None, typer.Option("--due", help="By when it is seen to, YYYY-MM-DD.")]
Owner = Annotated[str | None, typer.Option("--owner", help="Who sees to it.")]
WRONG = 1


@app.command("list")
def show(
    service: Annotated[str | None, typer.Option("--service", "-s", help="Of this service alone.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are done or accepted.")] = False,
    as_json: Json = False,
) -> None:
    """List findings; exit 1 when one is overdue."""
    today = datetime.now(UTC).date()
    try:
        there = findings.load(runner.RUNS, service)
    except findings.FindingError as error:
        refuse(str(error), error.code)
    shown = [one for one in there if every or one.state == "open"]
    late = [one for one in shown if one.overdue(today)]
    if as_json:
        typer.echo(json.dumps([{**one.dump(), "overdue": one.overdue(today)} for one in shown], indent=2))
    else:
        for one in shown:
            word = "OVERDUE" if one.overdue(today) else one.state
            typer.echo(f"{word:<8} {one.severity:<6} due {one.due}  {one.owner}")
            typer.echo("\n".join(f"         {line}" for line in (one.title, *(one.evidence or ()), one.id)))
        typer.echo(f"{plural(len(shown), 'finding')}, {len(late)} overdue" if shown else "No finding is open.")
    raise typer.Exit(WRONG if late else 0)


def _tell(which: str, state: findings.State, reason: str, **more: str | None) -> None:
    try:
        one = findings.tell(runner.RUNS, which, state, recovery.operator(), reason, **more)
    except findings.FindingError as error:
        refuse(str(error), error.code)
    typer.echo(f"{one.id} is {one.state}: {one.reason}")


@app.command()
def done(which: Which, reason: Reason = "") -> None:
    """A finding was seen to; the reason says how."""
    _tell(which, "done", reason)


@app.command()
def accept(which: Which, reason: Reason = "") -> None:
    """A finding stays as it is, for a reason."""
    _tell(which, "accepted", reason)


@app.command()
def reopen(which: Which, reason: Reason = "", owner: Owner = None, due: Due = None) -> None:
    """A finding is open again, or another sees to it, or by another day."""
    _tell(which, "open", reason, owner=owner, due=due)
