#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Check that a restored copy is what was asked for, and cut off from everything."""

from __future__ import annotations

DOCUMENTATION = """
module: copy_isolation
short_description: Check that a restored copy is what was asked for, and cut off from everything
description:
  - Returns checks and judges nothing; M(pgrescue.runbooks.record_validation) does.
  - The server is told to connect to where the module listens, on a loopback address and on a socket, and must not get there. One that
    replays can be told nothing; it must have been started with a filter then.
options:
  plan: {description: The plan the copy was restored by. Without it only its isolation is checked., type: dict}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Answers without checks in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See that the copy reaches nobody
  pgrescue.runbooks.copy_isolation:
    version: 17
    socket_directory: /var/lib/postgresql/17/proof-shop.socket
    plan: "{{ proof_plan }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: always, type: list, elements: dict}
"""

import json
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import postgres, proofs, ways_out

QUESTIONS = """
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       current_setting('archive_mode') AS archive_mode,
       current_setting('primary_conninfo') AS primary_conninfo,
       current_setting('listen_addresses') AS listen_addresses,
       current_setting('data_directory') AS data_directory,
       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database) AS data_bytes,
       (SELECT json_agg(DISTINCT backend_type) FROM pg_stat_activity) AS backends
"""


def main() -> None:
    """Ask, judge each answer, return them all."""
    spec = {**postgres.CONNECTION_ARGUMENTS, "plan": {"type": "dict"}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    from psycopg.rows import dict_row

    began = time.monotonic()
    with postgres.connect(module, row_factory=dict_row) as connection:
        seen = connection.execute(QUESTIONS).fetchone()
        replays = seen["in_recovery"]
        seen["ways_out"] = ways_out.of_replaying(seen["data_directory"]) if replays else ways_out.found(connection)
    pg_wal = os.path.join(seen["data_directory"], "pg_wal")
    histories = [name for name in os.listdir(pg_wal) if name.endswith(".history")]
    if histories:
        with open(os.path.join(pg_wal, max(histories)), encoding="ascii") as history:
            seen["history"] = history.read()
    spent, host = round(time.monotonic() - began, 3), os.uname().nodename
    plan = module.params["plan"]
    judged = proofs.judge_copy(seen, plan) if plan else proofs.judge_isolation(seen)
    checks = [{**c, "host": host} for c in judged]
    size = {"event": "note", "step": "data", "detail": json.dumps({"data_bytes": int(seen["data_bytes"])})}
    module.exit_json(changed=False, checks=checks, duration_s=spent, journal=[size])


if __name__ == "__main__":
    main()
