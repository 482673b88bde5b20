#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write down what was checked, and stop the run when it does not hold."""

from __future__ import annotations

DOCUMENTATION = """
module: record_validation
short_description: Write down what was checked, and stop the run when it does not hold
description:
  - Writes C(checks.json) and C(reconciliation.json) of the run, then fails with exit code 6 when a check that must pass did not.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  checks: {description: What was checked., type: list, elements: dict, required: true}
  consequence: {description: What does not happen when a check failed., type: str, default: traffic was not switched}
  reconciliation: {description: Acknowledged tokens against rows., type: dict}
attributes:
  check_mode: {support: full, description: Writes nothing and judges nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Write down what was checked
  pgrescue.runbooks.record_validation:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    checks: "{{ recovery_checks }}"
  delegate_to: localhost
"""

RETURN = """
failed_checks: {description: Names of the checks that failed., returned: always, type: list, elements: str}
disproves: {description: 'Whether a check about the content of a backup or a dump is among those that failed.', returned: 'failure, when it is so', type: bool}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, proofs, records


def main() -> None:
    """Write first, judge then: a failed validation is evidence too."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "checks": {"type": "list", "elements": "dict", "required": True},
            "consequence": {"type": "str", "default": "traffic was not switched"},
            "reconciliation": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=True, failed_checks=[])
    changed = records.write_json(os.path.join(p["run_dir"], "checks.json"), p["checks"])
    if p["reconciliation"]:
        changed |= records.write_json(os.path.join(p["run_dir"], "reconciliation.json"), p["reconciliation"])
    failed = [c for c in p["checks"] if c["tier"] == "must" and c["verdict"] != "passed"]
    if failed or not p["checks"]:
        said = (
            "; ".join("%(name)s: expected %(expected)s, found %(observed)s" % c for c in failed)
            or "nothing was checked"
        )
        said = "Validation failed, %s: %s." % (p["consequence"], said)
        stop = guards.Stop(said, guards.VALIDATION_FAILED, proofs.disproves(failed))
        guards.fail(module, stop, changed=changed, failed_checks=[c["name"] for c in failed])
    module.exit_json(
        changed=changed,
        failed_checks=[],
        journal=[{"event": "milestone", "step": "validated", "detail": "%d checks passed" % len(p["checks"])}],
    )


if __name__ == "__main__":
    main()
