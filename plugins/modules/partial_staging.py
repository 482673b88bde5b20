#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""The schema in the live database that rows of a copy are loaded into, beside what is there."""

from __future__ import annotations

DOCUMENTATION = """
module: partial_staging
short_description: The schema in the live database that rows of a copy are loaded into, beside what is there
description:
  - C(open) makes a schema of the run's own with one empty table for each of C(closure), and an account that may write to those and to
    nothing else, for as long as rows are loaded. C(closed) takes the account away and keeps C(steps). C(absent) removes the schema
    of a run that has merged nothing.
  - No table of the service is touched.
options:
  database: {description: The live database., type: str, required: true}
  run: {description: The run., type: str, required: true}
  system_identifier: {description: The database system that the server must be of., type: str}
  state: {description: What shall be., type: str, choices: [open, closed, absent], required: true}
  closure: {description: From M(pgrescue.runbooks.table_closure)., type: dict}
  password: {description: The password of the account that loads., type: str}
  steps: {description: From M(pgrescue.runbooks.object_script)., type: list, elements: dict, default: []}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: Says what would be done.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make room beside the live tables
  pgrescue.runbooks.partial_staging:
    version: 17
    port: 5432
    database: shop
    run: 20261124T012050Z-shop-partial_loss
    state: open
    closure: "{{ partial_loss_closure }}"
    password: "{{ partial_loss_password }}"
  become: true
  become_user: postgres
"""

RETURN = """
schema: {description: The run's schema., returned: success, type: str}
loader: {description: The account that loads., returned: open, type: str}
missing: {description: Tables and partitions that are gone., returned: open, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, partial_schema, postgres, table_catalog
from ansible_collections.pgrescue.runbooks.plugins.module_utils.partial_rows import quoted


def account(connection: object, p: "dict[str, object]", schema: str, stages: "list[str]") -> str:
    """Make the account that loads, or give it the password again."""
    loader = partial_schema.loader(p["run"])
    there = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (loader,)).fetchone()
    # what is sent, and may be logged, is not the password
    secret = connection.pgconn.encrypt_password(p["password"].encode(), loader.encode(), b"scram-sha-256").decode()
    how = "ALTER" if there is not None else "CREATE"
    connection.execute("%s ROLE %s LOGIN CONNECTION LIMIT 2 PASSWORD '%s'" % (how, loader, secret))
    connection.execute("GRANT CONNECT ON DATABASE %s TO %s" % (quoted(p["database"]), loader))
    connection.execute("GRANT USAGE ON SCHEMA %s TO %s" % (schema, loader))
    for name in stages:
        connection.execute("GRANT SELECT, INSERT, TRUNCATE ON %s.%s TO %s" % (schema, name, loader))
    connection.execute("GRANT SELECT, INSERT, UPDATE ON %s.loads TO %s" % (schema, loader))
    return loader


def stage(
    connection: object, schema: str, name: str, table: "dict[str, object]", live: "dict[str, object] | None"
) -> None:
    """Make the table for one table's rows, of the types that are here; a type that is gone is read as text."""
    here = {c["name"]: c["type"] for c in (live or {"columns": []})["columns"]}
    columns = []
    for column in table["columns"]:
        if column["generated"]:
            continue
        kind = here.get(column["name"], column["type"])
        known = connection.execute("SELECT to_regtype(%s) IS NOT NULL", (kind,)).fetchone()[0]
        columns.append("%s %s" % (quoted(column["name"]), kind if known else "text"))
    more = "".join(", " + column for column in columns)
    made = "CREATE TABLE IF NOT EXISTS %s.%s (pgrescue_row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY%s)"
    connection.execute(made % (schema, name, more))


def gone(connection: object, closure: "dict[str, object]") -> "list[str]":
    """Tables of the closure, and partitions of theirs, that are not here."""
    names = [*closure["tables"], *(part for table in closure["tables"].values() for part in table["partitions"])]
    ask = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL ORDER BY name"
    return [row[0] for row in connection.execute(ask, (names,)).fetchall()]


def open_staging(connection: object, p: "dict[str, object]", schema: str) -> "tuple[str, list[str]]":
    """Make the schema, its tables and the account."""
    stages = partial_schema.stages(p["closure"])
    connection.execute("SET LOCAL session_replication_role = replica")  # no event trigger of somebody's takes part
    connection.execute("CREATE SCHEMA IF NOT EXISTS " + schema)
    connection.execute(partial_schema.FACTS.format(schema))
    connection.execute(partial_schema.LOADS.format(schema))
    for name, place in stages.items():
        table = p["closure"]["tables"][name]
        stage(connection, schema, place, table, table_catalog.table(connection, name))
    partial_schema.keep(connection, schema, "closure", p["closure"])
    return account(connection, p, schema, list(stages.values())), gone(connection, p["closure"])


def close_staging(connection: object, p: "dict[str, object]", schema: str) -> bool:
    """Take the account away, and keep what makes dropped tables again."""
    found = partial_schema.facts(connection, schema)
    closure = partial_schema.needed(found, "closure", p["run"])
    loaded = {row[0] for row in connection.execute("SELECT stage FROM %s.loads" % schema).fetchall()}
    late = [name for name, place in partial_schema.stages(closure).items() if place not in loaded]
    if late:
        said = "Rows of %s are not loaded yet. Nothing was changed. Run it again with the same run id."
        raise guards.Stop(said % ", ".join(late), guards.PRECONDITION)
    there = partial_schema.remove_account(connection, p["run"])
    if "steps" not in found:
        partial_schema.keep(connection, schema, "steps", p["steps"])
    return there or "steps" not in found


def remove(connection: object, run: str, schema: str) -> bool:
    """Remove the schema of a run that merged nothing."""
    found = partial_schema.facts(connection, schema)
    if "merged" in found:
        said = "Run %s has merged, and %s holds what takes that back. Nothing was changed. Take it back (undo_merge.yml), or drop it yourself."
        raise guards.Stop(said % (run, schema))
    removed = partial_schema.remove_account(connection, run)
    connection.execute("DROP SCHEMA IF EXISTS %s CASCADE" % schema)
    return removed or bool(found)


def main() -> None:
    """Make it so, all at once or not at all."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "system_identifier": {"type": "str"},
            "state": {"type": "str", "choices": ["open", "closed", "absent"], "required": True},
            "closure": {"type": "dict"},
            "password": {"type": "str", "no_log": True},
            "steps": {"type": "list", "elements": "dict", "default": []},
        },
        required_if=[("state", "open", ["closure", "password"])],
        supports_check_mode=True,
    )
    p, schema, more = module.params, partial_schema.name(module.params["run"]), {}
    try:
        with partial_schema.connect(module) as connection:
            found = partial_schema.facts(connection, schema)
            if module.check_mode:
                module.exit_json(changed=bool(found) if p["state"] == "absent" else "steps" not in found, schema=schema)
            with connection.transaction():
                if p["state"] == "open":
                    loader, missing = open_staging(connection, p, schema)
                    changed, more = not found, {"loader": loader, "missing": missing}
                elif p["state"] == "closed":
                    changed = close_staging(connection, p, schema)
                else:
                    changed = remove(connection, p["run"], schema)
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=changed, schema=schema, **more)


if __name__ == "__main__":
    main()
