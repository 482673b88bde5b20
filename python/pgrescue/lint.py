"""`pgrescue lint`: run the playbook that looks at a service, and show what it found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from pgrescue import runner
from pgrescue.lint_view import render

PLAYBOOK = "playbooks/lint.yml"
_WIDEST = 80
FINE, BROKEN = 0, 3


def run(service: str, inventory: str, as_json: bool, console: Console) -> int:
    """Lint a service and print what was found; the exit code of the command.

    3 when an objective cannot be met or the service could not be looked at, 0 otherwise.
    """
    found = look(service, inventory, console)
    if found is None:
        return BROKEN
    if as_json:
        # plainly: what another program reads must not be wrapped
        print(json.dumps({"service": service, "findings": found}, indent=2), file=console.file)
    else:
        console.print(render(found, service), width=min(console.width, _WIDEST), highlight=False)
    return exit_code(found)


def look(service: str, inventory: str, console: Console) -> list[dict[str, Any]] | None:
    """The findings; None, and the reason printed, when the playbook did not come to its end."""
    play = runner.start(PLAYBOOK, inventory, {"service": service})
    failed = play.wait()
    handed = play.results()
    if "findings" not in handed:
        said = "; ".join(play.failures()) or play.output()
        console.print(f"{PLAYBOOK} failed ({failed}). Nothing was changed. {said}", markup=False, highlight=False)
    play.forget()
    return handed.get("findings")


def exit_code(findings: Sequence[Mapping[str, Any]]) -> int:
    """What the worst finding comes to."""
    return BROKEN if any(found["level"] == "error" for found in findings) else FINE
