"""What Fly.io's own health checks say of an application: the C(checks) of its machines, as the Machines API lists them."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

RUNNING = ("starting", "started")  # what a machine that was stopped said last is no news


def checks(machines: "Iterable[Mapping[str, Any]]") -> "list[dict[str, Any]]":
    """Each check of each machine that runs. What a check put out is a stranger's text and is left out.

    A check that has not said anything yet, or says what is not known here, is C(unknown), which is not passing.
    """
    return [
        {
            "machine": machine["id"],
            "name": check.get("name") or "",
            "status": check["status"] if check.get("status") in ("passing", "warning", "critical") else "unknown",
            **({"at": check["updated_at"]} if check.get("updated_at") else {}),
        }
        for machine in machines
        if machine.get("state") in RUNNING
        for check in machine.get("checks") or []
    ]
