#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Find what is corrupt on a server that is in use, and what is not."""

from __future__ import annotations

DOCUMENTATION = """
module: damage
short_description: Find what is corrupt on a server that is in use, and what is not
description:
  - Reads every page of every database, asks C(amcheck) of tables and B-tree indexes, and holds the system catalogs against each other.
  - Made for a primary or a standby with clients. It reads with one process, rests between two relations, keeps nobody from writing,
    waits for no lock, and ends at its deadline. What it did not get to is named, and is not taken for sound.
  - On a primary an extension that is missing is made for the time and rolled back. A standby is asked with those that its primary has.
  - A page that is in the server's memory is checked there, and not on the disk.
options:
  databases: {description: Databases to look into; all that accept connections when left out., type: list, elements: str}
  deadline_s: {description: How long the look may take in seconds., type: float, required: true}
  rest_share: {description: Seconds of rest for each second of work., type: float, default: 1.0}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Only looks at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what is corrupt
  pgrescue.runbooks.damage: {version: 17, deadline_s: 600}
  become: true
  become_user: postgres
  register:
    corruption_damage: _task.result.damage
"""

RETURN = """
damage:
  description: What was found.
  returned: success
  type: dict
  contains:
    damaged: {description: 'What is damaged: C(database), C(name), C(kind), C(sql), C(table), C(catalog), C(problems).', type: list, elements: dict}
    unknown: {description: What could not be looked at., type: list, elements: str}
    checksum_failures: {description: 'Of each database what the server counted before: C(count) and C(last).', type: dict}
    data_checksums: {description: Whether pages have checksums., type: bool}
    in_recovery: {description: Whether the server is a standby., type: bool}
    data_bytes: {description: Size of all databases., type: int}
    worked_s: {description: 'Seconds that were spent reading, without the rests.', type: float}
    checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', type: list, elements: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import copy_checks, damage, postgres

ABOUT = """
SELECT pg_is_in_recovery(), current_setting('data_checksums') = 'on', (SELECT sum(pg_database_size(oid))::bigint FROM pg_database)
"""
DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"


def look(module: AnsibleModule, proof: copy_checks.Proof, database: str) -> "tuple[list[dict[str, object]], float]":
    """What is damaged in one database, and the seconds of work that it took to see."""
    import psycopg

    try:
        with proof.timed(copy_checks.ANSWERS), postgres.connect(module, database=database) as connection:
            proof.looked_at[copy_checks.ANSWERS] += 1
            connection.execute(copy_checks.queries.RELATIONS)
        with postgres.connect(module, database=database) as connection:
            here = copy_checks.LiveDatabase(proof, database, connection, module.params["rest_share"])
            relations, damaged = copy_checks.examine(here)
            copy_checks.check_catalog(here)
            wanted = damage.oids(relations, damaged)
            details = {row[0]: row[1:] for row in here.rows(damage.DETAILS % wanted)} if wanted else {}
            return damage.of_database(database, relations, damaged, details, proof), here.worked_s
    except psycopg.Error as error:
        proof.problems[copy_checks.ANSWERS].append("%s: %s" % (database, str(error).strip().splitlines()[0]))
        return [], 0.0


def main() -> None:
    """Look at each database within the time there is."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "databases": {"type": "list", "elements": "str"},
            "deadline_s": {"type": "float", "required": True},
            "rest_share": {"type": "float", "default": 1.0},
        },
        supports_check_mode=True,
    )
    import psycopg

    proof = copy_checks.Proof(module.params["deadline_s"])
    try:
        with postgres.connect(module) as connection:
            in_recovery, data_checksums, data_bytes = connection.execute(ABOUT).fetchone()
            failures = {name: {"count": n, "last": at} for name, n, at in connection.execute(damage.FAILURES)}
            names = module.params["databases"] or [name for (name,) in connection.execute(DATABASES)]
        looked = [look(module, proof, name) for name in names]
    except psycopg.OperationalError as error:
        # an observation and no error: the other hosts may know more
        said = "the server could not be asked: %s" % str(error).strip().splitlines()[0]
        module.exit_json(changed=False, damage=damage.nothing_known(said))
    host = os.uname().nodename
    # what there was no time for says nothing against the server
    tiers = {"truncated": "should"}
    checks = [{**c, "tier": tiers.get(c["verdict"], c["tier"]), "host": host} for c in proof.checks(*damage.LOOKED)]
    found = {
        "damaged": [one for damaged, _worked_s in looked for one in damaged] + damage.of_catalog(proof),
        "unknown": damage.unknown(proof),
        "checksum_failures": failures,
        "data_checksums": data_checksums,
        "in_recovery": in_recovery,
        "data_bytes": data_bytes,
        "worked_s": round(sum(worked_s for _damaged, worked_s in looked), 3),
        "checks": checks,
    }
    module.exit_json(changed=False, damage=found, journal=damage.decisions(host, found))


if __name__ == "__main__":
    main()
