#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Bring the archived WAL after a restored backup, and read which transactions it holds."""

from __future__ import annotations

DOCUMENTATION = """
module: read_wal
short_description: Bring the archived WAL after a restored backup, and read which transactions it holds
description:
  - Fetches every segment from the beginning of the backup up to C(until), or to the end of the archive, into C(place) with the
    ending C(.wal). It ends before the first segment that is missing, and says so.
  - Reads them with pg_waldump of the server's own version, and notes there which transactions committed, when, and what each did to
    which table's file.
  - A server started on C(place) finds in the folder C(feed) there as much WAL as makes the backup consistent;
    M(pgrescue.runbooks.find_moment) gives it more.
  - Run it on the host that has the restored copy, as the user that owns the cluster.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  place: {description: 'The data directory that the backup was restored to.', type: path, required: true}
  backup: {description: The backup that was restored., type: dict, required: true}
  since: {description: 'Where the search begins, a time with its zone.', type: str}
  until: {description: 'Where the search ends, a time with its zone.', type: str}
  endpoints: {description: "Number and C(host[:port]) of each repository's object store.", type: dict, default: {}}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 20}
  programs: {description: Folder of PostgreSQL's programs; Debian's for C(version) when left out., type: path}
  version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Fetches nothing and answers at once.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Bring the WAL and read it
  pgrescue.runbooks.read_wal:
    stanza: shop
    place: /var/lib/postgresql/17/moment-shop
    backup: "{{ moment_backup }}"
    version: 17
  become: true
  become_user: postgres
"""

RETURN = """
wal:
  description: What there is.
  returned: success
  type: dict
  contains:
    segments: {description: How many segments were read., type: int}
    transactions: {description: How many transactions they hold., type: int}
    gap: {description: 'The last segment before the first one that is missing, and the next one that is there.', type: dict}
"""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    lsn,
    moments,
    network,
    pgbackrest,
    places,
    postgres,
    records,
    repository,
    wal_feed,
    waldump,
)

ENGLISH = {"LC_ALL": "C", "TZ": "UTC"}


class Archive:
    """The archive that the backup belongs to, in whichever repository answers."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.engine = pgbackrest.Repositories(module)
        self.backup = module.params["backup"]
        endpoints = module.params["endpoints"]
        silent = network.tls_problems(endpoints)
        info = [
            stanza
            for repo in ([repo for repo in endpoints if str(repo) not in silent] if silent else [None])
            for stanza in self.engine.ask(*(["--repo=%s" % repo] if repo else []), "info")
        ]
        self.archives = repository.archives(info, str(self.backup["system_identifier"]), silent)

    def stored(self) -> "tuple[dict[str, int], int]":
        """The segments that a recovery reads, with the time each was stored, and the newest timeline."""
        found, line = self.engine.archived(self.archives, self.backup["segment_bytes"])
        return found, line.newest

    def fetch(self, name: str, to: str) -> "str | None":
        """Bring one file, checked by the engine, from the first repository that has it; what was said when none had."""
        if os.path.exists(to):
            return None
        p, said = self.module.params, ""
        repos = sorted({repo for repo, _archive in self.archives}, key=lambda repo: repo != self.backup["repo"])
        for repo in repos:
            options = ["--repo=%d" % repo, "--io-timeout=%d" % p["timeout_s"], "--log-level-console=warn"]
            where = ["--pg1-path=" + p["place"], "--no-archive-async"]
            code, out, err = pgbackrest.run(
                self.module, p["stanza"], *options, *where, "archive-get", name, to + ".partial"
            )
            if code == 0:
                os.replace(to + ".partial", to)
                return None
            said = said or repository.reason((err + out).strip())
        return "%s cannot be fetched: %s" % (name, said or "no repository has it")


def fetch(module: AnsibleModule, folder: str) -> "tuple[list[str], dict[str, str] | None]":
    """Bring the segments of the search; their names, and where the archive breaks before its end."""
    p = module.params
    archive, size = Archive(module), p["backup"]["segment_bytes"]
    stored, timeline = archive.stored()
    chain = moments.chain(stored, p["backup"]["wal_start"], size)
    if not chain:
        said = "Segment %s, with which backup %s begins, is not in the archive. Nothing was changed. Take another backup: -e moment_since"
        raise guards.Stop(said % (p["backup"]["wal_start"], p["backup"]["label"]), guards.PRECONDITION)
    until = moments.instant(p["until"], "moment_until")
    names = moments.needed(chain, stored, until)
    broken = [] if moments.reaches(stored, names, until) else lsn.gaps(stored, chain[0], size)
    places.check_room({folder: len(names) * size}, True, "the WAL from %s to %s" % (names[0], names[-1]))
    os.makedirs(folder, exist_ok=True)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        histories = ["%08X.history" % one for one in range(2, timeline + 1)]
        list(pool.map(lambda name: archive.fetch(name, os.path.join(folder, name)), histories))  # old ones may be gone
        problems = [
            problem
            for problem in pool.map(lambda name: archive.fetch(name, os.path.join(folder, name)), names)
            if problem
        ]
    if problems:
        raise guards.Stop("%s. Nothing was changed." % problems[0], guards.STEP_FAILED)
    return names, {"after": broken[0][0], "until": broken[0][1]} if broken else None


def read(module: AnsibleModule, folder: str, names: "list[str]", size: int) -> waldump.History:
    """What pg_waldump tells of the segments.

    It reads one timeline at a time, and a record may go from one to the next: to it all segments have the name of the same one.
    """
    p, plain = module.params, os.path.join(folder, "plain")
    os.makedirs(plain, exist_ok=True)
    for name in names:
        link = os.path.join(plain, "00000001" + name[8:])
        if not os.path.lexists(link):
            os.symlink(os.path.join(folder, name), link)
    program = os.path.join(p["programs"] or postgres.BIN % p["version"], "pg_waldump")
    start, end = lsn.segment_number(names[0], size) * size, (lsn.segment_number(names[-1], size) + 1) * size
    stretch = ["--start=" + lsn.format_lsn(start), "--end=" + lsn.format_lsn(end)]
    command = [program, "--path=" + plain, *stretch, *waldump.arguments(p["version"])]
    with open(os.path.join(folder, "pg_waldump.log"), "w+", encoding="utf-8") as said:
        # not run_command: what it prints may not fit into memory
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, env={**os.environ, **ENGLISH}, text=True
        ) as dumping:
            history = waldump.read(dumping.stdout)
        said.seek(0)
        moments.check_end(dumping.returncode, said.read(), names, size)
    return history


def main() -> None:
    """Fetch, read, note."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "place": {"type": "path", "required": True},
            "backup": {"type": "dict", "required": True},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 20},
            "programs": {"type": "path"},
            "version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=True, wal={"segments": 0, "transactions": 0, "gap": None})
    folder, size = places.wal(p["place"]), p["backup"]["segment_bytes"]
    try:
        names, gap = fetch(module, folder)
        history = read(module, folder, names, size)
        bounds = moments.window(
            history.transactions,
            lsn.parse_lsn(p["backup"]["lsn_stop"]),
            moments.instant(p["since"], "moment_since"),
            moments.instant(p["until"], "moment_until"),
        )
        moments.check_window(history.transactions, bounds, names, gap)
    except guards.Stop as stop:
        guards.fail(module, stop)
    note = {"segments": names, "segment_bytes": size, "bounds": bounds, "gap": gap, **history.as_dict()}
    records.write_json(os.path.join(folder, "transactions.json"), note)
    wal_feed.Feed(folder, os.path.join(folder, "feed"), names, size).up_to(history.transactions[bounds[0]].lsn)
    said = "%d transactions in %d segments of WAL, of which %d are searched" % (
        len(history.transactions),
        len(names),
        bounds[1] - bounds[0],
    )
    module.exit_json(
        changed=True,
        wal={"segments": len(names), "transactions": len(history.transactions), "gap": gap},
        journal=[{"event": "decision", "detail": said}],
    )


if __name__ == "__main__":
    main()
