"""An unattended failover beside its bare steps and beside Patroni: from the primary's death to a client's first write.

unattended: playbooks/unattended_failover.yml waits; it sees the failure from several places, fences the host and proves
it, shows the loss, promotes, validates, moves the name. bare: whoever kills the host promotes a standby with
pg_promote() and updates the name at once; nothing is detected, fenced, looked at or kept. patroni: three hosts like the
service's, each with etcd, Patroni and PostgreSQL, whose callback updates a name of the same TTL; with its defaults, and
with the tightest settings that it accepts. The same client stands on the same host in all of them and follows the name.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import dns.query
import dns.tsigkeyring
import dns.update
from failovers import kill, unattended
from lab_hosts import HOUSE, INVENTORY, podman, roles, run, variables
from writers import TABLE, Client, inside, make_table, wait

PAGE = HOUSE / "docs/campaigns/failover_bench.md"
ZONE, NAME = "lab.test", "shop-db"
RIVALS = {"patroni1": "10.81.0.61", "patroni2": "10.81.0.62", "patroni3": "10.81.0.63"}
TIMINGS = {
    "patroni, its defaults": {"ttl": 30, "loop_wait": 10, "retry_timeout": 10},
    "patroni, tight": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3},  # it accepts nothing smaller
}


def client_of_the_service() -> Client:
    """The client, with its table made on the primary."""
    make_table(roles()["primary"][0], "shop")
    client = Client("client1", json.loads(inside("app1", "cat", "/etc/shop/shop.json"))["dsn"], "service")
    client.writes()
    return client


def alone(client: Client, pause: float) -> float:
    """A failover that nobody asks for."""
    return client.back_after(unattended(pause))


def bare(client: Client, pause: float) -> float:
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
        time.sleep(pause)  # the fault comes at any instant
        fault = kill(primary)
        answer, _ = promotion.communicate("go\n")
        dns.query.tcp(update, variables("ns1")["ansible_host"])
    if answer.strip() != "t":
        sys.exit(f"pg_promote() said {answer!r}")
    return client.back_after(fault)


def repair() -> None:
    """Put a blank host in the place of the one that was killed, and let the service have its standbys again."""
    for playbook in ("lab/replace_hosts.yml", "playbooks/rebuild_standbys.yml", "playbooks/protect.yml"):
        run("ansible-playbook", playbook, "-i", INVENTORY, "-e", "service=shop")


def members() -> dict[str, dict[str, object]]:
    """Members of Patroni's cluster by name, as one of them that answers has it."""
    for address in RIVALS.values():
        try:
            with urllib.request.urlopen(f"http://{address}:8008/cluster", timeout=2) as answer:
                return {one["name"]: one for one in json.load(answer)["members"]}
        except OSError:
            continue
    return {}


def leader() -> str | None:
    """Who is primary by Patroni's account, once both others stream from it."""
    found = members()
    leads = [name for name, one in found.items() if one["role"] == "leader" and one["state"] == "running"]
    streams = [name for name, one in found.items() if one["state"] == "streaming"]
    return leads[0] if leads and len(streams) == 2 else None


def last_round(address: str) -> float:
    """When a member last went to etcd, where its settings are."""
    with urllib.request.urlopen(f"http://{address}:8008/patroni", timeout=5) as answer:
        return float(json.load(answer)["dcs_last_seen"])


def rivals() -> Client:
    """Patroni's cluster, and the client of it."""
    run("ansible-playbook", "lab/patroni.yml", "-i", INVENTORY, "-i", "inventories/patroni")
    first = wait(leader, 60, "Patroni's cluster is not whole")
    inside(first, "sudo", "-u", "postgres", "psql", "-Xqc", TABLE)
    secret = (HOUSE / ".lab/secrets/app").read_text().strip()
    client = Client("client1", f"host=board-db.{ZONE} dbname=postgres user=postgres password={secret}", "patroni")
    client.writes()
    return client


def rival(timing: dict[str, int], client: Client, pause: float) -> float:
    """The primary's host under Patroni killed, and afterwards started again, which is all that it needs."""
    old = wait(leader, 180, "Patroni's cluster is not whole")
    body = json.dumps(timing).encode()
    urllib.request.urlopen(urllib.request.Request(f"http://{RIVALS[old]}:8008/config", data=body, method="PATCH"))
    told = time.time()
    wait(lambda: min(map(last_round, RIVALS.values())) > told, 60, "not every member looked at the new settings")
    time.sleep(pause)  # the fault comes at any instant
    fault = kill(old)
    back = client.back_after(fault)
    podman("start", f"pgrescue-{old}")
    return back


def page(found: dict[str, list[float]], seed: int) -> str:
    """The results as a page."""
    middle = {way: statistics.median(times) for way, times in found.items()}
    rounds, day = len(found["bare"]), f"{datetime.now(UTC):%Y-%m-%d}"
    lines = [
        "# Unattended failover beside the bare steps and beside Patroni",
        "",
        f"{rounds} rounds with seed {seed}, {day}, on {os.cpu_count()} shared cores, the lab under its usual load,",
        "TTL of the names 2 s. Seconds from the death of the primary's host to a client's first write elsewhere.",
        "The bare steps detect, fence, look at and keep nothing.",
        "",
        "| way | median s | each |",
        "|---|---|---|",
        *(
            f"| {way} | {middle[way]:.1f} | {', '.join(f'{one:.1f}' for one in times)} |"
            for way, times in found.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Take turns, so that drift of a shared machine shows in all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    service, board = client_of_the_service(), rivals()
    ways: dict[str, Callable[[float], float]] = {
        "unattended": partial(alone, service),
        "bare": partial(bare, service),
        **{way: partial(rival, timing, board) for way, timing in TIMINGS.items()},
    }
    found: dict[str, list[float]] = {way: [] for way in ways}
    try:
        for number in range(arguments.rounds):
            for way, fails_over in ways.items():
                found[way].append(fails_over(dice.uniform(0, 2)))
                print(f"==> round {number + 1} of {arguments.rounds}, {way}: {found[way][-1]:.1f} s", flush=True)
                if way in ("unattended", "bare"):
                    repair()
    finally:
        for client in (service, board):
            client.stop()
    PAGE.write_text(page(found, arguments.seed), encoding="utf-8")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
