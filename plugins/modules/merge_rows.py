#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bring missing rows back into live tables, in one transaction."""

from __future__ import annotations

DOCUMENTATION = """
module: merge_rows
short_description: Bring missing rows back into live tables, in one transaction
description:
  - Makes dropped tables again, inserts what M(pgrescue.runbooks.row_difference) found missing, moves sequences forward, and checks all
    of it before the transaction ends. When a check fails it is rolled back, and C(merged) is false.
  - Rows of production stay as they are, but those that differ in tables named in O(replace). What is needed to take it all back is kept.
  - Refuses (exit code 4) when what would be brought back is not what O(digest) is of.
  - Nobody can write to the tables meanwhile; who reads is not disturbed. A second run finds it done and answers as the first.
  - Triggers do not fire unless O(fire_triggers). For that the session calls itself a replica, which needs a superuser and keeps
    PostgreSQL from checking foreign keys; they are checked here instead.
options:
  database: {description: The live database., type: str, required: true}
  run: {description: The run., type: str, required: true}
  system_identifier: {description: The database system that the server must be of., type: str}
  digest: {description: Of the difference that a person agreed to., type: str, required: true}
  replace:
    description: Tables in which rows of the copy replace live ones that differ, each with the digest (C(differing_digest)) of those.
    type: dict
    default: {}
  fire_triggers: {description: Whether triggers of the service fire; PostgreSQL then checks foreign keys itself., type: bool, default: false}
  lock_timeout_s: {description: How long to wait for writers to end in seconds., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: 'Merges, checks, and rolls back.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Bring them back
  pgrescue.runbooks.merge_rows:
    version: 17
    port: 5432
    database: shop
    run: 20261124T012050Z-shop-partial_loss
    digest: "{{ partial_loss_difference.digest }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: success, type: list, elements: dict}
merged: {description: Whether rows are back., returned: success, type: bool}
written: {description: How many rows of each table came back., returned: success, type: dict}
sequences: {description: 'Sequences that were moved, from where and to where.', returned: success, type: list, elements: dict}
made: {description: What was made again., returned: success, type: list, elements: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    partial_merge,
    partial_schema,
    postgres,
)


def passed(checks: "list[dict[str, object]]") -> bool:
    """Whether nothing that must hold does not."""
    return all(check["verdict"] == "passed" for check in checks if check["tier"] == "must")


def merge(module: AnsibleModule, connection: object, schema: str, found: "dict[str, object]") -> "dict[str, object]":
    """Merge, and keep it when every check passed."""
    import psycopg

    p = module.params
    for fact in ("closure", "steps", "difference"):
        partial_schema.needed(found, fact, p["run"])
    with connection.transaction() as transaction:
        partial_merge.check_replace(found["difference"], p["replace"])
        work = partial_merge.Merge(connection, schema, found["closure"], p)
        result = work.run(p["digest"], found["steps"])
        result["merged"] = passed(result["checks"]) and not module.check_mode
        if not result["merged"]:
            raise psycopg.Rollback(transaction)
        partial_schema.keep(connection, schema, "merged", result)
    return result


def main() -> None:
    """Merge, unless that is done."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "database": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "system_identifier": {"type": "str"},
            "digest": {"type": "str", "required": True},
            "replace": {"type": "dict", "default": {}},
            "fire_triggers": {"type": "bool", "default": False},
            "lock_timeout_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    schema, changed = partial_schema.name(module.params["run"]), False
    try:
        with partial_schema.connect(module) as connection:
            found = partial_schema.facts(connection, schema)
            if "merged" in found:
                result = found["merged"]
            else:
                result = merge(module, connection, schema, found)
                changed = module.check_mode or result["merged"]
    except guards.Stop as stop:
        guards.fail(module, stop)
    checks = [{**check, "host": os.uname().nodename} for check in result["checks"]]
    told = {key: result[key] for key in ("merged", "written", "sequences", "made")}
    module.exit_json(changed=changed, checks=checks, **told, journal=decisions(result) if result["merged"] else [])


def decisions(result: "dict[str, object]") -> "list[dict[str, str]]":
    """What the timeline shall say."""
    how = (
        "Triggers fired and PostgreSQL checked foreign keys"
        if result["role"] == "origin"
        else ("No trigger fired (session_replication_role was replica); foreign keys were checked afterwards")
    )
    said = ["%d rows came back to %s" % (rows, table) for table, rows in result["written"].items() if rows]
    said += ["%(sequence)s was moved from %(from)d to %(to)d" % one for one in result["sequences"]]
    said += ["Made again: " + ", ".join(result["made"])] if result["made"] else []
    return [{"event": "decision", "detail": text} for text in [how, *said]]


if __name__ == "__main__":
    main()
