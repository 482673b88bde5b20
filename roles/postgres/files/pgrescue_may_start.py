#!/usr/bin/python3
"""Before PostgreSQL starts: whether it may. An old primary that comes back must not accept writes.

    pgrescue_may_start.py GUARD.json    systemd's ExecStartPre calls it as the user of the server

What starts as a standby or into a recovery may. What would start as a primary asks the service's other database hosts and the
repositories for a newer timeline; exit code 1, with a sentence, where there is one. While too few answer it asks again until
`wait_s` is over, then `unsure` of the file decides. A person's word is the file `anyway`, which ends with the host's boot.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pgrescue_core import guards, network, pgbackrest, places, postgres, repository, rewinding, start_guard
from pgrescue_core.host_program import Host
from pgrescue_core.lsn import segment_timeline

HISTORY = re.compile(r"^([0-9A-F]{8})\.history")


def ask_host(name: str, reach: "dict[str, str]", system_identifier: str) -> start_guard.Heard:
    """What another host's server is, asked over the replication protocol: its standbys' account may do no more."""
    did = network.knock(reach.get("hostaddr") or reach["host"], int(reach["port"]))
    if did == "refused":
        return start_guard.Heard(name, start_guard.HOST, True, said="no server runs there")
    if did == "silent":
        return start_guard.Heard(name, start_guard.HOST, False, said="silent")
    all_of_it = {**reach, "dbname": "replication", "replication": "true", "connect_timeout": "5"}
    words = " ".join("%s='%s'" % item for item in all_of_it.items())
    questions = ["-c", "IDENTIFY_SYSTEM", "-c", "SHOW in_hot_standby"]
    code, out, err = Host({}).run_command(["timeout", "10", "psql", "-XAtq", "-F,", "-w", "-d", words, *questions])
    lines = out.split()
    if code or len(lines) < 2:
        return start_guard.Heard(name, start_guard.HOST, False, said=" ".join((err or out).split())[:200])
    identifier, timeline = lines[0].split(",")[:2]
    if identifier != system_identifier:
        primary = lines[1] == "off"
        return start_guard.Heard(name, start_guard.HOST, True, succeeded=primary, said="another database runs there")
    return start_guard.Heard(name, start_guard.HOST, True, int(timeline), lines[1] == "off")


def known_to(stanza: str, number: int, system_identifier: str) -> "tuple[int | None, bool]":
    """The newest timeline that a repository knows of the database system, and whether it serves another one since.

    The former by its segments, and by history files before them.
    """
    engine = pgbackrest.Repositories(Host({"stanza": stanza, "timeout_s": 10}))
    info = engine.ask("--repo=%d" % number, "info")
    for status in (repo["status"] for one in info for repo in one.get("repo", [])):
        if status["code"] not in (0, 1, 2):  # 1: it has no such stanza yet, 2: no backups
            raise guards.Stop("it cannot be read: %s" % status["message"])
    archives = repository.archives(info, system_identifier)
    known = [
        segment_timeline(one["max"])
        for told in info
        for one in told.get("archive", [])
        if one.get("max") and (one["database"]["repo-key"], one["id"]) in archives
    ]
    for repo, archive in archives:
        names = engine.ask("--repo=%d" % repo, "repo-ls", engine.folder(archive))
        known += [int(found.group(1), 16) for found in map(HISTORY.match, names) if found]
    # one that never served this system is another service's, or the cluster is new
    served_once = any(str(one["system-id"]) == system_identifier for told in info for one in told.get("db", []))
    return max(known, default=None), served_once and repository.served(info).get(number) != system_identifier


def ask_repository(stanza: str, number: int, endpoint: str, system_identifier: str) -> start_guard.Heard:
    """What a repository knows."""
    name = "repository %d" % number
    problem = network.tls_problem(endpoint, 5) if endpoint else None
    if problem:
        return start_guard.Heard(name, start_guard.REPOSITORY, False, said=problem)
    try:
        newest, succeeded = known_to(stanza, number, system_identifier)
    except (guards.Stop, ValueError, LookupError) as error:
        return start_guard.Heard(name, start_guard.REPOSITORY, False, said=" ".join(str(error).split())[:200])
    return start_guard.Heard(name, start_guard.REPOSITORY, True, newest, succeeded=succeeded)


def ask_all(guard: "dict[str, Any]", system_identifier: str) -> "list[start_guard.Heard]":
    """All of them, side by side."""
    stores = list(enumerate(guard["repositories"], 1))
    with ThreadPoolExecutor(max_workers=len(guard["hosts"]) + len(stores) + 1) as pool:
        asked = [pool.submit(ask_host, name, reach, system_identifier) for name, reach in guard["hosts"].items()]
        asked += [pool.submit(ask_repository, guard["stanza"], n, there, system_identifier) for n, there in stores]
        return [one.result() for one in asked]


def verdict(guard: "dict[str, Any]") -> start_guard.Verdict:
    """Whether the cluster may start."""
    place = os.path.realpath(guard["data_directory"])
    if os.path.exists(places.rewinding(place)):
        said = "This server does not start: pg_rewind did not come to its end in %s. Run playbooks/rejoin.yml." % place
        return start_guard.Verdict(False, True, said)
    if any(os.path.exists(os.path.join(place, name)) for name in ("standby.signal", "recovery.signal")):
        return start_guard.Verdict(True, True, "This server starts into recovery, not as a primary")
    control = postgres.control_data(Host({"version": guard["version"]}), place)
    if not control:
        return start_guard.Verdict(True, True, "There is no cluster in %s" % place)
    own, identifier = rewinding.own_timeline(control), control["Database system identifier"]
    end = time.monotonic() + guard["wait_s"]
    while True:
        anyway = os.path.exists(guard["anyway"])
        found = start_guard.decide(own, ask_all(guard, identifier), guard["unsure"], anyway)
        if found.sure or time.monotonic() >= end or anyway:
            return found
        time.sleep(1)  # between two rounds: others may be booting as well


def main() -> int:
    """Say it, and tell systemd."""
    with open(sys.argv[1], encoding="utf-8") as source:
        found = verdict(json.load(source))
    print(found.said, file=sys.stdout if found.start else sys.stderr, flush=True)
    return 0 if found.start else 1


if __name__ == "__main__":
    sys.exit(main())
