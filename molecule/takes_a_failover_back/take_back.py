"""Fail over in the lab with a second person's approval, take that back, let the other one rejoin."""

import json
import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles
from writers import wait

TWO = {"service_gates": {"second_person": True, "expires_s": 900, "plan_expires_s": 900}}


def play(playbook: str, by: str, code: int, **variables: object) -> str:
    """Run a playbook as somebody; its output, when it ended as it should."""
    given = json.dumps({"service": "shop", **TWO, **variables})
    command = ["ansible-playbook", f"playbooks/{playbook}.yml", "-i", INVENTORY, "-e", given]
    env = {**os.environ, "PGRESCUE_OPERATOR": by}
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{playbook} ended with {done.returncode}: {said}"
    return said


def command(*words: str, code: int = 0) -> str:
    """Run the command; its output, when it ended as it should."""
    done = subprocess.run(["pgrescue", *words], cwd=HOUSE, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"pgrescue {' '.join(words)} ended with {done.returncode}: {said}"
    return said


def newest() -> str:
    """The id of the newest run."""
    return max(path.name for path in (HOUSE / "runs").glob("2*-shop-*"))


def without_the_rest(name: str) -> None:
    """Leave the backup and the standbys out, which other scenarios show."""
    for step in ("full_backup", "standbys"):
        command("skip", name, step, "--reason", "it is taken back at once")


def fail_over(old: str) -> str:
    """A failover from a primary that lives, which nobody may do alone; its run."""
    asked = {"confirm": "shop", "recovery_despite_primary": True}
    assert "a second person" in play("failover", "ada@desk", 2, **asked)
    assert roles()["primary"] == [old], "nothing happens before somebody else said so"
    name = newest()
    play("approve", "ada@laptop", 0, run_id=name, reason="I am sure")  # the same person on another machine
    assert "a second person" in play("failover", "ada@desk", 2, run_id=name, **asked)
    assert roles()["primary"] == [old]
    play("approve", "bob@desk", 0, run_id=name, reason="the rack is going down")
    without_the_rest(name)
    play("failover", "ada@desk", 0, run_id=name, **asked)
    new = roles()["primary"]
    assert new != [old]
    assert json.loads((HOUSE / "runs" / name / f"fence-{old}.json").read_text())["fenced"]
    return name


def take_back(name: str) -> None:
    """What was written since is given up, and only when somebody says so."""
    on(roles()["primary"][0], "psql -Xqd shop -c 'CREATE TABLE written_since ()'")
    assert "needs its name typed" in command("rollback", name, code=4)
    back = newest()
    without_the_rest(back)
    command("resume", back, "--confirm", "shop")
    assert "taken back" in command("rollback", name, "--confirm", "shop", code=4)


if __name__ == "__main__":
    before = roles()
    primary = before["primary"][0]
    failed_over = fail_over(primary)
    promoted = roles()["primary"][0]
    take_back(failed_over)
    assert roles()["primary"] == [primary]
    assert on(primary, "psql -XAtqd shop -c \"SELECT to_regclass('written_since') IS NULL\"") == "t"
    play("rejoin", "ada@desk", 0, rejoin_host=promoted)
    play("rebuild_standbys", "ada@desk", 0)
    assert roles() == before
    streaming = "psql -XAtqc \"SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'\""
    standbys = str(len(before["standby"]))
    wait(lambda: on(primary, streaming) == standbys, 60, "not every standby streams")
