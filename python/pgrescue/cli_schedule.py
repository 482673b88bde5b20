"""Verbs about recurring jobs."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pgrescue import job_alerts, runner, schedule
from pgrescue.core import schedules
from pgrescue.options import LAB, Inventory, Json, Service, inventory_path, refuse
from pgrescue.watch import setting

app = typer.Typer(no_args_is_help=True, help="Recurring jobs: which, when, and as what they are rendered.")
OfService = Annotated[str | None, typer.Option("--service", "-s", help="Of this service alone.")]
Name = Annotated[str, typer.Argument(help="The job.")]
NOBODY_TOLD = 1


class For(StrEnum):
    """What starts jobs."""

    systemd = "systemd"
    awx = "awx"


def _load(inventory: str) -> schedule.Schedules:
    try:
        return schedule.load(inventory_path(inventory))
    except schedule.ScheduleError as error:
        refuse(str(error), error.code)


@app.command("list")
def show(inventory: Inventory = LAB, service: OfService = None, as_json: Json = False) -> None:
    """Every job: what it does, how often, in which zone, and who hears of a failure."""
    found = _load(inventory).of(service)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for job in found:
        typer.echo(f"{job['name']:<18} {schedules.calendar(job):<36} {job['tell']:<7} {job['runs_on']}")
        typer.echo(f"  {job['says']}")


@app.command("next")
def upcoming(
    inventory: Inventory = LAB,
    service: OfService = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many times of each job.")] = 1,
    as_json: Json = False,
) -> None:
    """When each job is due next, in UTC; the soonest first. A job's jitter comes on top."""
    known = _load(inventory)
    now = datetime.now(UTC)
    times = [
        (at, job) for job in known.of(service) for at in itertools.islice(schedule.due(job, known.begins, now), count)
    ]
    times.sort(key=lambda one: (one[0], one[1]["name"]))
    if as_json:
        said = [
            {"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "job": job["name"], "jitter_s": job["jitter_min"] * 60}
            for at, job in times
        ]
        typer.echo(json.dumps(said, indent=2))
        return
    for at, job in times:
        spread = f"  and up to {job['jitter_min']} min" if job["jitter_min"] else ""
        typer.echo(f"{at:%a %Y-%m-%d %H:%M} UTC  {job['name']}{spread}")


@app.command()
def render(
    inventory: Inventory = LAB,
    service: Service = "shop",
    target: Annotated[For, typer.Option("--for", help="systemd's units, or AWX's schedules.")] = For.systemd,
    as_json: Json = False,
) -> None:
    """Print what the jobs are rendered as; playbooks/schedule.yml installs it, awx/configure.yml applies it."""
    path = inventory_path(inventory)
    known = _load(inventory)
    said = [job.said() for job in known.jobs]
    if target == For.awx:
        made: list[dict[str, Any]] = schedules.awx_schedules(said, service, known.time_zone, known.begins, path)
        typer.echo(json.dumps(made, indent=2))
        return
    where = {
        "program": str(runner.ROOT / ".venv/bin/pgrescue"),
        "inventory": str(Path(path).resolve()),
        "user": "pgrescue",
        "directory": str(runner.ROOT),
        "units": "/etc/systemd/system",
    }
    units = schedules.units(said, service, known.time_zone, where)
    typer.echo(
        json.dumps(units, indent=2) if as_json else "\n".join(f"# {one['path']}\n{one['text']}" for one in units)
    )


@app.command()
def run(job: Name, service: Service = "shop", inventory: Inventory = LAB) -> None:
    """Run a job now, as its timer does; ends with the exit code of what it ran."""
    try:
        code = schedule.run(job, service, inventory_path(inventory), datetime.now(UTC), Console())
    except schedule.ScheduleError as error:
        refuse(str(error), error.code)
    raise typer.Exit(code)


@app.command()
def failed(job: Name, service: Service = "shop", inventory: Inventory = LAB) -> None:
    """Tell people that a job failed, as its unit does; exit 1 when nobody could be told."""
    try:
        path = inventory_path(inventory)
        told = job_alerts.failed(schedule.load(path).job(job, service), service, path)
    except (schedule.ScheduleError, setting.WatchError) as error:
        refuse(str(error), error.code)
    for reason in told.reasons:
        typer.echo(reason, err=True)
    if not told.delivered:
        refuse("Nobody was told: service_alerts has no channel that took it (docs/alerting.md).", NOBODY_TOLD)
    typer.echo(f"Told by {', '.join(told.channels)}.")
