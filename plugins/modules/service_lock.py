#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Let one recovery at a time work on a service."""

from __future__ import annotations

DOCUMENTATION = """
module: service_lock
short_description: Let one recovery at a time work on a service
description:
  - Holds a file, made in one step, on a host that every operator of the service reaches.
  - Another run is refused (exit code 4) with who holds the service and what to do. The same run from another controller is refused
    too, unless it says C(takeover), for two controllers must not work on one run.
  - Tells the timeline what this host's clock says, so that what the witness saw can be placed beside what the controller did.
options:
  service: {description: Name of the service., type: str, required: true}
  run: {description: The run that shall hold it., type: str, required: true}
  holder: {description: The controller that works on the run., type: str, required: true}
  takeover: {description: Take the run over from another controller., type: bool, default: false}
  directory: {description: Where locks are kept., type: path, default: /var/lib/pgrescue/locks}
  state: {description: Hold the service or let it go., type: str, choices: [present, absent], default: present}
attributes:
  check_mode: {support: full, description: Says whether the lock could be had.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Hold the service
  pgrescue.runbooks.service_lock:
    service: shop
    run: 20261124T012050Z-shop-complete_loss
    holder: alice@bastion
"""

RETURN = """
held_by: {description: The run and the controller that hold the service now., returned: success, type: dict}
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, journal, records


def verdict(held: "dict[str, str]", wanted: "dict[str, str]", takeover: bool) -> None:
    """Refuse, with the way on, when `held` does not let `wanted` in."""
    if held["run"] != wanted["run"]:
        raise guards.Stop(
            "%s is held by run %s of %s since %s. Go on with it (pgrescue resume %s) or give it up (pgrescue abort %s). "
            "Nothing was changed."
            % (wanted["service"], held["run"], held["holder"], held["since"], held["run"], held["run"])
        )
    if held["holder"] != wanted["holder"] and not takeover:
        raise guards.Stop(
            "Run %s is held by %s since %s. If that controller is gone for good, take the run over: -e takeover=true "
            "(pgrescue resume %s --takeover). Nothing was changed."
            % (held["run"], held["holder"], held["since"], held["run"])
        )


def acquire(path: str, wanted: "dict[str, str]", takeover: bool, dry: bool) -> "tuple[bool, dict[str, str]]":
    """Make the lock file, complete or not at all; whether it was made or taken over, and what it says."""
    mine = path + ".%d" % os.getpid()
    if not dry:
        records.write_json(mine, wanted)
    try:
        if not dry:
            os.link(mine, path)  # fails when another was first
        elif os.path.exists(path):
            raise FileExistsError
        return True, wanted
    except FileExistsError:
        held = records.read_json(path)
        verdict(held, wanted, takeover)
        if held["holder"] == wanted["holder"]:
            return False, held
        if not dry:
            os.replace(mine, path)
        return True, wanted
    finally:
        if os.path.exists(mine):
            os.unlink(mine)


def main() -> None:
    """Hold or let go."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "holder": {"type": "str", "required": True},
            "takeover": {"type": "bool", "default": False},
            "directory": {"type": "path", "default": "/var/lib/pgrescue/locks"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["directory"], p["service"] + ".json")
    wanted = {"service": p["service"], "run": p["run"], "holder": p["holder"], "since": journal.now()}
    if p["state"] == "absent":
        mine = os.path.exists(path) and records.read_json(path)["run"] == p["run"]
        if mine and not module.check_mode:
            os.unlink(path)
        module.exit_json(changed=bool(mine), held_by={})
    if not module.check_mode:
        os.makedirs(p["directory"], exist_ok=True)
    try:
        changed, held = acquire(path, wanted, p["takeover"], module.check_mode)
    except guards.Stop as stop:
        guards.fail(module, stop)
    clock = {"event": "note", "step": "clock", "detail": json.dumps({"wall": journal.now()})}
    module.exit_json(changed=changed, held_by=held, journal=[clock])


if __name__ == "__main__":
    main()
