#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bring the record of a run here from an object store, so that it can be read or resumed."""

from __future__ import annotations

DOCUMENTATION = """
module: fetch_record
short_description: Bring the record of a run here from an object store
description:
  - Copies the record from the store that holds the longest timeline of the run. The directory appears when it is whole.
  - A record that is here already is left as it is, for it may be newer.
  - Fails with exit code 3 when no store that answers holds the run.
  - Runs on the controller.
options:
  run: {description: The run's id., type: str, required: true}
  runs_dir: {description: Where runs are kept., type: path, required: true}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Looks in the stores and copies nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Fetch the record
  pgrescue.runbooks.fetch_record:
    run: 20261124T012050Z-shop-complete_loss
    runs_dir: runs
    stores: "{{ record_stores }}"
  delegate_to: localhost
"""

RETURN = """
run_dir: {description: Directory of the run., returned: success, type: str}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, stores


def main() -> None:
    """Look, then copy."""
    module = AnsibleModule(
        argument_spec={
            "run": {"type": "str", "required": True},
            "runs_dir": {"type": "path", "required": True},
            "stores": stores.ARGUMENT,
        },
        supports_check_mode=True,
    )
    p = module.params
    run_dir = os.path.join(p["runs_dir"], p["run"])
    if os.path.isdir(run_dir):
        module.exit_json(changed=False, run_dir=run_dir)
    store, failed = stores.fullest(p["run"], p["stores"])
    if store is None:
        silent = "".join("; %s did not answer: %s" % item for item in sorted(failed.items()))
        guards.fail(
            module,
            guards.Stop(
                "No object store holds run %s%s. Nothing was changed." % (p["run"], silent), guards.PRECONDITION
            ),
        )
    if not module.check_mode:
        stores.download(p["run"], p["runs_dir"], store)
    module.exit_json(changed=True, run_dir=run_dir)


if __name__ == "__main__":
    main()
