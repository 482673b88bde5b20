"""Twenty recoveries at three sizes of data, each held against what was predicted for it before it began.

usage: predictions.py [--runs 20] [--seed 1] [--report]     `make campaign` runs it with --report

Recoveries are drills of a complete loss, which restore a backup, and of a failover, which promote a standby. One of
each is run at each size beforehand, for nothing is predicted that was never measured. The result goes to
docs/campaigns/predictions.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import on, roles  # noqa: E402 - it lies where the tests are

MEGABYTES = (0, 150, 600)  # beside what the shop has
KINDS = ("complete_loss", "failover")


def grow(megabytes: int) -> None:
    """Let the service have so much more data, and a backup that has it."""
    primary = roles()["primary"][0]
    rows = megabytes * 128  # each takes a page
    on(
        primary,
        "psql -Xqd shop -c 'DROP TABLE IF EXISTS ballast' -c \"CREATE TABLE ballast AS SELECT n, "
        "(SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, 220) AS i) AS filler "
        f'FROM generate_series(1, {rows}) AS n"',
    )
    subprocess.run(["pgrescue", "backup"], cwd=HOUSE, check=True, stdout=subprocess.DEVNULL)


def drill(kind: str, seed: int) -> dict[str, Any]:
    """One recovery: what was predicted for the way that was taken, and what it took."""
    subprocess.run(["pgrescue", "drill", kind, "--seed", str(seed)], cwd=HOUSE, check=True)
    record = (HOUSE / "runs/latest").resolve()
    plan, measured = (json.loads((record / f"{part}.json").read_text()) for part in ("plan", "measurement"))
    way = next(way for way in plan["ways"] if "closed" not in way)
    return {
        "run": record.name,
        "kind": kind,
        "data_bytes": measured.get("data_bytes", 0),
        "took_s": measured["rta_s"],
        "predicted_s": way.get("takes_s"),
        "predicted_p95_s": way.get("takes_p95_s"),
    }


def report(rows: list[dict[str, Any]], seed: int) -> str:
    """The result as a page."""
    errors = [abs(row["took_s"] - row["predicted_s"]) / row["took_s"] for row in rows]
    within = sum(row["took_s"] <= row["predicted_p95_s"] for row in rows)
    lines = [
        "# Predictions held against what happened",
        "",
        f"{len(rows)} recoveries at {len(MEGABYTES)} sizes of data, seed {seed}, {datetime.now(UTC):%Y-%m-%d}, on",
        f"{os.cpu_count()} shared {platform.machine()} cores. What was predicted stood in the plan beforehand.",
        "",
        f"**Within the predicted p95: {within} of {len(rows)} ({100 * within / len(rows):.0f} %). "
        f"Median error of the prediction: {100 * statistics.median(errors):.0f} %.**",
        "",
        "| recovery | data MB | predicted s | p95 s | took s | error |",
        "|---|---|---|---|---|---|",
    ]
    for row, error in zip(rows, errors, strict=True):
        figures = [f"{row[key]:.1f}" for key in ("predicted_s", "predicted_p95_s", "took_s")]
        lines.append(f"| {row['kind']} | {row['data_bytes'] / 1e6:.0f} | {' | '.join(figures)} | {100 * error:.0f} % |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Learn, then recover and compare; exit 1 when what was predicted does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/predictions.md")
    arguments = parser.parse_args()
    for number, megabytes in enumerate(MEGABYTES):
        grow(megabytes)
        for kind in KINDS:
            print("learnt:", drill(kind, arguments.seed + number), flush=True)
    rows: list[dict[str, Any]] = []
    each = -(-arguments.runs // len(MEGABYTES))
    for megabytes in MEGABYTES:
        grow(megabytes)
        for number in range(min(each, arguments.runs - len(rows))):
            rows.append(drill(KINDS[number % len(KINDS)], arguments.seed + len(rows)))
            print(rows[-1], flush=True)
    grow(0)
    if arguments.report:
        (HOUSE / "docs/campaigns/predictions.md").write_text(report(rows, arguments.seed), "utf-8")
    within = sum(row["took_s"] <= row["predicted_p95_s"] for row in rows)
    error = statistics.median(abs(row["took_s"] - row["predicted_s"]) / row["took_s"] for row in rows)
    print(f"within p95 {within} of {len(rows)}, median error {100 * error:.0f} %")
    if within < 0.9 * len(rows) or error >= 0.25:
        sys.exit("what was predicted does not hold")


if __name__ == "__main__":
    main()
