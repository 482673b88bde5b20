#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Prove that a restored copy holds what it must."""

from __future__ import annotations

DOCUMENTATION = """
module: prove_copy
short_description: Prove that a restored copy holds what it must
description:
  - Reads everything of a restored server, which must be disposable and out of recovery, and returns checks. It does not judge the run.
  - Every file is there, every page can be read, heaps and indexes are sound to C(amcheck), constraints hold, nothing is invalid.
  - With O(expected) everything that a census counted is compared as well.
  - Needs a superuser and the contrib extensions. Those that it makes are rolled back; the copy stays as it is.
options:
  expected: {description: What M(pgrescue.runbooks.census) counted in the original., type: dict}
  kind: {description: Whether the copy was restored from a physical backup or from a dump., type: str, choices: [physical, logical], required: true}
  databases: {description: Databases to look into; all that accept connections and are no templates when left out., type: list, elements: str}
  assertions:
    description: What the business knows of its data. One that is not true fails a check of its name.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: What must be true., type: str, required: true}
      database: {description: Database to ask., type: str, required: true}
      sql: {description: One statement that gives one row; it is run read only., type: str, required: true}
      expect: {description: The value or the list of values it must give; compared as text unless it is a boolean., type: raw, required: true}
  assertion_timeout_s: {description: How long an assertion may take in seconds., type: int, default: 60}
  deadline_s: {description: How long all checks may take in seconds. What did not fit fails a check; without it there is no limit., type: float}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: Answers without checks in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Prove the restored copy
  pgrescue.runbooks.prove_copy:
    version: 17
    port: 5499
    kind: physical
    expected: "{{ proof_expected }}"
    assertions:
      - {name: no order without a customer, database: shop, expect: 0,
         sql: SELECT count(*) FROM orders WHERE customer_id IS NULL}
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: success, type: list, elements: dict}
census: {description: What the copy holds; see M(pgrescue.runbooks.census)., returned: 'success, not in check mode', type: dict}
duration_s: {description: How long the checks took in seconds., returned: 'success, not in check mode', type: float}
disproves: {description: 'Whether the server could not go on, and the host is not to blame.', returned: 'failure, when it is so', type: bool}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    census,
    census_compare,
    census_taking,
    copy_checks,
    guards,
    postgres,
)


def first_line(error: Exception) -> str:
    """What the server said, without its details."""
    return str(error).strip().splitlines()[0]


def check_disposable(module: AnsibleModule) -> "list[str]":
    """Refuse a server that is not a copy to be thrown away; the databases to look into."""
    with postgres.connect(module) as connection:
        census_taking.check_version(module, connection)
        if connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]:
            raise guards.Stop(
                "The copy is in recovery, where not everything can be checked. Nothing was changed. Promote the copy first.",
                guards.PRECONDITION,
            )
        if connection.execute("SELECT count(*) FROM pg_stat_replication").fetchone()[0]:
            raise guards.Stop(
                "A standby replicates from this server, so it is no copy to be thrown away. Nothing was changed. "
                "Give the port of the restored copy."
            )
        with connection.transaction():
            there = census.cluster(connection)["databases"]
    return module.params["databases"] or [name for name, about in there.items() if census_taking.wanted(about)]


def look_at_storage(module: AnsibleModule, proof: copy_checks.Proof, name: str) -> "set[str] | None":
    """The tables of a database whose rows cannot be relied upon; None when the database does not answer."""
    import psycopg

    try:
        with proof.timed(copy_checks.ANSWERS):
            proof.looked_at[copy_checks.ANSWERS] += 1
            with postgres.connect(module, database=name) as connection:
                connection.execute(copy_checks.queries.RELATIONS)
    except psycopg.Error as error:
        proof.problems[copy_checks.ANSWERS].append("%s: %s" % (name, first_line(error)))
        return None
    with postgres.connect(module, database=name) as connection:
        return copy_checks.check_storage(copy_checks.Database(proof, name, connection))


def prove(module: AnsibleModule, proof: copy_checks.Proof) -> "tuple[list[dict[str, object]], dict[str, object]]":
    """All checks but that of the deadline, and the census of the copy."""
    p = module.params
    looked = {name: look_at_storage(module, proof, name) for name in check_disposable(module)}
    unreadable = {name: tables for name, tables in looked.items() if tables is not None}
    began = time.monotonic()
    found = census_taking.take_copy(module, p["expected"] or {}, unreadable, proof.remaining_ms)
    proof.leave_out(found)
    compared = census_compare.compare(p["expected"], found, p["kind"])
    compared[-1]["duration_s"] = round(time.monotonic() - began, 3)  # that everything could be read took this long
    for name, tables in unreadable.items():
        with postgres.connect(module, database=name) as connection:
            connection.execute("SET default_transaction_read_only = on")
            copy_checks.check_constraints(copy_checks.Database(proof, name, connection), tables)
    asserted = []
    for assertion in p["assertions"]:
        with postgres.connect(module, database=assertion["database"]) as connection:
            asserted.append(copy_checks.check_assertion(proof, connection, assertion, p["assertion_timeout_s"]))
    return (
        proof.checks(*copy_checks.OF_STORAGE) + compared + proof.checks(*copy_checks.OF_CONSTRAINTS) + asserted,
        found,
    )


def main() -> None:
    """Look at everything, judge each, return all."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "expected": {"type": "dict"},
            "kind": {"type": "str", "choices": ["physical", "logical"], "required": True},
            "databases": {"type": "list", "elements": "str"},
            "assertions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    **{key: {"type": "str", "required": True} for key in ("name", "database", "sql")},
                    "expect": {"type": "raw", "required": True},
                },
            },
            "assertion_timeout_s": {"type": "int", "default": 60},
            "deadline_s": {"type": "float"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    import psycopg

    p = module.params
    proof = copy_checks.Proof(p["deadline_s"])
    try:
        checks, found = prove(module, proof)
    except guards.Stop as stop:
        guards.fail(module, stop)
    except psycopg.Error as error:
        said = "The copy could not be proven: %s. Nothing was changed." % first_line(error)
        place, scratch, _rest = p["socket_directory"].partition(".socket")
        log = postgres.last_words(place + ".log", 50) if scratch else ""
        kept = isinstance(error, psycopg.errors.QueryCanceled) or postgres.blames_host(str(error) + log)
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED, disproves=not kept))
    host = os.uname().nodename
    spent = round(time.monotonic() - proof.began, 3)
    checks = [{**check, "host": host} for check in [*checks, census_compare.compared(p["expected"]), *proof.in_time()]]
    module.exit_json(changed=False, checks=checks, census=found, duration_s=spent)


if __name__ == "__main__":
    main()
