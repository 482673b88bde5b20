"""Switch the lab over while a client writes through PgBouncer; it must see no error and keep every row."""

import json
import sys
from itertools import pairwise
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles, run
from writers import Client, inside, make_table

WITH_PGBOUNCER = ("-i", INVENTORY, "-i", "inventories/pgbouncer", "-e", "service=shop")


def playbook(path: str, *more: str) -> None:
    """Run one of the project's playbooks with PgBouncer in the inventory."""
    run("ansible-playbook", path, *WITH_PGBOUNCER, *more)


if __name__ == "__main__":
    old = roles()["primary"][0]
    make_table(old, "shop")
    playbook("lab/pgbouncer.yml")
    try:
        client = Client("app1", json.loads(inside("app1", "cat", "/etc/shop/shop.json"))["dsn"], "pgbouncer")
        client.writes()
        shops = inside("app1", "systemctl", "show", "--property=MainPID", "shop@1.service")
        playbook("playbooks/switchover.yml", "-e", "confirm=shop")
        (new,) = roles()["primary"]
        assert new != old
        client.writes()
        client.stop()
        assert inside("app1", "systemctl", "show", "--property=MainPID", "shop@1.service") == shops, "it was restarted"
        assert client.errors() == []
        told = client.acknowledged()
        there = on(new, "psql -XqAt -d shop -c 'SELECT token FROM writes'").split()
        assert set(told) <= set(there)
        waited = max(later - earlier for earlier, later in pairwise(sorted(told.values())))
        print(f"{len(told)} commits, none refused, none missing; the longest wait was {waited:.1f} s")
    finally:
        playbook("lab/pgbouncer.yml", "-e", "lab_behind=false")
    for path in (
        "lab/replace_hosts.yml",
        "playbooks/protect.yml",
    ):  # the old primary is a standby, which may be one too many
        playbook(path)
