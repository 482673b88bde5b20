#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to take archiving over from another tool, unless that is meant."""

from __future__ import annotations

DOCUMENTATION = """
module: archive_takeover
short_description: Refuse to take archiving over from another tool, unless that is meant
description:
  - Refuses (exit code 3) when another tool archives the WAL of any host of the service. A server archives to one place; what the other
    tool backed up could not be recovered beyond the moment of the change.
  - Runs on the controller, before anything is changed anywhere.
options:
  owners: {description: 'What M(pgrescue.runbooks.archive_owner) saw on each host; nothing where no other tool archives.', type: dict, required: true}
  replace: {description: Whether it is meant., type: bool, default: false}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Refuse to take archiving over from another tool
  pgrescue.runbooks.archive_takeover:
    owners: {db1: the archive_command of wal-g, db2: null}
  delegate_to: localhost
"""

RETURN = """
replaced: {description: 'The hosts on which another tool will no longer archive, and which tool.', returned: success, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards


def main() -> None:
    """Judge."""
    module = AnsibleModule(
        argument_spec={
            "owners": {"type": "dict", "required": True},
            "replace": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    others = {host: other for host, other in module.params["owners"].items() if other}
    if others and not module.params["replace"]:
        named = ", ".join("that of %s by %s" % item for item in sorted(others.items()))
        said = (
            "WAL is archived by another tool: %s. Its backups could be recovered to no point after now. Nothing was changed. "
            "If pgrescue shall archive instead, say -e postgres_replace_archive_command=true." % named
        )
        guards.fail(module, guards.Stop(said, guards.PRECONDITION))
    module.exit_json(changed=False, replaced=others)


if __name__ == "__main__":
    main()
