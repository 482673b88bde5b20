#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write down the last good moment that was found, and how to use it."""

from __future__ import annotations

DOCUMENTATION = """
module: record_moment
short_description: Write down the last good moment that was found, and how to use it
description:
  - Writes C(moment.json) of the run, and the same for people into C(moment.txt).
  - Its C(checks) are for M(pgrescue.runbooks.record_validation).
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  moment: {description: What M(pgrescue.runbooks.find_moment) found., type: dict, required: true}
  checks: {description: What was checked of the copy that was searched., type: list, elements: dict, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing and answers at once.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Write down what was found
  pgrescue.runbooks.record_moment:
    run_dir: "{{ run_dir }}"
    service: shop
    moment: "{{ moment_found }}"
    checks: "{{ moment_isolation }}"
  delegate_to: localhost
"""

RETURN = """
moment: {description: What was written., returned: unless in check mode, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import moment_view, records
from ansible_collections.pgrescue.runbooks.plugins.module_utils.validation import check


def main() -> None:
    """Add the commands, write, answer."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "moment": {"type": "dict", "required": True},
            "checks": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=True)
    found = {"schema_version": 1, "service": p["service"], **p["moment"]}
    inventory = records.read_json(os.path.join(p["run_dir"], "run.json")).get("inventory") or "INVENTORY"
    for target in found["targets"]:
        target["commands"] = moment_view.commands(found, target["recovery_target"], inventory)
    named = "transaction %(xid)s, committed at %(lsn)s" % found["damaging"]
    own = check("the transaction that did the damage was found", "one transaction", named, True)
    found["checks"] = [*p["checks"], {**own, "host": os.uname().nodename}]
    with open(os.path.join(p["run_dir"], "moment.txt"), "w", encoding="utf-8") as out:
        out.write("\n".join(moment_view.page(found)) + "\n")
    # last, for who reads it takes all to be there
    changed = records.write_json(os.path.join(p["run_dir"], "moment.json"), found)
    said = "Damaged by %s, at %s" % (named, found["damaging"]["time"])
    module.exit_json(changed=changed, moment=found, journal=[{"event": "decision", "detail": said}])


if __name__ == "__main__":
    main()
