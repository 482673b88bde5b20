#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to work on a service with more than one primary."""

from __future__ import annotations

DOCUMENTATION = """
module: single_primary
short_description: Refuse to work on a service with more than one primary
description:
  - Looks at what was observed on the service's hosts and refuses (exit code 4) when more than one of them accepts writes, such as
    an old primary that came back after a recovery. Which of them is right is for a person to say. Refuses too when another tool,
    such as Patroni, manages the cluster and the inventory does not say so.
  - Runs on the controller.
options:
  states: {description: What M(pgrescue.runbooks.cluster_state) saw on each host., type: dict, required: true}
  manager: {description: The tool that decides who is primary, as the inventory has it., type: str, default: ""}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make sure that there is one primary
  pgrescue.runbooks.single_primary:
    states: {db1: {role: primary, timeline: 2}, db2: {role: standby, timeline: 2}}
  delegate_to: localhost
"""

RETURN = """
primary: {description: The primary; nothing when there is none., returned: success, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, managers


def main() -> None:
    """Count."""
    spec = {"states": {"type": "dict", "required": True}, "manager": {"type": "str", "default": ""}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        managers.agreed(module.params["states"], module.params["manager"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    primaries = {host: seen for host, seen in module.params["states"].items() if seen["role"] == "primary"}
    if len(primaries) > 1:
        named = ", ".join("%s (timeline %s)" % (host, seen.get("timeline")) for host, seen in sorted(primaries.items()))
        said = (
            "Several hosts accept writes: %s. Stop and keep the ones that are out of date. Nothing was changed." % named
        )
        guards.fail(module, guards.Stop(said))
    module.exit_json(changed=False, primary=next(iter(primaries), None))


if __name__ == "__main__":
    main()
