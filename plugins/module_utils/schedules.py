"""Recurring jobs: when each runs, as systemd and as AWX are told. What this says of one job is the same instant for both."""

from __future__ import annotations

import hashlib
import re
import shlex
from datetime import date, datetime, time, timedelta
from typing import Any, Iterable, Mapping, Sequence
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .guards import PRECONDITION, Stop

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DEFAULTS: "dict[str, Any]" = {
    "runs_on": "controller",
    "jitter_min": 0,
    "missed": "run",
    "tell": "ticket",
    "timeout_min": 60,
    "spares_blocked_days": False,
}
OF_HOSTS = {
    "jitter_min": 0,
    "missed": "run",
    "timeout_min": DEFAULTS["timeout_min"],
    "tell": "nobody",
}  # nothing else is heeded there
KEYS = {
    "name",
    "says",
    "every",
    "at",
    "weekday",
    "day",
    "time_zone",
    "services",
    "command",
    "playbook",
    "variables",
    *DEFAULTS,
}
PERIOD_MIN = {"hour": 60, "day": 1440, "week": 7 * 1440, "month": 28 * 1440, "quarter": 90 * 1440}
FACTS = ("service", "inventory", "runs", "last_month")  # what a command may ask for, in braces
AWX_PREFIX = "pgrescue "  # what the names of our schedules in AWX begin with
LOOK_AHEAD = timedelta(days=3660)  # so far are changes of the clock looked for


def whole(job: Mapping[str, Any], zone: str) -> "dict[str, Any]":
    """The job with what it leaves out."""
    return {**DEFAULTS, "time_zone": zone, **job}


def of_service(jobs: Iterable[Mapping[str, Any]], service: str) -> "list[Mapping[str, Any]]":
    """The jobs of one service: those that name no service are every service's."""
    return [job for job in jobs if service in job.get("services", [service])]


def check(jobs: Sequence[Mapping[str, Any]], zone: str, begins: date) -> None:
    """Refuse jobs that could not be run once at each of their times by both."""
    names = [job["name"] for job in jobs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _wrong("two jobs are called %s" % ", ".join(twice))
    for job in jobs:
        problem = _problem(whole(job, zone), begins)
        if problem:
            raise _wrong("%s: %s" % (job["name"], problem))


def _wrong(said: str) -> Stop:
    return Stop("schedule_jobs: %s. Nothing was changed." % said, PRECONDITION)


def _problem(job: Mapping[str, Any], begins: date) -> str:
    return _misfit(job) or _unclear(job) or _untimely(job, begins)


def _misfit(job: Mapping[str, Any]) -> str:
    """Which keys do not go together."""
    wants = {"week": ["weekday"], "month": ["day"], "quarter": ["day"]}.get(job["every"], [])
    lacking = [key for key in wants if key not in job]
    idle = sorted(set(job) - KEYS) + [key for key in ("weekday", "day") if key in job and key not in wants]
    works = job.get("command") or job.get("playbook")
    if lacking:
        return "every %s needs the key %s" % (job["every"], lacking[0])
    if idle:
        return "the key %s means nothing here" % idle[0]
    if job["runs_on"] == "hosts":
        other = works or any(job[key] != value for key, value in OF_HOSTS.items())
        said = "what hosts run themselves catches up, is not spread, ends by itself, tells nobody, and has no command or playbook"
        return said if other else ""
    if not works:
        return "it has neither a command nor a playbook"
    # systemd begins no job that still runs; AWX would, and lets many services share a template
    if job["timeout_min"] + job["jitter_min"] >= PERIOD_MIN[job["every"]]:
        return "one that takes all its %d min would run into the next" % job["timeout_min"]
    return ""


def _unclear(job: Mapping[str, Any]) -> str:
    """What is wrong with its command: told now, not at the hour at which it would run."""
    try:
        words(job.get("command") or "", dict.fromkeys(FACTS, ""))
    except (LookupError, ValueError, AttributeError) as error:
        return "its command cannot be understood (%s); in braces there are %s" % (error, ", ".join(FACTS))
    return ""


def words(command: str, facts: Mapping[str, str]) -> "list[str]":
    """A command as its arguments; each stays one argument whatever is in it. Raises where it asks for what is none of the facts."""
    return [word.format(**facts) for word in shlex.split(command)]


def _untimely(job: Mapping[str, Any], begins: date) -> str:
    """Why there is no such time, or not once."""
    hourly = job["every"] == "hour"
    try:
        zone = ZoneInfo(job["time_zone"])
    except (ZoneInfoNotFoundError, ValueError):
        return "there is no time zone %s" % job["time_zone"]
    if hourly and job["time_zone"] != "UTC":
        return "every hour is counted in UTC, where no hour is left out and none comes twice"
    if _minutes(job) + job["jitter_min"] >= (60 if hourly else 24 * 60):
        return "its jitter does not end within the %s" % ("hour" if hourly else "day")
    return "" if hourly else _clock_problem(job, zone, begins)


def _minutes(job: Mapping[str, Any]) -> int:
    hours, minutes = (int(part) for part in job["at"].split(":"))
    return minutes if job["every"] == "hour" else hours * 60 + minutes


def _clock_problem(job: Mapping[str, Any], zone: ZoneInfo, begins: date) -> str:
    """Why a time of day is no good in its zone: on some day it does not exist, or comes twice."""
    day = begins
    while day < begins + LOOK_AHEAD:
        midnight = datetime.combine(day, time())
        if midnight.replace(tzinfo=zone).utcoffset() != (midnight + timedelta(days=1)).replace(tzinfo=zone).utcoffset():
            for minute in [
                *range(_minutes(job), _minutes(job) + job["jitter_min"], 5),
                _minutes(job) + job["jitter_min"],
            ]:
                at = midnight + timedelta(minutes=minute)
                if at.replace(tzinfo=zone).utcoffset() != at.replace(tzinfo=zone, fold=1).utcoffset():
                    said = "on %s the clocks of %s are changed, and %s does not exist or comes twice"
                    return (said + ": choose another hour, or UTC") % (day, job["time_zone"], at.strftime("%H:%M"))
        day += timedelta(days=1)
    return ""


def calendar(job: Mapping[str, Any]) -> str:
    """When, as systemd's OnCalendar has it."""
    hour, minute = job["at"].split(":")
    if job["every"] == "hour":
        return "*-*-* *:%s:00 UTC" % minute
    days = {
        "day": "*-*-*",
        "week": "%s *-*-*" % str(job.get("weekday", ""))[:3].title(),
        "month": "*-*-%02d" % job.get("day", 0),
        "quarter": "*-01,04,07,10-%02d" % job.get("day", 0),
    }[job["every"]]
    return "%s %s:%s:00 %s" % (days, hour, minute, job["time_zone"])


def calendar_of(jobs: Iterable[Mapping[str, Any]], name: str, zone: str, otherwise: str) -> str:
    """The same of the job of this name; `otherwise` where the inventory has no schedules."""
    return next((calendar(whole(job, zone)) for job in jobs if job["name"] == name), otherwise)


def spread_min(job: Mapping[str, Any], service: str) -> int:
    """How many minutes of its jitter a service's job waits in AWX, which cannot spread: always the same of one service."""
    digest = hashlib.sha256(("%s %s" % (service, job["name"])).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (int(job["jitter_min"]) + 1)


def rrule(job: Mapping[str, Any], begins: date, later_min: int = 0) -> str:
    """When, as iCalendar has it, in the words that AWX takes: beginning with the first time at all."""
    at = timedelta(minutes=_minutes(job) + later_min)
    first = next(
        day for day in (begins + timedelta(days=days) for days in range(100)) if _on(job, day) or job["every"] == "hour"
    )
    start = datetime.combine(first, time()) + at
    zone = job["time_zone"]
    written = (
        ":%sZ" % start.strftime("%Y%m%dT%H%M%S")
        if zone == "UTC"
        else ";TZID=%s:%s" % (zone, start.strftime("%Y%m%dT%H%M%S"))
    )
    rule = {
        "hour": "FREQ=HOURLY;INTERVAL=1",
        "day": "FREQ=DAILY;INTERVAL=1",
        "week": "FREQ=WEEKLY;INTERVAL=1;BYDAY=%s" % str(job.get("weekday", ""))[:2].upper(),
        "month": "FREQ=MONTHLY;INTERVAL=1;BYMONTHDAY=%s" % job.get("day"),
        "quarter": "FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=%s" % job.get("day"),
    }[job["every"]]
    return "DTSTART%s RRULE:%s" % (written, rule)


def _on(job: Mapping[str, Any], day: date) -> bool:
    """Whether a job that does not run every hour runs on a day."""
    return {
        "hour": True,
        "day": True,
        "week": DAYS[day.weekday()] == job.get("weekday"),
        "month": day.day == job.get("day"),
        "quarter": day.day == job.get("day") and day.month % 3 == 1,
    }[job["every"]]


def prefix(service: str) -> str:
    """What the names of a service's units begin with; a service's name has no dot."""
    return "pgrescue-job.%s." % service


def units(
    jobs: Iterable[Mapping[str, Any]], service: str, zone: str, where: Mapping[str, str]
) -> "list[dict[str, str]]":
    """The unit files of a service's jobs, path and text; none where AWX starts them.

    `where`: `program` (the command's path), `inventory`, `user`, `directory`, and `units`, the folder of the files.
    """
    found = []
    for job in (whole(one, zone) for one in of_service(jobs, service)):
        if job["runs_on"] == "hosts":
            continue
        path = "%s/%s%s" % (where["units"], prefix(service), job["name"])
        found += [
            {"path": path + ".service", "text": _service(job, service, where)},
            {"path": path + ".timer", "text": _timer(job, service)},
        ]
    if found:
        found.append(
            {"path": "%s/pgrescue-job-failed.%s@.service" % (where["units"], service), "text": _failed(service, where)}
        )
    return found


def _service(job: Mapping[str, Any], service: str, where: Mapping[str, str]) -> str:
    # a oneshot that a timer starts while it still runs is not started again
    heard = "OnFailure=pgrescue-job-failed.%s@%s.service\n" % (service, job["name"]) if job["tell"] != "nobody" else ""
    return (
        "# Made by playbooks/schedule.yml from the inventory's schedules; changes here are lost.\n"
        "[Unit]\nDescription={name} of {service}: {says}\n{heard}Wants=network-online.target\nAfter=network-online.target\n\n"
        "[Service]\nType=oneshot\n{common}"
        "ExecStart={program} schedule run {name} -s {service} -i {inventory}\nTimeoutStartSec={limit}min\n"
    ).format(
        name=job["name"],
        service=service,
        says=job["says"].replace("%", "%%"),
        heard=heard,
        common=_common(where),
        program=where["program"],
        inventory=where["inventory"],
        limit=job["timeout_min"],
    )


def _common(where: Mapping[str, str]) -> str:
    # what the jobs need and nobody may read, such as ANSIBLE_VAULT_PASSWORD_FILE, is in the environment's file
    return (
        "User={user}\nWorkingDirectory={directory}\nEnvironmentFile=-/etc/pgrescue/schedule.env\n"
        "Environment=ANSIBLE_CONFIG={directory}/ansible.cfg\n"
    ).format(**where)


def _timer(job: Mapping[str, Any], service: str) -> str:
    spread = "RandomizedDelaySec=%dmin\nFixedRandomDelay=true\n" % job["jitter_min"] if job["jitter_min"] else ""
    return (
        "# Made by playbooks/schedule.yml from the inventory's schedules; changes here are lost.\n"
        "[Unit]\nDescription=When {name} of {service} is done\n\n"
        "[Timer]\nOnCalendar={calendar}\nPersistent={persistent}\n{spread}AccuracySec=1s\n\n"
        "[Install]\nWantedBy=timers.target\n"
    ).format(
        name=job["name"],
        service=service,
        calendar=calendar(job),
        persistent="true" if job["missed"] == "run" else "false",
        spread=spread,
    )


def _failed(service: str, where: Mapping[str, str]) -> str:
    return (
        "# Made by playbooks/schedule.yml from the inventory's schedules; changes here are lost.\n"
        "[Unit]\nDescription=Tell people that %i of {service} failed\n\n"
        "[Service]\nType=oneshot\n{common}"
        "ExecStart=/usr/bin/logger --priority daemon.err --tag pgrescue "
        '"The job %i of {service} failed: journalctl -u {prefix}%i"\n'
        "ExecStart={program} schedule failed %i -s {service} -i {inventory}\nTimeoutStartSec=10min\n"
    ).format(
        service=service,
        common=_common(where),
        prefix=prefix(service),
        program=where["program"],
        inventory=where["inventory"],
    )


def gone(there: Iterable[str], wanted: Iterable[Mapping[str, str]], service: str) -> "list[str]":
    """Units of a service that are there and not wanted any more: of jobs that were taken out of the schedules."""
    name = re.escape(service)
    ours = re.compile(r".*/(pgrescue-job\.%s\..*|pgrescue-job-failed\.%s@\.service)" % (name, name))
    return sorted(path for path in set(there) - {unit["path"] for unit in wanted} if ours.fullmatch(path))


def awx_gone(
    there: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], services: Iterable[str]
) -> "list[Mapping[str, Any]]":
    """Schedules of these services that AWX has and that are not wanted any more; others may be of another inventory."""
    names = {one["name"] for one in wanted}
    ours = tuple("%s%s " % (AWX_PREFIX, service) for service in services)
    return [one for one in there if one["name"].startswith(ours) and one["name"] not in names]


def awx_schedules(
    jobs: Iterable[Mapping[str, Any]], service: str, zone: str, begins: date, inventory: str
) -> "list[dict[str, Any]]":
    """A service's jobs as AWX has them: name, template, rule, variables, and the limit in seconds.

    A job without a playbook of its own is run by `run_job.yml`, which calls the command; one that spares blocked days as well.
    """
    found = []
    for job in (whole(one, zone) for one in of_service(jobs, service)):
        if job["runs_on"] == "hosts":
            continue
        # the runbook itself knows of no blocked day
        playbook = None if job["spares_blocked_days"] else job.get("playbook")
        more = job.get("variables", {}) if playbook else {"job": job["name"], "schedule_inventory": inventory}
        found.append(
            {
                "name": "%s%s %s" % (AWX_PREFIX, service, job["name"]),
                "says": job["says"],
                "playbook": playbook or "run_job",
                "rrule": rrule(job, begins, spread_min(job, service)),
                "variables": {"service": service, **more},
                "timeout_s": int(job["timeout_min"]) * 60,
                "tell": job["tell"],
            }
        )
    return found
