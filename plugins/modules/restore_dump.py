#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Restore the newest dump that verifies into databases that do not exist yet."""

from __future__ import annotations

DOCUMENTATION = """
module: restore_dump
short_description: Restore the newest dump that verifies into databases that do not exist yet
description:
  - Brings the first of C(dumps) whose every file matches its digest and then restores it; one that does not match in any store is
    passed over, and the result says why. Files that an interrupted attempt brought are kept.
  - Holds each dump it tries, as M(pgrescue.runbooks.dump_hold) does, so that it does not expire meanwhile. Whoever closes C(run)
    lets it go, with that module.
  - Refuses (exit code 4) a server that has a database of that name, or is older than the dump. Nothing is changed then. It never
    restores into a database that exists, and drops none but as O(replace_empty) says.
  - Roles that are missing are made first, without passwords; existing ones are left as they are. Tablespaces are not made.
  - Reaches the server by C(url), or as the operating-system user through its socket.
options:
  service: {description: The service the dump belongs to., type: str, required: true}
  dumps: {description: Ids of dumps in the order to try them., type: list, elements: str, required: true}
  public_keys: {description: Ed25519 public keys in PEM that may have signed., type: list, elements: str, required: true}
  run: {description: The run for whose sake the dump is held., type: str, required: true}
  alone:
    description: Whether one store must have all of it, as when it is the only one left; what is proven of its copy then holds.
    type: bool
    default: false
  url: {description: Connection URL of the server to restore into., type: str}
  port: {description: Port of the server on this host., type: int, default: 5432}
  socket_directory: {description: Where its socket is., type: path, default: /var/run/postgresql}
  databases: {description: Databases to restore; all of the dump when left out., type: list, elements: str}
  rename:
    description: Databases that shall have another name. Their settings and grants on the database itself are not restored.
    type: dict
    default: {}
  replace_empty:
    description:
      - Whether the database C(postgres) of the server, which every new one has, gives way to that of the dump while it is empty.
      - For a server that was made for this restore.
    type: bool
    default: false
  jobs: {description: How many tables to restore at once; the number of processors when 0., type: int, default: 0}
  program_directory: {description: Where C(pg_restore) is; found by the server's version when left out., type: path}
  work_directory:
    description: Where the dump is brought to. It must fit.
    type: path
    default: /var/lib/pgrescue/restores
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: 'Guards are checked, and what would be restored is named; nothing is brought or restored.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Restore the newest dump that verifies
  pgrescue.runbooks.restore_dump:
    service: shop
    run: by-hand-20261124
    dumps: "{{ dump_catalog.dumps | map(attribute='id') }}"
    stores: "{{ dump_stores }}"
    public_keys: "{{ dump_public_keys }}"
    port: 5499
  become: true
  become_user: postgres

- name: Let the dump expire again, when the work is over
  pgrescue.runbooks.dump_hold: {service: shop, run: by-hand-20261124, stores: "{{ dump_stores }}", state: absent}
"""

RETURN = """
id: {description: The dump that was restored., returned: success, type: str}
databases: {description: 'What was restored: C(name) as it is now, C(dumped_as), and C(restore_s).', returned: success, type: list, elements: dict}
roles: {description: Roles that were made; they have no password., returned: success, type: list, elements: str}
passed_over: {description: Dumps that did not verify, each with the reason., returned: always, type: list, elements: dict}
read_whole:
  description: Stores whose copy was read whole and is as it was written; a store that only made up for another is none.
  returned: always
  type: list
  elements: str
manifest: {description: The manifest of the dump., returned: success, type: dict}
promised: {description: 'What the manifest says that the databases hold, as M(pgrescue.runbooks.prove_copy) expects it.', returned: success, type: dict}
disproves: {description: 'Whether the dump could not be loaded, and the host is not to blame.', returned: 'failure, when it is so', type: bool}
"""

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    dump_fetch,
    dump_restore,
    dumps,
    guards,
    libpq,
    locks,
    places,
    stores,
)

DEFAULT = "postgres"  # the database that every new server has


def check_room(p: "dict[str, object]", root: str, plan: "list[tuple[dict, str]]", dump: str) -> None:
    """Refuse what would fill the disk; no older dump is taken because it is smaller. A local server's databases grow beside the dump."""
    size = sum(int(entry["dump_bytes"]) + (0 if p["url"] else int(entry["size_bytes"])) for entry, _name in plan)
    try:
        places.check_room({root: size}, True, "dump %s" % dump)
    except guards.Stop as full:
        raise guards.Stop(str(full), guards.STEP_FAILED) from full


def first_whole(
    module: AnsibleModule, server: "dict[str, object]", fetch: dump_fetch.Fetch, passed_over: "list[dict[str, str]]"
) -> "tuple[dict, list, str, str, list]":
    """Bring dumps in turn until one is whole: its manifest, what to restore of it, where it is, with what, read whole from where."""
    p = module.params
    for dump in p["dumps"]:
        try:
            payload = fetch.manifest(dump)
            plan = dumps.chosen(payload, p["databases"], p["rename"])
            dumps.check_target(payload, server["version"], server["databases"], [name for _entry, name in plan])
            root = os.path.join(p["work_directory"], p["service"], dump)
            names = [f["name"] for entry, _name in plan for f in entry["files"]]
            tool = dump_restore.tool(module, server["version"], payload)
            if module.check_mode:
                return payload, plan, root, tool, []
            check_room(p, root, plan, dump)
            fetch.hold(dump)
            whole = fetch.files(payload, root, names + ([dumps.GLOBALS] if payload["globals"] else []))
            return payload, plan, root, tool, whole
        except guards.Stop as stop:
            if stop.exit_code != guards.PRECONDITION:
                raise
            passed_over.append({"id": dump, "reason": str(stop)})
    said = "; ".join("%(id)s: %(reason)s" % b for b in passed_over) or "none was named"
    raise guards.Stop(
        "No dump of %s can be restored (%s). Nothing was changed." % (p["service"], said), guards.PRECONDITION
    )


def main() -> None:
    """Guard, bring, restore."""
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str", "required": True},
            "dumps": {"type": "list", "elements": "str", "required": True},
            "stores": stores.ARGUMENT,
            "public_keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
            "run": {"type": "str", "required": True},
            "alone": {"type": "bool", "default": False},
            "url": {"type": "str", "no_log": True},
            "port": {"type": "int", "default": 5432},
            "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
            "databases": {"type": "list", "elements": "str"},
            "rename": {"type": "dict", "default": {}},
            "replace_empty": {"type": "bool", "default": False},
            "jobs": {"type": "int", "default": 0},
            "program_directory": {"type": "path"},
            "work_directory": {"type": "path", "default": "/var/lib/pgrescue/restores"},
        },
        supports_check_mode=True,
    )
    p, fetch, passed_over, whole = module.params, dump_fetch.Fetch(module.params), [], []
    try:
        url = p["url"] or "postgresql://?host=%s&port=%d" % (p["socket_directory"], p["port"])
        libpq.hide(module, url)
        server = dump_restore.observe(url)
        makes_way = p["replace_empty"] and DEFAULT in server["databases"] and dump_restore.is_empty(url, DEFAULT)
        if makes_way:
            server["databases"].remove(DEFAULT)
        lock = os.path.join(p["work_directory"], p["service"] + ".lock")
        with locks.alone(lock, "a restore of %s" % p["service"]) as held:
            payload, plan, root, tool, whole = first_whole(module, server, fetch, passed_over)
            named = [{"name": name, "dumped_as": entry["name"]} for entry, name in plan]
            about = {"id": payload["id"], "passed_over": passed_over, "manifest": payload, "read_whole": whole}
            about["promised"] = dumps.promised(payload)
            if module.check_mode:
                module.exit_json(changed=True, databases=named, roles=[], **about)
            roles = dump_restore.make_roles(url, root) if payload["globals"] else []
            if makes_way and DEFAULT in [name for _entry, name in plan]:
                dump_restore.drop(url, DEFAULT)
            took = [dump_restore.database(module, tool, url, root, entry, name, held) for entry, name in plan]
            shutil.rmtree(os.path.dirname(root))  # with what was brought of dumps that were passed over
    except guards.Stop as stop:
        guards.fail(module, stop, passed_over=passed_over, read_whole=whole)
    databases = [{**line, "restore_s": seconds} for line, seconds in zip(named, took)]
    said = fetch.said + ["Dump %(id)s passed over: %(reason)s" % b for b in passed_over]
    said.append("Dump %s restored; every file matched the signed manifest" % payload["id"])
    notes = [{"event": "decision", "detail": line} for line in said]
    module.exit_json(changed=True, databases=databases, roles=roles, journal=notes, **about)


if __name__ == "__main__":
    main()
