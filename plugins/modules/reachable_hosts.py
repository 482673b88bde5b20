#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See which hosts answer, without waiting for those that do not."""

from __future__ import annotations

DOCUMENTATION = """
module: reachable_hosts
short_description: See which hosts answer, side by side, within two seconds
description:
  - Opens the SSH port of many hosts at once and reads the greeting, for a frozen host accepts connections too.
  - Only looks. Runs where the task runs, usually the controller.
options:
  hosts: {description: 'Host names, each with the C(address) and C(port) of its SSH; 22 where it is left out.', type: dict, required: true}
  timeout_s: {description: How long to wait for an answer in seconds., type: float, default: 1.3}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See which hosts answer
  pgrescue.runbooks.reachable_hosts:
    hosts: {db1: {address: 10.0.0.11}, db2: {address: 10.0.0.12, port: 2222}}
  delegate_to: localhost
"""

RETURN = """
answering: {description: Hosts whose SSH answered., returned: always, type: list, elements: str}
silent: {description: Hosts whose SSH did not., returned: always, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import network

SSH = 22


def main() -> None:
    """Ask all hosts at once."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict", "required": True},
            "timeout_s": {"type": "float", "default": network.PATIENCE_S},
        },
        supports_check_mode=True,
    )
    p = module.params
    places = {name: (where["address"], int(where.get("port") or SSH)) for name, where in p["hosts"].items()}
    found = network.answering(places, p["timeout_s"], b"SSH-")
    module.exit_json(changed=False, answering=found, silent=sorted(set(p["hosts"]) - set(found)))


if __name__ == "__main__":
    main()
