"""What the witness costs the database that it watches: pgbench's throughput with it and without it, in turn.

Everything runs on this machine, the witness too, so that its own use of the processors counts as well.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]
ROLE = HOUSE / "roles/witness/files"
sys.path.insert(0, str(HOUSE / "tests"))

from postgres import PostgresServer, until  # noqa: E402 - it lies where the tests are

CLIENTS = 2


@contextmanager
def witness(server: PostgresServer) -> Iterator[None]:
    """A witness at its usual four commits a second."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "witness.json")
        dsn = f"{server.dsn} user=pgrescue_witness"
        config.write_text(json.dumps({"service": "bench", "dsn": dsn, "endpoints": {}, "journal_dir": folder}))
        command = [sys.executable, str(ROLE / "pgrescue_witness.py"), "--config", str(config)]
        with subprocess.Popen(command) as process:
            try:
                acknowledged = '"ok":true'
                until(
                    lambda: any(acknowledged in p.read_text() for p in Path(folder).glob("*.jsonl")), 20, "it commits"
                )
                yield
            finally:
                process.terminate()


def throughput(server: PostgresServer, seconds: int) -> float:
    """Transactions a second of one round of pgbench."""
    load = ["-n", "-c", CLIENTS, "-T", seconds, "-h", server.address, "-p", server.port, "-U", "postgres", "postgres"]
    found = re.search(r"tps = ([\d.]+)", server.run("pgbench", *load))
    assert found, "pgbench says its throughput"
    return float(found[1])


def main() -> None:
    """Run the rounds; the last line is the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="of a round")
    arguments = parser.parse_args()
    without: list[float] = []
    beside: list[float] = []
    with PostgresServer(settings={"fsync": "on", "shared_buffers": "128MB"}) as server:
        server.psql("CREATE ROLE pgrescue_witness LOGIN")
        server.psql((ROLE / "tokens.sql").read_text())
        place = ["-h", server.address, "-p", server.port, "-U", "postgres"]
        server.run("pgbench", "-i", "-q", "-s", 5, *place, "postgres")
        for pair in range(arguments.pairs):
            for with_it in (pair % 2 == 0, pair % 2 == 1):  # turned about, so that drift favours neither
                if with_it:
                    with witness(server):
                        beside.append(throughput(server, arguments.seconds))
                else:
                    without.append(throughput(server, arguments.seconds))
            print(f"pair {pair + 1}: {beside[-1]:.0f} with the witness, {without[-1]:.0f} without", flush=True)
    print(f"median with the witness: {statistics.median(beside):.1f} transactions a second")
    print(f"median without: {statistics.median(without):.1f} transactions a second")
    print(f"ratio: {statistics.median(beside) / statistics.median(without):.2f}")


if __name__ == "__main__":
    main()
