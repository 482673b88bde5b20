#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Make a cluster a standby of a primary."""

from __future__ import annotations

DOCUMENTATION = """
module: make_standby
short_description: Make a cluster a standby of a primary
description:
  - Lays down C(standby.signal) and writes the settings into C(postgresql.auto.conf), from which it removes what an earlier life left
    there - targets of a recovery, another primary's slot. What else is in the file stays.
  - Of a stopped cluster it makes a standby. A standby that runs is pointed at another primary; it wants a reload then. A primary that
    runs is refused (exit code 4), and so is a directory that pg_rewind left half done (exit code 3).
options:
  place: {description: The data directory., type: path, required: true}
  settings: {description: 'Settings of the standby, such as C(primary_conninfo), without a password.', type: dict, required: true}
attributes:
  check_mode: {support: full, description: Says whether something would change.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Make it a standby of the new primary
  pgrescue.runbooks.make_standby:
    place: /var/lib/postgresql/17/current
    settings:
      primary_conninfo: host=db2.example.org user=replicator passfile=/var/lib/postgresql/.pgpass-shop
      primary_slot_name: db1
      recovery_target_timeline: latest
  become: true
  become_user: postgres
"""

RETURN = """
running: {description: Whether a server runs on it., returned: success, type: bool}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    places,
    postgres,
    records,
    standby_settings,
)

PASSWORD = re.compile(r"(^|[\s?&])password\s*=|://[^/@]*:[^/@]*@", re.IGNORECASE)


def check(place: str, settings: "dict[str, str]") -> None:
    """Refuse a directory that must not become a standby, or not now."""
    if not os.path.exists(os.path.join(place, "global", "pg_control")):
        raise guards.Stop("%s holds no cluster. Nothing was changed." % place, guards.PRECONDITION)
    if os.path.exists(places.rewinding(place)):
        raise guards.Stop(
            "pg_rewind did not come to its end in %s: no server may be started on it. Nothing was changed. Run "
            "playbooks/rejoin.yml again." % place,
            guards.PRECONDITION,
        )
    if postgres.is_alive(place) and not os.path.exists(os.path.join(place, "standby.signal")):
        raise guards.Stop("A primary runs on %s. Nothing was changed. Fence it first." % place)
    if PASSWORD.search(str(settings.get("primary_conninfo", ""))):
        raise guards.Stop(
            "primary_conninfo holds a password. Nothing was changed. Use a passfile.", guards.PRECONDITION
        )


def main() -> None:
    """Signal first, then the settings: in between it is a standby that finds no primary."""
    spec = {"place": {"type": "path", "required": True}, "settings": {"type": "dict", "required": True}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    place = os.path.realpath(module.params["place"])
    settings = {name: str(value) for name, value in module.params["settings"].items()}
    try:
        check(place, settings)
    except guards.Stop as stop:
        guards.fail(module, stop)
    signal, target = os.path.join(place, "standby.signal"), os.path.join(place, "recovery.signal")
    path = os.path.join(place, "postgresql.auto.conf")
    with open(path, encoding="utf-8") as text:
        before = text.read()
    after = standby_settings.rewritten(before, settings)
    signals = not os.path.exists(signal) or os.path.exists(target)
    if not module.check_mode:
        if not os.path.exists(signal):
            records.write_text(signal, "")
        if after != before:
            records.write_text(path, after)
            os.chmod(path, 0o600)
        if os.path.exists(target):
            os.remove(target)
    module.exit_json(changed=signals or after != before, running=postgres.is_alive(place))


if __name__ == "__main__":
    main()
