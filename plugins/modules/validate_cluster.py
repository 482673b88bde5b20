#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Ask a restored cluster everything that must hold before traffic may reach it."""

from __future__ import annotations

DOCUMENTATION = """
module: validate_cluster
short_description: Ask a restored cluster everything that must hold before traffic may reach it
description:
  - Returns checks and does not judge the run; M(pgrescue.runbooks.record_validation) does. Writes nothing but one empty transaction.
options:
  plan: {description: The plan the cluster was restored by., type: dict, required: true}
  acknowledged: {description: What the witness saw acknowledged; without it tokens are not checked., type: dict}
  accepted_losses: {description: Tokens a person has given up by name., type: list, elements: int, default: []}
  witness_database: {description: Database that holds the tokens., type: str, default: postgres}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Answers without checks in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Check the restored cluster
  pgrescue.runbooks.validate_cluster:
    version: 17
    plan: "{{ recovery_plan }}"
    acknowledged: "{{ recovery_acknowledged }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: always, type: list, elements: dict}
reconciliation: {description: Acknowledged tokens against rows., returned: when acknowledged is given, type: dict}
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import postgres, reconcile, validation

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


def observe(module: AnsibleModule) -> "dict[str, object]":
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


def tokens(module: AnsibleModule, acknowledged: "dict[str, object]") -> reconcile.Reconciliation:
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


def main() -> None:
    """Ask, judge each answer, return them all."""
    spec = dict(postgres.CONNECTION_ARGUMENTS)
    spec.update(
        plan={"type": "dict", "required": True},
        acknowledged={"type": "dict"},
        accepted_losses={"type": "list", "elements": "int", "default": []},
        witness_database={"type": "str", "default": "postgres"},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    began = time.monotonic()
    seen = observe(module)
    checks = validation.judge_cluster(seen, module.params["plan"])
    size = {"event": "note", "step": "data", "detail": json.dumps({"data_bytes": int(seen["data_bytes"])})}
    answer = {"journal": [size]}
    if module.params["acknowledged"]:
        found = tokens(module, module.params["acknowledged"])
        checks.append(validation.judge_tokens(found, module.params["accepted_losses"]))
        answer["reconciliation"] = found.as_dict()
    host = os.uname().nodename
    spent = round(time.monotonic() - began, 3)
    module.exit_json(changed=False, checks=[{**c, "host": host} for c in checks], duration_s=spent, **answer)


if __name__ == "__main__":
    main()
