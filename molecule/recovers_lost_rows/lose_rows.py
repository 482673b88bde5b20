"""Lose rows of three tables among thirty in the lab, bring them back through the command, and take that back."""

import json
import subprocess
import sys
import time
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from lab_hosts import on, roles

TABLES = (HOUSE / "tests/thirty_tables.sql").read_text()
DAMAGE = """
SET session_replication_role = replica;
DELETE FROM orders WHERE id > 500; DELETE FROM payments; DELETE FROM events;
"""
NEWER = "INSERT INTO orders (customer, total) VALUES (1, 1); UPDATE orders SET total = 9 WHERE id = 3"
COUNTS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM payments), (SELECT count(*) FROM events)"
POINT = f"before_loss_{time.time():.0f}"  # a name is used once
ASKED = ["-e", "partial_tables=public.orders,public.payments,public.events", "-e", "partial_database=thirty"]


def sql(statements: str, database: str = "thirty") -> str:
    """Run statements on the primary."""
    script = f"psql -XqAt -v ON_ERROR_STOP=1 -d {database} <<'STATEMENTS'\n{statements}\nSTATEMENTS\n"
    return on(roles()["primary"][0], script)


def command(*words: str, code: int) -> str:
    """Run the command; its output, when it ended as it should."""
    done = subprocess.run(["pgrescue", *words], cwd=HOUSE, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, f"pgrescue {' '.join(words)} ended with {done.returncode}: {said}"
    return said


def lose_and_recover() -> None:
    """The whole way."""
    command("mark", POINT, code=0)
    sql(DAMAGE)
    sql(NEWER)
    damaged = sql(COUNTS)
    command("recover", "partial_loss", *ASKED, "-e", f"partial_to=name:{POINT}", code=4)
    run = (HOUSE / "runs/latest").resolve().name
    assert sql(COUNTS) == damaged, "nothing comes back before somebody said so"
    assert len(json.loads((HOUSE / "runs" / run / "difference.json").read_text())["tables"]) > 3
    command("resume", run, "--confirm", "shop", code=0)
    assert sql(COUNTS) == "1001|600|900"
    assert sql("SELECT total FROM orders WHERE id = 3") == "9.00"
    sql("INSERT INTO payments (paid_for, amount) VALUES (900, 0)")  # the next insert works
    sql("DELETE FROM payments WHERE amount = 0")
    command("recover", "undo_merge", "-e", f"undo_run={run}", "--confirm", "shop", code=0)
    assert sql(COUNTS) == damaged


if __name__ == "__main__":
    sql("CREATE ROLE clerk", "postgres")
    sql("CREATE DATABASE thirty", "postgres")
    try:
        sql(TABLES)
        lose_and_recover()
    finally:
        sql("DROP DATABASE thirty (FORCE)", "postgres")
        sql("DROP ROLE clerk", "postgres")
