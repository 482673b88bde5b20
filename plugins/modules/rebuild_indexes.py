#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Make damaged indexes again from their tables, with clients at work."""

from __future__ import annotations

DOCUMENTATION = """
module: rebuild_indexes
short_description: Make damaged indexes again from their tables, with clients at work
description:
  - Runs C(REINDEX INDEX CONCURRENTLY) on each index that is not sound, and checks it afterwards. One that is sound is left alone, so
    that a run that was interrupted goes on where it was.
  - What an attempt that was killed left half made beside an index is dropped first; it was never used.
  - Fails with exit code 5 when an index cannot be made again, as when a broken unique index let a key in twice. The old one stays.
options:
  indexes:
    description: The indexes, from the plan.
    type: list
    elements: dict
    required: true
    suboptions:
      database: {description: Its database., type: str, required: true}
      name: {description: Its name to a person., type: str, required: true}
      sql: {description: Its name as SQL has it., type: str, required: true}
      method: {description: Its access method., type: str, required: true}
  deadline_s: {description: How long it may take in seconds., type: int, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Says which would be made again.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make the damaged indexes again
  pgrescue.runbooks.rebuild_indexes:
    version: 17
    indexes: [{database: shop, name: public.orders_pkey, sql: public.orders_pkey, method: btree}]
    deadline_s: 2400
  become: true
  become_user: postgres
"""

RETURN = """
rebuilt: {description: Those that were made again., returned: success, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import copy_checks, guards, postgres

# The index itself, and what REINDEX CONCURRENTLY leaves beside it when it is interrupted: never valid, or valid no more.
FOUND = "SELECT to_regclass(%s)::oid"
HALF_MADE = """
SELECT format('%%I.%%I', nspname, other.relname)
  FROM pg_index mine JOIN pg_class me ON me.oid = mine.indexrelid
  JOIN pg_index half ON half.indrelid = mine.indrelid AND NOT half.indisvalid
  JOIN pg_class other ON other.oid = half.indexrelid JOIN pg_namespace n ON n.oid = other.relnamespace
 WHERE me.oid = %s AND other.relname ~ '_cc(new|old)[0-9]*$'
   AND starts_with(me.relname, left(regexp_replace(other.relname, '_cc(new|old)[0-9]*$', ''), 40))
"""
VALID = "SELECT indexrelid, indisvalid AND indisready FROM pg_index WHERE indexrelid = to_regclass(%s)"


def tidied(connection: "object", oid: int) -> "list[str]":
    """Drop what was left half made beside an index; its names."""
    names = [name for (name,) in connection.execute(HALF_MADE, (oid,)).fetchall()]
    for name in names:
        connection.execute("DROP INDEX CONCURRENTLY IF EXISTS %s" % name)  # quoted by the server itself
    return names


def rebuilt(module: AnsibleModule, proof: copy_checks.Proof, index: "dict[str, str]") -> bool:
    """Make one index again unless it is sound; whether that was needed."""
    import psycopg

    with postgres.connect(module, database=index["database"]) as connection:
        oid = connection.execute(FOUND, (index["sql"],)).fetchone()[0]
        if oid is None:
            raise guards.Stop(
                "There is no index %s in database %s any more. Make another plan, in another run."
                % (index["name"], index["database"]),
                guards.STEP_FAILED,
            )
        here = copy_checks.LiveDatabase(proof, index["database"], connection, rest_share=0.0)

        def sound() -> bool:
            # what is made again is another object of the same name
            now, valid = connection.execute(VALID, (index["sql"],)).fetchone()
            return bool(valid) and copy_checks.check_index(here, index["name"], now, index["method"])

        if module.check_mode:
            return not sound()
        begun = tidied(connection, oid)
        if sound():
            return bool(begun)  # the attempt was killed when only the old one was left to be dropped
        try:
            connection.execute("SET statement_timeout = %d" % max(proof.remaining_ms() or 0, 1))
            connection.execute("REINDEX INDEX CONCURRENTLY %s" % index["sql"])
        except psycopg.Error as error:
            connection.execute("SET statement_timeout = 0")
            oid = connection.execute(FOUND, (index["sql"],)).fetchone()[0]
            tidied(connection, oid)
            said = (
                "Index %s in database %s could not be made again: %s. The old one stays, and nothing else was changed."
            )
            if isinstance(error, psycopg.errors.UniqueViolation):
                said += " The broken index let a key in twice: remove the row that is wrong, then go on with this run."
            what = str(error).strip().splitlines()[0]
            raise guards.Stop(said % (index["name"], index["database"], what), guards.STEP_FAILED) from error
        connection.execute("SET statement_timeout = 0")
        if not sound():
            raise guards.Stop(
                "Index %s in database %s was made again and is not sound: its table is damaged too. Restore: "
                "-e corruption_method=restore, in another run." % (index["name"], index["database"]),
                guards.VALIDATION_FAILED,
            )
        return True


def main() -> None:
    """One index after the other."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "indexes": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {key: {"type": "str", "required": True} for key in ("database", "name", "sql", "method")},
            },
            "deadline_s": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    import psycopg

    proof = copy_checks.Proof(module.params["deadline_s"])
    done = []
    try:
        for index in module.params["indexes"]:
            if rebuilt(module, proof, index):
                done.append(index["name"])
    except guards.Stop as stop:
        guards.fail(module, stop, changed=bool(done))
    except psycopg.Error as error:
        said = "The server cannot be asked: %s." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED), changed=bool(done))
    said = [{"event": "decision", "detail": "Index %s made again, and sound" % name} for name in done]
    module.exit_json(changed=bool(done), rebuilt=done, journal=[] if module.check_mode else said)


if __name__ == "__main__":
    main()
