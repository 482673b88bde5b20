"""The one layer that runs pgBackRest on a host."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable

from . import guards, network
from .lsn import segment_timeline
from .postgres import wait_until
from .timelines import Line, forks

LOCKED = "[050]"  # another of its processes is at work here
STORED_SEGMENT = re.compile(r"^(?:.*/)?([0-9A-F]{24})-[0-9a-f]{40}(?:\.(?:gz|lz4|zst|bz2))?$")
TIMED_OUT = 124  # exit code of timeout(1)
A_FILE = 65536  # bytes; less than that is what an engine reads while it tries again, such as resolv.conf
ENDPOINTS = {"type": "dict", "default": {}}  # module argument: repository number and host[:port] of its store


def run(
    module: Any, stanza: str, *arguments: str, patience_s: float = 3600, limit_s: int = 0, **more: Any
) -> "tuple[int, str, str]":
    """Run a command of pgBackRest: its exit code, output, and what it complained about. `more` goes to run_command.

    While another process of the same kind is at work it is waited for: a controller that was killed leaves what it had
    started on a host running. With `limit_s` the command itself may not take longer: its own time-outs add up to minutes.
    """
    limit = ["timeout", "%d" % limit_s] if limit_s else []
    answer: "list[tuple[int, str, str]]" = []

    def ran() -> bool:
        command = [*limit, "pgbackrest", "--stanza=" + stanza, "--log-level-file=off", *arguments]
        answer[:] = [module.run_command(command, **more)]
        return LOCKED not in answer[0][1] + answer[0][2]

    wait_until(ran, patience_s, poll_s=0.5)
    code, out, err = answer[0]
    if limit_s and code == TIMED_OUT:
        err += "pgbackrest %s did not end within %d s" % (" ".join(arguments), limit_s)
    return code, out, err


def ended_when_silent(endpoint: str, said: "list[str]", pause_s: float = 2, tries: int = 3) -> "Callable[[Any], None]":
    """For run_command's `before_communicate_callback`: end the engine when its store has stopped answering.

    Its own time-outs add up to more than five minutes. It is ended only when the store did not speak TLS so many times in
    a row while the engine received nothing of a file; the reason is then appended to `said`.
    """

    def watch(process: Any) -> None:
        problems, received = 0, 0
        while process.poll() is None:
            problem = network.tls_problem(endpoint, 5)
            now = received_bytes(process.pid)
            problems = problems + 1 if problem and now - received < A_FILE else 0
            received = now
            if problem and problems >= tries:
                said.append("the store stopped answering: %s" % problem)
                end(process.pid)
                return
            time.sleep(pause_s)  # a store that struggles must not be asked without a pause

    return lambda process: threading.Thread(target=watch, args=(process,), daemon=True).start()


def family(pid: int) -> "list[int]":
    """A process and its children; those that have ended meanwhile are left out."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as children:
            return [pid, *(one for child in children.read().split() for one in family(int(child)))]
    except OSError:
        return []


def received_bytes(pid: int) -> int:
    """What a process and its children have read so far, whatever from."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError), open("/proc/%d/io" % one, encoding="ascii") as counters:
            total += int(counters.readline().split()[1])
    return total


def end(pid: int) -> None:
    """End the engine with its workers: it would wait for them, and they for the store."""
    for one in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGTERM)


def read(said: str) -> Any:
    """What the engine says as JSON. A message of several lines stands in it as it is."""
    return json.loads(said, strict=False)


class Repositories:
    """The repositories of a stanza, as this host sees them; the module says C(stanza) and C(timeout_s)."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.patience = ["--io-timeout=%d" % module.params["timeout_s"], "--log-level-console=error"]

    def ask(self, *arguments: str) -> Any:
        """The answer of a command that looks, as JSON."""
        return read(self.text("--output=json", *arguments))

    def text(self, *arguments: str) -> str:
        """The answer of a command that looks."""
        limit = 4 * self.module.params["timeout_s"]
        stanza = self.module.params["stanza"]
        code, out, err = run(self.module, stanza, *self.patience, *arguments, limit_s=limit)
        if code:
            raise guards.Stop("The repositories cannot be asked: %s" % (err or out).strip(), guards.PRECONDITION)
        return out

    def files(self, repo: int, path: str) -> "dict[str, Any]":
        """Names, sizes and times of the files below a path of one repository."""
        listing = self.ask("--repo=%d" % repo, "--recurse", "repo-ls", path)
        return {name: entry for name, entry in listing.items() if entry["type"] == "file"}

    def archived(self, archives: "list[tuple[int, str]]", segment_bytes: int) -> "tuple[dict[str, int], Line]":
        """What a recovery to the newest timeline reads of some archives of one system, and the line of timelines it follows.

        The former maps names of segments to the time (epoch seconds) each was first stored.
        """
        with ThreadPoolExecutor(max_workers=4) as pool:
            listings = pool.map(lambda archive: self.files(archive[0], self.folder(archive[1])), archives)
        stored: "dict[str, int]" = {}
        for name, entry in (item for listing in listings for item in listing.items()):
            match = STORED_SEGMENT.match(name)
            if match:
                stored[match.group(1)] = min(entry["time"], stored.get(match.group(1), entry["time"]))
        line = self.line(max(map(segment_timeline, stored), default=1), archives)
        return {name: stored[name] for name in line.segments(stored, segment_bytes)}, line

    def line(self, newest: int, archives: "Iterable[tuple[int, str]]") -> Line:
        """The line that leads to a timeline, from the first archive whose history file of it can be read."""
        problem = None
        for repo, archive in archives if newest > 1 else ():
            name = "%08X.history" % newest
            if name not in self.ask("--repo=%d" % repo, "repo-ls", self.folder(archive)):
                continue
            try:
                left = forks(self.text("--repo=%d" % repo, "repo-get", self.folder(archive) + "/" + name))
            except guards.Stop as stop:
                problem = stop
                continue
            if left:
                return Line(newest, left)
            problem = guards.Stop("%s in repository %d is not a history file" % (name, repo), guards.PRECONDITION)
        if problem:
            raise problem
        return Line(newest, {})

    def folder(self, archive: str) -> str:
        """Where an archive is in its repository."""
        return "archive/%s/%s" % (self.module.params["stanza"], archive)
