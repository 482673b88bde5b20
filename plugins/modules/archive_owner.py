#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See whether another tool archives the WAL of a host's server."""

from __future__ import annotations

DOCUMENTATION = """
module: archive_owner
short_description: See whether another tool archives the WAL of a host's server
description:
  - Asks the server that runs on the host for C(archive_command) and C(archive_library), with C(psql), for on a host that pgrescue has
    not been to the driver is not installed.
  - Only looks. A host without PostgreSQL, or whose server does not answer, has no other tool. Run it as the user that owns the cluster.
options:
  command: {description: The command that is pgrescue's own., type: str, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See who archives
  pgrescue.runbooks.archive_owner:
    version: 17
    command: pgbackrest --stanza=shop archive-push %p
  become: true
  become_user: postgres
  register:
    postgres_archived_by: _task.result.other
"""

RETURN = """
other: {description: 'What archives instead, by name and without its arguments; nothing when no other tool does.', returned: always, type: str}
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import archiving, postgres

QUESTION = "SELECT json_object_agg(name, setting) FROM pg_settings WHERE name IN ('archive_command', 'archive_library')"


def main() -> None:
    """Ask."""
    spec = {**postgres.CONNECTION_ARGUMENTS, "command": {"type": "str", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    said = postgres.ask_without_driver(module, QUESTION)
    other = archiving.other_tool(json.loads(said), module.params["command"]) if said else None
    module.exit_json(changed=False, other=other)


if __name__ == "__main__":
    main()
