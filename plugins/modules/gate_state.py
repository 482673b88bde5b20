#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say who has yet to approve before a run may go on."""

from __future__ import annotations

DOCUMENTATION = """
module: gate_state
short_description: Say who has yet to approve before a run may go on
description:
  - Reads the run's plan and the approvals beside it. M(pgrescue.runbooks.require_approval) judges by the same rules, and stops the run.
  - When somebody is missing and is going to be waited for, the timeline says so, which a display shows.
  - Only looks. Runs on the controller.
options:
  confirm: {description: The service's name as the operator typed it., type: str}
  break_glass: {description: Why the operator does without the second person., type: str}
  wait_s: {description: How long people are going to be waited for., type: float, default: 0}
  shows: {description: 'What people must see besides the plan, in lines.', type: list, elements: str, default: []}
extends_documentation_fragment: [pgrescue.runbooks.gate]
attributes:
  check_mode: {support: full, description: 'Names nobody in check mode, for no plan was written.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See who has yet to approve
  pgrescue.runbooks.gate_state:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    operator: alice@bastion
    policy: {second_person: true, expires_s: 900, plan_expires_s: 900}
  delegate_to: localhost
  register:
    missing: _task.result.lacking
"""

RETURN = """
lacking: {description: 'C(operator) and C(second_person), those who are missing; nobody when the gate is open.', returned: success, type: list, elements: str}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import approvals, guards


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={
            **approvals.ARGUMENTS,
            "confirm": {"type": "str"},
            "break_glass": {"type": "str"},
            "wait_s": {"type": "float", "default": 0},
            "shows": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, lacking=[])
    try:
        gate = approvals.at(p["run_dir"], p["gate"], p["operator"], p["policy"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    given = approvals.offered(gate, p["confirm"]) + approvals.broken_glass(gate, p["break_glass"])
    good, _void = approvals.counting(gate, approvals.read(p["run_dir"])[0] + given, time.time())
    missing = [] if approvals.has_passed(p["run_dir"], gate) else approvals.lacking(gate, good)
    waits = missing and p["wait_s"] > 0
    module.exit_json(
        changed=False, lacking=missing, journal=approvals.asked(gate, missing, p["wait_s"], p["shows"]) if waits else []
    )


if __name__ == "__main__":
    main()
