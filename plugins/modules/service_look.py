#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Look once at a service from one of its hosts."""

from __future__ import annotations

DOCUMENTATION = """
module: service_look
short_description: Look once at a service from one of its hosts
description:
  - Answers, in one call, what the host's own server says of itself, what a client that stands there sees of the service, and what the
    ports of the other hosts do when they are greeted from there. A part that does not answer in time is an observation, not an error.
  - Writes one row of its own (C(pgrescue.looks)) through the service's name, where it is told to; changes nothing else.
  - Run it as the user that owns the cluster on a database host.
options:
  look:
    description:
      - What to look at. C(place) and C(patience_s); as far as the host has it C(server) {in_use, log}, C(endpoint), C(dsn), C(probes)
        {name; url, status, contains, newest, max_age_s}, C(hosts) {name; address} and C(port).
    type: dict
    required: true
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: partial, description: Does not write in check mode; the rest of the look is taken.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Look at the service
  pgrescue.runbooks.service_look:
    version: 17
    look: {place: db1, patience_s: 2, server: {in_use: /var/lib/postgresql/17/current}, hosts: {db2: 10.0.0.12}, port: 5432}
  become: true
  become_user: postgres
"""

RETURN = """
look:
  description: C(place), C(at), and each part that was wanted, C(server), C(name), C(write), C(http) and C(ports).
  returned: always
  type: dict
  sample: {place: db1, at: 1795551729.5, ports: {db2: well}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import look, postgres


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={**postgres.CONNECTION_ARGUMENTS, "look": {"type": "dict", "required": True}},
        supports_check_mode=True,
    )
    wanted = {**module.params["look"], **({"dsn": None} if module.check_mode else {})}
    module.params["in_use"] = (wanted.get("server") or {}).get("in_use")  # where the core looks for it
    answers = look.Looker(look.parts(module, wanted), float(wanted["patience_s"])).look()
    module.exit_json(changed=False, look=look.said(wanted, answers))


if __name__ == "__main__":
    main()
