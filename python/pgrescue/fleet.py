"""`pgrescue fleet`: one look at all services of an inventory, or at a slice of them, with one summary."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from pgrescue import runner
from pgrescue.core import wholeness

PLAYBOOK = "playbooks/check.yml"
FINE, WRONG = 0, 1
_SIGNS = {wholeness.WHOLE: "ok", wholeness.DEGRADED: " !", wholeness.DOWN: "!!"}


class FleetError(Exception):
    """The services could not be looked at; the message says why."""


def services(inventory: str) -> list[str]:
    """The services of an inventory that have database hosts, by name. Raises FleetError when it cannot be read."""
    command = ["ansible-inventory", "-i", inventory, "--list"]
    env = {**os.environ, **runner.environment({})}
    done = subprocess.run(command, cwd=runner.ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FleetError(f"The inventory cannot be read: {done.stderr.strip()[-400:]}. Nothing was changed.")
    known: Mapping[str, Any] = json.loads(done.stdout)
    hosts = known["_meta"]["hostvars"]
    names = {
        hosts[host]["service_name"]
        for host in known.get("postgres", {}).get("hosts", [])
        if "service_name" in hosts.get(host, {})
    }
    return sorted(name for name in names if name in known)


def sliced(names: Sequence[str], part: str) -> list[str]:
    """Every n-th of the services from the i-th on, for `i/n`; all slices together are all. Raises FleetError."""
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise FleetError(f"{part} is no slice: 3/10 is the third of ten. Nothing was changed.")
    return list(names[number - 1 :: of])


def look(names: Sequence[str], inventory: str, forks: int) -> dict[str, Any]:
    """State of each service. Raises FleetError when the playbook does not come to its end."""
    if not names:
        return {}
    given = {"ANSIBLE_FORKS": str(forks)}
    play = runner.start(PLAYBOOK, inventory, {"service": ",".join(names)}, given)
    play.wait()
    found = play.results().get("checked")
    said = "; ".join(play.failures()) or play.output()
    play.forget()
    if found is None:
        raise FleetError(f"{said} Nothing was changed.")
    checked: dict[str, Any] = found
    return checked


def run(inventory: str, part: str, forks: int, as_json: bool, console: Console) -> int:
    """Look and print, what is wrong first; 1 when a service is not whole."""
    began = time.monotonic()
    found = look(sliced(services(inventory), part), inventory, forks)
    if as_json:
        print(json.dumps(found, indent=2), file=console.file)
    else:
        for name, one in sorted(found.items(), key=lambda item: (item[1]["state"] == wholeness.WHOLE, item[0])):
            print(f"{_SIGNS[one['state']]} {name:<24} {one['state']:<9} {'; '.join(one['says'])}", file=console.file)
        counts = ", ".join(f"{sum(one['state'] == state for one in found.values())} {state}" for state in _SIGNS)
        print(f"{len(found)} services in {time.monotonic() - began:.0f} s: {counts}", file=console.file)
    return FINE if found and all(one["state"] == wholeness.WHOLE for one in found.values()) else WRONG
