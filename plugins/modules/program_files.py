#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Lay down the files of a program in one call."""

from __future__ import annotations

DOCUMENTATION = """
module: program_files
short_description: Lay down the files of a program in one call
description:
  - M(ansible.builtin.copy) takes a call for each file; on many hosts a program of a dozen small files takes a minute so.
  - Files that are there and not named stay. Each is written whole or not at all, owned by whoever runs this, with mode 0644.
options:
  directory: {description: 'The folder, which must be there.', type: path, required: true}
  files: {description: The text of each file by its name., type: dict, required: true}
attributes:
  check_mode: {support: full, description: Says which files it would write.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Install the program
  pgrescue.runbooks.program_files:
    directory: /usr/local/lib/example
    files: {main.py: "print('hello')\\n"}
"""

RETURN = """
written: {description: Names of the files that were written., returned: success, type: list, elements: str}
"""

import os
import stat

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import records

MODE = 0o644


def is_there(path: str, text: str) -> bool:
    """Whether a file has this text and mode."""
    if not os.path.isfile(path) or stat.S_IMODE(os.stat(path).st_mode) != MODE:
        return False
    with open(path, encoding="utf-8") as found:
        return found.read() == text


def main() -> None:
    """Write what differs."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    wanted = {os.path.join(module.params["directory"], name): text for name, text in module.params["files"].items()}
    differ = [path for path, text in sorted(wanted.items()) if not is_there(path, text)]
    for path in [] if module.check_mode else differ:
        records.write_text(path, wanted[path])
        os.chmod(path, MODE)
    module.exit_json(changed=bool(differ), written=[os.path.basename(path) for path in differ])


if __name__ == "__main__":
    main()
