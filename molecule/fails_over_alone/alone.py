"""Fail over alone in the lab; then see that no watch begins at once, and that the lab can be put back."""

import json
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from failovers import ENVIRONMENT, first_write, unattended
from lab_hosts import INVENTORY, run

PLAYBOOKS = ("lab/replace_hosts.yml", "playbooks/protect.yml")


def watch() -> str:
    """Begin a watch that must be refused; what it said."""
    command = ["ansible-playbook", "playbooks/unattended_failover.yml", "-i", INVENTORY, "-e", "service=shop"]
    done = subprocess.run(command, cwd=HOUSE, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout
    return done.stdout


if __name__ == "__main__":
    print(f"{first_write(unattended(0.5)):.1f} s from the fault to the first write elsewhere")
    record = max(path for path in (HOUSE / "runs").glob("2*-shop-unattended_failover"))
    assert json.loads((record / "run.json").read_text())["result"] == "passed"
    (approval,) = [json.loads(path.read_text()) for path in record.glob("approval-*.json")]
    assert approval["way"] == "policy"
    (fence,) = [json.loads(path.read_text()) for path in record.glob("fence-*.json")]
    assert fence["fenced"]
    assert json.loads((record / "measurement.json").read_text())["lost_acknowledged_before_recovery_point"] == 0
    assert "A person must look before" in watch()
    for playbook in PLAYBOOKS:
        run("ansible-playbook", playbook, "-i", INVENTORY, "-e", "service=shop")
