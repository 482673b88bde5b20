"""The faults of the lab that are rules of this machine, in a network of their own."""

import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parents[2]
PLAY = """
set -e
cut() { "$ANSIBLE" lab/faults/cut_region.yml -i inventories/lab -e service=shop -e cut_region="$1"; iptables -S >&2; }
heal() { "$ANSIBLE" lab/heal.yml -i inventories/lab --limit localhost; iptables -S >&2; }
cut west; echo == >&2; cut west; echo == >&2; heal; echo == >&2; heal
"""


def test_a_region_is_cut_off_once_and_joined_again(tmp_path):
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    env = {
        **os.environ,
        "ANSIBLE": ansible,
        "PGRESCUE_RUNS": str(tmp_path),
        "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
    }
    command = ["unshare", "--net", "sh", "-c", PLAY]
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    cut, again, healed, still = (
        [line for line in part.splitlines() if "pgrescue lab cut" in line] for part in done.stderr.split("==\n")
    )
    assert {tuple(rule.split()[1:6:2]) for rule in cut if "FORWARD" in rule} == {
        ("FORWARD", "10.82.0.0/24", "10.81.0.0/24"), ("FORWARD", "10.82.0.0/24", "10.83.0.0/24"),
        ("FORWARD", "10.81.0.0/24", "10.82.0.0/24"), ("FORWARD", "10.83.0.0/24", "10.82.0.0/24"),
    }  # fmt: skip
    assert any("OUTPUT -d 10.82.0.0/24" in rule for rule in cut)
    assert (again, healed, still, len(cut)) == (cut, [], [], 5)
