#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write into PgBouncer's configuration where databases are."""

from __future__ import annotations

DOCUMENTATION = """
module: pgbouncer_target
short_description: Write into PgBouncer's configuration where databases are
description:
  - Sets C(host) and C(port) of the named databases in the section C([databases]), and leaves every other word of the file as it is.
  - Fails with exit code 3 when a database is not in the file. PgBouncer reads the file when it is told to
    (M(pgrescue.runbooks.pgbouncer_control), C(reloaded)).
options:
  path: {description: 'The file with the section C([databases]).', type: path, required: true}
  databases: {description: Names under which clients know the databases., type: list, elements: str, required: true}
  address: {description: Where the server is., type: str, required: true}
  port: {description: Port of the server., type: int, default: 5432}
attributes:
  check_mode: {support: full, description: Says whether the file would be changed.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Send clients to the new server
  pgrescue.runbooks.pgbouncer_target: {path: /etc/pgbouncer/pgbouncer.ini, databases: [orders], address: 192.0.2.13}
"""

RETURN = """#"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, pgbouncer


def main() -> None:
    """Read, set, write in one step."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "databases": {"type": "list", "elements": "str", "required": True},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        if not os.path.exists(p["path"]):
            raise guards.Stop("There is no %s. Nothing was changed." % p["path"], guards.PRECONDITION)
        with open(p["path"], encoding="utf-8") as source:
            before = source.read()
        after = pgbouncer.pointed(before, p["databases"], p["address"], p["port"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    if after != before and not module.check_mode:
        partial = p["path"] + ".pgrescue"
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(after)
            out.flush()
            os.fsync(out.fileno())
        module.atomic_move(partial, p["path"])  # keeps the owner and mode of what was there
    module.exit_json(changed=after != before)


if __name__ == "__main__":
    main()
