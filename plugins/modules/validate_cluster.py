#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Ask a restored cluster everything that must hold before traffic may reach it."""

from __future__ import annotations

DOCUMENTATION = """
module: validate_cluster
short_description: Ask a restored cluster everything that must hold before traffic may reach it
description:
  - Returns checks and does not judge the run; M(pgrescue.runbooks.record_validation) does. Writes nothing but one empty transaction.
options:
  plan: {description: The plan the cluster was restored by., type: dict, required: true}
  acknowledged: {description: What the witness saw acknowledged; without it tokens are not checked., type: dict}
  accepted_losses: {description: Tokens a person has given up by name., type: list, elements: int, default: []}
  witness_database: {description: Database that holds the tokens., type: str, default: postgres}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Answers without checks in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Check the restored cluster
  pgrescue.runbooks.validate_cluster:
    version: 17
    plan: "{{ recovery_plan }}"
    acknowledged: "{{ recovery_acknowledged }}"
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: always, type: list, elements: dict}
reconciliation: {description: Acknowledged tokens against rows., returned: when acknowledged is given, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import cluster_validation, postgres


def main() -> None:
    """Ask, judge each answer, return them all."""
    spec = dict(postgres.CONNECTION_ARGUMENTS)
    spec.update(
        plan={"type": "dict", "required": True},
        acknowledged={"type": "dict"},
        accepted_losses={"type": "list", "elements": "int", "default": []},
        witness_database={"type": "str", "default": "postgres"},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    module.exit_json(changed=False, **cluster_validation.answers(module))


if __name__ == "__main__":
    main()
