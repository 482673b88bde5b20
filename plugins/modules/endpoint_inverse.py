#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say what undoes a run's switch of a service's name, or refuse because somebody else has changed it."""

from __future__ import annotations

DOCUMENTATION = """
module: endpoint_inverse
short_description: Say what undoes a run's switch of a service's name, or refuse because somebody else has changed it
description:
  - Reads C(endpoint.json) of the run, which M(pgrescue.runbooks.save_endpoint) wrote, and compares it with the record as it is now.
  - Fails with exit code 9 when the record is neither what the run published nor what was there before, and with exit code 3 when the run
    has kept nothing.
  - Only looks. Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  name: {description: The name clients connect to., type: str, required: true}
  now: {description: 'The record as it is, C(type), C(ttl) and C(values).', type: dict, required: true}
attributes:
  check_mode: {support: full}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what puts the name back
  pgrescue.runbooks.endpoint_inverse:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    name: shop-db.example.org
    now: {type: A, ttl: 5, values: [192.0.2.13]}
  delegate_to: localhost
"""

RETURN = """
inverse:
  description: The record to publish; one without C(values) is to be removed.
  returned: success
  type: dict
  sample: {type: A, ttl: 60, values: [192.0.2.11]}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import endpoints, guards, records


def main() -> None:
    """Compare, and refuse."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "now": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "endpoint.json")
    try:
        if not os.path.exists(path):
            said = "Run %s has kept nothing of the endpoint, so it has not changed it. It was left as it is."
            raise guards.Stop(said % os.path.basename(p["run_dir"]), guards.PRECONDITION)
        inverse = endpoints.to_restore(records.read_json(path), p["name"], p["now"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, inverse=inverse)


if __name__ == "__main__":
    main()
