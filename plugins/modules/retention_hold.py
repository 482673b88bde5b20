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
  - Taken away when the recovery has taken its own backup. A hold that was left behind is found by C(pgrescue lint).
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  run: {description: The run for whose sake; needed unless C(state) is C(cleared)., type: str}
  state:
    description: Whether the hold shall be there; C(cleared) takes away those of all runs.
    type: str
    choices: [present, absent, cleared]
    default: present
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
    gone = there if state == "cleared" else [run] if state == "absent" and run in there else []
    put = state == "present" and run not in there
    if not module.check_mode:
        for name in gone:
            ask(module, repo, "repo-rm", "%s/%s" % (repository.HOLDS, name))
        if put:
            ask(module, repo, "--raw", "repo-put", "%s/%s" % (repository.HOLDS, run), data=run)
    return sorted(there), bool(gone or put)


def main() -> None:
    """All repositories side by side."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "run": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent", "cleared"], "default": "present"},
            "endpoints": {"type": "dict", "required": True},
            "timeout_s": {"type": "int", "default": 10},
        },
        required_if=[("state", "present", ["run"]), ("state", "absent", ["run"])],
        supports_check_mode=True,
    )
    endpoints = {str(repo): host for repo, host in module.params["endpoints"].items()}
    unreachable = network.tls_problems({repo: host for repo, host in endpoints.items() if host})
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
    module.exit_json(changed=changed, holds=holds, silent_repositories=unreachable, journal=notes)


if __name__ == "__main__":
    main()
