#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""List, verify or restore the backups that the original shell scripts left."""

from __future__ import annotations

DOCUMENTATION = """
module: original_dump
short_description: List, verify or restore the backups that the original shell scripts left
description:
  - Reads C(database-backups/<environment>/backup_<environment>_<YYYYmmdd_HHMMSS>.sql[.gz]) and the C(.meta) and C(.sha256) beside
    it, which are read and never run. A local file, with its neighbours, can be named instead.
  - Restores only what verifies, in one transaction that the first error ends, into a database that does not exist, and leaves
    nothing behind when it fails. The script runs as a role made for it, which owns nothing else; what it made belongs to O(owner)
    afterwards, never to a superuser.
  - Refuses (exit code 4) a script that holds anything but what C(pg_dump) writes, such as commands of C(psql) or statements about
    whole databases. Nothing is changed then.
options:
  state: {description: What to do., type: str, choices: [listed, verified, restored], required: true}
  stores:
    description: The object stores that hold the backups.
    type: list
    elements: dict
    default: []
    suboptions:
      url: {description: Address of the store., type: str, required: true}
      bucket: {description: Name of the bucket., type: str, required: true}
      region: {description: Region of the store., type: str, required: true}
      key: {description: Access key., type: str, required: true}
      secret: {description: Secret key., type: str, required: true}
      ca_file: {description: Certificates that vouch for the store; the system's when left out., type: path}
      retain_days: {description: Counts for copies of sealed records alone., type: int}
  environment: {description: The environment in the backups' names., type: str, default: production}
  key: {description: The object to verify or restore; the newest backup of the environment when left out., type: str}
  path: {description: A local file to verify or restore instead; it stays where it is., type: path}
  min_bytes: {description: A smaller backup is not believed., type: int, default: 1024}
  database: {description: The database to restore into; it must not exist., type: str}
  preamble:
    description:
      - What to do with the statements by which C(pg_dump --create) drops, makes and enters its own database.
      - C(drop) leaves them out, and the backup goes into C(database) alone.
    type: str
    choices: [refuse, drop]
    default: refuse
  unprivileged:
    description: Whether the script runs as a role of its own when the role that connects is a superuser.
    type: bool
    default: true
  owner:
    description:
      - The role that owns the restored database and all in it; made without a login when it does not exist. Named after
        C(database), with C(_owner) behind it, when left out.
      - What a script made, such as a function behind an index, runs with its owner's rights afterwards too. So a superuser, or a role
        that may do more than own things, is refused (exit code 4).
      - Only where O(unprivileged) is true and the role that connects is a superuser; otherwise all belongs to that role.
    type: str
  url: {description: Connection URL of the server to restore into., type: str}
  port: {description: Port of the server on this host., type: int, default: 5432}
  socket_directory: {description: Where its socket is., type: path, default: /var/run/postgresql}
  program_directory: {description: Where C(psql) is; found by the server's version when left out., type: path}
  work_directory: {description: Where the backup is brought to. Its script must fit., type: path, default: /var/lib/pgrescue/restores}
attributes:
  check_mode: {support: full, description: 'Reads, verifies and checks the guards; restores nothing.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Restore the newest backup of the original scripts beside production
  pgrescue.runbooks.original_dump:
    state: restored
    stores: "{{ dump_stores }}"
    environment: production
    database: shop_staging
    preamble: drop
"""

RETURN = """
backups: {description: 'What there is, newest first.', returned: when listed, type: list, elements: dict}
backup: {description: 'What was verified or restored: where it is, its C(meta) and its C(sha256).', returned: when not listed, type: dict}
checks: {description: What was checked., returned: when not listed, type: list, elements: dict}
failed_checks: {description: The names of those that failed., returned: when not listed, type: list, elements: str}
ran_as: {description: The role that the script ran as., returned: when restored, type: str}
owner: {description: The role that owns what was restored; null for the one that connected., returned: when restored, type: str}
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    buckets,
    guards,
    libpq,
    original_dumps,
    original_restore,
    stores,
)


class Shelf:
    """Where the backups are: stores, or one local file."""

    def __init__(self, p: "dict[str, object]") -> None:
        self.p, self.places = p, {b.name: b for b in map(buckets.Bucket, p["stores"])}

    def listed(self) -> "list[dict[str, object]]":
        """The backups of all stores, newest first."""
        prefix = "%s/%s/" % (original_dumps.FOLDER, self.p["environment"])
        answers, failed = buckets.each(self.places.values(), lambda bucket: bucket.sizes(prefix))
        if failed or not answers:
            said = "; ".join("%s: %s" % item for item in sorted(failed.items())) or "neither stores nor a path is given"
            raise guards.Stop("The backups cannot be listed (%s)." % said, guards.PRECONDITION)
        found = [
            {**backup, "store": name}
            for name, sizes in sorted(answers.items())
            for backup in original_dumps.backups(sizes, self.p["environment"])
        ]
        return sorted(found, key=lambda backup: backup["taken"], reverse=True)

    def chosen(self) -> "dict[str, object]":
        """The backup that is meant, with what lies beside it."""
        path = self.p["path"]
        if path:
            if not os.path.isfile(path):
                raise guards.Stop("There is no file %s." % path, guards.PRECONDITION)
            beside = [end for end in (".meta", ".sha256") if os.path.exists(path + end)]
            found = {"path": path, "compressed": path.endswith(".gz"), "beside": beside}
        else:
            fit = [b for b in self.listed() if self.p["key"] in (None, b["key"])]
            if not fit:
                what = self.p["key"] or "backup of %s" % self.p["environment"]
                raise guards.Stop("No store holds %s." % what, guards.PRECONDITION)
            found = fit[0]
        text = {end: self._beside(found, end) for end in found["beside"]}
        wanted = original_dumps.checksum(text.get(".sha256", ""))
        return {**found, "meta": original_dumps.meta(text.get(".meta", "")), "sha256": wanted}

    def _beside(self, found: "dict[str, object]", end: str) -> str:
        if "store" in found:
            text = buckets.ask(self.places[found["store"]], lambda b: b.get_bytes(found["key"] + end))
            return text.decode("utf-8", "replace")
        with open(found["path"] + end, encoding="utf-8", errors="replace") as source:
            return source.read()

    def bring(self, found: "dict[str, object]", folder: str) -> str:
        """The backup as a local file."""
        if "store" not in found:
            return found["path"]
        path = os.path.join(folder, "backup")
        buckets.ask(self.places[found["store"]], lambda b: b.get(found["key"], path))
        return path


def verify(p: "dict[str, object]", found: "dict[str, object]", path: str, script: str) -> "tuple[list, dict]":
    """Read the backup once: the checks, and the locale it was made with; what may run of it is in `script`."""
    reader, refused = original_dumps.Script(p["preamble"] == "drop"), None
    with open(path, "rb") as file:
        source = original_dumps.Source(file, found["compressed"])
        lines = source.lines()
        try:
            original_restore.write(reader.passed(lines), script)
        except guards.Stop as stop:
            refused = str(stop)
            for _line in lines:
                pass  # the rest is hashed all the same
    return original_dumps.judge(source, refused, found["sha256"], p["min_bytes"]), reader.locale()


def restore(
    module: AnsibleModule, url: str, program: str, script: str, locale: dict, checks: list, owner: "str | None"
) -> "str | None":
    """Load what verified; the role it ran as."""
    wrong = ["%(name)s: %(observed)s" % c for c in checks if c["verdict"] == "failed"]
    if wrong:
        hint = (
            " With preamble: drop the statements of pg_dump --create are left out." if "database" in wrong[-1] else ""
        )
        raise guards.Stop("The backup is not restored: %s. Nothing was changed.%s" % ("; ".join(wrong), hint))
    if module.check_mode:
        return None
    return original_restore.load(module, program, url, script, locale, owner)


def main() -> None:
    """List, or bring, verify and restore."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["listed", "verified", "restored"], "required": True},
            "stores": {**stores.ARGUMENT, "required": False, "default": []},
            "environment": {"type": "str", "default": "production"},
            "key": {"type": "str", "no_log": False},
            "path": {"type": "path"},
            "min_bytes": {"type": "int", "default": 1024},
            "database": {"type": "str"},
            "preamble": {"type": "str", "choices": ["refuse", "drop"], "default": "refuse"},
            "unprivileged": {"type": "bool", "default": True},
            "owner": {"type": "str"},
            "url": {"type": "str", "no_log": True},
            "port": {"type": "int", "default": 5432},
            "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
            "program_directory": {"type": "path"},
            "work_directory": {"type": "path", "default": "/var/lib/pgrescue/restores"},
        },
        required_if=[("state", "restored", ("database",))],
        supports_check_mode=True,
    )
    p, folder, checks, answer = module.params, None, [], {}
    try:
        shelf = Shelf(p)
        if p["state"] == "listed":
            module.exit_json(changed=False, backups=shelf.listed())
        if p["state"] == "restored":
            url = p["url"] or "postgresql://?host=%s&port=%d" % (p["socket_directory"], p["port"])
            libpq.hide(module, url)
            program = original_restore.psql(module, original_restore.observe(url, p["database"])["version"])
            answer["owner"] = original_restore.owner_for(url, p["database"], p["owner"]) if p["unprivileged"] else None
        os.makedirs(p["work_directory"], mode=0o700, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="original-", dir=p["work_directory"])
        found, script = shelf.chosen(), os.path.join(folder, "script.sql")
        checks, locale = verify(p, found, shelf.bring(found, folder), script)
        answer["backup"] = found
        if p["state"] == "restored":
            answer["ran_as"] = restore(module, url, program, script, locale, checks, answer["owner"])
    except guards.Stop as stop:
        guards.fail(module, stop, checks=checks)
    finally:
        if folder:
            shutil.rmtree(folder)
    failed = [c["name"] for c in checks if c["verdict"] == "failed"]
    module.exit_json(changed=p["state"] == "restored", checks=checks, failed_checks=failed, **answer)


if __name__ == "__main__":
    main()
