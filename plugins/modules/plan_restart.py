#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bind a run to the server that is started again where it is."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_restart
short_description: Bind a run to the server that is started again where it is
description:
  - Chooses the host whose server is down, or hangs, on the newest timeline that anybody knows; writes C(plan.json) and returns it. A
    resumed run keeps the plan it has.
  - A server that an earlier run fenced is chosen too, where every host of the service says that nobody took over; the plan then takes
    the fence away.
  - Refuses (exit code 4) where a primary answers, where another host has gone on, or where it is not clear which was primary; fails with
    exit code 3 when there is nothing to start.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  states: {description: What was observed on each host that answers., type: dict, required: true}
  hosts: {description: 'Each host of the service with C(region), C(address) and C(root).', type: dict, required: true}
  target: {description: 'The host that was primary, where that is not clear.', type: str}
  runs_dir: {description: 'The folder of all runs, of which earlier ones tell how long it takes.', type: path, required: true}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
  application_scale: {description: 'Instances of the application to start, where none of it runs.', type: int, default: 0}
  manager: {description: The tool that starts the servers; it is refused where there is one., type: str, default: ""}
attributes:
  check_mode: {support: full, description: Returns the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Bind the run to the server that is down
  pgrescue.runbooks.plan_restart:
    run_dir: runs/20261124T012050Z-shop-restart
    service: shop
    states: {db1: {role: stopped, system_identifier: "7432", timeline: 3, place: /var/lib/postgresql/17/main}}
    hosts: {db1: {region: east, address: 10.0.0.11, root: /var/lib/postgresql/17}}
    runs_dir: runs
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
plan_digest: {description: SHA-256 of the plan., returned: success, type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, history, records, restart_plans


def main() -> None:
    """Plan, write."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "target": {"type": "str"},
            "runs_dir": {"type": "path", "required": True},
            "postgres_version": {"type": "int", "required": True},
            "application_scale": {"type": "int", "default": 0},
            "manager": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "plan.json")
    resumed = os.path.exists(path)
    try:
        runs, _unreadable = history.read(p["runs_dir"], p["service"])
        plan = (
            records.read_json(path)
            if resumed
            else restart_plans.make({**p, "runs": runs}, os.path.basename(p["run_dir"]))
        )
    except guards.Stop as stop:
        guards.fail(module, stop)
    if not module.check_mode:
        records.keep_plan(p["run_dir"], plan)
    said = "Start the server of %s again, where it is" % plan["target_host"]
    module.exit_json(
        changed=not resumed,
        plan=plan,
        plan_digest=records.digest(plan),
        journal=[] if resumed else [{"event": "decision", "detail": said}],
    )


if __name__ == "__main__":
    main()
