#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Stream rows of a copy into the schema that was made for them in the live database."""

from __future__ import annotations

DOCUMENTATION = """
module: stage_rows
short_description: Stream rows of a copy into the schema that was made for them in the live database
description:
  - Reads every table of C(closure) from the copy on this host and writes it, by C(COPY) on both sides, into the tables that
    M(pgrescue.runbooks.partial_staging) made. Nothing is written to a disk on the way.
  - A table is there whole or not at all, and one that is there is not loaded again.
options:
  database: {description: The database., type: str, required: true}
  run: {description: The run., type: str, required: true}
  closure: {description: From M(pgrescue.runbooks.table_closure)., type: dict, required: true}
  live: {description: 'How libpq reaches the live server, without database, account and password.', type: str, required: true}
  password: {description: The password of the account that loads., type: str, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Says that rows would be loaded.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Load the copy's rows beside
  pgrescue.runbooks.stage_rows:
    version: 17
    socket_directory: /var/lib/postgresql/17/partial-shop.socket
    database: shop
    run: 20261124T012050Z-shop-partial_loss
    closure: "{{ partial_loss_closure }}"
    live: host=db1.example.org sslmode=verify-full sslrootcert=/etc/ssl/ca.crt
    password: "{{ partial_loss_password }}"
  become: true
  become_user: postgres
"""

RETURN = """
rows: {description: How many rows of each table are there., returned: success, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, partial_schema, postgres, table_catalog
from ansible_collections.pgrescue.runbooks.plugins.module_utils.partial_rows import Table, listed

BUFFERED = "SET LOCAL synchronous_commit = off"  # the note of what was loaded is of the same transaction


def load(copy: object, live: object, schema: str, table: Table) -> "tuple[int, bool]":
    """Load one table, unless it is loaded: how many rows it has, and whether they came now."""
    there = live.execute("SELECT rows FROM %s.loads WHERE stage = %%s" % schema, (table.stage,)).fetchone()
    if there:
        return int(there[0]), False
    columns = listed(table.loaded)
    read = "COPY (SELECT %s FROM %s) TO STDOUT" % (columns, table.relation)
    with live.transaction():
        live.execute(BUFFERED)
        live.execute("TRUNCATE " + table.rows)
        with copy.cursor().copy(read) as source, live.cursor() as writing:
            with writing.copy("COPY %s (%s) FROM STDIN" % (table.rows, columns)) as sink:
                for block in source:
                    sink.write(block)
            rows = writing.rowcount
        live.execute("INSERT INTO %s.loads VALUES (%%s, %%s)" % schema, (table.stage, rows))
    return int(rows), True


def load_all(module: AnsibleModule) -> "dict[str, tuple[int, bool]]":
    """Load what is not loaded yet."""
    import psycopg

    p = module.params
    schema, closure = partial_schema.name(p["run"]), p["closure"]
    account = {"user": partial_schema.loader(p["run"]), "password": p["password"], "dbname": p["database"]}
    try:
        live = psycopg.connect(
            p["live"],
            options=postgres.UNLIMITED,
            connect_timeout=10,
            application_name="pgrescue",
            autocommit=True,
            client_encoding="UTF8",
            **account,
        )
    except psycopg.OperationalError as error:
        said = "The live server cannot be reached from here: %s. Nothing was changed there."
        raise guards.Stop(said % " ".join(str(error).split()), guards.PRECONDITION) from error
    loaded = {}
    with live, postgres.connect(module, p["database"], client_encoding="UTF8") as copy:
        table_catalog.settle(copy)
        table_catalog.settle(live)
        for name, stage in partial_schema.stages(closure).items():
            table = Table(name, schema, stage, closure["tables"][name], None, name in closure["chosen"])
            try:
                loaded[name] = load(copy, live, schema, table)
            except psycopg.Error as error:
                said = "Rows of %s could not be loaded: %s. No table of the service was touched."
                raise guards.Stop(said % (name, partial_schema.first_line(error)), guards.STEP_FAILED) from error
    return loaded


def main() -> None:
    """Load."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "closure": {"type": "dict", "required": True},
            "live": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, rows={})
    try:
        loaded = load_all(module)
    except guards.Stop as stop:
        guards.fail(module, stop)
    rows = {name: count for name, (count, _now) in loaded.items()}
    said = "%d rows of %d tables are loaded beside the live ones" % (sum(rows.values()), len(rows))
    changed = any(now for _count, now in loaded.values())
    module.exit_json(changed=changed, rows=rows, journal=[{"event": "note", "detail": said}])


if __name__ == "__main__":
    main()
