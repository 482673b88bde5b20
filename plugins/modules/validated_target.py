#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to move traffic to a server that this run has not validated."""

from __future__ import annotations

DOCUMENTATION = """
module: validated_target
short_description: Refuse to move traffic to a server that this run has not validated
description:
  - Reads the run's plan and checks. Refuses (exit code 4) unless every check that must pass has passed and the address is the plan's.
  - Only looks. Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  address: {description: Where traffic shall go., type: str, required: true}
attributes:
  check_mode: {support: full, description: Refuses nothing in check mode, for nothing has been validated then.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make sure the target was validated
  pgrescue.runbooks.validated_target:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    address: 10.0.0.21
  delegate_to: localhost
"""

RETURN = """#"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, records


def verdict(run_dir: str, address: str) -> None:
    """Refuse unless the run's own record says that the address was validated."""
    paths = [os.path.join(run_dir, name) for name in ("plan.json", "checks.json")]
    if not all(os.path.exists(path) for path in paths):
        raise guards.Stop("Run %s has validated nothing. The endpoint was not changed." % os.path.basename(run_dir))
    plan, checks = (records.read_json(path) for path in paths)
    if plan["target_address"] != address:
        raise guards.Stop(
            "The plan's target is %s, not %s. The endpoint was not changed." % (plan["target_address"], address)
        )
    failed = [c["name"] for c in checks if c["tier"] == "must" and c["verdict"] != "passed"]
    if failed or not checks:
        raise guards.Stop(
            "Not validated: %s. The endpoint was not changed." % ("; ".join(failed) or "no check was made")
        )


def main() -> None:
    """Look, and refuse."""
    spec = {"run_dir": {"type": "path", "required": True}, "address": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        if not module.check_mode:
            verdict(module.params["run_dir"], module.params["address"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
