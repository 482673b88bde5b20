#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Open the record of a run, or find the one that goes on."""

from __future__ import annotations

DOCUMENTATION = """
module: begin_run
short_description: Open the record of a run, or find the one that goes on
description:
  - Writes C(run.json) in the directory that the journal opened, points C(latest) at it.
  - Refuses (exit code 4) when another controller process is at work on the same run, or the run is of another service or procedure.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run; the journal names it in C(PGRESCUE_RUN_DIR)., type: path, required: true}
  controller_pid: {description: The process that writes the journal of this attempt., type: int, required: true}
  facts: {description: What C(run.json) shall say., type: dict, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Open the run's record
  pgrescue.runbooks.begin_run:
    run_dir: "{{ lookup('ansible.builtin.env', 'PGRESCUE_RUN_DIR') }}"
    controller_pid: "{{ lookup('ansible.builtin.env', 'PGRESCUE_CONTROLLER_PID') }}"
    facts: {kind: incident, procedure: complete_loss, service: shop}
  delegate_to: localhost
"""

RETURN = """
run: {description: The run's id., returned: always, type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import controllers, guards, records

BOUND = ("service", "procedure")


def main() -> None:
    """Guard, then write."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "controller_pid": {"type": "int", "required": True},
            "facts": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    run_dir, facts = module.params["run_dir"], module.params["facts"]
    run, path = os.path.basename(run_dir), os.path.join(run_dir, "run.json")
    busy = controllers.others_at_work(run_dir, module.params["controller_pid"])
    if busy:
        guards.fail(module, guards.Stop("Process %d is at work on run %s. Nothing was changed." % (busy, run)))
    earlier = records.read_json(path) if os.path.exists(path) else {}
    for key in BOUND:
        if earlier and earlier[key] != facts[key]:
            said = "Run %s is of %s %s, not of %s. Nothing was changed." % (run, key, earlier[key], facts[key])
            guards.fail(module, guards.Stop(said))
    changed = False
    if not module.check_mode:
        controllers.note(run_dir, module.params["controller_pid"])
        opened = {k: v for k, v in earlier.items() if k not in ("result", "exit_code")}
        changed = records.write_json(path, {"schema_version": 1, "id": run, **facts, **opened})
        records.link_latest(run_dir)
    event = [] if earlier else [{"event": "milestone", "step": "declared"}]
    module.exit_json(changed=changed, run=run, journal=event)


if __name__ == "__main__":
    main()
