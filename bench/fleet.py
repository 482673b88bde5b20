"""What `pgrescue fleet` costs for each service, from ten services to a thousand, as a ratio within one run.

The endpoints are simulated: every host of the inventory is this machine, and one real PostgreSQL stands for all of
their servers. So it measures the controller and the modules, not a network. Each figure is a whole command; the last
line is the ratio of the processor time of a service among the most to that among the fewest.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOUSE / "tests"))

from postgres import PostgresServer, programs  # noqa: E402 - it lies where the tests are

HERE = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
ASKED = {"unix_socket_directories": "/var/run/postgresql", "archive_mode": "on", "archive_command": "/bin/true"}


def inventory(folder: Path, count: int, port: int) -> Path:
    """So many services of one database host each, all of them this machine."""
    version = int(programs().parent.name)
    names = [f"service_{number:04d}" for number in range(count)]
    hosts = {f"db-{name}": {**HERE, "postgres_port": port, "region": "here"} for name in names}
    services = {
        name: {
            "hosts": {f"db-{name}": {}},
            "vars": {"service_name": name, "postgres_version": version, "service_standbys": {"here": 0}},
        }
        for name in names
    }
    groups = {**services, "postgres": {"hosts": {host: {} for host in hosts}}}
    path = folder / f"{count}.json"
    path.write_text(json.dumps({"all": {"hosts": {"localhost": HERE, **hosts}, "children": groups}}))
    return path


def measured(path: Path, count: int, forks: int) -> dict[str, float]:
    """Elapsed and processor seconds of one command that must find all services whole."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [
        str(Path(sys.executable).with_name("pgrescue")),
        "fleet",
        "-i",
        str(path),
        "--forks",
        str(forks),
        "--json",
    ]
    env = {**os.environ, "PGUSER": "postgres"}
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or len(json.loads(done.stdout)) != count:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {"elapsed_s": time.monotonic() - began, "cpu_s": used}


def main() -> None:
    """Measure each size; print its cost, and the ratio of the largest to the smallest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--forks", type=int, default=8)  # more, on few processors, and looks time out
    arguments = parser.parse_args()
    per_service = []
    with tempfile.TemporaryDirectory(prefix="pgrescue-fleet-") as folder, PostgresServer(settings=ASKED) as server:
        for count in arguments.services:
            found = measured(inventory(Path(folder), count, server.port), count, arguments.forks)
            each = {name: value / count for name, value in found.items()}
            per_service.append(each)
            print(
                f"{count:5d} services: {found['elapsed_s']:.1f} s, {found['cpu_s']:.1f} s of processors; "
                f"each {each['elapsed_s']:.2f} s and {each['cpu_s']:.2f} s",
                flush=True,
            )
    first, last = per_service[0], per_service[-1]
    print(f"elapsed, each of {arguments.services[-1]} against each of {arguments.services[0]}: "
          f"{last['elapsed_s'] / first['elapsed_s']:.2f}")  # fmt: skip
    print(f"ratio: {last['cpu_s'] / first['cpu_s']:.2f}")


if __name__ == "__main__":
    main()
