#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Keep attempts to back up beside the runs, each once."""

from __future__ import annotations

DOCUMENTATION = """
module: keep_attempts
short_description: Keep attempts to back up beside the runs, each once
description:
  - Appends to C(attempts/<service>.jsonl) below C(directory) those that it does not hold yet, durably; the ledger counts them.
  - Runs on the controller.
options:
  directory: {description: The folder of all runs., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  attempts: {description: 'As M(pgrescue.runbooks.backup_attempts) returns them.', type: list, elements: dict, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Keep them beside the runs
  pgrescue.runbooks.keep_attempts: {directory: runs, service: shop, attempts: "{{ run_attempts }}"}
  delegate_to: localhost
"""

RETURN = """
added: {description: How many were not there yet., returned: success, type: int}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import attempts


def main() -> None:
    """Append what is new."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "attempts": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["directory"], "attempts", p["service"] + ".jsonl")
    if module.check_mode:
        there = attempts.read(path)
        added = sum(attempt not in there for attempt in p["attempts"])
    else:
        added = attempts.append(path, p["attempts"])
    module.exit_json(changed=added > 0, added=added)


if __name__ == "__main__":
    main()
