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
    problem: {description: 'Why nothing can be restored, where that is so and nothing needs to be.', type: str}
    empty: {description: 'Whether every repository was looked at and none has a backup; beside C(problem).', type: bool}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, network, pgbackrest, repository


class NoBackup(guards.Stop):
    """Every repository was looked at, and none has one."""


def observe(
    engine: pgbackrest.Repositories, wanted: "str | None", unreachable: "dict[str, str]"
) -> "dict[str, object]":
    """Ask the repositories and fold their answers; those that do not answer are added to `unreachable`."""
    endpoints = engine.module.params["endpoints"]
    unreachable.update(network.tls_problems(endpoints, engine.module.params["knock_s"]))
    answering = ["--repo=%s" % repo for repo in endpoints if str(repo) not in unreachable] if unreachable else [None]
    info = [stanza for repo in answering for stanza in engine.ask(*filter(None, [repo]), "info")]
    known = [repo for stanza in info for repo in stanza.get("repo", [])]
    # 0 ok, 1 no such stanza, 2 no valid backups
    unseen = bool(unreachable) or any(repo["status"]["code"] not in (0, 1, 2) for repo in known)
    unreachable.update(
        {str(repo["key"]): repo["status"]["message"] for repo in known if repo["status"]["code"] not in (0, 2)}
    )
    backups = repository.candidates(info, [int(repo) for repo in unreachable])
    if not backups:
        said = "; ".join("repository %s: %s" % item for item in sorted(unreachable.items())) or "they hold no backup"
        raise (guards.Stop if unseen else NoBackup)(
            "No repository offers a backup of %s (%s)." % (engine.module.params["stanza"], said), guards.PRECONDITION
        )
    system = repository.single_system(backups, wanted or repository.present_system(info))
    archives = repository.archives(info, system, unreachable)
    stored, line = engine.archived(archives, repository.segment_bytes(backups, system))
    usable, passed_over = repository.judge(backups, system, stored, line)
    return {
        "candidates": usable,
        "passed_over": passed_over,
        "system_identifier": system,
        "timeline": line.newest if stored else None,
        "archive_end": repository.archive_end(stored, usable[0]) if usable else None,
        "unreachable": unreachable,
    }


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
        catalog = observe(pgbackrest.Repositories(module), module.params["system_identifier"] or None, unreachable)
    except guards.Stop as stop:
        if module.params["required"]:
            guards.fail(module, stop)
        catalog = {"candidates": [], "passed_over": [], "unreachable": unreachable, "problem": str(stop)}
        catalog["empty"] = isinstance(stop, NoBackup)
    module.exit_json(changed=False, catalog=catalog)


if __name__ == "__main__":
    main()
