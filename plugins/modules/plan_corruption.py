#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Choose the cheapest safe way back from corruption."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_corruption
short_description: Choose the cheapest safe way back from corruption
description:
  - Ranks the ways, each with what it loses, how long it takes and what it changes. C(reindex) comes first, where only indexes are
    damaged; then C(promote), where a standby is sound; then C(restore) of an older backup, to the end of the archive or to a point.
  - Writes C(ways.json). Writes C(plan.json) for a way that this procedure takes; a resumed run keeps the plan it has.
  - Fails with exit code 3 when nothing is known to be damaged or no way is open, and with exit code 9 when the cheapest way is to
    promote a standby, which is another procedure.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  procedure: {description: The runbook., type: str, required: true}
  states: {description: What was observed on each host that answers., type: dict, required: true}
  hosts: {description: 'Each host of the service with C(region), C(address) and C(root), the folder below which its clusters live.', type: dict, required: true}
  damage: {description: 'What M(pgrescue.runbooks.damage) found on each host that could be looked at.', type: dict, required: true}
  catalog: {description: What can be restored., type: dict, default: {}}
  recover_to:
    description: C(latest), or a point as C(time:...), C(xid:...), C(lsn:...) or C(name:...).
    type: str
    default: latest
  exclusive: {description: Whether what begins at the point is left out., type: bool, default: false}
  backup_before: {description: Backups from after this instant are not used; they may hold the damage., type: str}
  method: {description: The way that a person chose., type: str, choices: [reindex, promote, restore]}
  target: {description: The spare host to restore on; chosen when left out., type: str}
  prefer_region: {description: Where to look for a spare host first., type: str}
  application_scale: {description: Instances of the application that ran., type: int, default: 0}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
  runs_dir: {description: 'The folder of all runs, of which earlier ones tell how long a way takes.', type: path}
attributes:
  check_mode: {support: full, description: Returns the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Choose the cheapest safe way
  pgrescue.runbooks.plan_corruption:
    run_dir: runs/20261124T012050Z-shop-corruption
    service: shop
    procedure: corruption
    states: "{{ recovery_states }}"
    hosts: {spare1: {region: east, address: 10.0.0.21, root: /var/lib/postgresql/17}}
    damage: "{{ corruption_damage }}"
    catalog: "{{ recovery_catalog }}"
    recover_to: time:2026-11-24T01:20:50Z
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
plan_digest: {description: SHA-256 of the plan., returned: success, type: str}
ways: {description: 'Every way, the one that is taken first.', returned: 'failure with exit code 9', type: list, elements: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    corruption_plans,
    guards,
    history,
    records,
)

ELSEWHERE = (
    "The cheapest safe way is to promote {host}, which is another procedure. Nothing was changed. Go on with: pgrescue recover "
    "{move} -s {service} -e recovery_on={host} -e recovery_despite_primary=true. Or restore a backup: pgrescue recover {procedure} "
    "-s {service} -e corruption_method=restore"
)


def main() -> None:
    """Plan, write."""
    module = AnsibleModule(
        argument_spec={
            **{name: {"type": "str", "required": True} for name in ("service", "procedure")},
            **{name: {"type": "dict", "required": True} for name in ("states", "hosts", "damage")},
            **{name: {"type": "str"} for name in ("backup_before", "target", "prefer_region")},
            "run_dir": {"type": "path", "required": True},
            "catalog": {"type": "dict", "default": {}},
            "recover_to": {"type": "str", "default": "latest"},
            "exclusive": {"type": "bool", "default": False},
            "method": {"type": "str", "choices": ["reindex", "promote", "restore"]},
            "application_scale": {"type": "int", "default": 0},
            "postgres_version": {"type": "int", "required": True},
            "runs_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "plan.json")
    try:
        resumed = os.path.exists(path)
        runs, _unreadable = history.read(p["runs_dir"], p["service"]) if p["runs_dir"] else ([], [])
        plan = (
            records.read_json(path)
            if resumed
            else corruption_plans.make({**p, "runs": runs}, os.path.basename(p["run_dir"]))
        )
        said = [] if resumed else corruption_plans.decisions(plan)
        if not module.check_mode:
            records.write_json(os.path.join(p["run_dir"], "ways.json"), plan["ways"])
            if plan["method"] == corruption_plans.PROMOTE:
                host = plan["target_host"]
                elsewhere = ELSEWHERE.format(
                    host=host, move=corruption_plans.FAILOVER, service=p["service"], procedure=p["procedure"]
                )
                guards.fail(module, guards.Stop(elsewhere, guards.NEEDS_A_PERSON), ways=plan["ways"], journal=said)
    except guards.Stop as stop:
        guards.fail(module, stop)
    if not module.check_mode:
        records.keep_plan(p["run_dir"], plan)
    module.exit_json(changed=not resumed, plan=plan, plan_digest=records.digest(plan), journal=said)


if __name__ == "__main__":
    main()
