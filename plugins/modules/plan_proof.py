#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Decide which backup a proof restores, to which point, and where."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_proof
short_description: Decide which backup a proof restores, to which point, and where
description:
  - Writes C(plan.json) of the run. A proof goes to a clean host of the service and changes nothing that the service uses.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  states: {description: What was seen on each host., type: dict, required: true}
  hosts: {description: 'Region, address and clusters'' folder of each host.', type: dict, required: true}
  catalog: {description: What can be restored; from M(pgrescue.runbooks.backup_catalog)., type: dict, required: true}
  mode:
    description: The newest backup, or any backup to any point.
    type: str
    choices: [newest, random]
    default: newest
  seed: {description: Makes the choice repeatable; drawn when 0 and noted in the timeline., type: int, default: 0}
  repository: {description: Number of the repository to prove; any when 0., type: int, default: 0}
  census_lsn: {description: Where a standby stood when the census was taken., type: str}
  target: {description: The host to restore on; chosen when left out., type: str}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Answers with the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Decide what to prove
  pgrescue.runbooks.plan_proof:
    run_dir: "{{ run_dir }}"
    service: shop
    states: "{{ proof_states }}"
    hosts: "{{ proof_hosts }}"
    catalog: "{{ proof_catalog }}"
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import lsn, plans, proofs


def make(p: "dict[str, object]", run: str, seed: int) -> "dict[str, object]":
    """The plan of the proof."""
    target = plans.choose_target(p["states"], p["hosts"], p["target"] or None, None)
    catalog = p["catalog"]
    backup, point = proofs.choose(catalog["candidates"], p["mode"], seed, p["repository"], p["census_lsn"] or None)
    return {
        "schema_version": 1,
        "run": run,
        "procedure": "prove",
        "service": p["service"],
        "system_identifier": catalog["system_identifier"],
        "target_host": target,
        "target_address": p["hosts"][target]["address"],
        "data_directory": "%s/proof-%s" % (p["hosts"][target]["root"], p["service"]),
        "postgres_version": p["postgres_version"],
        "target_timeline": lsn.segment_timeline(backup["reaches"]),
        "candidates": [backup],
        "passed_over": catalog["passed_over"],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "recovery_target": point,
        "changes": ["%s: a copy that is removed again" % target],
        "irreversible": [],
    }


def main() -> None:
    """Choose, write down, say so."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "catalog": {"type": "dict", "required": True},
            "mode": {"type": "str", "choices": ["newest", "random"], "default": "newest"},
            "seed": {"type": "int", "default": 0},
            "repository": {"type": "int", "default": 0},
            "census_lsn": {"type": "str"},
            "target": {"type": "str"},
            "postgres_version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    plan, drawn = proofs.settled(module, make)
    backup, point = plan["candidates"][0], plan["recovery_target"]
    said = "Prove backup %s of repository %s on %s, recovered to %s" % (
        backup["label"],
        backup["repo"],
        plan["target_host"],
        "%s %s" % (point["type"], point["value"]) if point.get("value") else point["type"],
    )
    module.exit_json(changed=not module.check_mode, plan=plan, journal=[{"event": "decision", "detail": said + drawn}])


if __name__ == "__main__":
    main()
