#!/usr/bin/python3
"""Take the scheduled backup of a stanza to each of its repositories, then expire what its policy lets go.

    pgrescue_backup.py POLICY.json           take what is due
    pgrescue_backup.py POLICY.json --failed  note that a run did not come to its end; systemd's OnFailure calls it

Every attempt, a failed one too, is appended to `attempts` of the policy, one for each repository; whoever collects them reads it there.

Does nothing on a host whose server is not the primary, so that the same timer may run on every host. A server that does not
run, fenced or not, is no primary; that it should be one is for monitoring to say. What was done is written to `result` of the
policy in one step; the exit code is 5 when a repository took no backup.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from datetime import datetime, timezone
from typing import Any

from pgrescue_core import attempts, backup_policy, guards, network, pgbackrest, records, repository
from pgrescue_core.host_program import Host

STEP_FAILED = 5
WRONG = (guards.Stop, RuntimeError, ValueError, LookupError, OSError)


def now() -> str:
    """The instant, as results name it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(earlier: "dict[str, Any]", number: str, name: str) -> "dict[str, Any]":
    """How often a backup to each repository was attempted from this host, with one attempt more."""
    counts = {"passed": 0, "failed": 0, **earlier.get(number, {})}
    return {**earlier, number: {**counts, name: counts[name] + 1}}


def ask(policy: "dict[str, Any]", question: str) -> str:
    """The answer of the server on this host, unaligned."""
    command = ["psql", "-XAtq", "-h", policy["socket_directory"], "-p", str(policy["port"]), "-d", "postgres"]
    code, out, err = Host({}).run_command([*command, "-c", question])
    if code:
        raise RuntimeError(err.strip())
    return out.strip()


def listens(policy: "dict[str, Any]") -> bool:
    """Whether a server is behind its socket; one that is there and does not answer well is no such matter."""
    path = "%s/.s.PGSQL.%d" % (policy["socket_directory"], policy["port"])
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):  # stopped, and killed
            return False
    return True


def timeline(policy: "dict[str, Any]") -> "int | None":
    """The timeline the primary on this host is on; None when there is no primary here."""
    if not os.path.exists(policy["data_directory"]) or not listens(policy):
        return None
    question = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"
    name = ask(policy, question)
    return int(name, 16) if name else None


def standby(policy: "dict[str, Any]") -> "tuple[str | None, list[str]]":
    """The standby to copy from and what tells the engine to; nobody where none streams and serves."""
    streaming = ask(
        policy, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY replay_lag"
    )
    for name in streaming.splitlines():
        there = policy["standbys"].get(name)
        if there and not network.tls_problem("%s:%d" % (there["host"], there["port"]), 5):
            reach = {"host": there["host"], "host-type": "tls", "host-port": there["port"], "host-ca-file": there["ca"]}
            reach.update({"host-cert-file": there["cert"], "host-key-file": there["key"]})
            reach.update({"path": there["data_directory"], "port": there["postgres_port"]})
            reach.update({"socket-path": there["socket_directory"]} if "socket_directory" in there else {})
            return name, ["--backup-standby", *("--pg2-%s=%s" % item for item in reach.items())]
    return None, []


class Repository:
    """One repository of the policy."""

    def __init__(self, policy: "dict[str, Any]", number: int) -> None:
        self.number = number
        self.policy = policy
        self.wanted = policy["repositories"][number - 1]

    def ask(self, *arguments: str) -> str:
        """Run the engine; its output. What it complains about is raised."""
        here = ("--repo=%d" % self.number, "--log-level-console=warn")
        code, out, err = pgbackrest.run(Host({}), self.policy["stanza"], *here, *arguments)
        if code:
            raise RuntimeError(repository.reason((err + out).strip()))
        return out

    def info(self) -> "list[dict[str, Any]]":
        """What the engine says of it; one that cannot be read holds nothing to decide by, which is raised."""
        said: "list[dict[str, Any]]" = pgbackrest.read(self.ask("--output=json", "info"))
        for status in (repo["status"] for stanza in said for repo in stanza.get("repo", [])):
            if status["code"] not in (0, 2):  # 0 ok, 2 no valid backups
                raise RuntimeError("it cannot be read: %s" % status["message"])
        return said

    def backups(self, on_timeline: int) -> "list[dict[str, Any]]":
        """What it holds, newest first. One that no recovery to this server's timeline can begin with counts as damaged."""
        info = self.info()
        found = repository.candidates(info)
        archives = repository.archives(info, found[0]["system_identifier"]) if found else []
        engine = pgbackrest.Repositories(Host({"stanza": self.policy["stanza"], "timeout_s": 20}))
        line = engine.line(on_timeline, archives)
        return [{**b, "error": b["error"] or bool(repository.off_the_line(b, line))} for b in found]

    def holds(self) -> "list[str]":
        """Runs for whose sake nothing may be expired."""
        return [name for name in json.loads(self.ask("--output=json", "repo-ls", repository.HOLDS)) if name != "."]

    def copy(self, *arguments: str) -> "dict[str, Any]":
        """Take the backup, from a standby where one serves; whence it came, and why not from the standby that was asked."""
        source, reach = standby(self.policy) if self.policy["standbys"] else (None, [])
        if source:
            try:
                self.ask(*arguments, *reach, "backup")
                return {"copied_from": source}
            except RuntimeError as error:
                refused = {"not_copied_from": source, "problem_there": str(error)}
        self.ask(*arguments, "backup")
        return {"copied_from": None, **(refused if source else {})}

    def back_up(self, on_timeline: int) -> "tuple[dict[str, Any], dict[str, Any]]":
        """Take what is due; what was done, and what the engine says of it."""
        problem = network.tls_problem(self.wanted["endpoint"], 5) if self.wanted.get("endpoint") else None
        if problem:
            raise RuntimeError(problem)
        info = self.info()
        known = repository.newest_timeline(info)
        if known > on_timeline:
            # its backup would be the newest one, and nothing could be recovered from it
            raise RuntimeError(
                "it knows timeline %d and this server is on %d: an old primary that came back" % (known, on_timeline)
            )
        instant = datetime.now(timezone.utc)
        every = (self.policy["full_every_days"], self.policy["diff_every_days"])
        kind, why = backup_policy.due(repository.candidates(info), on_timeline, instant, *every)
        processes = "--process-max=%d" % (self.policy["processes"] or os.cpu_count() or 1)
        source = self.copy("--type=" + kind, processes, "--no-expire-auto")
        info = self.info()
        label = repository.candidates(info)[0]["label"]
        done = {"type": kind, "why": why, "label": label, **source, "finished": now()}
        return done, repository.newest(info, self.number)

    def expire(self, on_timeline: int) -> "dict[str, Any]":
        """Let go what the policy gives up; what went, and for whose sake nothing did."""
        held = self.holds()
        if held:
            return {"expired": [], "held_by": held}
        taken, instant = self.backups(on_timeline), datetime.now(timezone.utc)
        policy = (self.wanted["retention_days"], self.wanted["retention_full"], self.policy["keep_proven"])
        retention = "--repo%d-retention-full" % self.number
        keep = "%s=%d" % (retention, backup_policy.fulls_to_keep(taken, instant, *policy))
        self.ask(retention + "-type=count", keep, "expire")
        left = {b["label"] for b in repository.candidates(self.info())}
        return {"expired": sorted(b["label"] for b in taken if b["label"] not in left), "held_by": []}

    def attempt(self, on_timeline: int) -> "dict[str, Any]":
        """Back up, write the attempt down at once, and expire: a backup counts although nothing could be expired after it."""
        begun, name = time.monotonic(), str(self.number)
        try:
            done, there = self.back_up(on_timeline)
        except WRONG as error:
            said = attempts.failed(str(error) or repr(error), name, None, time.monotonic() - begun)
            attempts.append(self.policy["attempts"], [said])
            raise
        said = attempts.passed(repository=name, duration_s=time.monotonic() - begun, **there)
        attempts.append(self.policy["attempts"], [said])
        return {"state": "taken", **done, **self.expire(on_timeline)}


def interrupted(policy: "dict[str, Any]", earlier: "dict[str, Any]", at: str) -> None:
    """Write down the attempt that an earlier run did not come to the end of, unless it had written it itself."""
    if "at_work" not in earlier:
        return
    number, began = earlier["at_work"]["repository"], earlier["at_work"]["started"]
    there = attempts.read(policy["attempts"])
    if not any(one.get("repository") == number and one["at"] >= began for one in there):
        said = attempts.failed("it ended before it was done", number, at=at or began)
        attempts.append(policy["attempts"], [said])


def untried(policy: "dict[str, Any]", problem: str) -> None:
    """Write down that no repository got its backup; else the last night's success would be told on."""
    path = policy["result"]
    earlier = records.read_json(path) if os.path.exists(path) else {}
    if earlier.get("state") == "running":
        interrupted(policy, earlier, "")
    counts, done = earlier.get("attempts", {}), {"state": "failed", "problem": problem, "ended": now()}
    numbers = [str(number) for number, _ in enumerate(policy["repositories"], 1)]
    for number in numbers:
        counts = counted(counts, number, "failed")
    result = {"stanza": policy["stanza"], "state": "failed", "problem": problem, "started": now(), "finished": now()}
    records.write_json(path, {**result, "repositories": dict.fromkeys(numbers, done), "attempts": counts})


def main() -> int:
    """Back up to one repository after the other: one that fails does not keep the next from its backup."""
    with open(sys.argv[1], encoding="utf-8") as source:
        policy = json.load(source)
    path = policy["result"]
    if "--failed" in sys.argv:
        earlier = records.read_json(path) if os.path.exists(path) else {"stanza": policy["stanza"]}
        if earlier.get("state") != "failed":
            interrupted(policy, earlier, attempts.now())
            broken = {**earlier, "state": "failed", "problem": "it ended before it was done"}
            left = [
                str(n) for n, _ in enumerate(policy["repositories"], 1) if str(n) not in earlier.get("repositories", {})
            ]
            for number in left[:1]:  # the one it was at; those behind it were not tried
                broken["attempts"] = counted(earlier.get("attempts", {}), number, "failed")
                done = {"state": "failed", "problem": broken["problem"], "ended": now()}
                broken["repositories"] = {**earlier.get("repositories", {}), number: done}
            records.write_json(path, broken)
        return 0
    try:
        on_timeline = timeline(policy)
    except WRONG as error:
        attempts.append(policy["attempts"], [attempts.failed(str(error) or repr(error))])
        untried(policy, str(error) or repr(error))
        raise
    if on_timeline is None:
        why = "its server is a standby" if listens(policy) else "no server runs"
        print("No primary runs here (%s): nothing to do. If one should, that is for monitoring to say." % why)
        return 0
    earlier = records.read_json(path) if os.path.exists(path) else {}
    if earlier.get("state") == "running":  # its host went down
        interrupted(policy, earlier, "")
    result: "dict[str, Any]" = {"stanza": policy["stanza"], "state": "running", "started": now(), "repositories": {}}
    result["attempts"] = earlier.get("attempts", {})
    for number in range(1, len(policy["repositories"]) + 1):
        records.write_json(path, {**result, "at_work": {"repository": str(number), "started": attempts.now()}})
        try:
            done = Repository(policy, number).attempt(on_timeline)
        except WRONG as error:
            done = {"state": "failed", "problem": str(error) or repr(error)}
        result["repositories"][str(number)] = {**done, "ended": now()}
        result["attempts"] = counted(
            result["attempts"], str(number), "passed" if done["state"] == "taken" else "failed"
        )
        records.write_json(path, result)
        print("repository %d: %s" % (number, json.dumps(done, sort_keys=True)), flush=True)
    failed = [number for number, done in result["repositories"].items() if done["state"] == "failed"]
    records.write_json(path, {**result, "state": "failed" if failed else "passed", "finished": now()})
    return STEP_FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
