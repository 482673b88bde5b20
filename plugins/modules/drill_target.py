#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to break a host that is not marked as a drill target."""

from __future__ import annotations

DOCUMENTATION = """
module: drill_target
short_description: Refuse to break a host that is not marked as a drill target
description:
  - Reads the mark that C(mark_drill_targets.yml) left on this host. Refuses (exit code 4) when there is none, when it has expired, and
    when it is of another service or another database system. Every injector of faults asks it first.
  - Only looks.
options:
  path: {description: The mark., type: path, required: true}
  service: {description: The service that is to be broken., type: str, required: true}
  system_identifier: {description: 'The database system that is on this host; empty where there is none.', type: str, required: true}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Refuse a host that is no drill target
  pgrescue.runbooks.drill_target:
    path: /etc/pgrescue/drill-target.json
    service: orders
    system_identifier: "7437700000000004471"
"""

RETURN = """
expires: {description: Until when the host may be broken., returned: success, type: str}
"""

import json
import os
import socket
from datetime import datetime, timezone
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import drill_targets, guards


def read(path: str) -> Any:
    """What the mark holds; None when there is none, its text when it is no JSON."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8", errors="replace") as source:
        text = source.read()
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    """Look, and refuse."""
    spec = {
        "path": {"type": "path", "required": True},
        "service": {"type": "str", "required": True},
        "system_identifier": {"type": "str", "required": True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    service, system = module.params["service"], module.params["system_identifier"]
    marker = read(module.params["path"])
    why = drill_targets.refusal(marker, service, system, datetime.now(timezone.utc))
    if why:
        said = "%s is not broken: %s. Nothing was changed. If it may be: ansible-playbook playbooks/mark_drill_targets.yml -e service=%s"
        guards.fail(module, guards.Stop(said % (socket.gethostname(), why, service)))
    module.exit_json(changed=False, expires=marker["expires"])


if __name__ == "__main__":
    main()
