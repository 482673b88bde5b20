#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Hold what the witness saw acknowledged against the rows of a live database."""

from __future__ import annotations

DOCUMENTATION = """
module: hold_acknowledged
short_description: Hold what the witness saw acknowledged against the rows of a live database
description:
  - For a repair that stopped nobody. Of a cluster that was recovered as a whole M(pgrescue.runbooks.validate_cluster) asks this and more.
  - What is missing does not stop a run, for nothing that the run did could have lost it; it is in the measurement, and a finding.
  - Only looks.
options:
  acknowledged: {description: 'As M(pgrescue.runbooks.witness_acknowledged) returns it.', type: dict, required: true}
  witness_database: {description: Database that holds the tokens., type: str, default: postgres}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Hold the witness's commits against the live rows
  pgrescue.runbooks.hold_acknowledged:
    version: 17
    acknowledged: "{{ partial_loss_acknowledged }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The check; its schema is docs/schema/checks.schema.json.', returned: always, type: list, elements: dict}
reconciliation: {description: Acknowledged tokens against rows., returned: always, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import cluster_validation, postgres, validation


def main() -> None:
    """Read the tokens that are there, and judge."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "acknowledged": {"type": "dict", "required": True},
            "witness_database": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    found = cluster_validation.tokens(module, module.params["acknowledged"])
    judged = {**validation.judge_tokens(found, [], validation.SHOULD), "host": os.uname().nodename}
    module.exit_json(changed=False, checks=[judged], reconciliation=found.as_dict())


if __name__ == "__main__":
    main()
