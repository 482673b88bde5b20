#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Make a named point to recover to, before something risky."""

from __future__ import annotations

DOCUMENTATION = """
module: restore_point
short_description: Make a named point to recover to, before something risky
description:
  - Writes a restore point into WAL, and a note with its name, position and instant into every repository that answers, where a
    recovery finds it.
  - A name is used once. Replay stops at the first point of a name, so a second one could never be recovered to; it is refused.
  - Made after an incident a restore point restores nothing.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  name: {description: 'The point''s name, letters, digits, C(.), C(_) and C(-).', type: str, required: true}
  endpoints: {description: "Number and C(host[:port]) of each repository's object store.", type: dict, required: true}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 10}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Refuses what it would refuse and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Mark the instant before the migration
  pgrescue.runbooks.restore_point:
    version: 17
    stanza: shop
    name: before_migration_42
    endpoints: {1: store-east.example.org}
  become: true
  become_user: postgres
"""

RETURN = """
point:
  description: The point.
  returned: success
  type: dict
  sample: {name: before_migration_42, lsn: 0/5000090, timeline: 1, time: "2026-11-24T22:00:00Z", repositories: ["1"]}
"""

import json
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, network, pgbackrest, postgres, repository

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
MAKE = """
SELECT pg_create_restore_point(%s)::text AS lsn,
       ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int AS timeline,
       to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS time
"""


def answering(module: AnsibleModule) -> "list[str]":
    """Repositories that can be asked, none of which knows the name; a refusal otherwise."""
    endpoints = {str(repo): host for repo, host in module.params["endpoints"].items()}
    silent = network.tls_problems(endpoints)
    there = sorted(set(endpoints) - set(silent))
    if not there:
        said = "; ".join("repository %s: %s" % item for item in sorted(silent.items()))
        raise guards.Stop("No repository answers (%s). Nothing was changed." % said, guards.PRECONDITION)
    engine = pgbackrest.Repositories(module)
    for repo in there:
        if module.params["name"] in engine.files(int(repo), repository.MARKS):
            raise guards.Stop(
                "There is a restore point %s already, and replay would stop at that one. Nothing was changed. Take "
                "another name." % module.params["name"]
            )
    return there


def note(module: AnsibleModule, repo: str, point: "dict[str, object]") -> None:
    """Write the point down where a recovery looks."""
    options = ["--repo=" + repo, "--io-timeout=%d" % module.params["timeout_s"], "--log-level-console=warn"]
    path = "%s/%s" % (repository.MARKS, point["name"])
    code, out, err = pgbackrest.run(
        module, module.params["stanza"], *options, "--raw", "repo-put", path, data=json.dumps(point, sort_keys=True)
    )
    if code:
        said = "The point is in WAL at %s, but repository %s took no note of it: %s"
        raise guards.Stop(said % (point["lsn"], repo, repository.reason((err + out).strip())), guards.STEP_FAILED)


def main() -> None:
    """Refuse, or make it and write it down."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "stanza": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "endpoints": {"type": "dict", "required": True},
            "timeout_s": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    from psycopg.rows import dict_row

    name = module.params["name"]
    try:
        if not NAME.match(name):
            raise guards.Stop("%r is no name for a restore point. Nothing was changed." % name, guards.PRECONDITION)
        there = answering(module)
        if module.check_mode:
            module.exit_json(changed=True, point={"name": name, "repositories": there})
        with postgres.connect(module, row_factory=dict_row) as connection:
            point = {"name": name, **connection.execute(MAKE, (name,)).fetchone()}
        for repo in there:
            note(module, repo, point)
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=True, point={**point, "repositories": there})


if __name__ == "__main__":
    main()
