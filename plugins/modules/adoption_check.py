#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to protect a cluster that somebody else made, where that would break it."""

from __future__ import annotations

DOCUMENTATION = """
module: adoption_check
short_description: Refuse to protect a cluster that somebody else made, where that would break it
description:
  - Refuses (exit code 3) and names, for all hosts at once, what protect.yml would break and what to do about it.
  - A host that protect.yml configured before is asked for its locales only.
  - Runs on the controller, before anything is changed anywhere.
options:
  found: {description: 'What M(pgrescue.runbooks.found_clusters) saw on each host.', type: dict, required: true}
  wanted:
    description: 'What the inventory says of each host: C(version), C(port), C(current), C(cert) and C(ca).'
    type: dict
    required: true
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Refuse what would break a cluster
  pgrescue.runbooks.adoption_check:
    found: {db1: "{{ postgres_found }}"}
    wanted: {db1: {version: 17, port: 5432, current: /var/lib/postgresql/17/current}}
  delegate_to: localhost
"""

RETURN = """
adopted: {description: Hosts with a cluster that protect.yml has not been to., returned: success, type: list, elements: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import adoption, guards


def main() -> None:
    """Judge."""
    module = AnsibleModule(
        argument_spec={"found": {"type": "dict", "required": True}, "wanted": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    found, wanted = module.params["found"], module.params["wanted"]
    said = adoption.obstacles(found, wanted)
    if said:
        guards.fail(module, guards.Stop(adoption.refusal(said), guards.PRECONDITION))
    strange = [host for host, seen in found.items() if seen["clusters"] and not adoption.is_ours(seen)]
    module.exit_json(changed=False, adopted=sorted(strange))


if __name__ == "__main__":
    main()
