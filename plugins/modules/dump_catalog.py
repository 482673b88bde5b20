#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""List the dumps of a service over all stores."""

from __future__ import annotations

DOCUMENTATION = """
module: dump_catalog
short_description: List the dumps of a service over all stores
description:
  - Answers which dumps can be restored, newest first, and which cannot and why. A dump is offered when its manifest is signed by
    a key that is known and the store holds every file the manifest names, in its size.
  - Only looks, and reads no data; M(pgrescue.runbooks.verify_dump) does. Fails with exit code 3 when no store answers, or answers with
    an empty catalog and its C(problem), where no dump is needed.
options:
  service: {description: The service whose dumps are listed., type: str, required: true}
  public_keys: {description: Ed25519 public keys in PEM that may have signed., type: list, elements: str, required: true}
  required: {description: Whether nothing can be done without a dump., type: bool, default: true}
  stale_after_days: {description: After how many days a proof is stale., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: List the dumps
  pgrescue.runbooks.dump_catalog: {service: shop, stores: "{{ dump_stores }}", public_keys: "{{ dump_public_keys }}"}
  register:
    dump_catalog: _task.result.catalog
"""

RETURN = """
catalog:
  description: What the stores hold.
  returned: success
  type: dict
  contains:
    dumps:
      description:
        - Dumps that can be restored, newest first, with C(id), C(stores), C(databases), sizes, times, C(server_version), C(proof)
          (C(state) is unproven, restored, validated or failed; C(store), whose copy was read; C(stale); C(failed_in), other stores
          whose copy did not pass; C(problem) of a note that cannot be read), C(holds) and C(anomalies).
      type: list
      elements: dict
    refused: {description: 'Copies that cannot be used, each with C(id), C(store), C(reason) and C(holds).', type: list, elements: dict}
    unfinished: {description: 'Folders without a manifest, with their C(holds).', type: list, elements: dict}
    held: {description: Stores with a note that holds all dumps of the service, and that note., type: dict}
    uploads: {description: Uploads that were begun and never ended., type: list, elements: dict}
    unreachable: {description: 'Stores that did not answer, each with what was said.', type: dict}
    problem: {description: 'Why there is nothing to see, where that is so and no dump is needed.', type: str}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import dump_store, dumps, guards, stores


def main() -> None:
    """Look, and say why when there is nothing to see."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "required": {"type": "bool", "default": True},
            "stale_after_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        seen = dump_store.observe(p["stores"], p["service"], p["public_keys"])
        catalog = dumps.catalog(seen["copies"], datetime.now(timezone.utc), p["stale_after_days"])
    except (guards.Stop, ImportError) as error:  # a host may lack what only dumps need
        stop = error if isinstance(error, guards.Stop) else guards.Stop(str(error), guards.PRECONDITION)
        if p["required"]:
            guards.fail(module, stop)
        nothing = {"dumps": [], "refused": [], "unfinished": [], "unreachable": {}, "problem": str(stop)}
        module.exit_json(changed=False, catalog=nothing)
    held = {store: hold for store, hold in seen["holds"].items() if hold is not None}
    more = {"uploads": seen["uploads"], "unreachable": seen["unreachable"], "held": held}
    module.exit_json(changed=False, catalog={**catalog, **more})


if __name__ == "__main__":
    main()
