"""A hundred alerts at once, through Event-Driven Ansible: the server is started again once, and one record is left.

usage: storm.py [--alerts 100]     `make campaign-watch` runs it

Brings ansible-rulebook (and needs a Java 17 or newer) into .cache/eda. The lab's server is killed, a hundred alerts as
Alertmanager sends them are posted, and afterwards a hundred more: the right to act is used up by then.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import STATES, Lab, inject, undo, until  # noqa: E402 - they lie where the tests are
from pgrescue import record  # noqa: E402

EDA = HOUSE / ".cache/eda"
PINNED = ("ansible-rulebook==1.3.2", "ansible-runner==2.4.3")
ALERT = {
    "version": "4",
    "status": "firing",
    "commonLabels": {"alertname": "ServiceDown", "service": "shop"},
    "alerts": [],
}
TOKEN = secrets.token_hex(16)
POLICY = {"restart": {"at_most": 1, "within_s": 3600}}


def bring() -> None:
    """Bring ansible-rulebook, where it is not there yet."""
    if not shutil.which("java"):
        sys.exit("ansible-rulebook needs a Java 17 or newer")
    if (EDA / "bin/ansible-rulebook").exists():
        return
    print(f"==> ansible-rulebook, 120 MB, to {EDA}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", EDA], check=True)
    subprocess.run([EDA / "bin/pip", "install", "-q", *PINNED], check=True)


def post(_number: int) -> int:
    """Post an alert as Alertmanager does."""
    body = json.dumps(ALERT).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request("http://127.0.0.1:5050/endpoint", body, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


def records(runs: Path) -> list[dict[str, Any]]:
    """The records of runs that are over."""
    found = [json.loads((directory / "run.json").read_text()) for directory in record.all_runs(runs)]
    return [run for run in found if run.get("result")]


def refusals(heard: Callable[[], str]) -> int:
    """How often the playbook said that the right is used up."""
    return heard().count("is not done alone: it was done 1 times")


def main() -> None:
    """Kill, post, count; exit 1 when there was not one action."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, default=100)
    arguments = parser.parse_args()
    bring()
    lab = Lab()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder, "runs")
        lab.inside("client1", "rm", "-f", "/var/lib/pgrescue/alone/shop.json")
        names = {
            "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
            "PGRESCUE_RUNS": str(runs),
            "CONTAINERS_CONF": str(HOUSE / "lab/containers.conf"),
            "PGRESCUE_LAB_ALONE": json.dumps(POLICY),
            "PGRESCUE_ALERT_TOKEN": TOKEN,
            "PGRESCUE_OPERATOR": "event-driven ansible",
        }
        env = {
            **os.environ,
            **names,
            "PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}",
        }
        command = [str(EDA / "bin/ansible-rulebook"), "--rulebook", "awx/rulebook.yml", "--env-vars", ",".join(names)]
        command += ["--inventory", str(HOUSE / "inventories/lab")]
        log = Path(folder, "log")
        with log.open("w") as out, subprocess.Popen(command, cwd=HOUSE, env=env, stdout=out, stderr=out) as rulebook:

            def heard() -> str:
                return log.read_text()

            try:
                until("the rulebook listens", lambda: subprocess.run(
                    ["sh", "-c", "ss -ltn | grep -q :5050"], check=False).returncode == 0, 60)  # fmt: skip
                inject(lab, next(one for one in STATES if one.state == "stopped"))
                with ThreadPoolExecutor(20) as pool:
                    answers = list(pool.map(post, range(arguments.alerts)))
                until("the server was started again", lambda: records(runs), 180)
                inject(lab, next(one for one in STATES if one.state == "stopped"))  # the right is used up by now
                with ThreadPoolExecutor(20) as pool:
                    answers += list(pool.map(post, range(arguments.alerts)))
                said = until("the second storm was refused", lambda: refusals(heard), 120)
                ended = records(runs)
            finally:
                rulebook.terminate()
        acted = json.loads(lab.inside("client1", "cat", "/var/lib/pgrescue/alone/shop.json"))
        lab.inside("client1", "rm", "-f", "/var/lib/pgrescue/alone/shop.json")
    undo(lab, next(one for one in STATES if one.state == "stopped"), None)
    names = [(run["id"], run["result"]) for run in ended]
    print(f"{len(answers)} alerts taken, {said} refusals, {len(acted)} right used, runs: {names}")
    if len(acted) != 1 or [run["exit_code"] for run in ended] not in ([0], [7]):
        sys.exit("not one action")


if __name__ == "__main__":
    main()
