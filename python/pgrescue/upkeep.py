"""What keeps a service recoverable between incidents: back up, verify, prove, mark."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any, Literal

from rich.console import Console

from pgrescue import recovery, runner
from pgrescue.say import say

Engine = Literal["physical", "dump"]
GROUPS: dict[Engine, str] = {"physical": "postgres", "dump": "dump"}  # whose hosts the service must share
RUNBOOKS: dict[str, dict[Engine, str]] = {
    "backup": {"physical": "back_up", "dump": "dump"},
    "verify": {"physical": "verify", "dump": "verify_dump"},
    "prove": {"physical": "prove", "dump": "prove_dump"},
}
WRONG_USE = 2


class UpkeepError(Exception):
    """What was asked for cannot be done; the message says why, and that nothing was changed."""


def engines(service: str, inventory: str) -> list[Engine]:
    """How the inventory says the service is protected.

    Raises UpkeepError when it knows no such service, or one with neither database hosts nor a host that dumps it.
    """
    command = ["ansible-inventory", "-i", inventory, "--list"]
    env = {**os.environ, **runner.environment({})}
    done = subprocess.run(command, cwd=runner.ROOT, env=env, capture_output=True, check=False)
    if done.returncode:
        raise UpkeepError(f"The inventory cannot be read: {done.stderr.decode().strip()[-400:]}. Nothing was changed.")
    groups = json.loads(done.stdout)
    if service not in groups:
        raise UpkeepError(f"The inventory has no service {service}. Nothing was changed.")

    def members(group: str) -> set[str]:
        found = groups.get(group, {})
        return set(found.get("hosts", [])).union(*(members(child) for child in found.get("children", [])))

    of_service = members(service)
    found: list[Engine] = [engine for engine, group in GROUPS.items() if of_service & members(group)]
    if not found:
        raise UpkeepError(f"Service {service} shares no host with the groups postgres or dump. Nothing was changed.")
    return found


def run(
    verb: str, service: str, inventory: str, engine: Engine | None, variables: Mapping[str, Any], console: Console
) -> int:
    """Do it with each engine that protects the service, or with the one named; the worst exit code."""
    there = engines(service, inventory)
    if engine and engine not in there:
        raise UpkeepError(f"Service {service} is not protected by {engine} backups. Nothing was changed.")
    codes = []
    for one in [engine] if engine else there:
        procedure = RUNBOOKS[verb][one]
        if verb == "backup":
            codes.append(play(procedure, service, inventory, variables, console))
            continue
        request = recovery.Request(procedure, service, inventory, variables)
        codes.append(recovery.execute(request, recovery.new_id(request), console))
    return max(codes)


def play(procedure: str, service: str, inventory: str, variables: Mapping[str, Any], console: Console) -> int:
    """Run a runbook that leaves no record; say what it handed over, or what went wrong."""
    sentence = f"{procedure.replace('_', ' ').capitalize()}: {service}"
    with console.status(sentence):
        code, said, results = handed_over(procedure, service, inventory, variables)
    if code:
        say(console, "\n".join(said))
    else:
        console.print(json.dumps(results, indent=2) if results else f"{sentence}: done", highlight=False)
    return code


def handed_over(
    procedure: str, service: str, inventory: str, variables: Mapping[str, Any]
) -> tuple[int, list[str], dict[str, Any]]:
    """Run a runbook that leaves no record: its exit code, what went wrong in sentences, and what it handed over."""
    started = runner.start(f"playbooks/{procedure}.yml", inventory, {"service": service, **variables})
    failed = started.wait()
    said = started.failures() or [started.output()] if failed else []
    found = (started.exit_code() if failed else 0, said, started.results())
    started.forget()
    return found
