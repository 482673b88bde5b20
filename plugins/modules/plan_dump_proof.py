#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Decide which dump a proof restores, and where."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_dump_proof
short_description: Decide which dump a proof restores, and where
description:
  - Writes C(plan.json) of the run. The dump goes to a server that is made for it and thrown away.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  catalog: {description: What can be restored; from M(pgrescue.runbooks.dump_catalog)., type: dict, required: true}
  mode: {description: The newest dump, or any., type: str, choices: [newest, random], default: newest}
  seed: {description: Makes the choice repeatable; drawn when 0 and noted in the timeline., type: int, default: 0}
  host: {description: The host to restore on., type: str, required: true}
  place: {description: Where the cluster that is thrown away goes., type: path, required: true}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Answers with the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Decide what to prove
  pgrescue.runbooks.plan_dump_proof:
    run_dir: "{{ run_dir }}"
    service: ledger
    catalog: "{{ dump_proof_catalog }}"
    host: "{{ inventory_hostname }}"
    place: /var/lib/postgresql/17/proof-ledger
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
"""

import random

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import dumps, guards, proofs


def make(p: "dict[str, object]", run: str, seed: int) -> "dict[str, object]":
    """The plan of the proof."""
    catalog = p["catalog"]
    if not catalog["dumps"]:
        reasons = "; ".join("%(id)s in %(store)s: %(reason)s" % refused for refused in catalog["refused"])
        raise guards.Stop(
            "There is no dump that could be proven (%s)." % (reasons or "there is none"), guards.PRECONDITION
        )
    newest = p["mode"] == "newest"
    dump = catalog["dumps"][0] if newest else random.Random(seed).choice(catalog["dumps"])
    return {
        "schema_version": 1,
        "run": run,
        "procedure": "prove_dump",
        "service": p["service"],
        "target_host": p["host"],
        "data_directory": p["place"],
        "postgres_version": p["postgres_version"],
        "candidates": [{"label": dump["id"], "type": "dump", "size_bytes": dump["size_bytes"]}],
        "passed_over": dumps.passed_over(catalog),
        "unreachable": catalog["unreachable"],
        "changes": ["%s: a server that is removed again" % p["host"]],
        "irreversible": [],
    }


def main() -> None:
    """Choose, write down, say so."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "catalog": {"type": "dict", "required": True},
            "mode": {"type": "str", "choices": ["newest", "random"], "default": "newest"},
            "seed": {"type": "int", "default": 0},
            "host": {"type": "str", "required": True},
            "place": {"type": "path", "required": True},
            "postgres_version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    plan, drawn = proofs.settled(module, make)
    said = "Prove dump %s on %s" % (plan["candidates"][0]["label"], plan["target_host"])
    notes = [
        {"event": "decision", "detail": "Dump %(label)s passed over %(reason)s" % passed}
        for passed in plan["passed_over"]
    ]
    module.exit_json(
        changed=not module.check_mode, plan=plan, journal=[*notes, {"event": "decision", "detail": said + drawn}]
    )


if __name__ == "__main__":
    main()
