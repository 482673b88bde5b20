#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to build a standby whose settings are below its primary's."""

from __future__ import annotations

DOCUMENTATION = """
module: standby_fit
short_description: Refuse to build a standby whose settings are below its primary's
description:
  - PostgreSQL stops replay on a standby that has less of certain settings than its primary. Better to hear it before than during.
  - Reads what the host's configuration would give a server; none needs to run. Only looks.
options:
  primary: {description: 'The primary''s settings, as M(pgrescue.runbooks.server_settings) tells them.', type: dict, required: true}
  config: {description: "Folder of the host's configuration.", type: path, required: true}
  version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Looks only.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Refuse what would stop replay
  pgrescue.runbooks.standby_fit:
    primary: "{{ standby_primary_settings }}"
    config: /etc/postgresql/17/main
    version: 17
  become: true
  become_user: postgres
"""

RETURN = """
settings: {description: "What the host's configuration gives.", returned: success, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, scratch


def configured(module: AnsibleModule, name: str) -> int:
    """What a server started on this host would have."""
    program = os.path.join(postgres.BIN % module.params["version"], "postgres")
    config = "--config-file=" + os.path.join(module.params["config"], "postgresql.conf")
    code, out, err = module.run_command([program, config, "-c", "ident_file=/dev/null", "-C", name])
    if code:
        said = "The configuration of this host cannot be read: %s Nothing was changed." % (err or out).strip()
        raise guards.Stop(said, guards.PRECONDITION)
    return int(out)


def main() -> None:
    """Compare each setting that replay depends on."""
    module = AnsibleModule(
        argument_spec={
            "primary": {"type": "dict", "required": True},
            "config": {"type": "path", "required": True},
            "version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        here = {name: configured(module, name) for name in sorted(scratch.FLOORS)}
        low = [
            "%s is %d and must be at least %s" % (name, value, module.params["primary"][name])
            for name, value in here.items()
            if value < int(module.params["primary"][name])
        ]
        if low:
            raise guards.Stop(
                "A standby here would stop to replay: %s. Nothing was changed. Raise it in postgres_settings, standbys first, "
                "and run protect.yml." % "; ".join(low),
                guards.PRECONDITION,
            )
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, settings=here)


if __name__ == "__main__":
    main()
