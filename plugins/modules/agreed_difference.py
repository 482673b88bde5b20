#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Write down what a merge would do, and go on only when a person wants it."""

from __future__ import annotations

DOCUMENTATION = """
module: agreed_difference
short_description: Write down what a merge would do, and go on only when a person wants it
description:
  - Writes C(difference.json) of the run, with counts per table and their digest, before anything of production is changed.
  - Then refuses (exit code 4) without the service's name, which says all counts; and where a newer row holds a unique key of a missing one.
  - What was agreed to is kept in C(agreement.json), bound to the digest, so that a run that was killed goes on with just that.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  difference: {description: From M(pgrescue.runbooks.row_difference)., type: dict, required: true}
  merged: {description: Whether it has been merged already., type: bool, default: false}
  replace: {description: Tables in which rows of the copy replace live ones that differ., type: list, elements: str, default: []}
  fire_triggers: {description: Whether triggers of the service fire., type: bool, default: false}
  confirm: {description: 'The service''s name, typed by a person.', type: str}
  asks: {description: Whether people are going to be asked; then C(gate) says at which gate instead of a refusal., type: bool, default: false}
  inventory: {description: 'The inventory, as the next command shall name it.', type: str, default: INVENTORY}
attributes:
  check_mode: {support: full, description: Writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Show what would come back, and let a person say so
  pgrescue.runbooks.agreed_difference:
    run_dir: "{{ run_dir }}"
    service: shop
    difference: "{{ partial_loss_difference }}"
    confirm: "{{ confirm | default(omit) }}"
  delegate_to: localhost
"""

RETURN = """
agreement: {description: 'What a person agreed to; C(digest), C(replace) and C(fire_triggers).', returned: success, type: dict}
gate: {description: 'The gate, bound to what would be agreed to; empty where it is agreed.', returned: success, type: str}
said: {description: 'The difference, a sentence for each table.', returned: always, type: list, elements: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    partial_difference,
    partial_merge,
    records,
)


def check(p: "dict[str, object]", said: "list[str]", earlier: "dict[str, object]") -> "dict[str, object]":
    """What is agreed to, or a refusal of what cannot be or nobody agreed to."""
    partial_merge.check_blocked(p["difference"])
    tables = p["replace"] or list(earlier.get("replace", {}))
    partial_merge.check_replace(p["difference"], tables)
    wanted = {
        "digest": p["difference"]["digest"],
        "replace": {
            one["table"]: one["differing_digest"] for one in p["difference"]["tables"] if one["table"] in tables
        },
        "fire_triggers": p["fire_triggers"] or earlier.get("fire_triggers", False),
    }
    if p["confirm"] != p["service"] and wanted != earlier and not p["asks"]:
        typed = "%r was typed" % p["confirm"] if p["confirm"] else "nobody confirmed it"
        raise guards.Stop(
            "%s. This would come back into %s, and %s. Nothing of production was changed. Go on with this run: "
            "pgrescue resume %s -i %s --confirm %s"
            % ("; ".join(said), p["service"], typed, os.path.basename(p["run_dir"]), p["inventory"], p["service"])
        )
    return wanted


def main() -> None:
    """Write first, ask then."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "difference": {"type": "dict", "required": True},
            "merged": {"type": "bool", "default": False},
            "replace": {"type": "list", "elements": "str", "default": []},
            "fire_triggers": {"type": "bool", "default": False},
            "confirm": {"type": "str"},
            "asks": {"type": "bool", "default": False},
            "inventory": {"type": "str", "default": "INVENTORY"},
        },
        supports_check_mode=True,
    )
    p = module.params
    said = [partial_difference.sentence(one) for one in p["difference"]["tables"]]
    path = os.path.join(p["run_dir"], "agreement.json")
    earlier = records.read_json(path) if os.path.exists(path) else {}
    changed = False
    if not module.check_mode:
        changed = records.write_json(os.path.join(p["run_dir"], "difference.json"), p["difference"])
    try:
        agreement = earlier if p["merged"] and earlier else check(p, said, earlier)
    except guards.Stop as stop:
        guards.fail(module, stop, said=said)
    if p["asks"] and agreement != earlier:
        gate = "merge_" + records.digest(agreement)[:12]
        module.exit_json(changed=changed, said=said, agreement=earlier, gate=gate)
    if not module.check_mode:
        changed |= records.write_json(path, agreement)
    agreed = "difference %s is agreed to" % agreement["digest"][:12]
    event = [] if agreement == earlier else [{"event": "approval", "status": "ok", "detail": agreed}]
    module.exit_json(changed=changed, said=said, agreement=agreement, gate="", journal=event)


if __name__ == "__main__":
    main()
