"""Recurring jobs of an inventory, `group_vars/all/schedules.yml`: what there is, when it is due, one of them run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import yaml
from dateutil.rrule import rrulestr
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from rich.console import Console

from pgrescue import job_alerts, runner, upkeep
from pgrescue.core import guards, schedules
from pgrescue.programme import plan as plans

FILE = "group_vars/all/schedules.yml"
PREFIX = "schedule_"
PRECONDITION, WRONG_USE = 3, 2


class ScheduleError(Exception):
    """The schedules cannot be read, or have no such job; the message says which, and that nothing was changed."""

    def __init__(self, message: str, code: int = PRECONDITION) -> None:
        super().__init__(message)
        self.code = code


class Job(BaseModel):
    """A job. `command` is the command's arguments, with {service}, {inventory}, {runs} and {last_month}.

    `playbook` with `variables` is what AWX launches, and what is run where there is no command. `missed`: what becomes
    of a time at which the machine was off. A job that still runs is never begun a second time.
    """

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    says: str
    every: Literal["hour", "day", "week", "month", "quarter"]
    at: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM; every hour the minute counts")
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] | None = None
    day: int | None = Field(default=None, ge=1, le=28, description="of the month, or of the quarter's first month")
    time_zone: str | None = None
    services: list[str] | None = Field(default=None, description="every service where it is left out")
    runs_on: Literal["controller", "hosts"] = schedules.DEFAULTS["runs_on"]
    command: str | None = None
    playbook: str | None = None
    variables: dict[str, Any] | None = None
    jitter_min: int = Field(default=schedules.DEFAULTS["jitter_min"], ge=0)
    missed: Literal["run", "skip"] = schedules.DEFAULTS["missed"]
    timeout_min: int = Field(default=schedules.DEFAULTS["timeout_min"], gt=0)
    tell: Literal["page", "ticket", "nobody"] = schedules.DEFAULTS["tell"]
    spares_blocked_days: bool = schedules.DEFAULTS["spares_blocked_days"]

    def said(self) -> dict[str, Any]:
        """What the inventory says of it, without what it leaves out."""
        return self.model_dump(exclude_none=True, exclude_unset=True)


class Schedules(BaseModel):
    """All jobs of an inventory. `by` starts the controller's: systemd or AWX, never both."""

    model_config = ConfigDict(extra="forbid")

    begins: date
    time_zone: str
    by: Literal["systemd", "awx"]
    jobs: list[Job]

    @model_validator(mode="after")
    def _checked(self) -> Schedules:
        try:
            schedules.check([job.said() for job in self.jobs], self.time_zone, self.begins)
        except guards.Stop as stop:
            raise ValueError(str(stop)) from stop
        return self

    def of(self, service: str | None) -> list[dict[str, Any]]:
        """The jobs of a service, or all, whole."""
        said = [job.said() for job in self.jobs]
        wanted = said if service is None else schedules.of_service(said, service)
        return [schedules.whole(job, self.time_zone) for job in wanted]

    def job(self, name: str, service: str) -> dict[str, Any]:
        """One job of a service. Raises ScheduleError."""
        found = next((job for job in self.of(service) if job["name"] == name), None)
        if found is None:
            names = ", ".join(job["name"] for job in self.of(service))
            raise ScheduleError(f"{service} has no job {name}; it has {names}. Nothing was changed.", WRONG_USE)
        return found


def load(inventory: str) -> Schedules:
    """The schedules of an inventory. Raises ScheduleError."""
    path = Path(inventory) / FILE
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Schedules.model_validate({str(key).removeprefix(PREFIX): value for key, value in said.items()})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ScheduleError(
            f"There are no schedules {path}. Nothing was changed. Begin with a copy of inventories/example/{FILE}"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ScheduleError(f"{path}: {where}: {first['msg']}. Nothing was changed.") from error
    except (yaml.YAMLError, AttributeError) as error:
        raise ScheduleError(f"{path} holds no schedules: {error}. Nothing was changed.") from error


def due(job: dict[str, Any], begins: date, after: datetime) -> Iterator[datetime]:
    """The instants, UTC, at which a job is due after an instant, without its jitter, for ever."""
    for at in rrulestr(schedules.rrule(job, begins)).xafter(after):
        yield at.astimezone(UTC)


def blocked(job: dict[str, Any], today: date) -> str | None:
    """Why a job is not run on a day; None when it is."""
    return plans.load().why_blocked(today) if job["spares_blocked_days"] else None


def argv(job: dict[str, Any], service: str, inventory: str, today: date) -> list[str]:
    """The arguments of the command that a job runs."""
    last_month = (today.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    facts = {"service": service, "inventory": inventory, "runs": str(runner.RUNS), "last_month": last_month}
    return schedules.words(job["command"], facts)


def run(name: str, service: str, inventory: str, now: datetime, console: Console) -> int:
    """Run a job now; the exit code of its command or playbook. On a blocked day nothing is run, and that is well."""
    found = load(inventory).job(name, service)
    if found["runs_on"] == "hosts":
        raise ScheduleError(f"{name} is run by the hosts themselves. Nothing was changed.", WRONG_USE)
    today = now.astimezone(ZoneInfo(found["time_zone"])).date()  # shortly after midnight UTC may be a day behind
    why = blocked(found, today)
    if why:
        console.print(f"{name} of {service} is left out on {today}: {why}", markup=False, highlight=False)
        return 0
    if found.get("command"):
        program = [sys.executable, "-m", "pgrescue"]
        code = subprocess.run([*program, *argv(found, service, inventory, today)], check=False).returncode
    else:
        code = upkeep.play(found["playbook"], service, inventory, found.get("variables") or {}, console)
    told = job_alerts.well(found, service, inventory) if code == 0 else None
    if told and not told.delivered:
        console.print(f"Nobody was told that {name} ran well again: {'; '.join(told.reasons)}", markup=False)
    return code
