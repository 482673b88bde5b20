#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Read every byte of the repositories of a stanza, and check that each is as it was written."""

from __future__ import annotations

DOCUMENTATION = """
module: verify_repository
short_description: Read every byte of the repositories of a stanza, and check that each is as it was written
description:
  - The engine reads each file of each backup, and each archived segment, and compares it with its checksum. What it does not verify
    is checked here, its own lists that it keeps twice and whether WAL has a gap.
  - Not covered are copies of lists that no recovery reads, C(backup.history) and the archive's C(.backup) files.
  - Returns checks and judges nothing; M(pgrescue.runbooks.record_validation) does.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  endpoints: {description: "Number and C(host[:port]) of each repository's object store.", type: dict, required: true}
  processes: {description: How many files to read at once; the number of processors when 0., type: int, default: 0}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 20}
attributes:
  check_mode: {support: full, description: Answers without checks in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Verify both repositories
  pgrescue.runbooks.verify_repository:
    stanza: shop
    endpoints: {1: store-east.example.org, 2: store-west.example.org}
  become: true
  become_user: postgres
"""

RETURN = """
checks: {description: 'The checks; their schema is docs/schema/checks.schema.json.', returned: always, type: list, elements: dict}
"""

import hashlib
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    network,
    pgbackrest,
    repository,
    repository_checks,
)
from ansible_collections.pgrescue.runbooks.plugins.module_utils.validation import check


class Verifier:
    """All that is asked of one repository."""

    def __init__(self, module: AnsibleModule, repo: int) -> None:
        self.module = module
        self.repo = repo
        self.engine = pgbackrest.Repositories(module)
        self.stanza = module.params["stanza"]

    def read_everything(self) -> "dict[str, object]":
        """What the engine finds when it reads all that it has a checksum of."""
        p = self.module.params
        options = [
            "--repo=%d" % self.repo,
            "--process-max=%d" % (p["processes"] or os.cpu_count() or 1),
            "--io-timeout=%d" % p["timeout_s"],
            "--job-retry=0",  # wrong bytes do not get better
            "--log-level-console=info",
        ]
        code, out, err = pgbackrest.run(self.module, self.stanza, *options, "verify")
        return repository_checks.judge_verify(self.repo, code, out + err)

    def digest(self, path: str) -> str:
        """Of one of the engine's lists, decrypted; or what was said instead."""
        options = ["--repo=%d" % self.repo, "--io-timeout=%d" % self.module.params["timeout_s"]]
        code, out, err = pgbackrest.run(self.module, self.stanza, *options, "repo-get", path, limit_s=600)
        return (
            hashlib.sha256(out.encode(errors="surrogateescape")).hexdigest()
            if code == 0
            else "unreadable: %s" % err[-200:]
        )

    def compare_lists(self) -> "dict[str, object]":
        """The lists that are kept twice."""
        listed = {
            "%s/%s/%s" % (kind, self.stanza, name)
            for kind in ("archive", "backup")
            for name in self.engine.files(self.repo, "%s/%s" % (kind, self.stanza))
        }
        twice = repository_checks.pairs(listed)
        found = {path: (self.digest(path), self.digest(path + ".copy")) for path in twice}
        return repository_checks.judge_pairs(self.repo, found)

    def follow_wal(self) -> "list[dict[str, object]]":
        """Backups and archive, held against each other."""
        info = self.engine.ask("--repo=%d" % self.repo, "info")
        backups = [b for b in repository.candidates(info) if not b["error"]]
        system = backups[0]["system_identifier"] if backups else ""
        size = repository.segment_bytes(backups, system)
        segments, line = self.engine.archived(repository.archives(info, system), size)
        own = [b for b in backups if b["system_identifier"] == system]
        fit = [b for b in own if not repository.off_the_line(b, line)]
        return [
            repository_checks.judge_line(self.repo, own, line),
            *repository_checks.judge_wal(self.repo, fit, segments),
            *repository_checks.judge_size(self.repo, fit),
        ]

    def checks(self) -> "list[dict[str, object]]":
        """All of them, each with how long it took; raises Stop when the repository cannot be read at all."""
        listed = self.compare_lists()
        found = [check("repository %d can be read" % self.repo, "it can", "it can", True), listed]
        for ask in (self.read_everything, self.follow_wal):
            began = time.monotonic()
            answer = ask()
            spent = round(time.monotonic() - began, 3)
            found += [{**c, "duration_s": spent} for c in (answer if isinstance(answer, list) else [answer])]
        return found


def main() -> None:
    """One repository after the other: each is read with all processors."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "endpoints": {"type": "dict", "required": True},
            "processes": {"type": "int", "default": 0},
            "timeout_s": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, checks=[])
    endpoints = {str(repo): host for repo, host in module.params["endpoints"].items()}
    silent = network.tls_problems(endpoints)
    checks = []
    for repo in sorted(endpoints, key=int):
        named = "repository %s answers" % repo
        checks.append(check(named, "it answers", silent.get(repo, "it answers"), repo not in silent))
        if repo in silent:
            continue
        try:
            checks += Verifier(module, int(repo)).checks()
        except guards.Stop as stop:
            checks.append(check("repository %s can be read" % repo, "it can", str(stop), False))
    host = os.uname().nodename
    module.exit_json(changed=False, checks=[{**c, "host": host} for c in checks])


if __name__ == "__main__":
    main()
