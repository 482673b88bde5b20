#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Let a run go on only when people want it to."""

from __future__ import annotations

DOCUMENTATION = """
module: require_approval
short_description: Let a run go on only when people want it to
description:
  - A gate is a record that must exist, an approval bound to the digest of the run's plan and to this gate. It is never a prompt.
  - The service's name as C(confirm) is the operator's own approval. Where the policy wants a second person, that is somebody of
    another name than the operator's, with a reason; C(break_glass) does without, and is written into C(run.json).
  - Refuses (exit code 4) while somebody is missing, and where an approval has expired, is for another plan or another gate, or was
    changed, where somebody said no, and where the plan is older than the policy lets it be before anything was begun.
  - A run that passed the gate with this plan and has gone on since passes it again.
  - Approvals are looked for in the run's directory and, while somebody is missing, in the object stores, where
    M(pgrescue.runbooks.record_approval) leaves them on another machine.
  - Runs on the controller.
options:
  confirm: {description: The service's name as the operator typed it., type: str}
  break_glass: {description: Why the operator does without the second person., type: str}
  wait_s: {description: How long to wait for people., type: float, default: 0}
  stores:
    description: Object stores that hold copies of records.
    type: list
    elements: dict
    default: []
    suboptions:
      url: {description: Where the store is., type: str, required: true}
      bucket: {description: The bucket., type: str, required: true}
      region: {description: The region of the bucket., type: str, required: true}
      key: {description: Who asks., type: str, required: true}
      secret: {description: The key's secret., type: str, required: true}
      ca_file: {description: 'What signed the store''s certificate, where it is not a public authority.', type: path}
      retain_days: {description: Counts for copies of sealed records alone., type: int}
extends_documentation_fragment: [pgrescue.runbooks.gate]
attributes:
  check_mode: {support: full, description: 'Asks nobody in check mode, for nothing is going to be done.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Go on only when people want it
  pgrescue.runbooks.require_approval:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    operator: alice@bastion
    confirm: shop
    policy: {second_person: false, expires_s: 900, plan_expires_s: 900}
  delegate_to: localhost
"""

RETURN = """
approved_by: {description: Who approved., returned: success, type: list, elements: str}
broke_glass: {description: Whether the operator did without the second person., returned: success, type: bool}
"""

import os
import time
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import approvals, guards, records, stores

POLL_S = 0.25
ASK_STORES_EVERY_S = 2.0


def opened(gate: approvals.Gate, p: Mapping[str, Any]) -> "list[Mapping[str, Any]]":
    """The approvals that open the gate, or a refusal."""
    run_dir, deadline, next_asked = p["run_dir"], time.monotonic() + p["wait_s"], 0.0
    for offer in approvals.offered(gate, p["confirm"]):
        keep(gate, run_dir, offer)
    while True:
        found, wrong = approvals.read(run_dir)
        good, void = approvals.counting(gate, found, time.time())
        approvals.check_fresh(gate, time.time())
        approvals.check_not_denied(gate, good)
        missing = approvals.lacking(gate, good)
        glass = approvals.broken_glass(gate, p["break_glass"])
        if missing == ["second_person"] and glass:
            keep(gate, run_dir, glass[0])
            continue
        if not missing:
            return good
        if p["stores"] and time.monotonic() >= next_asked:
            brought, silent = stores.bring(run_dir, approvals.PREFIX, p["stores"])
            next_asked = time.monotonic() + ASK_STORES_EVERY_S
            if brought:
                continue
            wrong += ["%s did not answer: %s" % item for item in sorted(silent.items())]
        if time.monotonic() >= deadline:
            raise approvals.refusal(gate, missing, wrong + void, p["confirm"])
        time.sleep(POLL_S)  # an approval is a file that appears


def keep(gate: approvals.Gate, run_dir: str, offer: "dict[str, Any]") -> None:
    """Write down what the operator offers, unless the same still counts from before."""
    found, _wrong = approvals.read(run_dir)
    good, _void = approvals.counting(gate, found, time.time())
    if not any((a["by"], a["verdict"]) == (offer["by"], offer["verdict"]) for a in good):
        approvals.write(run_dir, offer)


def note_broken_glass(run_dir: str, good: "list[Mapping[str, Any]]") -> None:
    """Say in run.json that the second person was done without, for a report to begin with."""
    broken = [a for a in good if a["verdict"] == approvals.BROKE_GLASS]
    path = os.path.join(run_dir, "run.json")
    run = records.read_json(path)
    said = [{"gate": a["gate"], "by": a["by"], "reason": a["reason"], "at": a["given"]} for a in broken]
    before = run.get("broke_glass", [])
    fresh = [one for one in said if one not in before]
    if fresh:
        records.write_json(path, {**run, "broke_glass": before + fresh})


def main() -> None:
    """Judge, wait, refuse."""
    spec = {
        **approvals.ARGUMENTS,
        "confirm": {"type": "str"},
        "break_glass": {"type": "str"},
        "wait_s": {"type": "float", "default": 0},
        "stores": {**stores.ARGUMENT, "required": False, "default": []},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, approved_by=[], broke_glass=False)
    try:
        gate = approvals.at(p["run_dir"], p["gate"], p["operator"], p["policy"])
        approvals.check_typed(gate, p["confirm"])
        if approvals.has_passed(p["run_dir"], gate):
            module.exit_json(changed=False, approved_by=[], broke_glass=False)
        before = len(approvals.read(p["run_dir"])[0])
        good = opened(gate, p)
    except guards.Stop as stop:
        guards.fail(module, stop)
    note_broken_glass(p["run_dir"], good)
    module.exit_json(
        changed=len(approvals.read(p["run_dir"])[0]) > before,
        approved_by=[a["by"] for a in good],
        broke_glass=any(a["verdict"] == approvals.BROKE_GLASS for a in good),
        journal=approvals.told(gate, good),
    )


if __name__ == "__main__":
    main()
