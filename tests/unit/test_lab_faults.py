"""The faults of the lab that are rules of this machine, in a network of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).parents[2]
PLAY = """
set -e
CUT="lab/faults/cut_region.yml -i inventories/lab -e service=shop"
cut() { "$ANSIBLE" $CUT -e cut_region="$1" -e "$HERE"; iptables -S >&2; }
heal() { "$ANSIBLE" lab/heal.yml -i inventories/lab --limit localhost; iptables -S >&2; }
cut west; echo == >&2; cut west; echo == >&2; heal; echo == >&2; heal
"""


def mark(tmp_path, expires):
    marker = {"service": "shop", "system_identifier": "7437700000000004471", "expires": expires}
    (tmp_path / "mark.json").write_text(json.dumps(marker))


def here(tmp_path):
    """The lab's hosts played by this machine, which is in no network."""
    return json.dumps({"ansible_connection": "local", "ansible_become": False, "fault_marker": f"{tmp_path}/mark.json"})


def test_a_region_is_cut_off_once_and_joined_again(tmp_path):
    mark(tmp_path, "2099-01-01T00:00:00Z")
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    env = {
        **os.environ,
        "ANSIBLE": ansible,
        "HERE": here(tmp_path),
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


def test_a_region_that_is_no_drill_target_is_not_cut_off(tmp_path):
    mark(tmp_path, "2026-01-01T00:00:00Z")
    done = refused(tmp_path, "shop")
    assert "its mark as a drill target expired at 2026-01-01T00:00:00Z. Nothing was changed." in done
    assert not (tmp_path / "runs").exists(), "the fault that did not come was written down"


def test_a_region_is_not_cut_off_for_a_service_that_has_no_host_there(tmp_path):
    """Of no host nobody is asked whether it may be broken."""
    mark(tmp_path, "2099-01-01T00:00:00Z")
    assert "for there is none. Nothing was changed." in refused(tmp_path, "ledger")
    assert not (tmp_path / "runs").exists()


def refused(tmp_path, service):
    """What was said where the region was not cut."""
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    command = [
        ansible,
        "lab/faults/cut_region.yml",
        "-i",
        "inventories/lab",
        "-e",
        f"service={service}",
        "-e",
        here(tmp_path),
    ]
    env = {**os.environ, "PGRESCUE_RUNS": str(tmp_path / "runs"), "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg")}
    script = ["unshare", "--net", "sh", "-c", '"$@"; echo "ended $?"; iptables -S', "sh", *command]
    done = subprocess.run(script, cwd=HOUSE, env=env, capture_output=True, text=True, check=True)
    assert "ended 2\n" in done.stdout, done.stdout
    assert "pgrescue lab cut" not in done.stdout
    return done.stdout
