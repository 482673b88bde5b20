"""Half an hour in which nobody may be paged, though one connection in a hundred is dropped and one is slow.

usage: quiet.py [--minutes 30] [--seed 1] [--report]     `make campaign` runs it with --report

Both names of the service lead to a proxy on a host outside the regions, which passes everything on, some of it badly.
The result goes to docs/campaigns/quiet.md. That a page would have come is seen at its end: the server is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import STATES, Lab, inject, undo  # noqa: E402 - they lie where the tests are
from watching import Sink, state, until, watching  # noqa: E402

PROXY = "dump1"  # a host outside the regions that has nothing to do with the service
UNIT = "flaky-proxy"


def begin(lab: Lab, seed: int) -> None:
    """Run the proxy, and let the service's names lead to it."""
    program = (HOUSE / "lab/files/flaky_proxy.py").read_text()
    lab.inside(PROXY, "sh", "-ec", f"cat > /root/flaky_proxy.py <<'PROXY'\n{program}\nPROXY")
    routes = [f"5432={lab.address[lab.primary]}:5432", f"8080={lab.address['app1']}:8080"]
    lab.inside(PROXY, "systemd-run", "--unit", UNIT, "python3", "/root/flaky_proxy.py", "--seed", str(seed), *routes)
    lab.point("shop-db", lab.address[PROXY])
    lab.point("shop", lab.address[PROXY])


def end(lab: Lab) -> dict[str, Any]:
    """Let the names lead home; what the proxy counted."""
    lab.point("shop-db", lab.address[lab.primary])
    lab.point("shop", lab.address["app1"])
    lab.inside(PROXY, "systemctl", "stop", UNIT)
    said = lab.inside(PROXY, "journalctl", "--unit", UNIT, "--output", "cat", "--lines", "20", "--no-pager")
    counts: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return counts


def main() -> None:
    """Watch while things are nearly well; exit 1 when anybody was told anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/quiet.md")
    arguments = parser.parse_args()
    lab, sink = Lab(), Sink()
    lab.address[PROXY] = "10.83.0.42"
    with tempfile.TemporaryDirectory() as folder, watching(Path(folder)) as watch:
        until("the service is well", lambda: state(Path(folder)) == "well", 60)
        begin(lab, arguments.seed)
        began = time.time()
        while time.time() < began + 60 * arguments.minutes and watch.process.poll() is None:
            time.sleep(1)  # this is what is tested: that time passes and nothing happens
        told = sink.received(began)
        counts = end(lab)
        until("the service is well without the proxy", lambda: state(Path(folder)) == "well", 60)
        what = next(one for one in STATES if one.state == "stopped")
        killed = time.time()
        kept = inject(lab, what)
        page = until("the page that would have come", lambda: sink.pages(killed), 60)[0]
        undo(lab, what, kept)
        until("the incident is resolved", lambda: watch.says("resolved told to"), 120)
    connections = sum(counts.values())
    said = (
        f"{arguments.minutes:.0f} minutes, {connections:,} connections through the proxy, of which "
        f"{counts['dropped']} were dropped and {counts['delayed']} answered 0.4 s late: {len(told)} messages. "
        f"The server was killed afterwards, and the page came {page['at_s'] - killed:.1f} s later."
    )
    print(said)
    if arguments.report:
        where = f"on {os.cpu_count()} shared {platform.machine()} cores"
        head = f"{datetime.now(UTC):%Y-%m-%d}, seed {arguments.seed}, {where}."
        (HOUSE / "docs/campaigns/quiet.md").write_text(f"# Health that is not perfect\n\n{head}\n\n{said}\n", "utf-8")
    if told or not counts["dropped"] or not counts["delayed"]:
        sys.exit(f"not quiet: {told}")


if __name__ == "__main__":
    main()
