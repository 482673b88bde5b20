"""Drive a cluster that Patroni manages: a switchover and a failover are its own, and what it has not set is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, podman, run
from writers import inside, wait

MEMBERS = ("patroni1", "patroni2", "patroni3")
OTHERS = ("app3", "client2")


def play(playbook: str, code: int = 0, **variables: object) -> str:
    """Run a playbook on the service; its output, when it ended as it should."""
    given = json.dumps({"service": "board", **variables})
    command = ["ansible-playbook", playbook, "-i", INVENTORY, "-i", "inventories/patroni", "-e", given]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{playbook} ended with {done.returncode}: {said}"
    return " ".join(said.split())


def role(host: str, entry: str) -> None:
    """Carry out an entry of role postgres on a host."""
    task = f"name=pgrescue.runbooks.postgres tasks_from={entry}"
    inventories = ["-i", INVENTORY, "-i", "inventories/patroni"]
    run("ansible", host, *inventories, "--become", "-m", "ansible.builtin.include_role", "-a", task)


def stopped(host: str) -> bool:
    """Whether neither Patroni nor a server of PostgreSQL runs on a host."""
    return inside(host, "sh", "-c", "pgrep -x 'patroni|postgres' || true").strip() == ""


def patronictl(*words: str, by: str = "patroni1") -> str:
    """Ask Patroni on one of its members."""
    return inside(by, "patronictl", "-c", "/etc/patroni/config.yml", *words)


def leader(by: str = "patroni1") -> str | None:
    """Who is primary by Patroni's account, once every other member that runs streams from it."""
    members = json.loads(patronictl("list", "--format", "json", by=by))
    leads = [one["Member"] for one in members if one["Role"] == "Leader" and one["State"] == "running"]
    others = [one for one in members if one["Role"] == "Replica"]
    return leads[0] if leads and others and all(one["State"] == "streaming" for one in others) else None


def newest() -> dict[str, dict[str, object]]:
    """The newest run's documents."""
    run = max((HOUSE / "runs").glob("2*-board-*"))
    return {path.stem: json.loads(path.read_text()) for path in run.glob("*.json")}


def went_well(old: str, new: str) -> None:
    """The newest run took the way through Patroni, and nothing acknowledged is missing."""
    record = newest()
    assert (record["plan"]["through"], record["plan"]["left"], record["plan"]["target_host"]) == ("Patroni", old, new)
    assert record["run"]["result"] == "passed", record["run"]
    assert record["measurement"]["lost_acknowledged_before_recovery_point"] == 0, record["measurement"]
    assert not (HOUSE / "runs" / str(record["run"]["id"]) / "window.json").exists()


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        play("lab/patroni.yml", lab_boot="board")
        said = play("playbooks/protect.yml", code=2)
        assert "patronictl edit-config" in said and "Nothing was changed" in said, said
        play("lab/board.yml")

        first = wait(leader, 60, "Patroni's cluster is not whole")
        second = next(one for one in MEMBERS if one != first)
        play("playbooks/switchover.yml", confirm="board", recovery_on=second)
        assert wait(leader, 60, "Patroni's cluster is not whole") == second
        went_well(first, second)
        said = play("playbooks/unattended_failover.yml", code=2)
        assert "Patroni manages the cluster, and fails over by itself" in said, said

        third = next(one for one in MEMBERS if one not in (first, second))
        patronictl("pause", "--wait")  # somebody wants to decide that alone
        podman("kill", "--signal=KILL", f"pgrescue-{second}")
        play("playbooks/failover.yml", confirm="board", recovery_on=third)
        went_well(second, third)
        patronictl("resume", "--wait", by=third)

        podman("start", f"pgrescue-{second}")
        wait(lambda: inside(second, "sh", "-c", "systemctl is-active ssh || true").strip() == "active", 60, "no SSH")
        play("playbooks/rejoin.yml", rejoin_host=second)
        assert wait(lambda: leader(third), 120, "Patroni's cluster is not whole") == third

        patronictl("pause", "--wait", by=third)  # it leaves its server running then
        role(second, "fence")
        assert stopped(second)
        inside(second, "systemctl", "start", "patroni")  # its condition does not hold
        assert stopped(second)
        patronictl("resume", "--wait", by=third)
        play("playbooks/rejoin.yml", rejoin_host=second)
        assert wait(lambda: leader(third), 120, "Patroni's cluster is not whole") == third
        print(f"switched over from {first} to {second}, failed over to {third}")
    finally:
        podman("rm", "--force", "--time=0", *(f"pgrescue-{host}" for host in (*MEMBERS, *OTHERS)))
        for store in ("store-east", "store-west"):  # with its backups, which are of no other database
            inside(store, "sh", "-c", "rm -rf /srv/s3/board-*/* && systemctl restart rclone-s3")  # which remembers them
