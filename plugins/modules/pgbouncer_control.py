#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Hold clients at PgBouncer, have it read its configuration, let them go on."""

from __future__ import annotations

DOCUMENTATION = """
module: pgbouncer_control
short_description: Hold clients at PgBouncer, have it read its configuration, let them go on
description:
  - C(paused) lets each client finish its transaction and holds what it sends next, so that it waits and sees no error while the server
    behind is exchanged. In session pooling a client holds its connection until it leaves.
  - A client that holds a transaction beyond O(deadline_s) is named. Then clients go on as before and the module refuses (exit code 4), or
    with O(busy=end) every connection of the databases is ended, of other clients too, and they are held when they come back.
  - C(reloaded) has the configuration read, and fails with exit code 5 when a database still is sent elsewhere than to O(address).
options:
  state: {description: What shall be so., type: str, choices: [paused, reloaded, resumed], required: true}
  databases: {description: 'Names under which clients know the databases, as in its section C([databases]).', type: list, elements: str, required: true}
  host: {description: Where its socket is or its address., type: str, default: /var/run/postgresql}
  port: {description: Its port., type: int, default: 6432}
  user: {description: 'Who asks, one of its C(admin_users). A password comes from a password file.', type: str, default: pgbouncer}
  deadline_s: {description: How long transactions may take to end in seconds., type: float, default: 10}
  busy: {description: What becomes of a client that holds a transaction longer., type: str, choices: [refuse, end], default: refuse}
  address: {description: Where the databases must be sent to after a reload., type: str}
attributes:
  check_mode: {support: full, description: 'Says what would be done, and who holds a connection.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Hold the clients
  pgrescue.runbooks.pgbouncer_control: {state: paused, databases: [orders], deadline_s: 5}
  become: true
  become_user: postgres
"""

RETURN = """
databases: {description: The databases for which something was done., returned: success, type: list, elements: str}
busy_clients: {description: Clients that held a connection to the server., returned: when pausing, type: list, elements: str}
"""

import select
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, pgbouncer


def ended_in_time(connection: Any, command: str, deadline: float) -> bool:
    """Whether the console has done a command that waits for clients."""
    import psycopg

    wire = connection.pgconn
    wire.send_query(command.encode())
    while True:
        wire.flush()
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([wire.socket], [], [], left)[0]:
            return False
        wire.consume_input()
        while not wire.is_busy():
            result = wire.get_result()
            if result is None:
                return True
            if result.status == psycopg.pq.ExecStatus.FATAL_ERROR:
                said = result.error_message.decode(errors="replace").strip()
                raise guards.Stop("PgBouncer refused %s: %s" % (command, said), guards.STEP_FAILED)


def pause(module: AnsibleModule, console: Any, databases: "list[str]") -> None:
    """Pause each database; a refusal that leaves none paused when a client holds on too long."""
    p = module.params
    deadline = time.monotonic() + p["deadline_s"]
    for name in databases:
        with pgbouncer.admin(module) as waiting:
            if pgbouncer.serving(console, [name])[name]["paused"]:
                console.execute("RESUME " + pgbouncer.quoted(name))  # an attempt that was cut off waits no more
            if ended_in_time(waiting, "PAUSE " + pgbouncer.quoted(name), deadline):
                continue
            holds = pgbouncer.busy(console, [name])
            if p["busy"] == "end":
                console.execute("KILL " + pgbouncer.quoted(name))
                module.warn("Ended in %s: %s" % (name, "; ".join(holds)))
                continue
        for begun in databases[: databases.index(name) + 1]:
            console.execute("RESUME " + pgbouncer.quoted(begun))
        said = "After %g s %s still hold(s) a connection: %s. Clients go on as before. Wait for it, end it, or say busy=end, which "
        said += "ends the connections of all clients of the database."
        who = "; ".join(holds) or "a client that has just let go"
        raise guards.Stop(said % (p["deadline_s"], "a client in " + name, who))


def act(module: AnsibleModule, console: Any) -> "dict[str, Any]":
    """Do what is asked, where it is not so yet."""
    p = module.params
    seen = pgbouncer.serving(console, p["databases"])
    if p["state"] == "reloaded":
        if not module.check_mode:
            console.execute("RELOAD")
            after = pgbouncer.serving(console, p["databases"])
            moved = [n for n in after if (after[n]["host"], after[n]["port"]) != (seen[n]["host"], seen[n]["port"])]
            elsewhere = ["%s to %s" % (n, row["host"]) for n, row in after.items() if row["host"] != p["address"]]
            if p["address"] and elsewhere:
                said = "PgBouncer still sends %s. Its log says why it did not take its configuration over. Clients are held."
                raise guards.Stop(said % ", ".join(elsewhere), guards.STEP_FAILED)
            return {"changed": bool(moved), "databases": moved}
        return {"changed": False, "databases": []}
    wrong = [name for name, row in seen.items() if not pgbouncer.is_so(row, p["state"])]
    holds = pgbouncer.busy(console, wrong) if p["state"] == "paused" else []
    if not module.check_mode:
        if p["state"] == "paused":
            pause(module, console, wrong)
        for name in wrong if p["state"] == "resumed" else []:
            console.execute("RESUME " + pgbouncer.quoted(name))
    return {"changed": bool(wrong), "databases": wrong, "busy_clients": holds}


def main() -> None:
    """Ask the console, act."""
    module = AnsibleModule(
        argument_spec={
            **pgbouncer.ADMIN_ARGUMENTS,
            "state": {"type": "str", "choices": ["paused", "reloaded", "resumed"], "required": True},
            "deadline_s": {"type": "float", "default": 10},
            "busy": {"type": "str", "choices": ["refuse", "end"], "default": "refuse"},
            "address": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        with pgbouncer.admin(module) as console:
            done = act(module, console)
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(**done)


if __name__ == "__main__":
    main()
