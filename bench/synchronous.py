"""Commits per second with a synchronous standby against without: what `postgres_synchronous` costs.

Both servers are on this machine and flush to its disk, so that they share its processors and its disk; the network
between them is the loopback interface. The standby streams all the time: only what a commit waits for is switched.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from postgres import PostgresServer, until

SETTINGS: dict[str, str | int] = {"fsync": "on", "shared_buffers": "128MB"}
CLIENTS = 2
NAMES = {"sync": "*", "async": ""}


def switch(primary: PostgresServer, state: str) -> None:
    """Have commits wait for the standby, or not, and see that it is so."""
    primary.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{NAMES[state]}'")
    primary.psql("SELECT pg_reload_conf()")
    asked = "SELECT array_agg(sync_state) FROM pg_stat_replication WHERE state = 'streaming'"
    until(lambda: primary.psql(asked) == [([state],)], 30, f"the standby is {state}")


def throughput(server: PostgresServer, seconds: int) -> float:
    """Transactions a second of one round of pgbench, each with one commit."""
    load = ["-n", "-N", "-c", CLIENTS, "-T", seconds, "-h", server.address, "-p", server.port, "-U", "postgres"]
    found = re.search(r"tps = ([\d.]+)", server.run("pgbench", *load, "postgres"))
    assert found, "pgbench says its throughput"
    return float(found[1])


def main() -> None:
    """Run the rounds; the last line is the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of a round")
    arguments = parser.parse_args()
    seen: dict[str, list[float]] = {"sync": [], "async": []}
    with PostgresServer(settings=SETTINGS) as primary, primary.standby_of(settings=SETTINGS):
        place = ["-h", primary.address, "-p", primary.port, "-U", "postgres"]
        primary.run("pgbench", "-i", "-q", "-s", 5, *place, "postgres")
        for pair in range(arguments.pairs):
            order = ["sync", "async"] if pair % 2 == 0 else ["async", "sync"]  # so that drift favours neither
            for state in order:
                switch(primary, state)
                seen[state].append(throughput(primary, arguments.seconds))
            print(f"pair {pair + 1}: {seen['sync'][-1]:.0f} synchronous, {seen['async'][-1]:.0f} not", flush=True)
    synchronous, asynchronous = (statistics.median(seen[state]) for state in ("sync", "async"))
    print(f"median with a synchronous standby: {synchronous:.1f} commits a second")
    print(f"median with an asynchronous one: {asynchronous:.1f} commits a second")
    print(f"ratio: {synchronous / asynchronous:.2f}")


if __name__ == "__main__":
    main()
