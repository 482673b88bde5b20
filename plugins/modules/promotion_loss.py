#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say what the promotion of this standby would give up, and refuse more than is allowed."""

from __future__ import annotations

DOCUMENTATION = """
module: promotion_loss
short_description: Say what the promotion of this standby would give up, and refuse more than is allowed
description:
  - Compares what the standby has received with the farthest that the old primary was seen, and the newest commit of the witness in it
    with what the witness saw acknowledged.
  - Answers bytes, transactions and seconds; what cannot be known is null. Refuses (exit code 4) what is above a limit, or not known to
    be below it, unless somebody accepts it with a reason. Only compares. Runs on the controller.
options:
  position: {description: What M(pgrescue.runbooks.standby_position) answers., type: dict, required: true}
  seen:
    description: >-
      Sightings of the old primary, each with C(lsn), C(by) and, where known, C(at) (RFC 3339); such as the last observation and its
      control file. Those without C(lsn) are left out.
    type: list
    elements: dict
    required: true
  acknowledged: {description: What M(pgrescue.runbooks.witness_acknowledged) answers., type: dict}
  limits: {description: 'What may be given up: C(bytes), C(transactions), C(seconds); what is left out has no limit.', type: dict, default: {}}
  accept: {description: Why a person accepts more., type: str, default: ""}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Say what would be lost
  pgrescue.runbooks.promotion_loss:
    position: "{{ failover_position }}"
    seen: [{lsn: 0/5000060, at: "2026-11-24T22:00:00Z", by: the last observation}]
    acknowledged: "{{ failover_acknowledged }}"
    limits: {seconds: 5}
  delegate_to: localhost
"""

RETURN = """
loss:
  description: What would be given up; C(standby) and C(primary) are the positions compared, C(seen_by) says who saw the latter.
  returned: success
  type: dict
  sample: {bytes: 24576, transactions: 3, seconds: 0.4, standby: 0/5000060, primary: 0/5006060, seen_by: the witness, said: "It would ..."}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, losses


def main() -> None:
    """Compare, refuse."""
    module = AnsibleModule(
        argument_spec={
            "position": {"type": "dict", "required": True},
            "seen": {"type": "list", "elements": "dict", "required": True},
            "acknowledged": {"type": "dict"},
            "limits": {"type": "dict", "default": {}},
            "accept": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        unknown = sorted(set(p["limits"]) - set(losses.LIMITS))
        if unknown:
            raise guards.Stop("There is no limit on %s." % ", ".join(unknown), guards.PRECONDITION)
        sightings = [one for one in p["seen"] if one.get("lsn")]
        loss = losses.of(p["position"], sightings, p["acknowledged"])
        said = losses.check(loss, p["limits"], p["accept"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, loss={**loss, "said": said}, journal=[{"event": "decision", "detail": said}])


if __name__ == "__main__":
    main()
