#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Describe tables and all that hangs together with them."""

from __future__ import annotations

DOCUMENTATION = """
module: table_closure
short_description: Describe tables and all that hangs together with them
description:
  - Asks a restored copy for tables that lost rows, for those that they refer to by foreign keys, directly or not, and for all that
    belongs to each, such as columns, keys, sequences, triggers, indexes, policies, grants, types and partitions.
  - A partition stands for the table it is a part of. The order is that in which rows can be put back, parents before children.
  - Refuses (exit code 3) a table that is not there, that no backup holds the rows of, or that inherits.
options:
  database: {description: The database., type: str, required: true}
  tables: {description: 'The tables, as C(schema.table).', type: list, elements: str, required: true}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Describe what belongs to the tables
  pgrescue.runbooks.table_closure:
    version: 17
    socket_directory: /var/lib/postgresql/17/partial-shop.socket
    database: shop
    tables: [public.orders, public.payments]
  become: true
  become_user: postgres
  register:
    partial_loss_closure: _task.result.closure
"""

RETURN = """
closure:
  description:
    - C(chosen) and C(required) tables, C(order) of both, C(tables) with all that belongs to each, and C(foreign_keys) among them.
    - C(referring) tables have rows that refer to chosen ones; a cascade may have taken those as well. They are only named.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, table_catalog, table_closure


def describe(connection: object, wanted: "list[str]") -> "dict[str, object]":
    """The closure of the tables that are wanted."""
    roots = {name: table_catalog.root(connection, name) for name in wanted}
    gone = sorted(name for name, root in roots.items() if not root)
    if gone or not wanted:
        said = "The copy has no table %s. Nothing was changed. Name tables as schema.table, or restore to an earlier point."
        raise guards.Stop(said % (", ".join(gone) or "to look for"), guards.PRECONDITION)
    keys = table_catalog.foreign_keys(connection)
    chosen = sorted({str(root) for root in roots.values()})
    required = table_closure.required(chosen, keys)
    order, cyclic = table_closure.ordered([*chosen, *required], keys)
    tables = table_catalog.tables(connection, order)
    unfit = [table_closure.unfit(name, table) for name, table in tables.items() if table]
    if any(unfit):
        raise guards.Stop("%s. Nothing was changed." % "; ".join(filter(None, unfit)), guards.PRECONDITION)
    return {
        "chosen": chosen,
        "required": required,
        "referring": table_closure.referring(chosen, keys),
        "order": order,
        "cyclic": [key["name"] for key in cyclic],
        "tables": tables,
        "foreign_keys": [k for k in keys if {k["child_root"], k["parent_root"]} <= set(order)],
    }


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "tables": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        with postgres.connect(module, module.params["database"]) as connection, connection.transaction():
            table_catalog.settle(connection)
            closure = describe(connection, module.params["tables"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    said = "%d tables were chosen (%s), and %d are needed for them%s" % (
        len(closure["chosen"]),
        ", ".join(closure["chosen"]),
        len(closure["required"]),
        ": " + ", ".join(closure["required"]) if closure["required"] else "",
    )
    also = "Rows of %s refer to them and may be missing too" % ", ".join(closure["referring"])
    events = [{"event": "decision", "detail": text} for text in [said, *([also] if closure["referring"] else [])]]
    module.exit_json(changed=False, closure=closure, journal=events)


if __name__ == "__main__":
    main()
