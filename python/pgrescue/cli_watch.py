"""Verbs that look at a service, and about its incidents."""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from pgrescue import fleet, incident_view, incidents, recovery, runner, status, triage, upkeep
from pgrescue.core import alone, guards
from pgrescue.human import moment
from pgrescue.options import LAB, Inventory, Json, Reason, Service, inventory_path, refuse
from pgrescue.watch import acting, rehearsal, setting
from pgrescue.watch.casework import Casework
from pgrescue.watch.loop import Watch
from pgrescue.watch.patience import CHANGED, OPENED, OVER

UNIT = """[Unit]
Description=pgrescue's watch over %i
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={program} watch --service %i --inventory {inventory}
Environment=PGRESCUE_RUNS={runs}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
incident = typer.Typer(no_args_is_help=True, help="Incidents: acknowledge, note, decide, resolve.")
IncidentName = Annotated[str, typer.Argument(help="The incident's id, part of it, its service, or latest.")]


def observe(service: Service = "shop", inventory: Inventory = LAB, as_json: Json = False) -> None:
    """Look once from all hosts: what has happened, and the facts for it. Exit 1 when something has."""
    _look(service, inventory, as_json, decide=False)


def triage_service(service: Service = "shop", inventory: Inventory = LAB, as_json: Json = False) -> None:
    """Facts first, then what can be done, ranked, with time, loss and command. Acts on nothing; exit 1 if not well."""
    _look(service, inventory, as_json, decide=True)


def _look(service: str, inventory: str, as_json: bool, *, decide: bool) -> None:
    try:
        raise typer.Exit(triage.run(service, inventory_path(inventory), as_json, decide, Console()))
    except triage.TriageError as error:
        refuse(str(error), error.code)


def watch(
    service: Service = "shop",
    inventory: Inventory = LAB,
    equip: Annotated[bool, typer.Option(help="Lay down what the hosts look with, before it begins.")] = True,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Plant a failure and see every channel take it; exit 1 if not.")
    ] = False,
    print_unit: Annotated[
        bool, typer.Option("--print-unit", help="Print a systemd unit for this machine and end.")
    ] = False,
) -> None:
    """Watch a service until told to stop: detect, page, propose. Changes nothing unless service_alone says so."""
    inventory = inventory_path(inventory)
    if print_unit:
        program = Path(sys.argv[0]).resolve()
        typer.echo(UNIT.format(program=program, inventory=Path(inventory).resolve(), runs=runner.RUNS), nl=False)
        return
    _say(f"equipping the hosts of {service}" if equip else f"reading what the inventory says of {service}")
    try:
        told = setting.read(service, inventory, equip, _say)
    except setting.WatchError as error:
        refuse(str(error), error.code)
    try:
        alone.check(told.alone)
    except guards.Stop as error:
        refuse(str(error), error.exit_code)
    if rehearse:
        _rehearse(told)
    if not told.alerts.levels:
        _say("service_alerts has no levels: nobody is told of anything (docs/alerting.md)")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _say(f"watching {service} from {', '.join(sorted(told.places))}")
    watching = _Watching(told)
    watching.run(stop)
    _say("the watch has ended")


def _rehearse(told: setting.Setting) -> NoReturn:
    """Try the way of an alert, say what came of it, and end."""
    found = rehearsal.run(told, runner.RUNS)
    if not found["noticed"]:
        typer.echo("The rules did not take the planted failure for an incident.")
    if not found["channels"]:
        typer.echo("service_alerts names no channel: nobody would be told.")
    for name, took in found["channels"].items():
        typer.echo(f"{name:<16} {f'told after {took:.1f} s' if isinstance(took, float) else took}")
    raise typer.Exit(0 if found["passed"] else 1)


class _Watching:
    """Ties what is seen to what follows from it."""

    def __init__(self, told: setting.Setting) -> None:
        self._told = told
        self._watch = Watch(told, runner.RUNS, self._tell)
        self._cases = Casework(told.service, runner.RUNS, told.alerts, self._decide, _say)
        before = self._cases.open_level()
        if before and self._cases.case:  # a watch before this one opened it
            patience = self._watch.patience
            patience.open, patience.state, patience.level = True, self._cases.case.incident.state, before

    def run(self, stop: threading.Event) -> None:
        self._watch.run(stop)
        self._cases.stop()

    def _decide(self) -> dict[str, Any]:
        return triage.look(self._told.service, self._told.inventory, self._watch.memory.known())

    def _tell(self, what: str, situation: dict[str, Any], started: datetime | None) -> None:
        try:
            self._follow(what, situation, started)
        except Exception as error:  # said; a watch that ends because of one incident sees the next one no more
            _say(f"{what} could not be followed up: {type(error).__name__}: {error}")

    def _follow(self, what: str, situation: dict[str, Any], started: datetime | None) -> None:
        if what == OPENED:
            self._cases.opened(situation, started)
            self._act(situation)
        elif what == CHANGED:
            self._cases.changed(situation)
            self._act(situation)
        elif what == OVER:
            self._cases.over()
        else:
            self._cases.tick(situation)
            return
        _say(f"{situation['state']}: {situation['says']}")

    def _act(self, situation: dict[str, Any]) -> None:
        action = acting.called_for(self._told.alone, situation)
        if action:
            _say(f"{action}: service_alone has it, asking whether it may be done now")
            threading.Thread(target=self._done_alone, name="acting", daemon=True).start()

    def _done_alone(self) -> None:
        case = self._cases.case
        said = acting.act(self._told.service, self._told.inventory, self._watch.memory.known(), case)
        _say(said)
        if case is not None:
            incidents.note(case, acting.ACTOR, said)


def _say(sentence: str) -> None:
    at = datetime.now(UTC)
    with suppress(OSError):  # whoever read this is gone; the watch goes on
        print(f"{at:%H:%M:%S.%f}"[:-3] + f" {sentence}", flush=True)


def show_status(
    service: Service = "shop",
    inventory: Inventory = LAB,
    every: Annotated[bool, typer.Option("--all", help="Every service that is watched from this machine.")] = False,
    as_json: Json = False,
) -> None:
    """Can it be recovered now, to when, how proven, how long by each way; what is degraded. Exit 1 if something is."""
    if every:
        raise typer.Exit(status.fleet(as_json, Console()))
    try:
        raise typer.Exit(status.run(service, inventory_path(inventory), as_json, Console()))
    except triage.TriageError as error:
        refuse(str(error), error.code)


def look_at_all(
    inventory: Inventory = LAB,
    part: Annotated[str, typer.Option("--slice", help="The i-th of n slices, i/n, for several machines.")] = "1/1",
    forks: Annotated[int, typer.Option(help="Hosts looked at at once.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Look once at every service of an inventory: one primary, its standbys, WAL archived; exit 1 if not so."""
    try:
        raise typer.Exit(fleet.run(inventory_path(inventory), part, forks, as_json, Console()))
    except fleet.FleetError as error:
        refuse(str(error), 3)


def declare(
    says: Annotated[str, typer.Argument(help="What is wrong, in a sentence.")],
    service: Service = "shop",
    inventory: Inventory = LAB,
) -> None:
    """Declare an incident that no watch has seen; the watch pages for it. A second one of a service joins the first."""
    if not says.strip():
        refuse("An incident is declared with a sentence that says what is wrong. Nothing was changed.", 2)
    try:
        upkeep.engines(service, inventory_path(inventory))  # whether there is such a service
    except upkeep.UpkeepError as error:
        refuse(str(error), upkeep.WRONG_USE)
    who = recovery.operator()
    situation = {
        "state": "declared",
        "says": says.strip(),
        "level": "page",
        "facts": [{"by": who, "says": says.strip()}],
    }
    case, new = incidents.begin(runner.RUNS, service, who, situation, None)
    if not new:
        incidents.note(case, who, says)
        typer.echo(f"{case.folder.name} is open already; your sentence was added to it.")
    else:
        incidents.acknowledge(case, who)
        typer.echo(f"{case.folder.name} is open, and you look after it.")
    typer.echo(f"Next: pgrescue triage -s {service} -i {inventory}    pgrescue incident show {case.folder.name}")


@incident.command("list")
def list_incidents(
    service: Annotated[str | None, typer.Option("--service", "-s", help="Only those of one service.")] = None,
    as_json: Json = False,
) -> None:
    """All incidents on this machine, newest first."""
    found = [case.incident for case in reversed(incidents.cases(runner.RUNS, service))]
    if as_json:
        typer.echo(json.dumps([{**one.dump(), "clocks": incidents.clocks(one)} for one in found], indent=2))
        return
    if not found:
        typer.echo("There is no incident here.")
    for one in found:
        typer.echo(incident_view.line(one))


@incident.command("show")
def show_incident(name: IncidentName = "latest", as_json: Json = False) -> None:
    """One incident: its clocks, checklist, proposals and timeline."""
    case = _case(name)
    if as_json:
        found = case.incident
        whole = {
            **found.dump(),
            "clocks": incidents.clocks(found),
            "checklist": dict(incidents.checklist(found)),
            "timeline": case.events(),
        }
        typer.echo(json.dumps(whole, indent=2))
    else:
        Console().print(incident_view.render(case), highlight=False)


@incident.command("ack")
def acknowledge(name: IncidentName = "latest") -> None:
    """Say that you look after it: nobody else is woken."""
    case = _case(name)
    first = _done(lambda: incidents.acknowledge(case, recovery.operator()))
    found = case.incident
    typer.echo(f"{found.id}: {'you look' if first else f'{found.acknowledged_by} already looks'} after it.")


@incident.command("note")
def add_note(text: Annotated[str, typer.Argument(help="A sentence to keep.")], name: IncidentName = "latest") -> None:
    """Keep a sentence in its timeline."""
    case = _case(name)
    _done(lambda: incidents.note(case, recovery.operator(), text))
    typer.echo(f"{case.folder.name}: noted.")


@incident.command("join")
def join(
    role: Annotated[str, typer.Argument(help="Your role, such as lead, hands or scribe.")],
    name: IncidentName = "latest",
) -> None:
    """Say that you are here, and as what."""
    case = _case(name)
    _done(lambda: incidents.join(case, recovery.operator(), role))
    typer.echo(f"{case.folder.name}: {', '.join(f'{who} ({what})' for who, what in case.incident.people.items())}")


@incident.command("decide")
def decide(what: Annotated[str, typer.Argument(help="What is done now.")], name: IncidentName = "latest") -> None:
    """Write down what was decided; the decision's clock stops at the first one."""
    case = _case(name)
    _done(lambda: incidents.decide(case, recovery.operator(), what))
    typer.echo(f"{case.folder.name}: decided.")


@incident.command("cause")
def explain(
    what: Annotated[str, typer.Argument(help="Why it happened, in a sentence.")], name: IncidentName = "latest"
) -> None:
    """Write down why it happened, also after it was resolved; the month's report says it."""
    case = _case(name)
    _done(lambda: incidents.explain(case, recovery.operator(), what))
    typer.echo(f"{case.folder.name}: its cause is written down.")


@incident.command("resolve")
def resolve(
    name: IncidentName = "latest",
    reason: Reason = "",
    cause: Annotated[str, typer.Option(help="Why it happened, where that is known by now.")] = "",
) -> None:
    """Close it, with the reason."""
    case = _case(name)
    _done(lambda: incidents.resolve(case, recovery.operator(), reason, cause))
    typer.echo(f"{case.folder.name} is resolved at {moment(datetime.now(UTC).replace(microsecond=0))}.")


def _case(name: str) -> incidents.Case:
    found: incidents.Case = _done(lambda: incidents.find(runner.RUNS, name))
    return found


def _done(what: Any) -> Any:
    try:
        return what()
    except incidents.IncidentError as error:
        refuse(str(error), error.code)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(observe)
    app.command("triage")(triage_service)
    app.command()(watch)
    app.command("status")(show_status)
    app.command("fleet")(look_at_all)
    app.command()(declare)
    app.add_typer(incident, name="incident")
