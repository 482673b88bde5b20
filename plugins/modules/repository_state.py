#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Observe what each repository of a stanza holds, one by one."""

from __future__ import annotations

DOCUMENTATION = """
module: repository_state
short_description: Observe what each repository of a stanza holds, one by one
description:
  - Answers for each repository by itself whether it answers, whether it is encrypted, which backups it holds, and whether its
    archive has a gap, and whether a run keeps it from expiring. M(pgrescue.runbooks.backup_catalog) answers what can be restored from all of them together.
  - Only looks. Run it on a host that has the repositories' configuration, as the user that owns the cluster.
  - A repository that does not answer is an observation, told in C(problem).
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  repositories: {description: Numbers of the repositories., type: list, elements: int, required: true}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store. One that does not speak TLS at once is not waited for.
    type: dict
    default: {}
  timeout_s: {description: How long a repository may take to answer in seconds., type: int, default: 15}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what each repository holds
  pgrescue.runbooks.repository_state: {stanza: shop, repositories: [1, 2]}
  become: true
  become_user: postgres
  register:
    repositories_seen: _task.result.repositories
"""

RETURN = """
repositories:
  description: One entry for each repository that was asked for. Backups are in order of time, oldest first. Those that a recovery to the
    newest timeline cannot begin with are in C(passed_over), each with the reason.
  returned: always
  type: list
  elements: dict
  sample: [{number: 1, problem: null, encrypted: false, system_identifier: "7432", backups: [{label: 20261124-214222F, type: full,
           started_s: 1795556542, stopped_s: 1795556543, size_bytes: 23495609, stored_bytes: 4523000, wal_start: "1", wal_stop: "2",
           lsn_stop: 0/2000100, segment_bytes: 16777216, timeline: 1,
           proof: validated, proven: "2026-11-24T21:58:49Z", error: false}], passed_over: [], holds: [{run: run-1, since_s: 1795556600}], newest_segment: "3", newest_segment_s: 1795556600, gaps: [{after: "1", until: "3", since_s: 1795556600}]}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, lsn, network, pgbackrest, repository


def observe(module: AnsibleModule, number: int) -> "dict[str, object]":
    """One repository, asked by itself."""
    engine = pgbackrest.Repositories(module)
    try:
        info = engine.ask("--repo=%d" % number, "info")
        state = repository.state(info, number)
        if not state["problem"]:
            noted = engine.files(number, repository.HOLDS)
            state["holds"] = [{"run": name, "since_s": note["time"]} for name, note in sorted(noted.items())]
        if state.get("archive_id"):
            size = state["backups"][0]["segment_bytes"] if state["backups"] else lsn.DEFAULT_SEGMENT_BYTES
            stored, line = engine.archived([(number, state["archive_id"])], size)
            state.update(repository.archive_state(stored, state["backups"], line))
    except guards.Stop as stop:
        return {"number": number, "problem": str(stop)}
    return state


def main() -> None:
    """Ask each."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "repositories": {"type": "list", "elements": "int", "required": True},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    wanted = module.params["repositories"]
    silent = network.tls_problems({k: v for k, v in module.params["endpoints"].items() if int(k) in wanted})
    found = [
        {"number": number, "problem": silent[str(number)]} if str(number) in silent else observe(module, number)
        for number in wanted
    ]
    module.exit_json(changed=False, repositories=found)


if __name__ == "__main__":
    main()
