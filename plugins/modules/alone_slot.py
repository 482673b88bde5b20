#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Take the right to act on a service alone, or be refused."""

from __future__ import annotations

DOCUMENTATION = """
module: alone_slot
short_description: Take the right to act on a service alone, or be refused
description:
  - Holds what was seen against what the inventory lets be done without asking anybody, and against what was done before, which is kept
    in a file on this host. Of a hundred that ask at once one is let through.
  - Refuses (exit code 4) and says why. A right that was taken is used up, whatever becomes of the action.
options:
  service: {description: Name of the service., type: str, required: true}
  action: {description: What shall be done., type: str, required: true}
  policy: {description: 'C(service_alone) of the inventory.', type: dict, required: true}
  situation: {description: 'What was seen, as the filter C(situation) says it.', type: dict, required: true}
  directory: {description: Where it is kept what was done., type: path, default: /var/lib/pgrescue/alone}
attributes:
  check_mode: {support: full, description: Says whether it would be let through, and takes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: May it be restarted alone?
  pgrescue.runbooks.alone_slot:
    service: shop
    action: restart
    policy: {restart: {states: [stopped], at_most: 1, within_s: 86400}}
    situation: {state: stopped, followed: true}
  become: true
"""

RETURN = """
past: {description: 'What was done before, this among it.', returned: success, type: list, elements: dict}
"""

import fcntl
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import alone, guards, records

KEPT = 100


def main() -> None:
    """Hold, decide, note."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "action": {"type": "str", "required": True},
            "policy": {"type": "dict", "required": True},
            "situation": {"type": "dict", "required": True},
            "directory": {"type": "path", "default": "/var/lib/pgrescue/alone"},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["directory"], p["service"] + ".json")
    if not module.check_mode:
        os.makedirs(p["directory"], exist_ok=True)
    turn = None
    if os.path.isdir(p["directory"]):
        turn = os.open(p["directory"], os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(turn, fcntl.LOCK_EX)  # it ends with this process
    past = records.read_json(path) if os.path.exists(path) else []
    now_s = time.time()
    try:
        reason = alone.why_not(p["policy"], p["action"], p["situation"], past, now_s)
        if reason:
            said = "A %s of %s is not done alone: %s. Nothing was changed." % (p["action"], p["service"], reason)
            raise guards.Stop(said)
    except guards.Stop as stop:
        guards.fail(module, stop)
    past = [*past, {"action": p["action"], "at_s": round(now_s, 3), "state": p["situation"]["state"]}][-KEPT:]
    if not module.check_mode:
        records.write_json(path, past)
    module.exit_json(changed=True, past=past)


if __name__ == "__main__":
    main()
