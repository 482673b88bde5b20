#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Observe the PostgreSQL cluster of one host."""

from __future__ import annotations

DOCUMENTATION = """
module: cluster_state
short_description: Observe the PostgreSQL cluster of one host
description:
  - Answers, in one call, what runs on a host, which database system it is, which timeline it follows and how far it is.
  - Only looks. Run it as the user that owns the cluster, usually C(postgres).
options:
  in_use: {description: The link to the place in use; a host is ready for a restore when its server starts there., type: path}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Observe the host
  pgrescue.runbooks.cluster_state:
    version: 17
  become: true
  become_user: postgres
  register:
    postgres_state: _task.result.state
"""

RETURN = """
state:
  description:
    - What was seen. C(role) is primary, standby, unresponsive (it runs and cannot be asked), stopped or spare.
    - C(ready) says whether its server is configured to start on the place in use, where a restore is put.
    - C(replay) of a standby is C(not paused), C(pause requested) or C(paused); null of a primary.
    - C(received) of a standby is the WAL position up to which it holds WAL, replayed or not; C(replayed_s) when the last commit that
      it replayed was made, in seconds since 1970.
    - C(managed_by) is the other tool that decides who is primary, C(Patroni) or C(pg_auto_failover); null when there is none.
    - C(upstream) is the host, as its configuration names it, that a standby streams from.
    - C(lsn) of a stopped cluster is where its last checkpoint is.
    - C(place) is where the data really are, C(data_directory) the path by which the server knows them.
    - C(fenced) of a server that does not run says whether C(start.conf) keeps it from starting.
    - C(unstarted) names the run and the place of a restore that is whole and was never started.
  returned: always
  type: dict
  sample: {role: primary, running: true, in_recovery: false, system_identifier: "7432", timeline: 3, lsn: 0/5000060, replay: null,
           data_directory: /var/lib/postgresql/17/main, data_bytes: 24117248, replicas: [], slots: [], settings: {}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import cluster_facts, postgres


def main() -> None:
    """Ask everything at once; a server that does not answer is an observation, not an error."""
    spec = {**postgres.CONNECTION_ARGUMENTS, "in_use": {"type": "path"}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    module.exit_json(changed=False, state=cluster_facts.observe(module, module.params["in_use"]))


if __name__ == "__main__":
    main()
