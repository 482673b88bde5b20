#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say how far this standby is, by its WAL and by the witness's rows in it."""

from __future__ import annotations

DOCUMENTATION = """
module: standby_position
short_description: Say how far this standby is, by its WAL and by the witness's rows in it
description:
  - What is received and not replayed is waited for first; a promotion does not lose it. M(pgrescue.runbooks.promotion_loss) holds the
    answer against what the old primary had. Only looks. Runs on the standby's host.
options:
  witness_database: {description: The database with the witness's table., type: str, default: postgres}
  deadline_s: {description: How long to wait for the replay of what is received in seconds., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See how far the standby is
  pgrescue.runbooks.standby_position:
    version: 17
  become: true
  become_user: postgres
"""

RETURN = """
position:
  description: C(received) and C(replayed) as LSN, whether they are C(level), and the newest C(token) of the witness; null without one.
  returned: success
  type: dict
  sample: {in_recovery: true, received: 0/5000060, replayed: 0/5000060, level: true, token: 4711}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres

POSITION = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed,
       coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), true) AS level
"""
WITNESS = "SELECT to_regclass('pgrescue.witness') IS NOT NULL AS there"
TOKEN = "SELECT coalesce(max(token), 0) AS token FROM pgrescue.witness"


def position(module: AnsibleModule) -> "dict[str, object]":
    """Where the standby is once what it received is replayed, or the time is over."""
    from psycopg.rows import dict_row

    with postgres.connect(module, row_factory=dict_row) as connection:
        latest = {"at": connection.execute(POSITION).fetchone()}
        if not latest["at"]["in_recovery"]:
            raise guards.Stop("This server is no standby: there is nothing to promote here.", guards.PRECONDITION)

        def level() -> bool:
            latest["at"] = connection.execute(POSITION).fetchone()
            return bool(latest["at"]["level"])

        postgres.wait_until(level, module.params["deadline_s"])
    with postgres.connect(module, module.params["witness_database"], row_factory=dict_row) as connection:
        known = connection.execute(WITNESS).fetchone()["there"]
        token = connection.execute(TOKEN).fetchone()["token"] if known else None
    return {**latest["at"], "token": token}


def main() -> None:
    """Ask."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "witness_database": {"type": "str", "default": "postgres"},
            "deadline_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        there = position(module)
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, position=there)


if __name__ == "__main__":
    main()
