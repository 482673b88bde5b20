"""Drills of the procedures, the fault each time at an instant nobody chose; none may lose what it must not.

usage: drills.py SCENARIO [SCENARIO ...] [--runs 5] [--seed 1]     `make campaign` runs it

Scenarios that are named together take turns, as a region's failure and the way home do. It goes on where it stopped:
what was done is noted in .cache/campaigns. The results of each scenario are written to docs/campaigns.
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

import yaml

HOUSE = Path(__file__).resolve().parents[2]
FIELDS = (
    "rta_s",
    "rpa_s",
    "acknowledged",
    "lost_acknowledged",
    "lost_acknowledged_before_recovery_point",
    "data_bytes",
)


def drill(scenario: str, seed: int) -> dict[str, Any]:
    """One drill; what it measured."""
    done = subprocess.run(["pgrescue", "drill", scenario, "--seed", str(seed)], cwd=HOUSE, check=False)
    record = (HOUSE / "runs/latest").resolve()
    measured = json.loads((record / "measurement.json").read_text())
    return {"run": record.name, "seed": seed, "exit_code": done.returncode, **{k: measured.get(k) for k in FIELDS}}


def spread(results: list[dict[str, Any]], field: str) -> str:
    """`median 14.9 s, worst 23.2 s`, or that it was not measured."""
    seen = [one[field] for one in results if one[field] is not None]
    return f"median {statistics.median(seen):.1f} s, worst {max(seen):.1f} s" if seen else "not measured"


def page(scenario: str, results: list[dict[str, Any]], seed: int) -> str:
    """The results as a page."""
    what = yaml.safe_load((HOUSE / "drills" / f"{scenario}.yml").read_text())
    size = max(r["data_bytes"] or 0 for r in results)
    looked = max(r["acknowledged"] or 0 for r in results)
    lines = [
        f"# Drill {scenario}, at a random instant",
        "",
        f"In each {what['says']}",
        "",
        f"{len(results)} drills with seed {seed}, {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} shared "
        f"{platform.machine()} cores; the lab's sample service under its usual load"
        + (f", {size / 1e6:.0f} MB of data at most" if size else "")
        + ", WAL archived at least every 60 s.",
        "",
    ]
    if looked:
        lines += [
            f"Acknowledged commits lost from before the recovery point: **{lost(results)}**. "
            f"Each drill looked for up to {looked}: those of the two hours before it.",
            f"Recovery point: {spread(results, 'rpa_s')}.",
        ]
    lines += [
        f"Recovery time: {spread(results, 'rta_s')}.",
        "",
        "| run | exit code | recovery time s | recovery point s | acknowledged | lost after the point | before |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in results:
        before = r["lost_acknowledged_before_recovery_point"]
        after = None if before is None else r["lost_acknowledged"] - before
        cells = [r["run"], r["exit_code"], r["rta_s"], r["rpa_s"], r["acknowledged"], after, before]
        words = ["" if c is None else f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells]
        lines.append(f"| {' | '.join(words)} |")
    return "\n".join(lines) + "\n"


def lost(results: list[dict[str, Any]]) -> int:
    """How many acknowledged commits from before the recovery point were lost, over all drills."""
    return sum(r["lost_acknowledged_before_recovery_point"] or 0 for r in results)


def main() -> None:
    """Run what is left of the campaign; exit 1 when a drill failed or lost what it must not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="+")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    notes = HOUSE / ".cache/campaigns" / f"{'-'.join(arguments.scenario)}-{arguments.seed}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    results = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    wanted = arguments.scenario * arguments.runs
    seeds = random.Random(arguments.seed).sample(range(1_000_000), len(wanted))
    for number, (scenario, seed) in enumerate(zip(wanted, seeds, strict=True), 1):
        if number <= len(results):
            continue
        print(f"==> drill {number} of {len(wanted)}: {scenario}", flush=True)
        results.append({"scenario": scenario, **drill(scenario, seed)})
        if results[-1]["exit_code"]:
            sys.exit(f"drill {number} ended with {results[-1]['exit_code']}: {results[-1]['run']}")
        with notes.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
    for scenario in arguments.scenario:
        of_it = [one for one in results if one["scenario"] == scenario]
        (HOUSE / f"docs/campaigns/{scenario}.md").write_text(page(scenario, of_it, arguments.seed), encoding="utf-8")
    print(f"{len(results)} drills, {lost(results)} acknowledged commits lost from before the recovery point")
    sys.exit(1 if lost(results) else 0)


if __name__ == "__main__":
    main()
