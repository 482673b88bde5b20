#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write down the last good moment that was found, and how to use it."""

from __future__ import annotations

DOCUMENTATION = """
module: record_moment
short_description: Write down the last good moment that was found, and how to use it
description:
  - Writes C(moment.json) of the run, and the same for people into C(moment.txt).
  - Answers with checks for M(pgrescue.runbooks.record_validation); fails with exit code 5 when the search came to no end.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  moment: {description: What M(pgrescue.runbooks.find_moment) found; empty when its search came to no end., type: dict, required: true}
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
  delegate_to: localhost
"""

RETURN = """
lines: {description: What was found for a person; 80 columns., returned: success, type: list, elements: str}
checks: {description: What holds of it., returned: success, type: list, elements: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, moment_view, records
from ansible_collections.pgrescue.runbooks.plugins.module_utils.validation import check


def main() -> None:
    """Add the commands, write, answer."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "moment": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, lines=[], checks=[])
    if not p["moment"]:
        said = "The search came to no end. Nothing was changed. Make it smaller with moment_since and moment_until."
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    found = {"schema_version": 1, "service": p["service"], **p["moment"]}
    for target in found["targets"]:
        target["commands"] = moment_view.commands(p["service"], found["table"], target["recovery_target"])
    lines = moment_view.page(found)
    changed = records.write_json(os.path.join(p["run_dir"], "moment.json"), found)
    with open(os.path.join(p["run_dir"], "moment.txt"), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
    named = "transaction %(xid)s at %(lsn)s" % found["damaging"]
    module.exit_json(
        changed=changed,
        lines=lines,
        checks=[check("the transaction that did the damage was found", "one transaction", named, True)],
        journal=[
            {"event": "decision", "detail": "Damaged by %s, committed at %s" % (named, found["damaging"]["time"])}
        ],
    )


if __name__ == "__main__":
    main()
