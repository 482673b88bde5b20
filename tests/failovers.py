"""An unattended failover of the lab: a watch begins, the primary's host is killed. A bench and a scenario share it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from lab_hosts import HOUSE, INVENTORY, on, podman, roles

# the last that is said before the watch, whose own line comes with its result
WATCHING = re.compile("arg spec 'await_failure'")
JOURNAL = "cat $(ls -t /var/lib/pgrescue/witness/shop/*.jsonl | head -2 | tac)"
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
    "PYTHONUNBUFFERED": "1",  # what it says is read as it says it
}


def seconds(text: str) -> float:
    """A time of the witness's journal, in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def first_write(fault: float) -> float:
    """Seconds from the fault to the witness's first commit after its first failed one."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        lines = [json.loads(line) for line in on("client1", JOURNAL, "root").splitlines() if line.endswith("}")]
        commits = [x for x in lines if x.get("event") == "result" and x.get("probe") == "commit"]
        failed = [seconds(x["start"]) for x in commits if not x["ok"] and seconds(x["end"]) > fault]
        well = [seconds(x["end"]) for x in commits if failed and x["ok"] and seconds(x["start"]) > min(failed)]
        if well:
            return round(min(well) - fault, 3)
    sys.exit("nobody writes a minute after the failover")


def kill(primary: str) -> float:
    """Take the power of the primary's host; when."""
    podman("kill", "--signal=KILL", f"pgrescue-{primary}")
    return time.time()


def unattended(wait: float) -> float:
    """One failover that nobody asks for; when the fault was."""
    primary = roles()["primary"][0]
    command = ["ansible-playbook", "playbooks/unattended_failover.yml", "-i", INVENTORY]
    command += ["-e", json.dumps({"service": "shop", "service_unattended_rest_s": 0})]
    with subprocess.Popen(command, cwd=HOUSE, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as waits:
        assert waits.stdout
        said = []
        for line in waits.stdout:
            said.append(line)
            if WATCHING.search(line):
                # the watch has begun by then, which says nothing itself; the fault comes at any instant of its rhythm
                time.sleep(2 + wait)
                fault = kill(primary)
        if waits.wait():
            sys.exit("".join(said[-40:]))
    return fault
