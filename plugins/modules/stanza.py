#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Make every repository serve the cluster at hand."""

from __future__ import annotations

DOCUMENTATION = """
module: stanza
short_description: Make every repository serve the cluster at hand
description:
  - Makes the stanza in each repository that has none. Run it on the primary, as the user that owns the cluster.
  - A repository that serves another database system is refused with exit code 4, unless O(adopt) is given. Then it goes on with the
    cluster at hand, as after a new one was made for a dump; the backups that it has stay.
  - Fails with exit code 5 when a repository does not answer, or does not serve the cluster afterwards. The engine makes and upgrades all
    repositories or none.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  adopt: {description: Whether a repository goes on with another database system than the one it served., type: bool, default: false}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store. One that does not speak TLS at once is not waited for.
    type: dict
    default: {}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 15}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Refuses what it would refuse and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make the stanza in every repository
  pgrescue.runbooks.stanza: {version: 17, stanza: shop}
  become: true
  become_user: postgres
"""

RETURN = """
served: {description: 'Number of each repository, and the database system that it served before; null where it served none.', returned: success, type: dict}
backed_up: {description: Numbers of the repositories that have a backup of the cluster., returned: success, type: list, elements: int}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, network, pgbackrest, postgres, repository

NOT_ALL = "Not every repository serves this cluster, and WAL is archived nowhere before all do: %s"
IDENTITY = "SELECT system_identifier::text FROM pg_control_system()"


def settle(module: AnsibleModule, engine: pgbackrest.Repositories, system: str, repositories: int) -> None:
    """Have the engine make and upgrade the stanza until each repository serves the system; it stops at the first that it cannot."""
    said = ""
    for command in ["stanza-create", *(["stanza-upgrade"] if module.params["adopt"] else [])] * max(repositories, 1):
        code, out, err = pgbackrest.run(module, module.params["stanza"], "--log-level-console=warn", command)
        said = repository.reason((err + out).strip()) if code else said
        served = repository.served(engine.ask("info"))
        if served and set(served.values()) == {system}:
            return
    raise guards.Stop(NOT_ALL % said, guards.STEP_FAILED)


def main() -> None:
    """Look, refuse, make."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "stanza": {"type": "str", "required": True},
            "adopt": {"type": "bool", "default": False},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    engine, adopt = pgbackrest.Repositories(module), module.params["adopt"]
    try:
        silent = network.tls_problems(module.params["endpoints"])
        if silent:
            said = "; ".join("repository %s: %s" % item for item in sorted(silent.items()))
            raise guards.Stop(NOT_ALL % said, guards.STEP_FAILED)
        info = engine.ask("info")
        served = repository.served(info)
        with postgres.connect(module) as connection:
            system = connection.execute(IDENTITY).fetchone()[0]
        others = sorted("%d serves %s" % item for item in served.items() if item[1] not in (None, system))
        if others and not adopt:
            raise guards.Stop(
                "This is database system %s, and of the repositories %s. Nothing was changed. Is it the right stanza?"
                % (system, ", ".join(others))
            )
        done = bool(served) and set(served.values()) == {system}
        if not done and not module.check_mode:
            settle(module, engine, system, len(served))
    except guards.Stop as stop:
        guards.fail(module, stop)
    backed_up = sorted({b["repo"] for b in repository.candidates(info) if b["system_identifier"] == system})
    module.exit_json(changed=not done, served=served, backed_up=backed_up)


if __name__ == "__main__":
    main()
