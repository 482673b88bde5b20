"""Drills of a complete loss, the fault each time at an instant nobody chose; none may lose what it must not.

usage: complete_loss.py [--drills 10] [--seed 1]     `make campaign` runs it

It goes on where it stopped: what was done is noted in .lab/campaigns. The results are written to docs/campaigns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
FIELDS = (
    "rta_s",
    "rpa_s",
    "acknowledged",
    "lost_acknowledged",
    "lost_acknowledged_before_recovery_point",
    "data_bytes",
)


def drill(seed: int) -> dict[str, Any]:
    """One drill; what it measured."""
    done = subprocess.run(["pgrescue", "drill", "complete_loss", "--seed", str(seed)], cwd=HOUSE, check=False)
    record = (HOUSE / "runs/latest").resolve()
    measured = json.loads((record / "measurement.json").read_text())
    return {"run": record.name, "seed": seed, "exit_code": done.returncode, **{k: measured.get(k) for k in FIELDS}}


def page(results: list[dict[str, Any]], seed: int) -> str:
    """The results as a page."""
    rta, rpa = ([r[key] for r in results] for key in ("rta_s", "rpa_s"))
    lines = [
        "# Complete loss, the fault at a random instant",
        "",
        f"{len(results)} drills, `make campaign` with seed {seed}, {datetime.now(UTC):%Y-%m-%d}, on "
        f"{os.cpu_count()} shared {platform.machine()} cores; the lab's sample service under its usual load, "
        f"{max(r['data_bytes'] for r in results) / 1e6:.0f} MB of data at most, WAL archived at least every 60 s.",
        "",
        f"Acknowledged commits lost from before the recovery point: "
        f"**{sum(r['lost_acknowledged_before_recovery_point'] for r in results)}**. "
        f"Each drill looked for up to {max(r['acknowledged'] for r in results)}: those of the two hours before it.",
        f"Recovery time: median {statistics.median(rta):.1f} s, worst {max(rta):.1f} s. "
        f"Recovery point: median {statistics.median(rpa):.1f} s, worst {max(rpa):.1f} s.",
        "",
        "| run | exit code | recovery time s | recovery point s | acknowledged | lost after the point | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        before = r["lost_acknowledged_before_recovery_point"]
        after = r["lost_acknowledged"] - before
        times = f"{r['rta_s']:.1f} | {r['rpa_s']:.1f}"
        lines.append(f"| {r['run']} | {r['exit_code']} | {times} | {r['acknowledged']} | {after} | {before} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is left of the campaign; exit 1 when a drill failed or lost what it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    notes = HOUSE / ".lab/campaigns" / f"complete_loss-{arguments.seed}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    results = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    seeds = random.Random(arguments.seed).sample(range(1_000_000), arguments.drills)
    for number, seed in enumerate(seeds[len(results) :], len(results) + 1):
        print(f"==> drill {number} of {arguments.drills}", flush=True)
        results.append(drill(seed))
        with notes.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
        if results[-1]["exit_code"]:
            sys.exit(f"drill {number} ended with {results[-1]['exit_code']}: {results[-1]['run']}")
    lost = sum(r["lost_acknowledged_before_recovery_point"] for r in results)
    (HOUSE / "docs/campaigns/complete_loss.md").write_text(page(results, arguments.seed), encoding="utf-8")
    print(f"{len(results)} drills, {lost} acknowledged commits lost from before the recovery point")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
