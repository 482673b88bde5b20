#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say which run of a service is known to have ended."""

from __future__ import annotations

DOCUMENTATION = """
module: ended_run
short_description: Say which run of a service is known to have ended
description:
  - Run it on the host that keeps the lock of the service. M(pgrescue.runbooks.service_lock) leaves a note there of the last run that
    let the service go; that one has ended, unless the lock says that it holds the service again. Of no other run is it known.
  - A run that a person names is taken for ended, but not against the lock, which is a refusal (exit code 4).
options:
  service: {description: Name of the service., type: str, required: true}
  run: {description: A run that somebody says has ended; the one of the note when left out or empty., type: str, default: ""}
  directory: {description: Where locks are kept., type: path, default: /var/lib/pgrescue/locks}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See which run has ended
  pgrescue.runbooks.ended_run: {service: shop}
  register:
    ended: _task.result.run
"""

RETURN = """
run: {description: The run that has ended; empty when that is known of none., returned: success, type: str}
held_by: {description: The run and the controller that hold the service now., returned: success, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, locks, records


def main() -> None:
    """Read the lock and the note."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "run": {"type": "str", "default": ""},
            "directory": {"type": "path", "default": "/var/lib/pgrescue/locks"},
        },
        supports_check_mode=True,
    )
    p = module.params
    # the note first: a run that takes the service between the two looks is seen to hold it
    ended, held = (
        records.read_json(path) if os.path.exists(path) else {}
        for path in reversed(locks.of_service(p["directory"], p["service"]))
    )
    at_work = str(held.get("run", ""))
    if p["run"] and p["run"] == at_work:
        said = "Run %s of %s is at work on %s since %s. Its holds stay."
        guards.fail(module, guards.Stop(said % (at_work, held["holder"], p["service"], held["since"])))
    run = p["run"] or str(ended.get("run", ""))
    module.exit_json(changed=False, run="" if run == at_work else run, held_by=held)


if __name__ == "__main__":
    main()
