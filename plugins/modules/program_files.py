#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Lay down the files of a program in one call."""

from __future__ import annotations

DOCUMENTATION = """
module: program_files
short_description: Lay down the files of a program in one call
description:
  - M(ansible.builtin.copy) takes a call for each file; on many hosts a program of a dozen small files takes a minute so.
  - Files that are there and not named stay. Each is written whole or not at all, owned by whoever runs this, with mode 0644. Folders
    that are missing are made, with mode 0755.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Where it is., type: path, required: true}
      text: {description: What is in it., type: str, required: true}
attributes:
  check_mode: {support: full, description: Says which files it would write.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Install the program
  pgrescue.runbooks.program_files:
    files:
      - path: /usr/local/lib/example/main.py
        text: "print('hello')\\n"
"""

RETURN = """
written: {description: Paths of the files that were written., returned: success, type: list, elements: str}
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import records

MODE, FOLDER_MODE = 0o644, 0o755


def is_there(path: str, text: str) -> bool:
    """Whether a file has this text and mode."""
    if not os.path.isfile(path) or stat.S_IMODE(os.stat(path).st_mode) != MODE:
        return False
    with open(path, encoding="utf-8") as found:
        return found.read() == text


def make_folders(path: str) -> None:
    """Make a folder and those above it, as far as they are missing, whatever the umask says."""
    if not os.path.isdir(path):
        make_folders(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, FOLDER_MODE)


def main() -> None:
    """Write what differs."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {"path": {"type": "path", "required": True}, "text": {"type": "str", "required": True}},
            },
        },
        supports_check_mode=True,
    )
    wanted = {one["path"]: one["text"] for one in module.params["files"]}
    differ = [path for path, text in sorted(wanted.items()) if not is_there(path, text)]
    for path in [] if module.check_mode else differ:
        make_folders(os.path.dirname(path))
        records.write_text(path, wanted[path])
        os.chmod(path, MODE)
    module.exit_json(changed=bool(differ), written=differ)


if __name__ == "__main__":
    main()
