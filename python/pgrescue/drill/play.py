"""Run the playbooks of a drill, quietly: its steady state, its fault, its repair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from pgrescue import recovery, runner

PRECONDITION, REFUSED, STEP_FAILED, CALLED_OFF, VOID = 3, 4, 5, 8, 9


@dataclass(frozen=True)
class Played:
    """How one playbook of a drill ended: its exit code by the project's contract, what it said and handed over."""

    code: int
    said: str = ""
    results: Mapping[str, Any] = field(default_factory=dict)


def steady(path: str, request: recovery.Request, console: Console) -> bool:
    """Whether the steady state holds; says so when it does not."""
    if playbook(path, request, recovery.new_id(request), console).code == 0:
        return True
    console.print("The service is not in its steady state; nothing was broken. The lab: pgrescue lab status, or up")
    return False


def playbook(
    path: str,
    request: recovery.Request,
    run_id: str,
    console: Console,
    more: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Played:
    """Run one playbook of the drill quietly; print what it said when it fails."""
    variables = {"service": request.service, "run_id": run_id, **(more or {})}
    play = runner.start(
        path, request.inventory, variables, {"PGRESCUE_OPERATOR": recovery.operator(), **(environment or {})}
    )
    failed = play.wait() != 0
    said, code = play.failures() if failed else [], play.exit_code() if failed else 0
    if failed:
        console.print("\n".join(said) if said else play.output(), markup=False, highlight=False, soft_wrap=True)
        console.print(f"{path} failed.")
    results = play.results()
    play.forget()
    return Played(code, "; ".join(said), results)
