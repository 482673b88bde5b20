"""Close the service to its clients while one goes on writing; no transaction may begin until it is opened."""

import json
import subprocess
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles, run
from writers import Client, inside, make_table

SERVICE = ("-i", INVENTORY, "-e", "service=shop")
QUIET_S = 10
# the next transaction that writes, before and after; the session that asks writes nothing
WRITTEN = f"""
psql -XqAt <<'END'
SELECT pg_snapshot_xmax(pg_current_snapshot());
SELECT FROM pg_sleep({QUIET_S});
SELECT pg_snapshot_xmax(pg_current_snapshot());
END
"""


def transactions(primary: str) -> int:
    """How many transactions wrote during so many seconds."""
    before, after = on(primary, WRITTEN).split()
    return int(after) - int(before)


if __name__ == "__main__":
    (primary,) = roles()["primary"]
    make_table(primary, "shop")
    client = Client("app2", json.loads(inside("app1", "cat", "/etc/shop/shop.json"))["dsn"], "rogue")
    client.writes()
    assert transactions(primary) > 0
    command = ["ansible-playbook", "playbooks/close_service.yml", *SERVICE, "-e", "confirm=other"]
    refused = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert refused.returncode and "needs its name typed" in refused.stdout, refused.stdout
    client.writes()

    run("ansible-playbook", "playbooks/close_service.yml", *SERVICE, "-e", "confirm=shop", "--check")
    client.writes()
    run("ansible-playbook", "playbooks/close_service.yml", *SERVICE, "-e", "confirm=shop")
    told = len(client.acknowledged())
    assert transactions(primary) == 0
    assert len(client.acknowledged()) == told
    assert any("pg_hba.conf" in error for error in client.errors()), client.errors()[-3:]
    assert len(roles()["standby"]) == 2, "the standbys go on"

    run("ansible-playbook", "playbooks/open_service.yml", *SERVICE)
    client.writes()
    client.stop()
    print(f"{told} commits before it was closed, none in {QUIET_S} s while it was, then {len(client.acknowledged())}")
