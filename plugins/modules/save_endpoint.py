#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Keep what a service's name is, before a run changes it."""

from __future__ import annotations

DOCUMENTATION = """
module: save_endpoint
short_description: Keep what a service's name is, before a run changes it
description:
  - Writes C(endpoint.json) of the run, once. A run that is gone on with has changed the record already, and keeps what was there before.
  - Refuses (exit code 4) when the run has kept another name, or has meant to point it elsewhere.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  name: {description: The name clients connect to., type: str, required: true}
  provider: {description: Who serves it., type: str, required: true}
  now: {description: 'The record as it is, C(type), C(ttl) and C(values).', type: dict, required: true}
  address: {description: Where the name shall point., type: str, required: true}
  ttl: {description: How long that may be kept in seconds., type: int, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Keep what the name is
  pgrescue.runbooks.save_endpoint:
    run_dir: runs/20261124T012050Z-shop-complete_loss
    name: shop-db.example.org
    provider: rfc2136
    now: {type: A, ttl: 5, values: [192.0.2.11]}
    address: 192.0.2.13
    ttl: 5
  delegate_to: localhost
"""

RETURN = """
kept: {description: What the run keeps., returned: success, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import endpoints, guards, records


def main() -> None:
    """Keep it, unless it is kept."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "name": {"type": "str", "required": True},
            "provider": {"type": "str", "required": True},
            "now": {"type": "dict", "required": True},
            "address": {"type": "str", "required": True},
            "ttl": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    path = os.path.join(p["run_dir"], "endpoint.json")
    try:
        if os.path.exists(path):
            kept = records.read_json(path)
            endpoints.check_kept(kept, p["name"], p["address"])
            module.exit_json(changed=False, kept=kept)
        kept = endpoints.inverse(p["name"], p["provider"], p["now"], p["address"], p["ttl"])
        if not module.check_mode:
            records.write_json(path, kept)
    except guards.Stop as stop:
        guards.fail(module, stop)
    said = "%s was %s (TTL %d s) before it is changed." % (p["name"], endpoints.shown(kept["values"]), kept["ttl"])
    module.exit_json(changed=True, kept=kept, journal=[{"event": "note", "detail": said}])


if __name__ == "__main__":
    main()
