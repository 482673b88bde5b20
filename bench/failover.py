"""An unattended failover against the bare steps of one: from the primary's death to the first write elsewhere.

Unattended: playbooks/unattended_failover.yml waits; it sees the failure from several places, fences the host and proves
it, shows the loss, promotes, validates, moves the name. Bare: whoever kills the host promotes a standby with
pg_promote() and updates the name at once; nothing is detected, fenced, looked at or kept. Both are measured by the
witness: its first commit after the fault.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import dns.query
import dns.tsigkeyring
import dns.update
from failovers import first_write, kill, unattended
from lab_hosts import HOUSE, INVENTORY, roles, run, variables

PAGE = HOUSE / "docs/campaigns/failover_bench.md"
ZONE, NAME = "lab.test", "shop-db"


def bare(wait: float) -> float:
    """The steps alone, with everything made ready before the fault."""
    found = roles()
    primary, home = found["primary"][0], variables(found["primary"][0])["region"]
    standby = next((host for host in found["standby"] if variables(host)["region"] == home), found["standby"][0])
    address = variables(standby)["ansible_host"]
    secret = base64.b64encode((HOUSE / ".lab/secrets/tsig").read_bytes().strip()).decode()
    update = dns.update.Update(ZONE, keyring=dns.tsigkeyring.from_text({"lab": ("hmac-sha256", secret)}))
    update.replace(NAME, 2, "A", address)
    keys = ["-i", str(HOUSE / ".lab/ssh/operator"), "-o", f"UserKnownHostsFile={HOUSE / '.lab/ssh/known_hosts'}"]
    script = "echo ready; read go; sudo -u postgres psql -XAtqc 'SELECT pg_promote()'"
    with subprocess.Popen(
        ["ssh", *keys, "-o", "BatchMode=yes", f"ops@{address}", f"cd /; {script}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as promotion:  # fmt: skip
        assert promotion.stdin
        assert promotion.stdout
        promotion.stdout.readline()
        time.sleep(wait)  # the fault comes at any instant
        fault = kill(primary)
        answer, _ = promotion.communicate("go\n")
        dns.query.tcp(update, variables("ns1")["ansible_host"])
    if answer.strip() != "t":
        sys.exit(f"pg_promote() said {answer!r}")
    return first_write(fault)


def repair() -> None:
    """Put a blank host in the place of the one that was killed, and let the service have its standbys again."""
    for playbook in ("lab/replace_hosts.yml", "playbooks/rebuild_standbys.yml", "playbooks/protect.yml"):
        run("ansible-playbook", playbook, "-i", INVENTORY, "-e", "service=shop")


def page(found: dict[str, list[float]], seed: int) -> str:
    """The results as a page."""
    middle = {way: statistics.median(times) for way, times in found.items()}
    rounds, day = len(found["unattended"]), f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# Unattended failover against the bare steps",
        "",
        f"{rounds} rounds with seed {seed}, {day}, on {os.cpu_count()} shared cores, the lab's service under its usual",
        "load, TTL of its name 2 s. Seconds from the death of the primary's host to the witness's first commit on the",
        "new primary. The bare steps detect, fence, look at and keep nothing.",
        "",
        "| way | median | each |",
        "|---|---|---|",
        *(f"| {way} | {middle[way]:.1f} | {', '.join(map(str, times))} |" for way, times in found.items()),
        "",
        f"Ratio: {middle['unattended'] / middle['bare']:.1f}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Take turns, so that drift of a shared machine shows in both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    found: dict[str, list[float]] = {"unattended": [], "bare": []}
    for number in range(arguments.rounds):
        for way, times in found.items():
            times.append((unattended if way == "unattended" else bare)(dice.uniform(0, 2)))
            print(f"==> round {number + 1} of {arguments.rounds}, {way}: {times[-1]:.1f} s", flush=True)
            repair()
    PAGE.write_text(page(found, arguments.seed), encoding="utf-8")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
