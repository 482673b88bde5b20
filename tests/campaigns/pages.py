"""From the instant of a fault to the page at the stand-in for the pager, over faults of five kinds.

usage: pages.py [--faults 30] [--seed 1] [--report]     `make campaign` runs it with --report

A watch runs all the time. Each fault comes at a random instant; the service is well again, and its incident resolved,
before the next one. The result goes to docs/campaigns/pages.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import STATES, Lab, inject, undo  # noqa: E402 - they lie where the tests are
from watching import Sink, Watch, state, until, watching  # noqa: E402

KINDS = ("stopped", "hung", "read_only", "application_only", "table_gone")
WITHIN_S = 6.0
LIMIT_S = 15.0  # for 95 % of the pages


def fault(kind: str, lab: Lab, sink: Sink, watch: Watch, runs: Path, dice: random.Random) -> dict[str, Any]:
    """One fault; when its page arrived, and whether it said what had happened."""
    what = next(one for one in STATES if one.state == kind)
    time.sleep(dice.uniform(0, WITHIN_S))  # the instant is part of what is tested
    began, before = time.time(), len(watch.lines)
    kept = inject(lab, what)
    page = until("a page", lambda: sink.pages(began), 120)[0]
    until("what can be done is told", lambda: watch.says("proposed after", before), 60)
    undo(lab, what, kept)
    until("the incident is resolved", lambda: watch.says("resolved told to", before), 180)
    until("it is well", lambda: state(runs) == "well", 60)
    return {
        "kind": kind,
        "page_s": round(page["at_s"] - began, 2),
        "conforms": page["conforms"],
        "said": page["payload"]["payload"]["summary"],
        # what is told later goes by the same key, which adds to the page and rings nobody again
        "pages": len({one["payload"]["dedup_key"] for one in sink.pages(began)}),
    }


def p95(values: list[float]) -> float:
    """The smallest value that 95 % do not exceed."""
    ordered = sorted(values)
    return ordered[max(-(-len(ordered) * 95 // 100), 1) - 1]


def report(rows: list[dict[str, Any]], seed: int) -> str:
    """The result as a page."""
    took = [row["page_s"] for row in rows]
    most, kept = max(row["pages"] for row in rows), all(row["conforms"] for row in rows)
    lines = [
        "# From a fault to its page",
        "",
        f"{len(rows)} faults of {len(KINDS)} kinds at random instants, seed {seed}, {datetime.now(UTC):%Y-%m-%d}, on",
        f"{os.cpu_count()} shared {platform.machine()} cores; a watch at its defaults, a look every 2 s. From the",
        "beginning of the injection to the arrival at the stand-in for the pager, by the clock of one machine.",
        "",
        f"**Median {statistics.median(took):.1f} s, p95 {p95(took):.1f} s, worst {max(took):.1f} s.** Pages for one "
        f"fault: {most} at most; all kept to the pager's schema: {'yes' if kept else 'NO'}.",
        "",
        "| fault | s | pages | what it said |",
        "|---|---|---|---|",
        *(f"| {row['kind']} | {row['page_s']} | {row['pages']} | {row['said']} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Watch, break, wait for the page; exit 1 when one did not come, or came twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/pages.md")
    arguments = parser.parse_args()
    dice, lab, sink = random.Random(arguments.seed), Lab(), Sink()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, watching(Path(folder)) as watch:
        until("the service is well", lambda: state(Path(folder)) == "well", 60)
        for number in range(arguments.faults):
            rows.append(fault(KINDS[number % len(KINDS)], lab, sink, watch, Path(folder), dice))
            print(rows[-1], flush=True)
    if arguments.report:
        (HOUSE / "docs/campaigns/pages.md").write_text(report(rows, arguments.seed), "utf-8")
    print(
        f"median {statistics.median([r['page_s'] for r in rows]):.1f} s, p95 {p95([r['page_s'] for r in rows]):.1f} s"
    )
    if p95([row["page_s"] for row in rows]) >= LIMIT_S:
        sys.exit("not in time")
    if wrong := [row for row in rows if row["pages"] != 1 or not row["conforms"]]:
        sys.exit(f"not right: {wrong}")


if __name__ == "__main__":
    main()
