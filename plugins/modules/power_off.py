#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Switch the power of a host off, and see it off."""

from __future__ import annotations

DOCUMENTATION = """
module: power_off
short_description: Switch the power of a host off, and see it off
description:
  - Asks the command of the inventory for the power state. When it is off, nothing is done; otherwise the other command is run and
    the state asked again until it is off or the time is over (exit code 5).
  - Runs where these commands are, usually the controller. They get no shell, and their words are in the answer.
options:
  host: {description: The host whose power it is., type: str, required: true}
  off_command: {description: Command line that switches it off at once., type: list, elements: str, required: true}
  state_command: {description: Command line that tells whether it is off., type: list, elements: str, required: true}
  state_off: {description: Expression that the output of the latter matches when it is off., type: str, required: true}
  deadline_s: {description: How long it may take to be off in seconds., type: int, default: 30}
attributes:
  check_mode: {support: full, description: Asks for the state and switches nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Switch the old primary off
  pgrescue.runbooks.power_off:
    host: db1
    off_command: [ipmitool, -H, db1-bmc.example.org, -U, fence, -f, /etc/pgrescue/ipmi, chassis, power, "off"]
    state_command: [ipmitool, -H, db1-bmc.example.org, -U, fence, -f, /etc/pgrescue/ipmi, chassis, power, status]
    state_off: "is off$"
  delegate_to: localhost
"""

RETURN = """
said: {description: What the command that tells the state said last., returned: success, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import fencing, guards, postgres


def main() -> None:
    """Ask, switch, ask until it is so."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "off_command": {"type": "list", "elements": "str", "required": True},
            "state_command": {"type": "list", "elements": "str", "required": True},
            "state_off": {"type": "str", "required": True},
            "deadline_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = module.params
    limit = ["timeout", "--kill-after=2", str(p["deadline_s"])]

    def state() -> fencing.Evidence:
        code, out, err = module.run_command([*limit, *p["state_command"]])
        return fencing.power(out or err, p["state_off"], code)

    before = state()
    if before.proven or module.check_mode:
        module.exit_json(changed=not before.proven, said=before.said)
    code, out, err = module.run_command([*limit, *p["off_command"]])
    last = {"seen": before}

    def off() -> bool:
        last["seen"] = state()
        return last["seen"].proven

    postgres.wait_until(off, p["deadline_s"], poll_s=0.5)
    if not last["seen"].proven:
        said = (
            "The power of %s is not off %d s after it was told so; %s. The command to switch it off ended with %d: %s"
        )
        words = (p["host"], p["deadline_s"], last["seen"].said, code, " ".join((err or out).split())[:200])
        guards.fail(module, guards.Stop(said % words, guards.STEP_FAILED))
    decision = {"event": "decision", "detail": "The power of %s was switched off: %s" % (p["host"], last["seen"].said)}
    module.exit_json(changed=True, said=last["seen"].said, journal=[decision])


if __name__ == "__main__":
    main()
