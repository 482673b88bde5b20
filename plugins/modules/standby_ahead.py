#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See whether a standby has more than the new primary had when it was promoted."""

from __future__ import annotations

DOCUMENTATION = """
module: standby_ahead
short_description: See whether a standby has more than the new primary had when it was promoted
description:
  - Such a standby cannot follow the new primary and must be rewound, or built anew. Only looks. Runs on the standby's host.
  - Refuses (exit code 4) when this server is no standby, or one of another database system.
options:
  source: {description: 'Connection string of the new primary, without a password.', type: str, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See whether it is ahead
  pgrescue.runbooks.standby_ahead:
    version: 17
    source: host=db2.example.org user=replicator dbname=postgres passfile=/var/lib/postgresql/.pgpass-shop
  become: true
  become_user: postgres
"""

RETURN = """
ahead: {description: Whether it received something beyond the parting., returned: success, type: bool}
position: {description: How far it is (LSN)., returned: success, type: str}
parted_at: {description: Where its timeline was left for the new one; null when it is on the new one., returned: success, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, lsn, postgres, primary_line, rewinding

STATE = f"""
SELECT pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       {postgres.FOLLOWED_TIMELINE} AS timeline,
       coalesce(greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0')::text AS position
"""
HISTORY = "SELECT convert_from(pg_read_binary_file(%s, 0, 1000000, true), 'UTF8') AS history"


def main() -> None:
    """Compare the two lines."""
    spec = {**postgres.CONNECTION_ARGUMENTS, "source": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    from psycopg.rows import dict_row

    try:
        source = primary_line.ask(module.params["source"])
        with postgres.connect(module, row_factory=dict_row) as connection:
            here = connection.execute(STATE).fetchone()
            path = "pg_wal/%08X.history" % here["timeline"]
            history = connection.execute(HISTORY, (path,)).fetchone()["history"] or ""
        if not here["in_recovery"] or here["system_identifier"] != source["system_identifier"]:
            raise guards.Stop("This server is no standby of that database system. Nothing was changed.")
    except guards.Stop as stop:
        guards.fail(module, stop)
    ours = rewinding.line(here["timeline"], history)
    shared = rewinding.parting(ours, rewinding.line(source["timeline"], source["history"]))
    ahead = bool(shared) and (here["timeline"] != shared[0] or lsn.parse_lsn(here["position"]) > shared[1])
    parted = lsn.format_lsn(shared[1]) if shared else None
    module.exit_json(changed=False, ahead=ahead, position=here["position"], parted_at=parted)


if __name__ == "__main__":
    main()
