#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to go on unless an old primary is proven not to take writes."""

from __future__ import annotations

DOCUMENTATION = """
module: fence_proof
short_description: Refuse to go on unless an old primary is proven not to take writes
description:
  - Judges what M(pgrescue.runbooks.fence_evidence) found. Refuses (exit code 4) below two proofs of independent means, when one of
    them says the contrary, and when both are what a cut network looks like as well (silence of the port, a standby without its primary).
  - The verdict is written as C(fence-HOST.json) into the run's directory and as a decision into its journal. Runs on the controller.
options:
  host: {description: The old primary., type: str, required: true}
  evidence: {description: What each means told; what is empty is left out., type: list, elements: dict, required: true}
  ports: {description: 'What the port of the old primary did, by vantage point.', type: dict, default: {}}
  override: {description: Why a person accepts that two primaries may take writes., type: str, default: ""}
  run_dir: {description: Directory of the run., type: path}
attributes:
  check_mode: {support: full, description: Answers what it finds and refuses nothing in check mode; nothing is written then.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Prove that the old primary takes no writes
  pgrescue.runbooks.fence_proof:
    host: db1
    evidence: ["{{ fence_power }}", "{{ fence_replication }}"]
    ports: {app1: silent, client1: silent}
    run_dir: "{{ run_dir }}"
  delegate_to: localhost
"""

RETURN = """
fence:
  description: The verdict. C(overridden) is the reason of a person who accepted the risk, empty otherwise.
  returned: success
  type: dict
  sample: {host: db1, fenced: true, overridden: "", said: "db1 is fenced. Proven: ...", evidence: []}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import fencing, guards, records


def main() -> None:
    """Judge, write down, refuse."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "evidence": {"type": "list", "elements": "dict", "required": True},
            "ports": {"type": "dict", "default": {}},
            "override": {"type": "str", "default": ""},
            "run_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    p = module.params
    found = [fencing.of(facts) for facts in p["evidence"] if facts]
    found.append(fencing.network(p["host"], {place: str(did) for place, did in p["ports"].items() if did}))
    facts = [one.as_dict() for one in found]
    try:
        verdict = fencing.judge(p["host"], found, p["override"])
    except guards.Stop as stop:
        if module.check_mode:  # nothing was fenced then
            module.exit_json(
                changed=False, fence={"host": p["host"], "fenced": False, "evidence": facts, "said": str(stop)}
            )
        guards.fail(module, stop, fence={"host": p["host"], "fenced": False, "evidence": facts})
    fence = {"host": p["host"], **verdict, "evidence": facts}
    changed = False
    if p["run_dir"] and not module.check_mode:
        changed = records.write_json(os.path.join(p["run_dir"], "fence-%s.json" % p["host"]), fence)
    module.exit_json(changed=changed, fence=fence, journal=[{"event": "decision", "detail": verdict["said"]}])


if __name__ == "__main__":
    main()
