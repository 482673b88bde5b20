#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Wait until a server has failed, as this host sees it."""

from __future__ import annotations

DOCUMENTATION = """
module: await_failure
short_description: Wait until a server has failed, as this host sees it
description:
  - Greets a PostgreSQL server again and again, as a client does before it says who it is, and ends when it has failed.
  - Several looks in a row must be silent, so that no lost packet counts. One that refuses connections may be restarting and is
    given longer. One success begins anew.
  - On a standby's host it can answer the state of that standby besides, as it is then.
  - Only looks. Run it on several hosts at once; the task is over when each of them has seen it.
options:
  host: {description: Name of the server's host., type: str, required: true}
  address: {description: Its address., type: str, required: true}
  port: {description: Its port., type: int, default: 5432}
  interval_s: {description: From one look to the next in seconds., type: float, default: 0.5}
  timeout_s: {description: How long a look may take in seconds., type: float, default: 0.8}
  failures: {description: How many looks in a row must be silent., type: int, default: 3}
  refused_s: {description: How long it may refuse connections in seconds., type: float, default: 10}
  watch_s:
    description: How long to look in seconds; the task fails with exit code 3 when it is well then. With 0 the first look decides.
    type: float
    default: 3600
  observe: {description: Whether to answer the state of this host's own cluster as well., type: bool, default: false}
  in_use: {description: The link to the place in use of this host's own cluster; for C(observe)., type: path}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Answers at once in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Wait until the primary is gone
  pgrescue.runbooks.await_failure:
    host: db1
    address: 10.0.0.11
    version: 17
"""

RETURN = """
seen: {description: 'What it does, C(silent), C(refused) or, in check mode, C(well).', returned: success, type: str}
ports: {description: The same as a dictionary with the host as its key., returned: success, type: dict}
state: {description: What M(pgrescue.runbooks.cluster_state) answers., returned: when it has failed and C(observe) is set, type: dict}
span:
  description: From when to when it was seen to fail, in seconds of this host's clock since 1970.
  returned: when it has failed
  type: list
  elements: float
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    cluster_facts,
    failure_watch,
    guards,
    network,
    postgres,
)


def main() -> None:
    """Look until it has failed, or long enough."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            **postgres.CONNECTION_ARGUMENTS,
            "observe": {"type": "bool", "default": False},
            "in_use": {"type": "path"},
            "interval_s": {"type": "float", "default": 0.5},
            "timeout_s": {"type": "float", "default": 0.8},
            "failures": {"type": "int", "default": 3},
            "refused_s": {"type": "float", "default": 10},
            "watch_s": {"type": "float", "default": 3600},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, seen=failure_watch.WELL, ports={})
    watch = failure_watch.Watch(p["failures"], p["refused_s"])
    began = time.monotonic()
    for at, seen in network.greetings(p["address"], p["port"], p["interval_s"], p["timeout_s"]):
        since = watch.look(seen, at)
        if since is not None:
            wall = time.time()
            span = [round(wall - (time.monotonic() - since), 3), round(wall, 3)]
            own = {"state": cluster_facts.observe(module, p["in_use"])} if p["observe"] else {}
            module.exit_json(changed=False, seen=seen, ports={p["host"]: seen}, span=span, **own)
        if seen == failure_watch.WELL and at - began >= p["watch_s"]:
            said = (
                "Nothing happened to %s for %d s, as seen from here. Look again at what is there, and go on watching."
            )
            guards.fail(module, guards.Stop(said % (p["host"], p["watch_s"]), guards.PRECONDITION))


if __name__ == "__main__":
    main()
