#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Let a copy be promoted only at a point that a person has seen, or that is known to be whole."""

from __future__ import annotations

DOCUMENTATION = """
module: approve_target
short_description: Let a copy be promoted only at a point that a person has seen, or that is known to be whole
description:
  - Writes C(target.json), where a person reads what is there, and stops with exit code 9 until C(approved) names the very position at
    which the replay stands. Refuses (exit code 4) any other position.
  - Without O(inspect) a copy on which nothing damaged was found is approved at once.
  - Fails with exit code 6 when the copy is damaged too.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  standing: {description: 'Where the copy stands, from M(pgrescue.runbooks.replay_standing).', type: dict, required: true}
  damage: {description: 'What M(pgrescue.runbooks.damage) found on the copy.', type: dict, required: true}
  approved: {description: The position as a person typed it., type: str}
  inspect: {description: Whether a person must have seen it., type: bool, default: true}
  operator: {description: Who is at work., type: str, default: ''}
attributes:
  check_mode: {support: full, description: Approves nothing and stops nowhere.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Wait for a person who has looked
  pgrescue.runbooks.approve_target:
    run_dir: runs/20261124T012050Z-shop-corruption
    standing: "{{ corruption_standing }}"
    damage: "{{ corruption_copy }}"
    approved: 0/5000060
  delegate_to: localhost
"""

RETURN = """
approved: {description: The position at which it may be promoted., returned: success, type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, journal, records, recovery_gate


def main() -> None:
    """Write down what is there, then judge."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "standing": {"type": "dict", "required": True},
            "damage": {"type": "dict", "required": True},
            "approved": {"type": "str"},
            "inspect": {"type": "bool", "default": True},
            "operator": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, approved=p["approved"] or "")
    path = os.path.join(p["run_dir"], "target.json")
    noted = records.read_json(path) if os.path.exists(path) else {}
    try:
        approval, fresh = recovery_gate.approval(p, noted.get("approval"), os.path.basename(p["run_dir"]))
    except guards.Stop as stop:
        if p["standing"]["in_recovery"]:
            records.write_json(path, recovery_gate.note(p, None))
        guards.fail(module, stop)
    if fresh:
        records.write_json(path, recovery_gate.note(p, {**approval, "at": journal.now()}))
    said = [{"event": "approval", "status": "ok", "detail": "%(by)s approved the point %(lsn)s" % approval}]
    module.exit_json(changed=fresh, approved=approval["lsn"], journal=said if fresh else [])


if __name__ == "__main__":
    main()
