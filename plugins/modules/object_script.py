#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Get from a copy the statements that make dropped tables again."""

from __future__ import annotations

DOCUMENTATION = """
module: object_script
short_description: Get from a copy the statements that make dropped tables again
description:
  - C(pg_dump) writes down the definitions of the copy; those that the tables need are chosen by their dependencies, each as a step of
    its own with the address by which the live server tells whether it is there already.
options:
  database: {description: The database., type: str, required: true}
  tables: {description: Tables and partitions that are gone., type: list, elements: str, required: true}
  program_directory: {description: Where C(pg_dump) is; found by the server's version when left out., type: path}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Get what makes the dropped table again
  pgrescue.runbooks.object_script:
    version: 17
    socket_directory: /var/lib/postgresql/17/partial-shop.socket
    database: shop
    tables: [public.orders]
  become: true
  become_user: postgres
"""

RETURN = """
steps: {description: 'The statements in their order; each with its kind, name and address.', returned: success, type: list, elements: dict}
"""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    libpq,
    postgres,
    table_catalog,
    table_script,
)

ADDRESS = """
SELECT a.type, a.object_names AS names, a.object_args AS arguments,
  (pg_identify_object(%(catalog)s, %(oid)s, 0)).identity AS identity,
  (SELECT k.conrelid::regclass::text FROM pg_constraint k WHERE k.oid = %(oid)s AND %(catalog)s = 'pg_constraint'::regclass) AS table
FROM pg_identify_object_as_address(%(catalog)s, %(oid)s, 0) a
"""


def run(module: AnsibleModule, *command: str) -> str:
    """What one of PostgreSQL's programs says, or a refusal with what it said instead."""
    code, out, err = module.run_command(list(command), environ_update={"LC_ALL": "C.UTF-8", "PGAPPNAME": "pgrescue"})
    if code:
        said = (err or out).strip().splitlines()
        raise guards.Stop(
            "%s failed: %s" % (os.path.basename(command[0]), said[0] if said else code), guards.STEP_FAILED
        )
    return str(out)


def script(module: AnsibleModule, connection: object, oids: "list[int]") -> "list[dict[str, object]]":
    """The steps that make these tables."""
    from psycopg.rows import dict_row

    p = module.params
    version = connection.info.server_version // 10000
    dump = libpq.program("pg_dump", p["program_directory"], version)
    restore = libpq.program("pg_restore", p["program_directory"], version)
    where = ["--host=" + p["socket_directory"], "--port=%d" % p["port"], "--dbname=" + p["database"]]
    ask = connection.cursor(row_factory=dict_row)
    with tempfile.TemporaryDirectory(prefix="pgrescue-") as folder:
        archive, one = os.path.join(folder, "definitions"), os.path.join(folder, "one")
        run(module, dump, "--format=custom", "--schema-only", "--file=" + archive, *where)
        entries = table_script.parse(run(module, restore, "--list", "--verbose", archive))
        steps = []
        for entry in table_script.chosen(entries, oids):
            with open(one, "w", encoding="ascii") as listing:
                listing.write("%d; %d %d %s\n" % (entry.id, entry.catalog, entry.oid, entry.kind))
            sql = run(module, restore, "--use-list=" + one, "--file=-", archive)
            address = ask.execute(ADDRESS, vars(entry)).fetchone() if entry.catalog else None
            steps.append(table_script.step(entry, address, sql))
    return steps


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "tables": {"type": "list", "elements": "str", "required": True},
            "program_directory": {"type": "path"},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        with postgres.connect(module, p["database"]) as connection:
            table_catalog.settle(connection)
            ask = "SELECT to_regclass(name)::int8 FROM unnest(%s::text[]) AS name"
            oids = [row[0] for row in connection.execute(ask, (p["tables"],)).fetchall()]
            steps = script(module, connection, oids) if oids else []
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, steps=steps)


if __name__ == "__main__":
    main()
