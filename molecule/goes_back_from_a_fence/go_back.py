"""Pause a switchover after the fence, give it up, and do what triage proposes: the server that was primary is again."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
sys.path.insert(0, str(ROOT / "tests"))

from ill_states import until
from lab_hosts import roles

RUN = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-shop-switchover"
TIMELINE = ROOT / "runs" / RUN / "timeline.jsonl"
MOVE = [
    "ansible-playbook",
    "-i",
    "inventories/lab",
    "playbooks/switchover.yml",
    "-e",
    f"service=shop confirm=shop run_id={RUN}",
]


def said(code: int, *command: str) -> str:
    """What a command of ours printed; it must end with this code."""
    done = subprocess.run(["pgrescue", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}, not {code}: {done.stdout}{done.stderr}")
    return done.stdout


before = roles()["primary"]
move = subprocess.Popen(MOVE, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})
until("the primary's server is stopped", lambda: TIMELINE.exists() and '"Stop the server"' in TIMELINE.read_text(), 120)
said(0, "pause", RUN, "--reason", "the upgrade is called off")
if not move.wait():
    sys.exit("the paused switchover went on")
given_up = said(8, "abort", RUN)
if "pgrescue recover restart -s shop" not in given_up or f"Stop the server ({before[0]})" not in given_up:
    sys.exit(f"giving up does not say how to go back, or names another host: {given_up}")
if "pgrescue recover restart" not in (proposed := said(1, "triage")):
    sys.exit(f"triage proposes: {proposed}")
said(0, "recover", "restart", "--confirm", "shop")
if roles()["primary"] != before:
    sys.exit(f"{before} was primary, and now {roles()['primary']} is")
