#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""End every session of a client, until none is left."""

from __future__ import annotations

DOCUMENTATION = """
module: end_clients
short_description: End every session of a client, until none is left
description:
  - Ends the sessions of all clients, superusers too, and connections that are about to become one, again and again until none is left in
    two looks. What streams WAL to a standby goes on. A session of logical replication takes SQL and is a client.
  - Refuses (exit code 4) when somebody comes back until the deadline, and names him. Close the server first
    (role C(postgres), C(close)), which keeps all out that come over the network.
options:
  keep: {description: Roles whose sessions are left., type: list, elements: str, default: []}
  deadline_s: {description: How long it may take in seconds., type: float, default: 10}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Says whose sessions would be ended.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: End the sessions that remain
  pgrescue.runbooks.end_clients: {version: 17}
  become: true
  become_user: postgres
"""

RETURN = """
ended: {description: 'Whose sessions were ended, each once with how often.', returned: success, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, sessions


def main() -> None:
    """End them, look again."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "keep": {"type": "list", "elements": "str", "default": []},
            "deadline_s": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    from psycopg.rows import dict_row

    p = module.params
    ended: "dict[int, sessions.Session]" = {}
    left: "list[sessions.Session]" = []
    waiting: "set[int]" = set()
    empty_looks = 0
    with postgres.connect(module, row_factory=dict_row) as connection:

        def all_gone() -> bool:
            nonlocal empty_looks, waiting
            left[:] = sessions.clients(connection.execute(sessions.SESSIONS).fetchall(), p["keep"])
            if module.check_mode:
                ended.update({s["pid"]: s for s in left})
                return True
            began, waiting = waiting, set(sessions.starting(connection))
            for session in left:
                if connection.execute("SELECT pg_terminate_backend(%s) AS told", (session["pid"],)).fetchone()["told"]:
                    ended[session["pid"]] = session
            sessions.end(waiting & began)
            empty_looks = 0 if left or waiting & began else empty_looks + 1
            return empty_looks > 1

        gone = postgres.wait_until(all_gone, p["deadline_s"])
    if not gone:
        who = "; ".join(sessions.named(left)) or "%d connection(s) that have not said who they are" % len(waiting)
        said = "Sessions were ended for %g s, and there still is: %s. Whoever reconnects over the network is kept out when the "
        said += "server is closed first; on the local socket he must be stopped where he runs."
        guards.fail(module, guards.Stop(said % (p["deadline_s"], who)))
    names = sessions.named(ended.values())
    journal = [{"event": "note", "detail": "Ended: %s" % "; ".join(names)}] if names else []
    module.exit_json(changed=bool(ended), ended=names, journal=journal)


if __name__ == "__main__":
    main()
