#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Stop a run where it is safe, when somebody wants that."""

from __future__ import annotations

DOCUMENTATION = """
module: check_pause
short_description: Stop a run where it is safe, when somebody wants that
description:
  - Runbooks ask at the boundaries of their phases. Fails with exit code 9 when C(pause.json) says that the run shall stop; it keeps
    the service and goes on when its procedure is run again with the same run id.
  - Only looks. Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Stop here when somebody has paused the run
  pgrescue.runbooks.check_pause:
    run_dir: runs/20261124T012050Z-shop-complete_loss
  delegate_to: localhost
"""

RETURN = """#"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, steering


def main() -> None:
    """Look, and stop."""
    module = AnsibleModule(argument_spec={"run_dir": {"type": "path", "required": True}}, supports_check_mode=True)
    run_dir = module.params["run_dir"]
    wish = steering.pause(run_dir)
    if wish:
        said = "%s paused the run: %s. What was finished stays as it is, and the service stays held. Go on: pgrescue resume %s"
        stop = guards.Stop(
            said % (wish["by"], wish["reason"] or "no reason given", os.path.basename(run_dir)), guards.NEEDS_A_PERSON
        )
        guards.fail(module, stop)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
