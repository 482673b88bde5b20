"""Verbs about drills and their programme."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from pgrescue import cli_findings, findings, recovery, runner
from pgrescue.alerting.policy import Policy
from pgrescue.drill import conduct, draw, halt, scenario
from pgrescue.drill.blind import run as run_blind
from pgrescue.drill.play import STEP_FAILED
from pgrescue.drill.tape import Tape
from pgrescue.options import LAB, Extra, Inventory, Json, Service, inventory_path, refuse, variables
from pgrescue.programme import alerts, calendar, due, overview, past
from pgrescue.programme import plan as plans
from pgrescue.watch import setting

Seed = Annotated[int | None, typer.Option(help="Makes what is drawn at random repeatable.")]
Without = Annotated[
    list[str] | None, typer.Option("--without", help="Go on without an item of the checklist, ITEM=REASON.")
]
Acknowledged = Annotated[
    list[str] | None, typer.Option("--acknowledged", help="Who takes part, was told and acknowledged; once each.")
]
WRONG = 1


def drill(
    name: Annotated[str | None, typer.Argument(help="The drill, a file in drills/; complete_loss.")] = None,
    service: Service = "shop",
    inventory: Inventory = LAB,
    seed: Seed = None,
    blind: Annotated[bool, typer.Option("--blind", help="Draw scenario and instant; people recover.")] = False,
    within: Annotated[str, typer.Option(help="The window of a blind drill, such as 2h or 90m.")] = "2h",
    found_out: Annotated[
        str | None, typer.Option("--found-out", metavar="WORDS", help="Say what is wrong in the drill that goes on.")
    ] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="WHY", help="Stop the drill that goes on.")] = None,
    without: Without = None,
    acknowledged: Acknowledged = None,
    extra: Extra = None,
) -> None:
    """Break a drill target for real, recover it, hold it against the drill's rules, and keep the proof."""
    if found_out is not None or stop is not None:
        _tell(service, halt.FOUND_OUT if stop is None else halt.STOP, stop or found_out or "")
    if blind and name:
        refuse("A blind drill draws its scenario: leave the name out. Nothing was changed.", 2)
    wish = conduct.Wish(
        service, inventory_path(inventory), seed, variables(extra), variables(without), tuple(acknowledged or ())
    )
    try:
        programme, console = plans.load(), Console(file=Tape(sys.stdout))
        if blind:
            raise typer.Exit(run_blind(wish, draw.seconds(within), programme, console))
        raise typer.Exit(conduct.run(scenario.load(name or "complete_loss"), wish, programme, console))
    except (scenario.ScenarioError, plans.ProgrammeError) as error:
        refuse(str(error), 2)
    except ValueError as error:
        refuse(f"{error}. Nothing was changed.", 2)
    except halt.DrillGoesOnError as error:
        refuse(str(error), 4)


def _tell(service: str, what: str, words: str) -> NoReturn:
    if not words.strip():
        refuse("Say it in words. Nothing was changed.", 2)
    try:
        halt.tell(halt.folder(runner.RUNS, service), what, recovery.operator(), words.strip())
    except halt.NoDrillError as error:
        refuse(str(error), 3)
    said = "It stops within a second or two, before its next phase." if what == halt.STOP else "Noted."
    typer.echo(said)
    raise typer.Exit(0)


def programme(
    service: Annotated[str | None, typer.Option("--service", "-s", help="Of this service alone.")] = None,
    as_json: Json = False,
    as_ical: Annotated[bool, typer.Option("--ical", help="Print an iCalendar.")] = False,
    alert: Annotated[bool, typer.Option("--alert", help="Tell people what became overdue, and what is over.")] = False,
    inventory: Inventory = LAB,
) -> None:
    """What is due, overdue and done, coverage, what must be proven again; exit 1 when something is overdue."""
    today = datetime.now(UTC).date()
    try:
        plan = plans.load()
        if service is not None and service not in plan.services:
            refuse(f"The programme has no service {service}; it has {', '.join(plan.services)}.", 2)
        if as_ical:
            duties = due.duties(plan, past.runs(runner.RUNS, service), today, service)
            sys.stdout.buffer.write(calendar.ical(plan, duties, today))
            raise typer.Exit(0)
        opened = findings.load(runner.RUNS, service)
        said = overview.gather(runner.RUNS, plan, opened, today, service)
    except plans.ProgrammeError as error:
        refuse(str(error), 2)
    except findings.FindingError as error:
        refuse(str(error), error.code)
    typer.echo(json.dumps(said, indent=2) if as_json else "\n".join(overview.lines(said)))
    if alert:
        _alert(plan, opened, service, inventory_path(inventory))
    raise typer.Exit(WRONG if overview.wrong(said) else 0)


def _alert(plan: plans.Programme, opened: Sequence[findings.Finding], service: str | None, inventory: str) -> None:
    """Tell people; ends with 5 when somebody could not be told, 3 when there is no way to tell anybody."""
    now, services = datetime.now(UTC), [name for name in plan.services if service in (None, name)]
    duties = due.duties(plan, past.runs(runner.RUNS, service), now.date(), service)
    overdue = alerts.late(duties, [one for one in opened if one.service in services], now.date())

    def policy(name: str) -> Policy:
        return setting.read(name, inventory, False, lambda said: typer.echo(said, err=True)).alerts

    try:
        came = alerts.tell(runner.RUNS, services, overdue, policy, now)
    except alerts.AlertsError as error:
        refuse(str(error), 3)
    except setting.WatchError as error:
        refuse(str(error).replace("Nothing is watched.", "Nobody was told."), error.code)
    for line in (*came.said, *came.failed):
        typer.echo(line, err=True)
    if came.failed:
        raise typer.Exit(STEP_FAILED)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(drill)
    app.command()(programme)
    app.add_typer(cli_findings.app, name="findings")
