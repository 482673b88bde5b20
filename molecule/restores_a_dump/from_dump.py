"""Recover from a dump: every host is gone, one repository wiped, and the other out of reach for a while."""

import json
import os
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles, run
from writers import inside

STORES = ("store-east", "store-west")
WITH_DUMPS = ("-i", INVENTORY, "-i", "inventories/dumps", "-e", "service=shop")
SYSTEM = "psql -XAtc 'SELECT system_identifier FROM pg_control_system()'"
LOAD = """
psql -XAt -v ON_ERROR_STOP=1 -d shop <<'END'
DROP SCHEMA IF EXISTS dumped CASCADE;
CREATE SCHEMA dumped;
CREATE TABLE dumped.kept AS SELECT n, md5(n::text) AS said FROM generate_series(1, 20000) AS n;
END
"""
HELD = "psql -XAtd shop -c 'SELECT count(*), sum(hashtext(said)) FROM dumped.kept'"


def play(playbook: str, code: int = 0, **variables: object) -> str:
    """Run a playbook on the service; its output, when it ended as it should."""
    command = ["ansible-playbook", playbook, *WITH_DUMPS, "-e", json.dumps(variables)]
    plain = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=HOUSE, env=plain, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"{playbook} ended with {done.returncode}: {said}"
    return " ".join(said.split())


def record() -> dict[str, dict[str, object]]:
    """The newest run's documents."""
    return {path.stem: json.loads(path.read_text()) for path in (HOUSE / "runs/latest").resolve().glob("*.json")}


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (primary,) = roles()["primary"]
    lost, held = on(primary, SYSTEM), (on(primary, LOAD), on(primary, HELD))[1]
    play("lab/dumps.yml")
    play("playbooks/dump.yml")
    try:
        run("ansible-playbook", "lab/faults/destroy_hosts.yml", "-i", INVENTORY, "-e", "service=shop")
        inside("store-east", "sh", "-c", "rm -rf /srv/s3/shop-backups/* && systemctl restart rclone-s3")
        inside("store-west", "systemctl", "stop", "rclone-s3")

        said = play("playbooks/complete_loss.yml", code=2, confirm="shop")
        assert "a person can choose it, -e recovery_method=logical" in said, said
        said = play("playbooks/complete_loss.yml", code=2, confirm="shop", recovery_method="logical")
        assert "WAL is archived nowhere before all do" in said, said
        begun = record()
        plan = begun["plan"]
        assert plan["method"] == "logical", plan
        assert plan["ways"][0]["loses_s"] > 0, plan["ways"]

        inside("store-west", "systemctl", "start", "rclone-s3")
        play("playbooks/complete_loss.yml", confirm="shop", run_id=begun["run"]["id"])
        ended = record()
        assert ended["run"]["result"] == "passed", ended["run"]
        assert ended["measurement"]["lost_acknowledged_before_recovery_point"] == 0, ended["measurement"]
        found = on(plan["target_host"], SYSTEM)
        assert found != lost, "the cluster is the old one"
        assert on(plan["target_host"], HELD) == held
        seen = json.loads(on(plan["target_host"], "pgbackrest --stanza=shop --output=json info"))[0]
        served = {one["repo-key"]: str(one["system-id"]) for one in sorted(seen["db"], key=lambda one: one["id"])}
        assert served == {1: found, 2: found}, seen["db"]
        backups = [b["database"] for b in seen["backup"]]
        assert {"id": 1, "repo-key": 1} in backups and {"id": 2, "repo-key": 2} in backups, backups
        assert {"id": 1, "repo-key": 2} in backups, "the old backups are gone"
        print(f"dump {plan['candidates'][0]['label']}: back after {ended['measurement']['rta_s']:.1f} s")
    finally:
        for store in STORES:
            inside(store, "systemctl", "start", "rclone-s3")
    run("ansible-playbook", "lab/replace_hosts.yml", "-i", INVENTORY, "-e", "service=shop")
    run("ansible-playbook", "playbooks/protect.yml", "-i", INVENTORY, "-e", "service=shop")
