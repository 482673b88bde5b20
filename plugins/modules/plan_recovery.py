#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bind a recovery to its target."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_recovery
short_description: Bind a recovery to its target
description:
  - Chooses the spare host, writes C(plan.json) and returns it. A resumed run keeps the plan it has.
  - Refuses (exit code 4) while a usable copy of the service is still there; fails with exit code 3 when there is no clean host or no
    backup. Whether people want the plan is asked by M(pgrescue.runbooks.require_approval).
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  procedure: {description: The runbook., type: str, required: true}
  states: {description: What was observed on each host that answers., type: dict, required: true}
  hosts: {description: 'Each host of the service with C(region), C(address) and C(root), the folder below which its clusters live.', type: dict, required: true}
  catalog: {description: What can be restored., type: dict, required: true}
  target: {description: The spare host to restore on; chosen when left out., type: str}
  prefer_region: {description: Where to look for a spare host first., type: str}
  application_scale: {description: Instances of the application that ran., type: int, default: 0}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
  despite_copies: {description: Restore although a primary or a standby answers., type: bool, default: false}
attributes:
  check_mode: {support: full, description: Returns the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Plan the recovery
  pgrescue.runbooks.plan_recovery:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    service: shop
    procedure: complete_loss
    states: {spare1: {role: spare}}
    hosts: {spare1: {region: east, address: 10.0.0.21, root: /var/lib/postgresql/17}}
    catalog: "{{ recovery_catalog }}"
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
plan_digest: {description: SHA-256 of the plan., returned: success, type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, plans, records


def main() -> None:
    """Plan, write."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "procedure": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "catalog": {"type": "dict", "required": True},
            "target": {"type": "str"},
            "prefer_region": {"type": "str"},
            "application_scale": {"type": "int", "default": 0},
            "postgres_version": {"type": "int", "required": True},
            "despite_copies": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "plan.json")
    try:
        resumed = os.path.exists(path)
        plan = records.read_json(path) if resumed else plans.make(p, os.path.basename(p["run_dir"]))
    except guards.Stop as stop:
        guards.fail(module, stop)
    plan_digest = records.digest(plan)
    if not module.check_mode:
        records.write_json(path, plan)
        run = os.path.join(p["run_dir"], "run.json")
        facts = {"plan_digest": plan_digest, "system_identifier": plan["system_identifier"]}
        records.write_json(run, {**records.read_json(run), **facts})
    module.exit_json(
        changed=not resumed, plan=plan, plan_digest=plan_digest, journal=[] if resumed else plans.decisions(plan)
    )


if __name__ == "__main__":
    main()
