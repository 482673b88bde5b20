"""Ask a recovered cluster everything that must hold before traffic may reach it. Runs there."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from . import postgres, reconcile, validation

QUESTIONS = """
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       current_setting('data_checksums') AS data_checksums,
       current_setting('data_directory') AS data_directory,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes,
       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database) AS data_bytes,
       pg_current_xact_id() IS NOT NULL AS writable
"""
READABLE = "SELECT count(*) FILTER (WHERE NOT indisvalid), count(*) FROM pg_index"
TOKENS = """
SELECT array_agg(ARRAY[first, last] ORDER BY first) FROM (
  SELECT min(token) AS first, max(token) AS last
    FROM (SELECT token, token - row_number() OVER (ORDER BY token) AS island FROM pgrescue.witness WHERE token >= %s) AS t
   GROUP BY island) AS r
"""


def observe(module: Any) -> "dict[str, Any]":
    """Everything the server says of itself, database by database."""
    import psycopg
    from psycopg.rows import dict_row

    unreadable, invalid = [], 0
    with postgres.connect(module, row_factory=dict_row) as connection:
        seen = connection.execute(QUESTIONS).fetchone()
        names = [
            r["datname"] for r in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
        ]
    for name in names:
        try:
            with postgres.connect(module, database=name) as connection:
                invalid += connection.execute(READABLE).fetchone()[0]
        except psycopg.Error as error:
            unreadable.append("%s (%s)" % (name, str(error).strip().splitlines()[0]))
    pg_wal = os.path.join(seen["data_directory"], "pg_wal")
    newest = max((n for n in os.listdir(pg_wal) if n.endswith(".history")), default=None)
    if newest:  # a cluster that was repaired where it is may never have left its first timeline
        with open(os.path.join(pg_wal, newest), encoding="ascii") as history:
            seen["history"] = history.read()
        seen["timeline"] = int(newest.split(".")[0], 16)
    place = os.path.realpath(seen["data_directory"])
    return {**seen, "place": place, "unreadable_databases": unreadable, "invalid_indexes": invalid}


def tokens(module: Any, acknowledged: "dict[str, Any]") -> reconcile.Reconciliation:
    """The rows of the recovered database against what was acknowledged."""
    seen = reconcile.Acknowledged(
        [[int(a), int(b)] for a, b in acknowledged["ranges"]],
        {int(n): t for n, t in acknowledged["attempts"].items()},
        {int(n): t for n, t in acknowledged["acks"].items()},
    )
    floor = seen.ranges[0][0] if seen.ranges else 0
    with postgres.connect(module, database=module.params["witness_database"]) as connection:
        present = connection.execute(TOKENS, (floor,)).fetchone()[0] or []
    return reconcile.reconcile(seen, present, floor)


def answers(module: Any) -> "dict[str, Any]":
    """What M(validate_cluster) answers. `module` has PostgreSQL's connection arguments and those of that module."""
    p, began = module.params, time.monotonic()
    seen = observe(module)
    checks = validation.judge_cluster(seen, p["plan"])
    size = {"event": "note", "step": "data", "detail": json.dumps({"data_bytes": int(seen["data_bytes"])})}
    answer: "dict[str, Any]" = {"journal": [size]}
    if p["acknowledged"]:
        found = tokens(module, p["acknowledged"])
        checks.append(validation.judge_tokens(found, p["accepted_losses"]))
        answer["reconciliation"] = found.as_dict()
    host = os.uname().nodename
    spent = round(time.monotonic() - began, 3)
    return {**answer, "checks": [{**c, "host": host} for c in checks], "duration_s": spent}
