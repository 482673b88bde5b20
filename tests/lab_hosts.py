"""Reach the lab's hosts as an operator would, over SSH; what benches, campaigns and scenarios share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[1]
INVENTORY = "inventories/lab"
POSTGRES = {"trixie": 17, "bookworm": 15}[os.environ.get("PGRESCUE_LAB_DEBIAN") or "trixie"]


def run(*command: str, quiet: bool = True) -> str:
    """Run one of the project's commands in its repository; its output."""
    plain = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}  # whatever started this, its output is read
    env = {**os.environ, **plain, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=HOUSE, env=env, text=True, capture_output=quiet, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout or ''}{done.stderr or ''}")
    return done.stdout or ""


def podman(*arguments: str, text: str | None = None) -> str:
    """Do something to the lab's containers, with the configuration they were made with; its output."""
    env = {**os.environ, "CONTAINERS_CONF": str(HOUSE / "lab/containers.conf")}
    done = subprocess.run(["podman", *arguments], env=env, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"podman {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def variables(host: str) -> dict[str, Any]:
    """A host's variables in the inventory."""
    answer: dict[str, Any] = json.loads(run("ansible-inventory", "-i", INVENTORY, "--host", host))
    return answer


def ssh(host: str) -> list[str]:
    """The command that reaches a host; what to run there is its last argument."""
    address = variables(host)["ansible_host"]
    keys = ["-i", str(HOUSE / ".lab/ssh/operator"), "-o", f"UserKnownHostsFile={HOUSE / '.lab/ssh/known_hosts'}"]
    return ["ssh", *keys, "-o", "BatchMode=yes", f"ops@{address}"]


def on(host: str, script: str, user: str = "postgres") -> str:
    """Run a shell script on a host as one of its users; its output."""
    command = [*ssh(host), f"cd /; sudo -u {user} bash -euo pipefail -s"]
    done = subprocess.run(command, input=script, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"on {host}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def roles() -> dict[str, list[str]]:
    """Hosts of the service by what they are."""
    hosts = json.loads(run("pgrescue", "lab", "status", "--json"))["hosts"]
    found: dict[str, list[str]] = {}
    for host, role in sorted(hosts.items()):
        found.setdefault(role, []).append(host)
    return found
