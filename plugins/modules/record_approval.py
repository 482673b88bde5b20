#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write down that somebody approves a run, or says no to it."""

from __future__ import annotations

DOCUMENTATION = """
module: record_approval
short_description: Write down that somebody approves a run, or says no to it
description:
  - The record counts for the plan that the run's directory holds, for one gate, and as long as the policy says.
  - It is written into the run's directory and into every object store, where a controller that waits on another machine finds it.
  - Refuses (exit code 4) without a reason, and for a run that has ended. Runs on the controller.
options:
  approver: {description: Who approves., type: str, required: true}
  reason: {description: Why., type: str, required: true}
  verdict: {description: 'What they say.', type: str, choices: [approved, denied], default: approved}
extends_documentation_fragment: [pgrescue.runbooks.gate, pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Write down that bob approves
  pgrescue.runbooks.record_approval:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    operator: alice@bastion
    approver: bob@laptop
    reason: the client agreed to lose twelve seconds
    policy: {second_person: true, expires_s: 900, plan_expires_s: 900}
    stores: "{{ record_stores }}"
  delegate_to: localhost
"""

RETURN = """
approval: {description: 'The record; its schema is docs/schema/approval.schema.json.', returned: success, type: dict}
lacking: {description: 'C(operator) and C(second_person), those who are missing all the same.', returned: success, type: list, elements: str}
held: {description: Stores that hold it now., returned: success, type: list, elements: str}
missing_from: {description: 'Stores that do not, each with the reason.', returned: success, type: dict}
closed: {description: 'Whether the run stopped and its report was written, which does not know of the approval yet.', returned: success, type: bool}
"""

import os
import time
from dataclasses import replace
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import approvals, guards, records, stores


def check_wanted(run: "dict[str, str]", approver: str, reason: str) -> None:
    """Refuse an approval that could never count."""
    if run.get("result") in approvals.ENDED or run.get("exit_code") in approvals.RECOVERED:
        raise guards.Stop("Run %s has ended (%s). Nothing was changed." % (run["id"], run["result"]))
    if not approvals.person(approver):
        raise guards.Stop("An approval needs a name: -e approver=NAME. Nothing was changed.")
    if not reason.strip():
        raise guards.Stop("An approval needs a reason: -e reason=... (--reason). Nothing was changed.")


def still_lacking(gate: approvals.Gate, run_dir: str, given: "Mapping[str, Any]", operator: str) -> "list[str]":
    """Who is missing at the gate with this approval; the gate is that of the run's operator, who may be somebody else."""
    found = [*approvals.read(run_dir)[0], given]
    good, _void = approvals.counting(gate, found, time.time())
    return approvals.lacking(replace(gate, operator=operator), good)


def main() -> None:
    """Guard, write here, write there."""
    module = AnsibleModule(
        argument_spec={
            **approvals.ARGUMENTS,
            "approver": {"type": "str", "required": True},
            "reason": {"type": "str", "required": True},
            "verdict": {"type": "str", "choices": ["approved", "denied"], "default": "approved"},
            "stores": stores.ARGUMENT,
        },
        supports_check_mode=True,
    )
    p = module.params
    run_dir = p["run_dir"]
    try:
        gate = approvals.at(run_dir, p["gate"], p["operator"], p["policy"])
        run = records.read_json(os.path.join(run_dir, "run.json"))
        check_wanted(run, p["approver"], p["reason"])
        approvals.check_not_denied(gate, approvals.bound(gate, approvals.read(run_dir)[0]))
        approvals.check_fresh(gate, time.time())
    except guards.Stop as stop:
        guards.fail(module, stop)
    approval = approvals.record(gate, p["approver"], "approval", p["reason"], p["verdict"])
    lacking = still_lacking(gate, run_dir, approval, run.get("operator") or p["operator"])
    held, missing = [], {}
    if not module.check_mode:
        path = approvals.write(run_dir, approval)
        held, missing = stores.put_beside(path, p["stores"])
    module.exit_json(
        changed=True, approval=approval, lacking=lacking, held=held, missing_from=missing, closed="result" in run
    )


if __name__ == "__main__":
    main()
