#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Keep a repository from expiring anything while a recovery may need it."""

from __future__ import annotations

DOCUMENTATION = """
module: retention_hold
short_description: Keep a repository from expiring anything while a recovery may need it
description:
  - Puts a note into each repository itself, where the scheduled backup looks before it expires, whichever host that runs on.
  - A repository that does not answer is passed over and named; nobody can expire there either.
  - Taken away when the recovery has taken its own backup, and by nobody else before it has ended
    (M(pgrescue.runbooks.ended_run)). Holds of other runs that stay are told; one that was left behind is found by C(pgrescue lint).
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  run: {description: The run for whose sake., type: str, required: true}
  state: {description: Whether the hold shall be there., type: str, choices: [present, absent], default: present}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store; that of the numbers alone when empty.
    type: dict
    required: true
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 10}
attributes:
  check_mode: {support: full, description: Looks only.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Keep what the recovery may need
  pgrescue.runbooks.retention_hold:
    stanza: shop
    run: 20261124T012050Z-shop-complete_loss
    endpoints: {1: store-east.example.org, 2: store-west.example.org}
  become: true
  become_user: postgres
"""

RETURN = """
holds: {description: 'Repository, and the runs that held it before.', returned: always, type: dict, sample: {"1": []}}
silent_repositories: {description: 'Repositories that did not answer, each with the reason.', returned: always, type: dict}
"""

import json
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, network, pgbackrest, repository


def ask(module: AnsibleModule, repo: str, *arguments: str, **more: object) -> str:
    """Run the engine against one repository; its output, or a refusal that carries what it said."""
    timeout = module.params["timeout_s"]
    options = ["--repo=" + repo, "--io-timeout=%d" % timeout, "--log-level-console=warn"]
    code, out, err = pgbackrest.run(module, module.params["stanza"], *options, *arguments, limit_s=2 * timeout, **more)
    if code:
        raise guards.Stop(repository.reason((err + out).strip()), guards.STEP_FAILED)
    return out


def settle(module: AnsibleModule, repo: str) -> "tuple[list[str], bool]":
    """See to the holds of one repository: those that were there, and whether anything had to be done."""
    run, state = module.params["run"], module.params["state"]
    there = [
        name for name in json.loads(ask(module, repo, "--output=json", "repo-ls", repository.HOLDS)) if name != "."
    ]
    note = "%s/%s" % (repository.HOLDS, run)
    todo = (state == "present") != (run in there)
    if todo and not module.check_mode:
        if state == "present":
            ask(module, repo, "--raw", "repo-put", note, data=run)
        else:
            ask(module, repo, "repo-rm", note)
    return sorted(there), todo


def main() -> None:
    """All repositories side by side."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "endpoints": {"type": "dict", "required": True},
            "timeout_s": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    endpoints = {str(repo): host for repo, host in module.params["endpoints"].items()}
    unreachable = network.tls_problems(endpoints)
    holds, changed = {}, False
    with ThreadPoolExecutor() as pool:
        asked = {repo: pool.submit(settle, module, repo) for repo in endpoints if repo not in unreachable}
        for repo, answer in asked.items():
            try:
                holds[repo], did = answer.result()
                changed |= did
            except guards.Stop as stop:
                unreachable[repo] = str(stop)
    notes = [
        {"event": "note", "detail": "Retention of repository %s was not held: %s" % item}
        for item in sorted(unreachable.items())
        if module.params["state"] == "present"
    ]
    if module.params["state"] == "absent":
        for repo, runs in sorted(holds.items()):
            for other in sorted(set(runs) - {module.params["run"]}):
                module.warn("Repository %s expires nothing, for run %s still holds it" % (repo, other))
    module.exit_json(changed=changed, holds=holds, silent_repositories=unreachable, journal=notes)


if __name__ == "__main__":
    main()
