#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Find the PostgreSQL clusters of a host that pgrescue has not been to."""

from __future__ import annotations

DOCUMENTATION = """
module: found_clusters
short_description: Find the PostgreSQL clusters of a host that pgrescue has not been to
description:
  - Answers which clusters the host has in Debian's layout, what runs, in which role, who streams from whom, how big it is, who archives
    and what stands in the way of protecting it.
  - Asks with C(psql), for on such a host no driver is installed. Passwords, verifiers and commands of other tools are never answered.
  - Only looks, in read-only transactions. Run it as root, for it asks each server as the owner of its data.
options:
  root: {description: Folder below which Debian keeps C(VERSION/NAME) of each cluster., type: path, default: /etc/postgresql}
  command: {description: The archive command that is pgrescue's own., type: str, default: ''}
  password: {description: 'What the password of the account C(replicator) is held against.', type: str, default: ''}
  files: {description: Files that the owner of the cluster must be able to read., type: list, elements: path, default: []}
  certificate: {description: The certificate that the server is to show., type: path}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Find what is there
  pgrescue.runbooks.found_clusters:
  become: true
  register:
    postgres_found: _task.result.found
"""

RETURN = """
found:
  description:
    - C(name), C(system), C(locales), C(clusters), C(pgbackrest) (stanzas of somebody else), C(unreadable) (of C(files)),
      C(certified) (the names of O(certificate); null where they cannot be read).
    - Of a cluster that runs also C(role), C(upstream) of a standby, C(senders) of a primary, C(archived_by), C(fixed) (what wins over
      conf.d), C(replicator) (absent, same or other) and a few settings; of one that cannot be asked why, in C(problem).
  returned: always
  type: dict
  sample: {name: pg-a.example.org, system: Debian GNU/Linux 12 (bookworm), locales: [C, C.utf8], pgbackrest: [], unreadable: [], clusters: [
    {version: 17, name: main, port: 5432, running: true, role: primary, data_bytes: 24117248, archived_by: null, senders: []}]}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import finding


def main() -> None:
    """Look."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/etc/postgresql"},
            "command": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "certificate": {"type": "path"},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, found=finding.Finder(module).host())


if __name__ == "__main__":
    main()
