"""Ten thousand segments archived while archivers are killed with -9 at random instants; none may be missing.

    python tests/campaigns/archive_contract.py [--segments 10000] [--seed 1] [--pause 0.5 3]

Killed without a pause an archiver gets little done and the run takes hours; the short sample does that.

Writes docs/campaigns/archive_contract.md. The short sample is tests/unit/test_archive_contract.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import archive_torture as torture
from backups import Repositories

PAGE = Path(__file__).parents[2] / "docs/campaigns/archive_contract.md"
BATCH = 100


def main() -> None:
    """Generate, kill, account, write down."""
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--segments", type=int, default=10000)
    wanted.add_argument("--seed", type=int, default=1)
    wanted.add_argument("--pause", type=float, nargs=2, default=(0.5, 3.0), help="seconds between kills")
    given = wanted.parse_args()
    server = torture.server()
    try:
        made = Repositories(server)
        torture.asynchronous(made)
        killer = torture.Killer(made, given.seed, tuple(given.pause))
        killer.start()
        began = time.monotonic()
        for done in range(0, given.segments, BATCH):
            torture.generate(made, BATCH)
            torture.keeps_up(made, BATCH // 2)
            if done % 1000 == 0:
                print(f"{done} of {given.segments} segments, {killer.killed} kills", flush=True)
        killer.over.set()
        killer.join()
        torture.drained(made)
        took = time.monotonic() - began
        counts = [len(made.segments(repo)) for repo in (1, 2)]
        missing = [torture.gaps(made, repo) for repo in (1, 2)]
        said = made.run("--repo=1", "--log-level-console=info", "verify")
        wrong = [line.strip() for line in said.splitlines() if "invalid" in line or "missing" in line]
    finally:
        server.remove()
    lines = [
        "# Archiving under kill -9",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, seed {given.seed}, 2 shared cores: {given.segments} segments of 1 MB",
        f"generated in {took:.0f} s while pgBackRest's archiving processes were killed with -9 at random instants,",
        f"{given.pause[0]:g} to {given.pause[1]:g} s apart: {killer.killed} kills.",
        "",
        "| repository | segments archived | missing between first and last |",
        "|---|---|---|",
        *(f"| {repo} | {counts[repo - 1]} | {len(missing[repo - 1])} |" for repo in (1, 2)),
        "",
        f"The engine's own verification of repository 1 afterwards: {'; '.join(wrong) or 'no complaint'}.",
        "",
    ]
    PAGE.write_text("\n".join(lines))
    print(PAGE.read_text())
    sys.exit(bool(any(missing) or wrong))


if __name__ == "__main__":
    main()
