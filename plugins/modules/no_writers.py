#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Prove at the database that nobody writes, and that nobody else gets in."""

from __future__ import annotations

DOCUMENTATION = """
module: no_writers
short_description: Prove at the database that nobody writes, and that nobody else gets in
description:
  - Tries to connect to O(addresses) with and without TLS; C(pg_hba.conf) must refuse both. Then looks twice, O(still_s) apart. In both
    looks there must be no session of a client, none that is about to become one and no subscription that applies changes, and WAL must
    end at the same place.
  - Refuses (exit code 4) when it is not so until the deadline, and says who is there. Prepared transactions do not write; they are named,
    for they hold their locks on whatever server comes next.
  - Only looks. Run it on the host of the primary; on a standby, where nobody writes anyway, it fails with exit code 3.
options:
  addresses: {description: Where clients connect to this server., type: list, elements: str, required: true}
  keep: {description: Roles whose sessions do not count; what they write does., type: list, elements: str, default: []}
  still_s: {description: How long WAL must stand still in seconds., type: float, default: 1}
  deadline_s: {description: How long the proof may take in seconds., type: float, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: 'Answers at once in check mode, for nothing was stopped then.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Prove that nobody writes
  pgrescue.runbooks.no_writers: {version: 17, addresses: [192.0.2.11]}
  become: true
  become_user: postgres
"""

RETURN = """
quiet: {description: Whether it is proven; false in check mode., returned: success, type: bool}
lsn: {description: Where WAL ends., returned: success, type: str, sample: 0/5000090}
prepared: {description: 'Prepared transactions, C(gid), C(owner) and C(database).', returned: success, type: list, elements: dict}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, sessions

BROKEN = "SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL"


def admitted(connection: Any, addresses: "list[str]", port: int) -> "list[str]":
    """How a new connection gets in, for each address where it does."""
    role = connection.execute("SELECT current_user AS name").fetchone()["name"]
    found = []
    for address in addresses:
        for tls in (False, True):
            done = sessions.lets_in(address, port, role, "postgres", tls)
            if done:
                found.append("to %s %s TLS: %s" % (address, "with" if tls else "without", done))
    return found


def look(connection: Any, keep: "list[str]") -> "tuple[list[str], list[str], set[int], str]":
    """Who could write, what the server does by itself, which connections have not said who they are, and where WAL ends."""
    waiting = set(sessions.starting(connection))
    there = connection.execute(sessions.SESSIONS).fetchall()
    who = sessions.named(sessions.clients(there, keep))
    who += ["the subscription's worker %d in %s" % (s["pid"], s["database"]) for s in sessions.appliers(there)]
    ends = connection.execute("SELECT pg_current_wal_insert_lsn()::text AS lsn").fetchone()["lsn"]
    return who, sessions.workers(there), waiting, ends


def main() -> None:
    """Try to get in, look twice."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "addresses": {"type": "list", "elements": "str", "required": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "still_s": {"type": "float", "default": 1},
            "deadline_s": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    from psycopg.rows import dict_row

    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, quiet=False, lsn="", prepared=[])
    problems: "list[str]" = []
    first: "dict[str, Any]" = {"lsn": None}

    try:
        with postgres.connect(module, row_factory=dict_row) as connection:
            if connection.execute("SELECT pg_is_in_recovery() AS standby").fetchone()["standby"]:
                raise guards.Stop("This is a standby; ask the primary. Nothing was changed.", guards.PRECONDITION)

            def still() -> bool:
                who, own, waiting, ends = look(connection, p["keep"])
                now = time.monotonic()
                if who or ends != first["lsn"]:
                    busy = "; at work: %s" % ", ".join(own) if own else ""
                    problems[:] = who or ["WAL grows, from %s to %s%s" % (first["lsn"], ends, busy)]
                    first.update(lsn=ends, waiting=waiting, since=now)
                    return False
                if now - first["since"] < p["still_s"]:
                    return False
                problems[:] = [
                    "a connection that has not said who it is (process %d)" % pid for pid in waiting & first["waiting"]
                ]
                problems.extend("a new connection " + one for one in admitted(connection, p["addresses"], p["port"]))
                first.update(waiting=waiting, since=now)
                return not problems

            if not postgres.wait_until(still, p["deadline_s"]):
                broken = ["line %(line_number)s: %(error)s" % row for row in connection.execute(BROKEN)]
                said = "It is not proven that nobody writes here: %s." % "; ".join(problems)
                said += " pg_hba.conf was not taken over by the server (%s)." % "; ".join(broken) if broken else ""
                raise guards.Stop(said + " Nothing was promoted. Close the server, or stop who writes.")
            prepared = connection.execute(sessions.PREPARED).fetchall()
    except guards.Stop as stop:
        guards.fail(module, stop)
    notes = ["Nobody writes, nobody gets in, and WAL ends at %s." % first["lsn"]]
    notes += [
        "Transaction %(gid)s of %(owner)s in %(database)s is prepared, and neither done nor undone." % x
        for x in prepared
    ]
    module.exit_json(
        changed=False,
        quiet=True,
        lsn=first["lsn"],
        prepared=prepared,
        journal=[{"event": "note", "detail": line} for line in notes],
    )


if __name__ == "__main__":
    main()
