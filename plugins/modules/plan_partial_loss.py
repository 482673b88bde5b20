#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Decide from which moment lost rows are brought back, and where the copy is made."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_partial_loss
short_description: Decide from which moment lost rows are brought back, and where the copy is made
description:
  - Writes C(plan.json) of the run, or reads the one that an earlier attempt made.
  - Refuses without a primary, where the backups are of another database system, without a backup from before the moment, and
    without a clean host.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  states: {description: What was seen on each host., type: dict, required: true}
  hosts: {description: 'Region, address and clusters'' folder of each host.', type: dict, required: true}
  catalog: {description: What can be restored; from M(pgrescue.runbooks.backup_catalog)., type: dict, required: true}
  database: {description: The database that lost rows; named as the service when empty., type: str, required: true}
  tables: {description: Tables that lost rows., type: list, elements: str, required: true}
  to:
    description: The last good moment; a time with its offset, an LSN, C(name:) a restore point or C(xid:) a transaction.
    type: str
    required: true
  target: {description: The host to restore on; chosen when left out., type: str}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Answers with the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Decide from when, and where
  pgrescue.runbooks.plan_partial_loss:
    run_dir: "{{ run_dir }}"
    service: shop
    states: "{{ partial_loss_states }}"
    hosts: "{{ partial_loss_hosts }}"
    catalog: "{{ partial_loss_catalog }}"
    database: shop
    tables: [public.orders]
    to: "2026-11-24 01:20:50+00"
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, partial_plans, records


def check_same(p: "dict[str, object]", plan: "dict[str, object]") -> None:
    """Refuse to go on with a run for something else than it began with."""
    asked = {"database": p["database"], "tables": [t.strip() for t in p["tables"] if t.strip()]}
    for key, wanted in asked.items():
        if wanted and plan[key] != wanted:
            said = "Run %s is for %s %s, not %s. Nothing was changed. Begin another run for those."
            raise guards.Stop(said % (plan["run"], key, plan[key], wanted))


def main() -> None:
    """Plan, write."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "catalog": {"type": "dict", "required": True},
            "database": {"type": "str", "required": True},
            "tables": {"type": "list", "elements": "str", "required": True},
            "to": {"type": "str", "required": True},
            "target": {"type": "str"},
            "postgres_version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "plan.json")
    resumed = os.path.exists(path)
    try:
        plan = records.read_json(path) if resumed else partial_plans.make(p, os.path.basename(p["run_dir"]))
        check_same(p, plan)
    except guards.Stop as stop:
        guards.fail(module, stop)
    if not module.check_mode:
        records.keep_plan(p["run_dir"], plan)
    backup, point = plan["candidates"][0], plan["recovery_target"]
    said = "Bring back rows of %s in %s on %s from a copy on %s, of %s %s, out of backup %s of repository %s" % (
        ", ".join(plan["tables"]),
        plan["database"],
        plan["live_host"],
        plan["target_host"],
        point["type"],
        point["value"],
        backup["label"],
        backup["repo"],
    )
    module.exit_json(changed=not resumed, plan=plan, journal=[] if resumed else [{"event": "decision", "detail": said}])


if __name__ == "__main__":
    main()
