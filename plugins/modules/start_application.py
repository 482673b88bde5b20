#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bring the application back to the scale it had, one instance ahead of the others."""

from __future__ import annotations

DOCUMENTATION = """
module: start_application
short_description: Bring the application back to the scale it had, one instance ahead of the others
description:
  - Starts the first instance of a systemd template, waits until its health address answers 200, then starts the others.
  - When the first does not become healthy the others are not started and the module fails with exit code 9.
options:
  unit: {description: 'Name of the template with its at sign, such as C(shop@).', type: str, required: true}
  instances: {description: How many instances shall run., type: int, required: true}
  health_url: {description: Where the first instance says that it is well., type: str, required: true}
  deadline_s: {description: How long it may take in seconds., type: int, default: 60}
attributes:
  check_mode: {support: full, description: Says what would be started.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Resume the application
  pgrescue.runbooks.start_application: {unit: shop@, instances: 2, health_url: "http://127.0.0.1:8080/health"}
"""

RETURN = """
started: {description: Units that did not run before., returned: success, type: list, elements: str}
"""

import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres


def healthy(url: str) -> "tuple[bool, str]":
    """Whether the address answers 200, and what it said otherwise."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200, str(answer.status)
    except (urllib.error.URLError, OSError) as error:
        return False, str(error)


def main() -> None:
    """Start one, see it healthy, start the rest."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "instances": {"type": "int", "required": True},
            "health_url": {"type": "str", "required": True},
            "deadline_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    p = module.params
    units = ["%s%d.service" % (p["unit"], n) for n in range(1, p["instances"] + 1)]
    _code, out, _err = module.run_command(["systemctl", "is-active", *units])
    missing = [unit for unit, state in zip(units, out.split()) if state != "active"]
    if module.check_mode or not missing:
        module.exit_json(changed=bool(missing), started=missing)
    module.run_command(["systemctl", "start", units[0]], check_rc=True)
    said = {}

    def first_is_well() -> bool:
        well, said["last"] = healthy(p["health_url"])
        return well

    if not postgres.wait_until(first_is_well, p["deadline_s"]):
        stop = "%s did not become healthy within %d s (%s); the other instances were not started." % (
            units[0],
            p["deadline_s"],
            said["last"],
        )
        guards.fail(module, guards.Stop(stop, guards.NEEDS_A_PERSON))
    if units[1:]:
        module.run_command(["systemctl", "start", *units[1:]], check_rc=True)
    event = {"event": "milestone", "step": "application_resumed", "detail": "%d instances" % len(units)}
    module.exit_json(changed=True, started=missing, journal=[event])


if __name__ == "__main__":
    main()
