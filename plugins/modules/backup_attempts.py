#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read what a host wrote of its attempts to back up."""

from __future__ import annotations

DOCUMENTATION = """
module: backup_attempts
short_description: Read what a host wrote of its attempts to back up
description:
  - Reads the lines that the host's timer and M(pgrescue.runbooks.take_backup) or M(pgrescue.runbooks.take_dump) appended. Only looks.
options:
  path: {description: The file; where there is none there was no attempt., type: path, required: true}
  days: {description: 'How far back, in days.', type: float, default: 400}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Read what this host attempted
  pgrescue.runbooks.backup_attempts: {path: /var/lib/pgrescue/jobs/shop-attempts.jsonl}
  become: true
  register:
    run_attempts: _task.result.attempts
"""

RETURN = """
attempts:
  description: The attempts, in the order they were written.
  returned: success
  type: list
  elements: dict
  sample: [{at: '2026-11-24T02:00:41Z', repository: '1', kind: incr, result: passed, duration_s: 9.2, size_bytes: 31764868,
            stored_bytes: 81920}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import attempts


def main() -> None:
    """Read them."""
    module = AnsibleModule(
        argument_spec={"path": {"type": "path", "required": True}, "days": {"type": "float", "default": 400}},
        supports_check_mode=True,
    )
    found = attempts.since(attempts.read(module.params["path"]), module.params["days"])
    module.exit_json(changed=False, attempts=found)


if __name__ == "__main__":
    main()
