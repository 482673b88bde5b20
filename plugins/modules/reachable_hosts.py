#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See which hosts answer, without waiting for those that do not."""

from __future__ import annotations

DOCUMENTATION = """
module: reachable_hosts
short_description: See which hosts answer, side by side, within two seconds
description:
  - Opens SSH and PostgreSQL ports of many hosts at once and reads the greeting of SSH, for a frozen host accepts connections too.
  - Only looks. Runs where the task runs, usually the controller.
options:
  hosts: {description: Host names and their addresses., type: dict, required: true}
  ssh_port: {description: Port of SSH., type: int, default: 22}
  postgres_port: {description: Port of PostgreSQL., type: int, default: 5432}
  timeout_s:
    description: How long to wait for each answer in seconds; the kernel repeats a lost request after one.
    type: float
    default: 1.3
  forbid_accepting: {description: Fail with exit code 4 when any host accepts connections on the port of PostgreSQL., type: bool, default: false}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See which hosts answer
  pgrescue.runbooks.reachable_hosts:
    hosts: {db1: 10.0.0.11, db2: 10.0.0.12}
  delegate_to: localhost
"""

RETURN = """
answering: {description: Hosts whose SSH answered., returned: always, type: list, elements: str}
silent: {description: Hosts whose SSH did not., returned: always, type: list, elements: str}
accepting: {description: Hosts that accept connections on the port of PostgreSQL., returned: always, type: list, elements: str}
"""

import socket
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards


def answers(address: str, port: int, timeout_s: float, greeting: bytes = b"") -> bool:
    """Whether a TCP connection is accepted and, if asked for, greets as it should."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            return not greeting or connection.recv(len(greeting)) == greeting
    except OSError:
        return False


def main() -> None:
    """Ask all hosts at once."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict", "required": True},
            "ssh_port": {"type": "int", "default": 22},
            "postgres_port": {"type": "int", "default": 5432},
            "timeout_s": {"type": "float", "default": 1.3},
            "forbid_accepting": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    p = module.params
    names = sorted(p["hosts"])
    with ThreadPoolExecutor(max_workers=2 * len(names) or 1) as pool:
        ssh = pool.map(lambda n: answers(p["hosts"][n], p["ssh_port"], p["timeout_s"], b"SSH-"), names)
        sql = pool.map(lambda n: answers(p["hosts"][n], p["postgres_port"], p["timeout_s"]), names)
        by_ssh, by_sql = dict(zip(names, ssh)), dict(zip(names, sql))
    accepting = [n for n in names if by_sql[n]]
    if p["forbid_accepting"] and accepting:
        said = "%s still accept(s) connections: a client could write there. Fence it first." % ", ".join(accepting)
        guards.fail(module, guards.Stop(said))
    module.exit_json(
        changed=False,
        answering=[n for n in names if by_ssh[n]],
        silent=[n for n in names if not by_ssh[n]],
        accepting=accepting,
    )


if __name__ == "__main__":
    main()
