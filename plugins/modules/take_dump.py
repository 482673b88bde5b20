#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Take a logical backup through a connection URL, into every store, with a signed manifest."""

from __future__ import annotations

DOCUMENTATION = """
module: take_dump
short_description: Take a logical backup through a connection URL, into every store, with a signed manifest
description:
  - Dumps each database in one snapshot with C(pg_dump), and what belongs to the whole cluster with C(pg_dumpall); nothing is
    needed but a connection URL, so that managed databases can be dumped too.
  - Every file goes to all stores side by side and is hashed on its way. The signed manifest is written last; a folder without
    one is unfinished and never offered. A store that fails does not keep the others from their copy.
  - Every attempt, a failed one too, is appended to C(SERVICE-attempts.jsonl) in C(work_directory), one for each store.
  - Fails with exit code 5 when C(require) is not met, and with 3 before anything is dumped when C(pg_dump) is older than the server.
options:
  url: {description: Connection URL of the server., type: str, required: true}
  service: {description: The service the dump belongs to., type: str, required: true}
  signing_key: {description: Ed25519 private key in PEM that signs the manifest., type: str, required: true}
  databases: {description: Databases to dump; all that the role can connect to when left out., type: list, elements: str}
  jobs: {description: How many tables of a database to dump at once; the number of processors when 0., type: int, default: 0}
  compression:
    description: As C(pg_dump --compress) has it. Before version 16 it knows gzip only, which is used then; the manifest says so.
    type: str
    default: "zstd:3"
  fingerprint_tables:
    description: Names of databases, each with the tables whose content is hashed, so that one changed row is found.
    type: dict
    default: {}
  require: {description: How many stores must take it., type: str, choices: [all, any], default: all}
  program_directory: {description: Where C(pg_dump) is; found by the server's version when left out., type: path}
  work_directory:
    description: Where files are before they are sent. One database's dump must fit.
    type: path
    default: /var/lib/pgrescue/dumps
  statement_timeout_s: {description: How long one question of the census may take in seconds; 0 for as long as it takes., type: int, default: 0}
  lock_timeout_s: {description: How long to wait for the lock of a table in seconds., type: int, default: 60}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: 'Connects, compares versions and lists what would be dumped; writes nothing.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Dump the service
  pgrescue.runbooks.take_dump:
    url: "{{ dump_url }}"
    service: shop
    stores: "{{ dump_stores }}"
    signing_key: "{{ dump_signing_key }}"
"""

RETURN = """
id: {description: The dump., returned: success, type: str}
stores: {description: Stores that hold it now., returned: always, type: list, elements: str}
failed_stores: {description: 'Those that do not, each with the reason.', returned: always, type: dict}
databases: {description: Names of the databases in it., returned: success, type: list, elements: str}
excluded: {description: 'Databases that are not in it, each with the reason.', returned: success, type: list, elements: dict}
dump_bytes: {description: Size of the dump., returned: success, type: int}
notes: {description: What is not as it was asked for., returned: success, type: list, elements: str}
"""

import os
import shutil
import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    attempts,
    buckets,
    census,
    dump_server,
    dumps,
    guards,
    libpq,
    locks,
    records,
    signing,
    stores,
)


class Take:
    """One dump on its way into the stores."""

    def __init__(self, module: AnsibleModule, server: "dict[str, object]") -> None:
        self.module, self.p, self.server, self.begun = module, module.params, server, datetime.now(timezone.utc)
        self.id = dumps.name(self.begun)
        self.folder = dumps.folder(self.p["service"], self.id)
        self.work = os.path.join(self.p["work_directory"], self.p["service"])
        self.targets = {bucket.name: bucket for bucket in map(buckets.Bucket, self.p["stores"])}
        self.failed: "dict[str, str]" = {}

    def send(self, files: "dict[str, str]") -> "dict[str, dict[str, object]]":
        """Send files to every store that still takes them; their sizes and digests."""

        def put(bucket: buckets.Bucket) -> "dict[str, dict[str, object]]":
            jobs = {name: (lambda n=name, p=path: bucket.put(self.folder + n, p)) for name, path in files.items()}
            return buckets.many(jobs)

        sent, failed = buckets.each(self.targets.values(), put)
        self.drop(failed)
        first, *others = sent.values()
        if any(other != first for other in others):
            raise guards.Stop("A file changed while it was sent. The dump is unfinished.", guards.STEP_FAILED)
        return first

    def drop(self, failed: "dict[str, str]") -> None:
        """Go on without the stores that failed, as long as there is one."""
        self.failed.update(failed)
        for name in failed:
            del self.targets[name]
        if not self.targets:
            said = "; ".join("%s: %s" % item for item in sorted(self.failed.items()))
            raise guards.Stop("No store took the dump, which is unfinished: %s" % said, guards.STEP_FAILED)

    def database(self, number: int, facts: "dict[str, object]", held: int) -> "dict[str, object]":
        """Dump one database in one snapshot and send it; its entry in the manifest."""
        place = os.path.join(self.work, "db")
        with dump_server.snapshot(self.p, facts["name"]) as (connection, snapshot):
            counted = census.database(connection, self.p["fingerprint_tables"].get(facts["name"], []))
            dump_server.dump(self.module, self.server, facts["name"], snapshot["id"], place, held)
        found = {name: os.path.join(place, name) for name in os.listdir(place)}
        sent = self.send({"db/%d/%s" % (number, name): path for name, path in found.items()})
        shutil.rmtree(place)
        named = {name: sent["db/%d/%s" % (number, name)] for name in found}
        sized = {**facts, "size_bytes": snapshot.pop("size_bytes")}
        return dumps.database_entry(sized, number, counted, snapshot, named)

    def cluster(self, held: int) -> "dict[str, object]":
        """Dump roles and what else belongs to the whole cluster."""
        path = os.path.join(self.work, dumps.GLOBALS)
        made, note = dump_server.dump_globals(self.module, self.server, path, held)
        sent = self.send({dumps.GLOBALS: path})[dumps.GLOBALS] if made else None
        with dump_server.snapshot(self.p) as (connection, _snapshot):
            counted, roles = census.cluster(connection), dump_server.roles(connection)
        return {
            "globals": {**sent, "without_passwords": True, "note": note} if sent else None,
            "roles_not_dumpable": sorted(set(roles) - set(dumps.roles_made(made or ""))),
            "cluster_census": counted,
            "notes": [note] if note else [],
        }

    def finish(self, databases: "list[dict[str, object]]", cluster: "dict[str, object]") -> "dict[str, object]":
        """Write the signed manifest, last of all."""
        notes = self.server["notes"] + cluster.pop("notes")
        about = {key: self.server[key] for key in ("server_version", "system_identifier", "tools", "excluded")}
        ended = datetime.now(timezone.utc)
        said = {"databases": databases, "notes": notes, **about, **cluster}
        payload = dumps.manifest(self.p["service"], self.begun, ended, **said)
        envelope = records.canonical(signing.sign(payload, self.p["signing_key"]))
        self.drop(buckets.each(self.targets.values(), lambda b: b.put_bytes(self.folder + dumps.MANIFEST, envelope))[1])
        return payload

    def run(self, held: int) -> "dict[str, object]":
        shutil.rmtree(self.work, ignore_errors=True)  # of a dump that was killed: the lock is ours now
        os.makedirs(self.work, mode=0o700)
        try:
            there, failed = buckets.each(self.targets.values(), lambda b: b.sizes(self.folder))
            self.drop(failed)
            if any(there.values()):
                raise guards.Stop("Another dump %s was begun in this second. Nothing was changed." % self.id)
            entries = [self.database(n, facts, held) for n, facts in enumerate(self.server["databases"], 1)]
            return self.finish(entries, self.cluster(held))
        finally:
            shutil.rmtree(self.work)


def write_down(module: AnsibleModule, take: "Take | None", took_s: float, outcome: "str | dict[str, object]") -> None:
    """Write an attempt down for each store; `outcome` is the manifest, or why nothing was dumped.

    What a dump brings back is the moment it was begun at, that of its first snapshot.
    """
    failed = dict(take.failed) if take else {}
    said = [attempts.failed(why, name, "dump", took_s) for name, why in sorted(failed.items())]
    if isinstance(outcome, str):
        said += [] if failed else [attempts.failed(outcome, None, "dump", took_s)]
    elif take:
        at, entries = take.begun.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), outcome["databases"]
        sizes = {
            "size_bytes": sum(e["size_bytes"] for e in entries),
            "stored_bytes": sum(e["dump_bytes"] for e in entries),
        }
        said += [attempts.passed(at, name, "dump", took_s, **sizes) for name in sorted(take.targets)]
    try:
        p = module.params
        attempts.append(os.path.join(p["work_directory"], p["service"] + "-attempts.jsonl"), said)
    except OSError as error:
        module.warn("The attempt to dump was not written down: %s" % error)


def main() -> None:
    """Guard, then dump."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True, "no_log": True},
            "service": {"type": "str", "required": True},
            "stores": stores.ARGUMENT,
            "signing_key": {"type": "str", "required": True, "no_log": True},
            "databases": {"type": "list", "elements": "str"},
            "jobs": {"type": "int", "default": 0},
            "compression": {"type": "str", "default": "zstd:3"},
            "fingerprint_tables": {"type": "dict", "default": {}},
            "require": {"type": "str", "choices": ["all", "any"], "default": "all"},
            "program_directory": {"type": "path"},
            "work_directory": {"type": "path", "default": "/var/lib/pgrescue/dumps"},
            "statement_timeout_s": {"type": "int", "default": 0},
            "lock_timeout_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    p = module.params
    take, begun = None, time.monotonic()
    try:
        libpq.hide(module, p["url"])
        signing.sign({}, p["signing_key"])  # an hour of dumping is not for a key that cannot sign
        server = dump_server.observe(module)
        names = [facts["name"] for facts in server["databases"]]
        about = {"databases": names, "excluded": server["excluded"]}
        if module.check_mode:
            module.exit_json(changed=True, stores=[], failed_stores={}, notes=server["notes"], **about)
        with locks.alone(
            os.path.join(p["work_directory"], p["service"] + ".lock"), "a dump of %s" % p["service"]
        ) as held:
            take = Take(module, server)
            payload = take.run(held)
    except guards.Stop as stop:
        if not module.check_mode and stop.exit_code != guards.REFUSED:  # one that was not begun is no attempt
            write_down(module, take, time.monotonic() - begun, str(stop))
        guards.fail(module, stop, stores=[], failed_stores=take.failed if take else {})
    write_down(module, take, time.monotonic() - begun, payload)
    said = ["Store %s took no dump: %s" % item for item in sorted(take.failed.items())]
    result = {
        "id": take.id,
        "stores": sorted(take.targets),
        "failed_stores": take.failed,
        "notes": payload["notes"],
        **about,
    }
    if said and p["require"] == "all":
        guards.fail(module, guards.Stop("; ".join(said), guards.STEP_FAILED), **result)
    notes = [{"event": "note", "detail": line} for line in said + payload["notes"]]
    size = sum(entry["dump_bytes"] for entry in payload["databases"])
    module.exit_json(changed=True, dump_bytes=size, journal=notes, **result)


if __name__ == "__main__":
    main()
