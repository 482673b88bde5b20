"""Damage a table of the lab's service, while its witness goes on committing: exactly that transaction must be named."""

import json
import sys
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import INVENTORY, on, roles, run

TABLE = "public.moments"
ASKED = ["-e", "service=shop", "-e", f"moment_table=shop.{TABLE}", "-e", "moment_damage=rows_gone"]


def sql(statement: str) -> str:
    """What the primary's database says."""
    return on(roles()["primary"][0], f'psql -XAtq -v ON_ERROR_STOP=1 -d shop -c "{statement}"')


def search(*more: str) -> None:
    """Run the runbook."""
    run("ansible-playbook", "playbooks/last_good_moment.yml", "-i", INVENTORY, *ASKED, *more)


def main() -> None:
    """Damage, look without doing anything, search, compare."""
    sql(f"CREATE TABLE {TABLE} AS SELECT g AS id FROM generate_series(1, 100) g")
    try:
        run("pgrescue", "backup", "-s", "shop")
        sql(f"INSERT INTO {TABLE} VALUES (101)")
        deleted = sql(
            f"WITH gone AS (DELETE FROM {TABLE} WHERE id <= 50 RETURNING id) SELECT max(txid_current()) FROM gone"
        )
        sql(f"DELETE FROM {TABLE} WHERE id = 99")
        latest = (HOUSE / "runs/latest").resolve()
        search("--check")
        assert (HOUSE / "runs/latest").resolve() == latest, "--check left a run"
        search()
        found = json.loads((HOUSE / "runs/latest/moment.json").read_text())
        assert found["damaging"]["xid"] == int(deleted), found["damaging"]
        assert found["damaging"]["changes"][TABLE]["deleted"] == 50
        assert json.loads((HOUSE / "runs/latest/run.json").read_text())["result"] == "passed"
        left = [
            host
            for host in roles().get("spare", [])
            if on(host, "ls -d /var/lib/postgresql/*/moment-* 2>/dev/null || true")
        ]
        assert not left, f"a copy was left on {left}"
    finally:
        sql(f"DROP TABLE {TABLE}")


if __name__ == "__main__":
    main()
