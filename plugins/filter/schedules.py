# Copyright: the pgrescue authors. Apache-2.0
"""The inventory's schedules, as systemd's units and as AWX's schedules."""

from __future__ import annotations

from datetime import date
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.pgrescue.runbooks.plugins.module_utils import schedules


def _checked(jobs: "Sequence[Mapping[str, Any]]", zone: str, begins: "date | str") -> date:
    first = date.fromisoformat(str(begins))
    schedules.check(jobs, zone, first)
    return first


def calendar_of(jobs: "Iterable[Mapping[str, Any]]", name: str, zone: str, otherwise: str) -> str:
    """When the job of this name runs, as OnCalendar has it; C(otherwise) where the inventory has no schedules."""
    return schedules.calendar_of(jobs, name, zone, otherwise)


def schedule_units(
    jobs: "Sequence[Mapping[str, Any]]", service: str, plan: "Mapping[str, Any]", where: "Mapping[str, str]"
) -> "list[dict[str, str]]":
    """The units of a service's jobs. C(plan): C(time_zone), C(begins), C(by); none where that is C(awx)."""
    _checked(jobs, plan["time_zone"], plan["begins"])
    return schedules.units(jobs, service, plan["time_zone"], where) if plan["by"] == "systemd" else []


def awx_schedules(
    jobs: "Sequence[Mapping[str, Any]]", services: "Iterable[str]", plan: "Mapping[str, Any]", inventory: str
) -> "list[dict[str, Any]]":
    """The schedules of several services' jobs, each with C(enabled): they count where C(by) of the plan is C(awx)."""
    first = _checked(jobs, plan["time_zone"], plan["begins"])
    found = [
        one
        for service in services
        for one in schedules.awx_schedules(jobs, service, plan["time_zone"], first, inventory)
    ]
    return [{**one, "enabled": plan["by"] == "awx"} for one in found]


class FilterModule:
    """Filters of the collection; the sentence of a refusal is what Ansible prints."""

    def filters(self) -> "dict[str, Any]":
        return {
            "calendar_of": calendar_of,
            "schedule_units": schedule_units,
            "units_gone": schedules.gone,
            "awx_schedules": awx_schedules,
            "awx_schedules_gone": schedules.awx_gone,
        }
