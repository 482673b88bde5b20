#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See where a copy stands whose replay is paused at its target."""

from __future__ import annotations

DOCUMENTATION = """
module: replay_standing
short_description: See where a copy stands whose replay is paused at its target
description:
  - Answers to which position and to which transaction a restored copy was replayed, and how many rows the tables have that somebody
    wants to see. Only looks.
options:
  tables: {description: 'Tables to count, as C(database.schema.table).', type: list, elements: str, default: []}
  deadline_s: {description: How long a count may take in seconds., type: int, default: 60}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See where it stands
  pgrescue.runbooks.replay_standing: {version: 17, tables: [shop.public.orders]}
  become: true
  become_user: postgres
  register:
    corruption_standing: _task.result.standing
"""

RETURN = """
standing:
  description:
    - C(lsn) is the position that was replayed to, C(time) when the last transaction before it ended; both are null of a server that
      was promoted since. C(counts) has the rows of each table, or why it could not be counted.
  returned: success
  type: dict
  sample: {in_recovery: true, paused: true, lsn: 0/5000060, time: "2026-11-24T01:20:50.123456Z", counts: {shop.public.orders: 50}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres

STANDING = """
SELECT pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' ELSE false END AS paused,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END AS lsn,
       CASE WHEN pg_is_in_recovery() THEN
            to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') END AS time
"""


def count(module: AnsibleModule, full: str) -> "int | str":
    """The rows of one table; why they could not be counted, as when the table is not there at this point."""
    import psycopg
    from psycopg import sql

    database, _dot, table = full.partition(".")
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
    try:
        with postgres.connect(module, database=database) as connection:
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", (str(1000 * module.params["deadline_s"]),)
            )
            return int(connection.execute(query).fetchone()[0])
    except psycopg.Error as error:
        return str(error).strip().splitlines()[0]


def main() -> None:
    """Ask, count, answer."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "tables": {"type": "list", "elements": "str", "default": []},
            "deadline_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    import psycopg
    from psycopg.rows import dict_row

    try:
        with postgres.connect(module, row_factory=dict_row) as connection:
            standing = connection.execute(STANDING).fetchone()
    except psycopg.OperationalError as error:
        said = "The copy cannot be asked: %s. Nothing was changed." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    standing["counts"] = {full: count(module, full) for full in module.params["tables"]}
    module.exit_json(changed=False, standing=standing)


if __name__ == "__main__":
    main()
