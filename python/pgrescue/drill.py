"""A drill: break the lab's service for real at an instant nobody chose, recover it, put the lab back together.

One of a planned procedure breaks nothing: it only begins at an instant that nobody chose.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import yaml
from rich.console import Console

from pgrescue import recovery, runner


def scenario(name: str) -> dict[str, Any]:
    """The drill's data, from `drills/<name>.yml`."""
    text = (runner.ROOT / "drills" / f"{name}.yml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def run(name: str, service: str, inventory: str, seed: int | None, variables: dict[str, str], console: Console) -> int:
    """Inject the fault, recover, repair. The exit code is the recovery's; 3 when the fault could not be injected."""
    what = scenario(name)
    request = recovery.Request(
        what["procedure"], service, inventory,
        {"confirm": service, "run_kind": "drill", "run_scenario": name, **what.get("variables", {}), **variables},
    )  # fmt: skip
    if not playbook(what["steady_state"], request, recovery.new_id(request), console):
        console.print("The service is not in its steady state; nothing was broken. The lab: pgrescue lab status, or up")
        return 3
    chance = random.Random(seed)  # noqa: S311 - an instant, not a secret
    wait = chance.uniform(0, float(what["within_s"]))
    comes = "The fault comes" if "fault" in what else "It begins"
    console.print(f"Drill {name}: {what['says']} {comes} in {wait:.1f} s.", soft_wrap=True, highlight=False)
    time.sleep(wait)  # the drill is that nobody knows when
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f%z}"
    request = replace(request, variables={**request.variables, **dict.fromkeys(what.get("just_before", []), now)})
    run_id = recovery.new_id(request)
    if "fault" in what and not playbook(what["fault"], request, run_id, console):
        return 3
    code = recovery.execute(request, run_id, console)
    if code in (0, 7):
        console.print("Putting the lab back as it was, and looking whether it is ...", highlight=False)
        if not all(playbook(path, request, run_id, console) for path in what["repair"]):
            return 5
        console.print("The lab is whole again, its roles perhaps on other hosts: pgrescue lab status", highlight=False)
    return code


def playbook(path: str, request: recovery.Request, run_id: str, console: Console) -> bool:
    """Run one playbook of the drill quietly; print its output when it fails."""
    variables = {"service": request.service, "run_id": run_id}
    play = runner.start(path, request.inventory, variables, {"PGRESCUE_OPERATOR": recovery.operator()})
    failed = play.wait() != 0
    if failed:
        said = play.failures()
        console.print("\n".join(said) if said else play.output(), markup=False, highlight=False, soft_wrap=True)
        console.print(f"{path} failed.")
    play.forget()
    return not failed
