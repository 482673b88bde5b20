#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bind a recovery to its target."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_recovery
short_description: Bind a recovery to its target
description:
  - Chooses the way that loses least among those the procedure may take, and the host; writes C(plan.json) and returns it. A resumed
    run keeps the plan it has.
  - Refuses (exit code 4) where a primary still answers; fails with exit code 3 when no standby and no backup can be used. Whether
    people want the plan is asked by M(pgrescue.runbooks.require_approval).
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  procedure: {description: The runbook., type: str, required: true}
  states: {description: What was observed on each host that answers., type: dict, required: true}
  hosts: {description: 'Each host of the service with C(region), C(address) and C(root), the folder below which its clusters live.', type: dict, required: true}
  catalog: {description: What can be restored; empty where nothing is to be restored., type: dict, default: {}}
  dumps: {description: 'The dumps that can be restored; from M(pgrescue.runbooks.dump_catalog).', type: dict, default: {}}
  dump: {description: The dump to restore; the newest that is whole when left out., type: str}
  methods:
    description: The ways the procedure may take. C(promote) a standby, C(restore) a backup or a dump, C(return) to the primary that a run left.
    type: list
    elements: str
    default: [restore]
  method: {description: The way that a person chose among them., type: str}
  planned: {description: Whether the primary is well and is left on purpose., type: bool, default: false}
  region_lost: {description: Whether the procedure is for a region that is lost; it is refused when none is., type: bool, default: false}
  only_in: {description: The region in which a standby must be., type: str}
  rollback_run: {description: 'The run to take back, for C(return); its record lies beside this one.', type: str}
  lost_regions: {description: Regions of which no host answers., type: list, elements: str, default: []}
  runs_dir: {description: 'The folder of all runs, of which earlier ones tell how long a way takes.', type: path}
  acknowledged: {description: 'What the witness saw acknowledged, as M(pgrescue.runbooks.witness_acknowledged) tells it.', type: dict, default: {}}
  system_identifier: {description: 'The database system to promote a copy of, where the hosts hold several.', type: str}
  target: {description: The host to promote or to restore on; chosen when left out., type: str}
  prefer_region: {description: Where to look for a spare host first., type: str}
  application_scale: {description: Instances of the application that ran., type: int, default: 0}
  clients:
    description: >-
      What becomes of the clients while it is carried out. The application is C(stopped) and started again; it goes on C(asking) behind
      the fence and is restarted; or they are C(held) at PgBouncer and go on.
    type: str
    choices: [stopped, asking, held]
    default: stopped
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
  manager:
    description: The tool that decides who is primary, C(Patroni), through which a standby is promoted; empty where nobody does.
    type: str
    default: ""
  despite_copies: {description: Restore although a primary or a standby answers., type: bool, default: false}
  despite_primary: {description: Promote a standby although a primary answers., type: bool, default: false}
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
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, history, plans, records, times


def undone(p: "dict[str, Any]") -> "dict[str, Any]":
    """The plan of the run that is to be taken back; empty when none is."""
    if not p["rollback_run"]:
        return {}
    path = os.path.join(os.path.dirname(p["run_dir"]), p["rollback_run"], "plan.json")
    if not os.path.exists(path):
        raise guards.Stop(
            "There is no plan of run %s here. Nothing was changed." % p["rollback_run"], guards.PRECONDITION
        )
    plan: "dict[str, Any]" = records.read_json(path)
    if not plan.get("left"):
        raise guards.Stop(
            "Run %s left no primary that could go on: there is nothing to go back to. Nothing was changed."
            % p["rollback_run"],
            guards.PRECONDITION,
        )
    return plan


def main() -> None:
    """Plan, write."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "procedure": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "catalog": {"type": "dict", "default": {}},
            "dumps": {"type": "dict", "default": {}},
            "dump": {"type": "str"},
            "methods": {"type": "list", "elements": "str", "default": ["restore"]},
            "method": {"type": "str"},
            "planned": {"type": "bool", "default": False},
            "region_lost": {"type": "bool", "default": False},
            "only_in": {"type": "str"},
            "rollback_run": {"type": "str"},
            "lost_regions": {"type": "list", "elements": "str", "default": []},
            "runs_dir": {"type": "path"},
            "acknowledged": {"type": "dict", "default": {}},
            "system_identifier": {"type": "str"},
            "target": {"type": "str"},
            "prefer_region": {"type": "str"},
            "application_scale": {"type": "int", "default": 0},
            "clients": {"type": "str", "choices": sorted(plans.CLIENTS), "default": "stopped"},
            "postgres_version": {"type": "int", "required": True},
            "manager": {"type": "str", "default": ""},
            "despite_copies": {"type": "bool", "default": False},
            "despite_primary": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "plan.json")
    try:
        resumed = os.path.exists(path)
        acks = [times.epoch_s(at) for at in (p["acknowledged"].get("acks") or {}).values()]
        runs, _unreadable = history.read(p["runs_dir"], p["service"]) if p["runs_dir"] else ([], [])
        request = {**p, "undoes": undone(p), "runs": runs, "last_acknowledged_s": max(acks, default=None)}
        plan = records.read_json(path) if resumed else plans.make(request, os.path.basename(p["run_dir"]))
    except guards.Stop as stop:
        guards.fail(module, stop)
    if not module.check_mode:
        records.keep_plan(p["run_dir"], plan)
    module.exit_json(
        changed=not resumed,
        plan=plan,
        plan_digest=records.digest(plan),
        journal=[] if resumed else plans.decisions(plan),
    )


if __name__ == "__main__":
    main()
