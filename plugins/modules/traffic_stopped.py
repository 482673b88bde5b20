#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Prove that nobody can write to an old copy any more."""

from __future__ import annotations

DOCUMENTATION = """
module: traffic_stopped
short_description: Prove that nobody can write to an old copy any more
description:
  - Waits until every instance of the application on this host has ended, while it asks every old copy whether it accepts connections.
  - Refuses (exit code 4) while an old copy accepts connections; fails with exit code 5 when an instance does not end in time.
  - With C(journal) it answers what the witness of this host saw acknowledged until then.
  - Only looks. Run it where the application stands.
options:
  hosts: {description: Old copies, host names and their addresses., type: dict, required: true}
  unit: {description: 'Name of the template of the application with its at sign, such as C(shop@).', type: str}
  postgres_port: {description: Port of PostgreSQL., type: int, default: 5432}
  timeout_s: {description: How long to wait for the answer of an old copy in seconds., type: float, default: 1.3}
  journal: {description: Folder of the witness's journal., type: path}
  deadline_s: {description: How long the application may take to end in seconds., type: int, default: 60}
attributes:
  check_mode: {support: full, description: 'Answers at once in check mode, for nothing was stopped then; the journal is read.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Prove that nobody writes
  pgrescue.runbooks.traffic_stopped:
    hosts: {db1: 10.0.0.11, db2: 10.0.0.12}
    unit: shop@
"""

RETURN = """
quiet: {description: Whether it is proven; false in check mode., returned: success, type: bool}
seen: {description: 'What the port of each did, C(refused) or C(silent).', returned: when it is proven, type: dict}
acknowledged:
  description: What M(pgrescue.runbooks.witness_acknowledged) answers by its defaults.
  returned: when C(journal) is given
  type: dict
waited_s: {description: How long the proof took in seconds., returned: success, type: float}
"""

import time
from typing import Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import acknowledged, guards, network, postgres


def instances(module: AnsibleModule) -> "list[str]":
    """Instances of the application that have not ended."""
    if not module.params["unit"]:
        return []
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating,reloading"]
    _code, out, _err = module.run_command([*command, module.params["unit"] + "*"], check_rc=True)
    return [line.split()[0] for line in out.splitlines() if line.strip()]


def last_told(journal: "Optional[str]") -> "dict[str, object]":
    """What the witness here saw acknowledged, where its journal is given."""
    return {"acknowledged": acknowledged.read(journal, 2, 2000)} if journal else {}


def main() -> None:
    """Wait for the application, ask the old copies, refuse while one can be written."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict", "required": True},
            "unit": {"type": "str"},
            "postgres_port": {"type": "int", "default": 5432},
            "timeout_s": {"type": "float", "default": network.PATIENCE_S},
            "deadline_s": {"type": "int", "default": 60},
            "journal": {"type": "path"},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False, quiet=False, waited_s=0.0, **last_told(p["journal"]))
    began = time.monotonic()
    seen = network.knocks(p["hosts"], p["postgres_port"], p["timeout_s"])
    accepting = sorted(host for host in seen if seen[host] == "accepted")
    if accepting:
        said = "%s still accept(s) connections: a client could write there. Fence it first." % ", ".join(accepting)
        guards.fail(module, guards.Stop(said))
    if not postgres.wait_until(lambda: not instances(module), p["deadline_s"]):
        said = "%s did not end within %d s." % (", ".join(instances(module)), p["deadline_s"])
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    waited = round(time.monotonic() - began, 3)
    module.exit_json(changed=False, quiet=True, seen=seen, waited_s=waited, **last_told(p["journal"]))


if __name__ == "__main__":
    main()
