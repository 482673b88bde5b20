"""The matrix of states: each is brought about in the lab; `pgrescue triage` must name it and propose the right thing.

usage: situations.py [--only STATE,...] [--report]     `make campaign` runs it with --report

Its result goes to docs/campaigns/situations.md: what was injected, concluded and proposed, and after how long.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import STATES, Lab, State, inject, undo, until  # noqa: E402 - it lies where the tests are

LIMIT_S = 10.0  # for a proposal
LEAST = 2  # facts
SEEN_S = 30.0  # until an effect is there for everybody: DNS, pools, time-outs


def triage() -> dict[str, Any]:
    """What `pgrescue triage` says now, and how long it took."""
    began = time.monotonic()
    done = subprocess.run(["pgrescue", "triage", "--json"], cwd=HOUSE, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        sys.exit(f"triage ended with {done.returncode}: {done.stdout}{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return {**answer, "whole_s": time.monotonic() - began}


def look(state: State) -> dict[str, Any]:
    """Triage until it is not `well` any more: a fault takes its time to be felt by everybody."""
    end = time.monotonic() + SEEN_S
    while True:
        found = triage()
        if found["situation"]["level"] != "none" or time.monotonic() > end:
            return found


def judge(state: State, found: dict[str, Any]) -> dict[str, Any]:
    """One row of the matrix."""
    proposed = [way["do"] for way in found["proposed"]]
    destructive = [way["do"] for way in found["proposed"] if way["destructive"]]
    right = found["situation"]["state"] == state.state and proposed[:1] == [state.first]
    return {
        "injected": state.name,
        "wanted": state.state,
        "state": found["situation"]["state"],
        "first": (proposed or ["nothing"])[0],
        "facts": len(found["situation"]["facts"]),
        "took_s": round(found["whole_s"], 1),
        "right": right and (state.destructive or not destructive),
        "destructive": destructive,
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The matrix as a page."""
    right, slowest = sum(row["right"] for row in rows), max(row["took_s"] for row in rows)
    lines = [
        "# States of the service, brought about in the lab",
        "",
        f"{len(rows)} states, each once, {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} shared "
        f"{platform.machine()} cores. Right: the state is named, the first proposal is the one wanted, and nothing",
        "destructive is proposed for a state that does not need it.",
        "",
        f"**{right} of {len(rows)} right.** From the question to the proposal, `pgrescue triage` as a whole: "
        f"slowest {slowest:.1f} s.",
        "",
        "| injected | concluded | facts | proposed first | s | right |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [row["injected"], row["state"], row["facts"], row["first"], row["took_s"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {'yes' if row['right'] else 'NO'} |")
    columns = sorted({row["state"] for row in rows} | {row["wanted"] for row in rows})
    lines += ["", "## Confusion matrix", "", "Rows are what was injected, columns what was concluded.", ""]
    lines += ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for wanted in columns:
        counts = [sum(row["wanted"] == wanted and row["state"] == column for row in rows) for column in columns]
        if sum(counts):
            lines.append(f"| {wanted} | " + " | ".join(str(count or "") for count in counts) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Bring about, ask, undo; exit 1 when anything was not right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="states by what is to be concluded, separated by commas")
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/situations.md")
    arguments = parser.parse_args()
    wanted = [state for state in STATES if not arguments.only or state.state in arguments.only.split(",")]
    subprocess.run(
        ["ansible-playbook", "-i", "inventories/lab", "-e", "service=shop", "playbooks/keep_watch.yml"],
        cwd=HOUSE,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    lab, rows = Lab(), []
    until("the service is well before it begins", lambda: triage()["situation"]["level"] == "none")
    for state in wanted:
        kept = inject(lab, state)
        try:
            rows.append(judge(state, look(state)))
        finally:
            undo(lab, state, kept)
        print(json.dumps(rows[-1]), flush=True)
        until("the service is well again", lambda: triage()["situation"]["level"] == "none", 180)
    if arguments.report:
        (HOUSE / "docs/campaigns/situations.md").write_text(page(rows), "utf-8")
    if slow := [row for row in rows if row["took_s"] > LIMIT_S]:
        print(f"over {LIMIT_S:.0f} s: {', '.join(row['injected'] for row in slow)}", flush=True)
    if wrong := [row for row in rows if not row["right"] or row in slow or row["facts"] < LEAST]:
        sys.exit(f"{len(wrong)} of {len(rows)} not right: {', '.join(row['injected'] for row in wrong)}")


if __name__ == "__main__":
    main()
