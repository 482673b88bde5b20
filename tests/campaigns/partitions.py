"""Network partitions with the old primary alive and clients on both sides; nothing may be acknowledged by both sides.

usage: partitions.py [--runs 20] [--seed 1]     `make campaign` runs it

In each the primary is cut off together with the application's hosts of its region, where a client goes on writing to
it; another client stands outside and follows the service's name. Then a failover is run, the network is healed, and the
old primary rejoins. It goes on where it stopped: what was done is noted in .cache/campaigns. The results are written to
docs/campaigns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles, run, variables  # noqa: E402 - they lie where the tests are
from writers import Client, inside, make_table  # noqa: E402

COLUMNS = {
    "run": "run",
    "old": "old",
    "new": "new",
    "acknowledged inside after the cut": "inside_after_cut",
    "outside after it": "outside_after_cut",
    "by both": "by_both",
    "inside, missing": "inside_missing",
    "outside, missing": "outside_missing",
}


def playbook(path: str, **more: str) -> None:
    run("ansible-playbook", "-i", INVENTORY, "-e", json.dumps({"service": "shop", **more}), path)


def partition(wait: float) -> dict[str, Any]:
    """One partition; what became of what both sides acknowledged."""
    playbook("lab/steady_state.yml")
    old = roles()["primary"][0]
    facts = variables(old)
    make_table(old, "shop")
    near = {"east": "app1", "west": "app2"}[facts["region"]]
    dsn = json.loads(inside(near, "cat", "/etc/shop/shop.json"))["dsn"]
    clients = [Client(near, dsn, "inside", facts["ansible_host"]), Client("client1", dsn, "outside")]
    try:
        for client in clients:
            client.writes()
        time.sleep(wait)  # the partition comes when nobody expects it
        playbook("lab/faults/partition_primary.yml")
        cut = time.time()
        run("pgrescue", "recover", "failover", "-s", "shop", "-i", INVENTORY, "--confirm", "shop")
        inner, outer = (client.acknowledged() for client in clients)
    finally:
        for client in clients:
            client.stop()
    new = roles()["primary"][0]
    there = set(on(new, "psql -XqAt -d shop -c 'SELECT token FROM writes'").split())
    playbook("lab/heal.yml")
    found = roles()
    if found["primary"] != [new]:
        sys.exit(f"after healing, {found['primary']} accept writes")
    name = (HOUSE / "runs/latest").resolve().name
    run("pgrescue", "commit", name, "--reason", "the partition is over")  # the old primary is the way back until then
    playbook("playbooks/rejoin.yml", rejoin_host=old)
    first_after = min((at for at in outer.values() if at > cut), default=float("inf"))
    return {
        "run": name,
        "old": old,
        "new": new,
        "inside_after_cut": sum(at > cut for at in inner.values()),
        "outside_after_cut": sum(at > cut for at in outer.values()),
        "by_both": len(set(inner) & set(outer)) + sum(at >= first_after for at in inner.values()),
        "outside_missing": len(set(outer) - there),
        "inside_missing": len(set(inner) - there),
        "silence_s": round(first_after - max((at for at in inner.values()), default=cut), 3),
    }


def page(results: list[dict[str, Any]], seed: int) -> str:
    """The results as a page."""
    both, outside = (sum(r[key] for r in results) for key in ("by_both", "outside_missing"))
    gaps = [r["silence_s"] for r in results]
    machine = f"{os.cpu_count()} shared {platform.machine()} cores"
    lines = [
        "# Partitions with the old primary alive and clients on both sides",
        "",
        f"{len(results)} partitions with seed {seed}, {datetime.now(UTC):%Y-%m-%d}, on {machine}. The primary is",
        "cut off together with the application's hosts of its region, where a client goes on writing to it by its",
        "address; another client stands outside and follows the service's name.",
        "",
        f"Acknowledged by both sides: **{both}**. That counts every commit that the old primary acknowledged after the",
        "new one had acknowledged its first.",
        f"Acknowledged outside and missing on the new primary: **{outside}**.",
        f"From the last acknowledgement of the old primary to the first of the new one: shortest {min(gaps):.1f} s,",
        f"median {statistics.median(gaps):.1f} s.",
        "",
        "What the old primary acknowledged while it was cut off is not on the new one; it is kept beside the old data",
        "directory. A synchronous standby is what prevents such acknowledgements.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(str(r[key]) for key in COLUMNS.values()) + " |" for r in results),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is left of the campaign; exit 1 when both sides acknowledged anything, or a commit is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", action="store_true", help="note nothing and write no page")
    arguments = parser.parse_args()
    notes = HOUSE / ".cache/campaigns" / f"partitions-{arguments.seed}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    goes_on = notes.exists() and not arguments.sample
    results = [json.loads(line) for line in notes.read_text().splitlines()] if goes_on else []
    dice = random.Random(arguments.seed)
    waits = [dice.uniform(0, 5) for _ in range(arguments.runs)]
    for number, wait in enumerate(waits[len(results) :], len(results) + 1):
        results.append(partition(wait))
        print(f"==> partition {number} of {arguments.runs}: {results[-1]}", flush=True)
        if results[-1]["by_both"] or results[-1]["outside_missing"]:
            sys.exit(1)
        if not (results[-1]["inside_after_cut"] and results[-1]["outside_after_cut"]):
            sys.exit("a side wrote nothing after the cut: this shows nothing")
        if not arguments.sample:
            with notes.open("a") as file:
                file.write(json.dumps(results[-1]) + "\n")
    if not arguments.sample:
        (HOUSE / "docs/campaigns/partitions.md").write_text(page(results, arguments.seed), encoding="utf-8")


if __name__ == "__main__":
    main()
