#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Tell the witness which tokens a recovery gave up."""

from __future__ import annotations

DOCUMENTATION = """
module: witness_losses
short_description: Tell the witness which tokens a recovery gave up
description:
  - Appends to the witness's journal, once per run, so that the next recovery does not look for commits this one lost.
options:
  journal: {description: Directory of the journal., type: path, required: true}
  run: {description: The run that gave them up., type: str, required: true}
  tokens: {description: The tokens., type: list, elements: int, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Note what was lost
  pgrescue.runbooks.witness_losses:
    journal: /var/lib/pgrescue/witness/shop
    run: 20261124T012050Z-shop-complete_loss
    tokens: [1012, 1013]
"""

RETURN = """#"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import ranges, witness_files


def main() -> None:
    """Append once."""
    module = AnsibleModule(
        argument_spec={
            "journal": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "tokens": {"type": "list", "elements": "int", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    changed = module.check_mode or witness_files.accept_losses(p["journal"], p["run"], ranges.to_ranges(p["tokens"]))
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
