#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Take a backup to each repository."""

from __future__ import annotations

DOCUMENTATION = """
module: take_backup
short_description: Take a backup to each repository
description:
  - Takes a backup to one repository after the other. One that cannot be written does not keep the next from its backup.
  - Fails with exit code 5 when C(require) is not met; what could not be done is noted in the timeline in any case.
  - Every attempt, a failed one too, is appended to C(attempts_file); a backup counts although that could not be written.
  - Run it on the primary, as the user that owns the cluster.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  repositories: {description: Numbers of the repositories, from 1., type: list, elements: int, required: true}
  type: {description: Type of the backup., type: str, choices: [full, diff, incr], default: full}
  require: {description: How many repositories must take it., type: str, choices: [all, any], default: all}
  after_timeline:
    description: A repository that holds a full backup from after this timeline, as an earlier attempt left it, needs no other.
    type: int
  attempts_file: {description: Where each attempt is written down on this host; nowhere when left out., type: path}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store. One that does not speak TLS at once is not waited for.
    type: dict
    default: {}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 20}
  archive_timeout_s: {description: How long a backup may wait for its WAL to be archived in seconds., type: int, default: 60}
  archive_timeout_beside_silent_s:
    description: The same while another repository does not answer, for every segment is tried there first, and waited for.
    type: int
    default: 600
attributes:
  check_mode: {support: full, description: Takes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Take a full backup on the new timeline
  pgrescue.runbooks.take_backup:
    stanza: shop
    repositories: [1, 2]
    require: any
    attempts_file: /var/lib/pgrescue/jobs/shop-attempts.jsonl
  become: true
  become_user: postgres
"""

RETURN = """
taken: {description: Repositories that hold a new backup., returned: success, type: list, elements: int}
failed_repositories: {description: 'Those that do not, each with the reason.', returned: always, type: dict}
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    attempts,
    guards,
    network,
    pgbackrest,
    repository,
)


def backup(module: AnsibleModule, repo: int, patience_s: int) -> "str | None":
    """Take one backup, whose WAL may take so long to be archived; why it could not be taken."""
    p = module.params
    options = [
        "--repo=%d" % repo,
        "--type=" + p["type"],
        "--io-timeout=%d" % p["timeout_s"],
        "--archive-timeout=%d" % patience_s,
        "--log-level-console=warn",
        "--no-expire-auto",  # the schedule expires, by its policy
    ]
    code, out, err = pgbackrest.run(module, p["stanza"], *options, "backup")
    return repository.reason((err + out).strip()) if code else None


def attempt(module: AnsibleModule, repo: int, silent: "str | None", patience_s: int) -> "str | None":
    """Take one backup, where its store is not silent, and write the attempt down; why there is none."""
    begun = time.monotonic()
    problem = silent or backup(module, repo, patience_s)
    if not module.params["attempts_file"]:
        return problem
    took_s = time.monotonic() - begun
    if problem:
        said = attempts.failed(problem, str(repo), module.params["type"], took_s)
    else:
        code, out, _err = pgbackrest.run(module, module.params["stanza"], "--repo=%d" % repo, "--output=json", "info")
        there = (
            {"at": attempts.now(), "kind": module.params["type"]}
            if code
            else repository.newest(pgbackrest.read(out), repo)
        )
        said = attempts.passed(repository=str(repo), duration_s=took_s, **there)
    try:
        attempts.append(module.params["attempts_file"], [said])
    except OSError as error:
        module.warn("The attempt to back up to repository %d was not written down: %s" % (repo, error))
    return problem


def holds(module: AnsibleModule, repo: int) -> bool:
    """Whether the repository has a full backup from after the timeline that was asked about."""
    p = module.params
    if p["after_timeline"] is None:
        return False
    _code, out, _err = pgbackrest.run(module, p["stanza"], "--repo=%d" % repo, "--output=json", "info", check_rc=True)
    found = repository.candidates(pgbackrest.read(out))
    return any(b["type"] == "full" and not b["error"] and b["timeline"] > p["after_timeline"] for b in found)


def main() -> None:
    """Back up, and say where it could not be done."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "repositories": {"type": "list", "elements": "int", "required": True},
            "type": {"type": "str", "choices": ["full", "diff", "incr"], "default": "full"},
            "require": {"type": "str", "choices": ["all", "any"], "default": "all"},
            "after_timeline": {"type": "int"},
            "attempts_file": {"type": "path"},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 20},
            "archive_timeout_s": {"type": "int", "default": 60},
            "archive_timeout_beside_silent_s": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    wanted = module.params["repositories"]
    if module.check_mode:
        module.exit_json(changed=bool(wanted), taken=[], failed_repositories={})
    silent = network.tls_problems(module.params["endpoints"])  # of those that shall take none too: WAL is tried there
    patience_s = module.params["archive_timeout_beside_silent_s" if silent else "archive_timeout_s"]
    there = [repo for repo in wanted if str(repo) not in silent and holds(module, repo)]
    answers = {repo: attempt(module, repo, silent.get(str(repo)), patience_s) for repo in wanted if repo not in there}
    failed = {repo: why for repo, why in answers.items() if why}
    taken = [repo for repo in answers if repo not in failed]
    said = ["Repository %d took no backup: %s" % item for item in sorted(failed.items())]
    if failed and (module.params["require"] == "all" or not (taken or there)):
        guards.fail(module, guards.Stop("; ".join(said), guards.STEP_FAILED), failed_repositories=failed)
    notes = [{"event": "note", "detail": line} for line in said]
    module.exit_json(changed=bool(taken), taken=taken, failed_repositories=failed, journal=notes)


if __name__ == "__main__":
    main()
