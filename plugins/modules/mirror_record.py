#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Copy the record of a run to its object stores."""

from __future__ import annotations

DOCUMENTATION = """
module: mirror_record
short_description: Copy the record of a run to its object stores
description:
  - Copies every file of the run's directory to each store side by side, the manifest last.
  - A store that does not take its copy is noted in the timeline. A recovery must not stop because the store of its record is down,
    so the module fails (exit code 5) only when C(required) and no store holds a copy.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  required: {description: Whether at least one store must take a copy., type: bool, default: false}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Copies nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Mirror the record
  pgrescue.runbooks.mirror_record:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    stores: "{{ record_stores }}"
  delegate_to: localhost
"""

RETURN = """
held: {description: Stores that hold the record now., returned: success, type: list, elements: str}
missing_from: {description: 'Stores that do not, each with the reason.', returned: always, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, stores


def main() -> None:
    """Copy, and say where it could not be done."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "stores": stores.ARGUMENT,
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=True, held=[], missing_from={})
    held, missing = stores.mirror(p["run_dir"], p["stores"])
    said = ["The record was not mirrored to %s: %s" % item for item in sorted(missing.items())]
    if p["required"] and not held:
        guards.fail(
            module, guards.Stop("; ".join(said) or "No store was named.", guards.STEP_FAILED), missing_from=missing
        )
    module.exit_json(
        changed=bool(held),
        held=held,
        missing_from=missing,
        journal=[{"event": "note", "detail": line} for line in said],
    )


if __name__ == "__main__":
    main()
