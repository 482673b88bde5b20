#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read what the witness saw acknowledged."""

from __future__ import annotations

DOCUMENTATION = """
module: witness_acknowledged
short_description: Read what the witness saw acknowledged
description:
  - Folds the witness's journal into the tokens whose commits were acknowledged, without those that earlier recoveries gave up.
  - Only looks. Runs on the witness's host.
options:
  journal: {description: Directory of the journal., type: path, required: true}
  hours: {description: How far back from the newest acknowledged commit to read., type: float, default: 2}
  since: {description: 'An instant (RFC 3339); what was acknowledged since five minutes before it is read instead.', type: str}
  recent: {description: For how many of the newest tokens to return times too., type: int, default: 2000}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Read what was acknowledged
  pgrescue.runbooks.witness_acknowledged: {journal: /var/lib/pgrescue/witness/shop}
  register:
    recovery_acknowledged: _task.result.acknowledged
"""

RETURN = """
acknowledged:
  description: Token numbers as closed ranges, and the times of the newest ones.
  returned: always
  type: dict
  contains:
    ranges: {description: Acknowledged tokens., type: list, elements: list}
    attempts: {description: When the newest tokens were sent., type: dict}
    acks: {description: When the newest tokens were acknowledged., type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import acknowledged, times


def main() -> None:
    """Read and fold."""
    module = AnsibleModule(
        argument_spec={
            "journal": {"type": "path", "required": True},
            "hours": {"type": "float", "default": 2},
            "since": {"type": "str"},
            "recent": {"type": "int", "default": 2000},
        },
        supports_check_mode=True,
    )
    p = module.params
    since = times.moment(p["since"]) if p["since"] else None
    module.exit_json(changed=False, acknowledged=acknowledged.read(p["journal"], p["hours"], p["recent"], since))


if __name__ == "__main__":
    main()
