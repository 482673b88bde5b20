"""Tell people that a recurring job failed, and that it ran well again. What was told is kept beside the runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrescue import incidents, runner
from pgrescue.alerting import delivery
from pgrescue.alerting.message import Kind, Message, Severity
from pgrescue.core import schedules
from pgrescue.files import write_json
from pgrescue.models import rfc3339
from pgrescue.watch import setting

FOLDER = "jobs"  # in the records: SERVICE/JOB.json while a failure of the job is open


def failed(job: Mapping[str, Any], service: str, inventory: str) -> delivery.Delivery:
    """Tell that a job failed: the first level for a page, the tickets otherwise.

    Raises WatchError where the inventory cannot be read.
    """
    name = job["name"]
    told = _tell(
        job,
        service,
        inventory,
        "opened",
        f"The scheduled job {name} failed: {job['says']} is not known to hold.",
        (
            f"journalctl -u {schedules.prefix(service)}{name}",
            f"pgrescue schedule run {name} -s {service} -i {inventory}",
        ),
    )
    if told.delivered:
        path = _open(service, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"job": name, "service": service, "told": rfc3339(incidents.now())})
    return told


def well(job: Mapping[str, Any], service: str, inventory: str) -> delivery.Delivery | None:
    """Tell that a job ran well of which a failure was told; None where none was. What nobody took is told again."""
    path = _open(service, job["name"])
    if not path.exists():
        return None
    told = _tell(job, service, inventory, "resolved", f"The scheduled job {job['name']} ran well again.", ())
    if told.delivered:
        path.unlink()
    return told


def _open(service: str, name: str) -> Path:
    return runner.RUNS / FOLDER / service / f"{name}.json"


def _tell(
    job: Mapping[str, Any], service: str, inventory: str, kind: Kind, says: str, commands: tuple[str, ...]
) -> delivery.Delivery:
    policy = setting.read(service, inventory, False, lambda _said: None).alerts
    page = job["tell"] == "page"
    due = f"It is due every {job['every']} at {job['at']} {job['time_zone']}."
    severity: Severity = "critical" if page else "warning"
    message = Message(f"job:{service}:{job['name']}", kind, severity, service, says, (due,), commands, incidents.now())
    if page and policy.levels:
        return delivery.deliver_level(message, 0, policy, {})
    return delivery.deliver(message, policy.tickets or [n for one in policy.levels for n in one.channels], policy, {})
