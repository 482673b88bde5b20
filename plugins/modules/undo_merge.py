#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Take back what a run merged."""

from __future__ import annotations

DOCUMENTATION = """
module: undo_merge
short_description: Take back what a run merged
description:
  - Deletes rows that M(pgrescue.runbooks.merge_rows) brought back, returns those that it replaced, and drops what it made again, all in
    one transaction that is rolled back when a check fails. Then the run's schema is removed.
  - Refuses (exit code 4) when any of those rows was changed since, or newer rows refer to them. Nothing is changed then.
  - Sequences stay where they are, for they go forward only.
  - Refuses without the service's name as well, unless there is nothing to take back.
  - A run that merged nothing has its schema removed; one that has none is left alone.
options:
  database: {description: The live database., type: str, required: true}
  run: {description: The run that merged., type: str, required: true}
  service: {description: The service., type: str, required: true}
  confirm: {description: 'The service''s name, typed by a person.', type: str}
  system_identifier: {description: The database system that the server must be of., type: str}
  lock_timeout_s: {description: How long to wait for writers to end in seconds., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: 'Takes it back, checks, and rolls back.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Take it back
  pgrescue.runbooks.undo_merge:
    version: 17
    port: 5432
    database: shop
    run: 20261124T012050Z-shop-partial_loss
    service: shop
    confirm: "{{ confirm | default(omit) }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: success, type: list, elements: dict}
undone: {description: Whether a merge was taken back., returned: success, type: bool}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, partial_schema, partial_undo, postgres
from ansible_collections.pgrescue.runbooks.plugins.module_utils.validation import check

NOTHING = "nothing of the run is left in the database"


def check_confirmed(module: AnsibleModule, found: "dict[str, object]") -> None:
    """Refuse what nobody wants."""
    p = module.params
    if not found or module.check_mode or p["confirm"] == p["service"]:
        return
    written = found.get("merged", {}).get("written", {})
    rows = ", ".join("%d rows of %s" % (count, table) for table, count in written.items() if count)
    said = "This takes back %s and needs the service's name typed: -e confirm=%s. Nothing was changed."
    raise guards.Stop(said % (rows or "what was loaded beside", p["service"]))


def undo(
    module: AnsibleModule, connection: object, schema: str, found: "dict[str, object]"
) -> "list[dict[str, object]]":
    """Take it back, when every check passes."""
    import psycopg

    checks = []
    with connection.transaction() as transaction:
        if "merged" in found:
            checks = partial_undo.Undo(connection, schema, found, module.params).run()
        partial_schema.remove_account(connection, module.params["run"])
        connection.execute("DROP SCHEMA IF EXISTS %s CASCADE" % schema)
        left = partial_schema.left(connection, schema)
        checks.append(check(NOTHING, "no schema", "its schema" if left else "no schema", not left))
        if module.check_mode or any(one["verdict"] != "passed" for one in checks):
            raise psycopg.Rollback(transaction)
    return checks


def main() -> None:
    """Take it back, or say why not."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "confirm": {"type": "str"},
            "system_identifier": {"type": "str"},
            "lock_timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    schema = partial_schema.name(module.params["run"])
    try:
        with partial_schema.connect(module) as connection:
            found = partial_schema.facts(connection, schema)
            check_confirmed(module, found)
            checks = undo(module, connection, schema, found)
    except guards.Stop as stop:
        guards.fail(module, stop)
    well = all(one["verdict"] == "passed" for one in checks)
    undone = "merged" in found and well
    said = "What run %s merged is taken back" % module.params["run"] if undone else "There was no merge to take back"
    module.exit_json(
        changed=bool(found) and well,
        undone=undone,
        checks=[{**one, "host": os.uname().nodename} for one in checks],
        journal=[{"event": "decision", "detail": said}],
    )


if __name__ == "__main__":
    main()
