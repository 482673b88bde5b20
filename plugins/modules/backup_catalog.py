#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""List what pgBackRest's repositories offer to restore."""

from __future__ import annotations

DOCUMENTATION = """
module: backup_catalog
short_description: List what pgBackRest's repositories offer to restore
description:
  - Answers, in one call, which backups there are, which can be used and why others cannot, and how far the archived WAL reaches.
  - Only looks. Run it on a host that has the repositories' configuration, as the user that owns the cluster.
  - A repository that does not answer is named in C(unreachable); when none offers a backup the module fails with exit code 3,
    or answers with an empty catalog and its C(problem), where no backup is needed.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  required: {description: Whether nothing can be done without a backup., type: bool, default: true}
  system_identifier: {description: The database system to restore; needed when the repositories hold several., type: str}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store. One that does not speak TLS at once is not waited for.
    type: dict
    default: {}
  timeout_s: {description: How long a repository may take to answer in seconds., type: int, default: 15}
  knock_s: {description: How long a store may take to begin to speak TLS in seconds., type: float, default: 5}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: List what can be restored
  pgrescue.runbooks.backup_catalog:
    stanza: shop
  become: true
  become_user: postgres
  register:
    recovery_catalog: _task.result.catalog
"""

RETURN = """
catalog:
  description: What can be restored, newest backup first.
  returned: always
  type: dict
  contains:
    candidates: {description: Usable backups with label, repo, type, times, WAL range, size and timeline., type: list, elements: dict}
    passed_over: {description: Backups that cannot be used, each with its reason., type: list, elements: dict}
    system_identifier: {description: The database system the candidates belong to., type: str}
    timeline: {description: The newest timeline in the archive., type: int}
    archive_end: {description: Last segment that can be replayed from the newest candidate, and when it was archived., type: dict}
    unreachable: {description: Repositories that did not answer, each with what was said., type: dict}
    missing_segments:
      description: Segments that are missing from the archive between the oldest backup that can be used and the newest segment.
      type: int
    problem: {description: 'Why nothing can be restored, where that is so and nothing needs to be.', type: str}
    empty: {description: 'Whether every repository was looked at and none has a backup; beside C(problem).', type: bool}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import catalogs, guards, pgbackrest


def main() -> None:
    """Look, and say why when there is nothing to see."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "system_identifier": {"type": "str"},
            "required": {"type": "bool", "default": True},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 15},
            "knock_s": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    unreachable: "dict[str, str]" = {}
    try:
        catalog = catalogs.observe(
            pgbackrest.Repositories(module), module.params["system_identifier"] or None, unreachable
        )
    except guards.Stop as stop:
        if module.params["required"]:
            guards.fail(module, stop)
        catalog = {"candidates": [], "passed_over": [], "unreachable": unreachable, "problem": str(stop)}
        catalog["empty"] = isinstance(stop, catalogs.NoBackup)
    module.exit_json(changed=False, catalog=catalog)


if __name__ == "__main__":
    main()
