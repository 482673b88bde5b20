#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Find which rows of a copy the live tables lack."""

from __future__ import annotations

DOCUMENTATION = """
module: row_difference
short_description: Find which rows of a copy the live tables lack
description:
  - Compares what was loaded beside with the live tables, by key and by content, and counts per table what is missing, the same,
    differing, and newer in production. Of tables that were not chosen, only rows that chosen ones refer to are taken.
  - Nothing but the run's own schema is written to. The digest is of what would be brought back; a merge does that or nothing.
  - When the run has merged already it answers with the difference that was merged.
options:
  database: {description: The live database., type: str, required: true}
  run: {description: The run., type: str, required: true}
  system_identifier: {description: The database system that the server must be of., type: str}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: Finds the difference and keeps nothing of it.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Find what is missing
  pgrescue.runbooks.row_difference:
    version: 17
    port: 5432
    database: shop
    run: 20261124T012050Z-shop-partial_loss
  become: true
  become_user: postgres
  register:
    partial_loss_difference: _task.result.difference
"""

RETURN = """
difference: {description: 'Counts of each table, and the digest.', returned: success, type: dict}
merged: {description: Whether the run has merged it already., returned: success, type: bool}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    partial_difference,
    partial_schema,
    postgres,
)


def main() -> None:
    """Compare, all in one snapshot of the tables."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "system_identifier": {"type": "str"},
        },
        supports_check_mode=True,
    )
    p, schema = module.params, partial_schema.name(module.params["run"])
    try:
        with partial_schema.connect(module) as connection, connection.transaction(force_rollback=module.check_mode):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SET LOCAL session_replication_role = replica")
            found = partial_schema.facts(connection, schema)
            merged = "merged" in found
            if not merged:
                partial_schema.needed(found, "steps", p["run"])
                difference = partial_difference.find(connection, schema, found["closure"])
                partial_schema.keep(connection, schema, "difference", difference)
            else:
                difference = found["difference"]
    except guards.Stop as stop:
        guards.fail(module, stop)
    said = [partial_difference.sentence(one) for one in difference["tables"]]
    module.exit_json(
        changed=not merged,
        difference=difference,
        merged=merged,
        journal=[{"event": "decision", "detail": text} for text in said],
    )


if __name__ == "__main__":
    main()
