#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read what earlier runs of a service measured."""

from __future__ import annotations

DOCUMENTATION = """
module: run_history
short_description: Read what earlier runs of a service measured
description:
  - Reads the records below C(directory), on the controller. Only looks.
options:
  directory: {description: 'The folder of all runs; empty is as good as absent.', type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Read what earlier runs measured
  pgrescue.runbooks.run_history: {directory: runs, service: shop}
  delegate_to: localhost
  register:
    protection_runs: _task.result.runs
"""

RETURN = """
runs:
  description: Every run, oldest first. What a run did not measure is absent.
  returned: always
  type: list
  elements: dict
  sample: [{id: 20261124T202133Z-shop-complete_loss, kind: drill, procedure: complete_loss, result: passed, exit_code: 0,
            ended_s: 1795551729.5, failed_checks: [], rta_s: 23.8, rpa_s: 12.0, phases: {restore: 3.8}, data_bytes: 31764868,
            fetched_bytes: 23495609, fetch_s: 1.9, replayed_bytes: 33554432, replay_s: 1.4}]
unreadable: {description: Runs whose record cannot be read., returned: always, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import history


def main() -> None:
    """Read them."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    runs, unreadable = history.read(module.params["directory"], module.params["service"])
    module.exit_json(changed=False, runs=runs, unreadable=unreadable)


if __name__ == "__main__":
    main()
