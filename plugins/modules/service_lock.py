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
  - A run that was let go of elsewhere cannot be begun again from a record that does not know of it.
  - Tells the timeline what this host's clock says, so that what the witness saw can be placed beside what the controller did.
options:
  service: {description: Name of the service., type: str, required: true}
  run: {description: The run that shall hold it., type: str, required: true}
  holder: {description: The controller that works on the run., type: str, required: true}
  takeover: {description: Take the run over from another controller., type: bool, default: false}
  directory: {description: Where locks are kept., type: path, default: /var/lib/pgrescue/locks}
  attempts:
    description: When each attempt at the run began, as the controller's own record says, the present one last.
    type: list
    elements: str
    default: []
  state:
    description:
      - C(present) holds the service, C(absent) lets it go when this run and controller hold it.
      - C(held) only looks and refuses when another took it over meanwhile; C(free) refuses when another run holds it.
    type: str
    choices: [present, absent, held, free]
    default: present
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
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, journal, locks, records


def verdict(held: "dict[str, str]", wanted: "dict[str, str]", takeover: bool) -> None:
    """Refuse, with the way on, when `held` does not let `wanted` in."""
    if held["run"] != wanted["run"]:
        raise guards.Stop(
            "%s is held by run %s of %s since %s. Wait for it; if its controller is gone, go on with it (pgrescue resume %s) or give "
            "it up (pgrescue abort %s). Nothing was changed."
            % (wanted["service"], held["run"], held["holder"], held["since"], held["run"], held["run"])
        )
    if held["holder"] != wanted["holder"] and not takeover:
        raise guards.Stop(
            "Run %s is held by %s since %s. If that controller is gone for good, take the run over: -e takeover=true "
            "(pgrescue resume %s --takeover). Nothing was changed."
            % (held["run"], held["holder"], held["since"], held["run"])
        )


def check_ended(path: str, wanted: "dict[str, str]", attempts: "list[str]") -> None:
    """Refuse a run that went on and ended elsewhere, where the controller's record does not show it."""
    ended = records.read_json(path) if os.path.exists(path) else {}
    if ended.get("run") == wanted["run"] and ended["attempt"] not in attempts:
        raise guards.Stop(
            "Run %s went on with %s and was let go at %s; the record here is older. Move it away and fetch the newer one "
            "(playbooks/fetch_run.yml). Nothing was changed." % (ended["run"], ended["holder"], ended["until"])
        )


def check_held(held: "dict[str, str]", wanted: "dict[str, str]") -> None:
    """Refuse to go on when another controller has the service now."""
    if (held.get("run"), held.get("holder")) != (wanted["run"], wanted["holder"]):
        now = "run %(run)s of %(holder)s" % held if held else "nobody"
        raise guards.Stop(
            "%s is held by %s now: this controller was given up meanwhile and stops here." % (wanted["service"], now)
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
            "attempts": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent", "held", "free"], "default": "present"},
        },
        supports_check_mode=True,
    )
    p = module.params
    path, ended = locks.of_service(p["directory"], p["service"])
    wanted = {"service": p["service"], "run": p["run"], "holder": p["holder"], "since": journal.now()}
    held = records.read_json(path) if os.path.exists(path) else {}
    try:
        if p["state"] == "absent":
            mine = held.get("run") == p["run"] and (held["holder"] == p["holder"] or p["takeover"])
            if mine and not module.check_mode and p["attempts"]:
                note = {"run": p["run"], "holder": p["holder"], "attempt": p["attempts"][-1], "until": journal.now()}
                records.write_json(ended, note)
            if mine and not module.check_mode:
                os.unlink(path)
            module.exit_json(changed=mine, held_by={})
        if p["state"] == "held":
            check_held(held, wanted)
        if p["state"] == "free" and held:
            verdict(held, {**wanted, "holder": held["holder"]}, takeover=False)
        if p["state"] in ("held", "free"):
            module.exit_json(changed=False, held_by=held)
        check_ended(ended, wanted, p["attempts"])
        if not module.check_mode:
            os.makedirs(p["directory"], exist_ok=True)
        changed, held = acquire(path, wanted, p["takeover"], module.check_mode)
    except guards.Stop as stop:
        # a run that another controller holds is not this one's to measure or to let go
        note = {"event": "note", "step": "refused", "detail": json.dumps({"held_by": held or p["run"]})}
        guards.fail(module, stop, journal=[note])
    clock = {"event": "note", "step": "clock", "detail": json.dumps({"wall": journal.now()})}
    module.exit_json(changed=changed, held_by=held, journal=[clock])


if __name__ == "__main__":
    main()
