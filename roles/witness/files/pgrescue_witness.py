#!/usr/bin/python3
"""The witness: a client of a service that writes down what it was promised.

Every interval it commits a numbered token through the service's own name and calls the service's
endpoints. Each attempt and each outcome goes to a journal on its own disk, from which recovery time and
recovery point are computed. It needs psycopg 3 and nothing else.

  pgrescue_witness.py --config /etc/pgrescue/witness-shop.json          watch until told to stop
  pgrescue_witness.py --config /etc/pgrescue/witness-shop.json --once   try everything once, journal nothing
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import http.client
import io
import json
import os
import re
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

VERSION = "0.1.0"
WORKERS = 8  # attempts of one kind in flight: what four ticks a second and a time-out of two seconds need
PRUNE_EVERY = 1000  # acknowledged tokens
MAY_BE_LOST = 1000  # numbers skipped after a crash: more than are used while the kernel holds a write back
SESSION: dict[str, str | int] = {"application_name": "pgrescue-witness", "keepalives_idle": 1}
SESSION.update(keepalives_interval=1, keepalives_count=2)
INSERT = "INSERT INTO pgrescue.witness (token, attempted_at, client) VALUES ($1, $2, $3)"
PRUNE = """DELETE FROM pgrescue.witness WHERE token IN
    (SELECT token FROM pgrescue.witness WHERE token < $1 ORDER BY token LIMIT 5000)"""


class ProbeError(Exception):
    """The service did not do what was asked; `seen` is what it did."""

    def __init__(self, message: str, **seen: Any) -> None:
        super().__init__(message)
        self.seen = seen


class JournalError(Exception):
    """The journal cannot be written: a witness that cannot write must not claim."""


FAILURES = (ProbeError, psycopg.Error, OSError, ValueError, http.client.HTTPException)


@dataclass(frozen=True)
class Config:
    """The configuration file; the names say the units."""

    service: str
    dsn: str
    endpoints: dict[str, str]
    journal_dir: str
    interval_s: float = 0.25
    attempt_timeout_s: float = 2
    max_connection_age_s: float = 5
    keep_tokens: int = 200_000
    keep_days: float = 30

    @classmethod
    def read(cls, path: str) -> Config:
        """The configuration in a file, or a ValueError that says what is wrong with it."""
        try:
            config = cls(**json.loads(Path(path).read_text(encoding="utf-8")))
            if not config.interval_s >= 0.01:  # numbers must stay slower than the clock, see first_token()
                raise ValueError("interval_s must be 0.01 or more")
            conninfo_to_dict(config.dsn)
        except (OSError, TypeError, ValueError, psycopg.Error) as error:
            raise ValueError(f"{path}: {str(error).replace('Config.__init__() ', '')}") from error
        return config


def wall(moment: datetime | None = None) -> str:
    """A moment, or now, as RFC 3339 UTC with microseconds."""
    return (moment or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Deadline:
    """When an attempt is over, whatever it waits for."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left; TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


def addresses(host: str) -> list[str]:
    """Where a name leads at this moment, in the resolver's order."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Journal:
    """One line an event, one file an hour. Numbers of tokens come from here, so that none is sent unwritten."""

    def __init__(self, directory: str, keep_days: float) -> None:
        self._directory = Path(directory)
        self._keep = timedelta(days=keep_days)
        self._lock = threading.Lock()
        self._name = ""
        self._file = self._older = -1
        self._token = 0

    def claim(self) -> None:
        """Make sure that no other witness writes here; the lock ends with this process."""
        with self._told():
            self._folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(self._folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise JournalError(f"another witness writes to {self._directory}") from error

    def _files(self) -> list[Path]:
        return sorted(p for p in self._directory.iterdir() if re.fullmatch(r"\d{8}T\d{2}\.jsonl", p.name))

    def last_token(self) -> int:
        """The highest token that may have been used, or 0. Looks at every file: clocks can be set back."""
        last, torn, newest = 0, False, 0.0
        for path in self._files():
            with path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 131_072))
                tail = file.read()
            last = max([last, *map(int, re.findall(rb'"token":(\d+)', tail))])
            if path.stat().st_mtime >= newest:
                newest, torn = path.stat().st_mtime, tail[-1:] not in (b"", b"\n")
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return last + MAY_BE_LOST if last and (torn or newest < booted) else last

    def number_from(self, token: int) -> None:
        """Let the next attempt be this token."""
        self._token = token - 1

    def next_token(self, start: str, start_ns: int) -> int:
        """Number an attempt and write it down, in one act."""
        with self._lock:
            self._token += 1
            attempt = {"event": "attempt", "probe": "commit", "token": self._token}
            self._append({**attempt, "wall": start, "mono_ns": start_ns})
            return self._token

    def write(self, line: dict[str, Any], *, durable: bool = False) -> None:
        """Append a line; with `durable` it is on the disk when this returns."""
        with self._lock:
            file = self._append(line)
        if durable:
            with self._told():  # outside the lock, so that a slow disk holds up nobody else's line
                os.fdatasync(file)

    def _append(self, line: dict[str, Any]) -> int:
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._told():
            self._turn_page()
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, "the disk took half a line")
        return self._file

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalError(f"cannot write to {self._directory}: {error.strerror}") from error

    def _turn_page(self) -> None:
        now = datetime.now(timezone.utc)
        name = now.strftime("%Y%m%dT%H.jsonl")
        if name == self._name:
            return
        if self._older >= 0:
            os.close(self._older)  # not the file of the last hour: somebody may be syncing it
        path = self._directory / name
        self._older, self._file = self._file, os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # a crash tore the last line
        os.fsync(self._folder)
        self._name = name
        for old in self._files():
            if old.name < (now - self._keep).strftime("%Y%m%dT%H.jsonl"):
                old.unlink()

    def close(self) -> None:
        """Let nobody write any more, so that the end of the process tears no line."""
        self._lock.acquire(timeout=0.3)


class Session:
    """A database connection of which every wait ends at a deadline.

    It uses libpq's non-blocking calls. Its time-outs (connect_timeout, tcp_user_timeout, statement_timeout)
    each bound one wait, and none bounds a server that is frozen while its kernel still acknowledges.
    """

    def __init__(self, conninfo: str, deadline: Deadline) -> None:
        self._pg = pq.PGconn.connect_start(conninfo.encode())
        try:
            while (state := self._pg.connect_poll()) != pq.PollingStatus.OK:
                if state == pq.PollingStatus.FAILED:
                    raise ProbeError(self._pg.error_message.decode(errors="replace"))
                self._wait(select.POLLOUT if state == pq.PollingStatus.WRITING else select.POLLIN, deadline)
            self._pg.nonblocking = 1
        except BaseException:
            self.close()
            raise

    def _wait(self, event: int, deadline: Deadline) -> None:
        poll = select.poll()
        poll.register(self._pg.socket, event)
        poll.poll(1000 * deadline.left())
        deadline.left()

    def run(self, statement: str, values: Sequence[str], deadline: Deadline) -> str:
        """Run one statement in a transaction of its own; the first value of its result, or an empty string.

        Its commit happens after CommandComplete and before ReadyForQuery, so only the latter is its acknowledgement.
        """
        self._pg.send_query_params(statement.encode(), [value.encode() for value in values])
        while self._pg.flush():
            self._wait(select.POLLOUT, deadline)
        value = b""
        while True:
            while self._pg.is_busy():
                self._wait(select.POLLIN, deadline)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                break
            if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise ProbeError(result.error_message.decode(errors="replace"))
            value = result.get_value(0, 0) or b"" if result.ntuples else b""
        if self._pg.transaction_status != pq.TransactionStatus.IDLE:
            raise ProbeError("the server did not confirm the end of the transaction")
        return value.decode()

    @property
    def address(self) -> str:
        """The address it is connected to, or the folder of the socket."""
        return (self._pg.hostaddr or self._pg.host).decode()

    def close(self) -> None:
        """End the connection."""
        self._pg.finish()


def ways(dsn: str) -> list[dict[str, str]]:
    """Where a libpq string leads at this moment: an address each, or nothing for libpq to find out by itself."""
    parameters = conninfo_to_dict(dsn)
    host = str(parameters.get("host") or "")
    if not host or "," in host or host.startswith("/") or "hostaddr" in parameters:
        return [{}]
    return [{"hostaddr": address} for address in addresses(host)]


class Probe:
    """One way to ask the service, used by one worker at a time."""

    name = ""

    def announce(self, start: str, start_ns: int) -> dict[str, Any]:
        """What the journal is to know of an attempt before it is made."""
        return {}

    def attempt(self, start: str, announced: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Ask once; what was seen, or one of FAILURES."""
        raise NotImplementedError

    def tidy(self) -> None:
        """Do what takes time between attempts, where it delays no answer."""

    def close(self) -> None:
        """Give up what is held."""


class CommitProbe(Probe):
    """Commits tokens over a connection that it keeps while the service's name leads to its server."""

    name = "commit"

    def __init__(self, config: Config, number: Callable[[str, int], int]) -> None:
        self._config = config
        self._number = number
        self._session: Session | None = None
        self._looked_up = 0.0
        self._acknowledged = self._token = 0

    def announce(self, start: str, start_ns: int) -> dict[str, Any]:
        """Take a number."""
        return {"token": self._number(start, start_ns)}

    def attempt(self, start: str, announced: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Commit the token."""
        self._token = announced["token"]
        session = self._session = self._session or self.connect(deadline)
        session.run(INSERT, [str(self._token), start, socket.gethostname()], deadline)
        self._acknowledged += 1
        return {"server": session.address}

    def connect(self, deadline: Deadline) -> Session:
        """Connect to the first address that answers; each gets its share of the time."""
        self._looked_up = time.monotonic()
        patience = int(1000 * self._config.attempt_timeout_s)
        options = f"{conninfo_to_dict(self._config.dsn).get('options') or ''} -c statement_timeout={patience}"
        fixed = {**SESSION, "options": options, "tcp_user_timeout": patience}
        targets = ways(self._config.dsn)
        for number, way in enumerate(targets):
            share = Deadline(deadline.left() / (len(targets) - number))
            try:
                return Session(make_conninfo(self._config.dsn, **fixed, **way), share)
            except FAILURES as failure:
                error = failure
        raise error

    def tidy(self) -> None:
        """Follow the name when it has moved, and remove old tokens."""
        if self._session is None:
            return
        if time.monotonic() - self._looked_up > self._config.max_connection_age_s:
            self._looked_up = time.monotonic()
            self._follow(self._session)
        if self._session and self._acknowledged % PRUNE_EVERY == 0:
            bound = [str(self._token - self._config.keep_tokens)]
            try:
                self._session.run(PRUNE, bound, Deadline(self._config.attempt_timeout_s))
            except FAILURES:
                self.close()  # its answer may still come, and would be taken for another's

    def _follow(self, session: Session) -> None:
        try:
            led_to = ways(self._config.dsn)
        except OSError:
            return  # a silent name server says nothing about a database that answers
        if all(way.get("hostaddr", session.address) != session.address for way in led_to):
            self.close()

    def close(self) -> None:
        """Drop the connection; the next attempt looks the name up anew."""
        if self._session is not None:
            self._session.close()
        self._session = None


class Response(io.RawIOBase):
    """What a socket receives until a deadline, however slowly it comes."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive some."""
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Stand in for the socket where http.client reads."""
        return io.BufferedReader(self)


class HttpProbe(Probe):
    """Calls one endpoint; over a new connection each time, so that the name is looked up each time."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = urlsplit(url)
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None

    def attempt(self, start: str, announced: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        """Well is what answers 200 with JSON that reports no error."""
        host, path = self._url.hostname or "", self._url.path or "/"
        with self._connect(host, deadline) as sock:
            request = http.client.HTTPConnection(host, self._url.port)
            request.sock = sock
            target = f"{path}?{self._url.query}" if self._url.query else path
            request.request("GET", target, headers={"User-Agent": "pgrescue-witness", "Connection": "close"})
            answer = http.client.HTTPResponse(Response(sock, deadline), method="GET")  # type: ignore[arg-type]
            answer.begin()
            return self._judge(answer.status, answer.read())

    @staticmethod
    def _judge(status: int, content: bytes) -> dict[str, Any]:
        try:
            body = json.loads(content)
        except ValueError as error:
            raise ProbeError(f"HTTP {status}, and the body is not JSON", status=status) from error
        if isinstance(body, dict) and "error" in body:
            raise ProbeError(str(body["error"]), status=status)
        if status != http.HTTPStatus.OK:
            raise ProbeError(f"HTTP {status}", status=status)
        return {"status": status}

    def _connect(self, host: str, deadline: Deadline) -> socket.socket:
        port = self._url.port or (443 if self._tls else 80)
        targets = addresses(host)
        for number, address in enumerate(targets):
            try:
                sock = socket.create_connection((address, port), deadline.left() / (len(targets) - number))
                sock.settimeout(deadline.left())
                return self._tls.wrap_socket(sock, server_hostname=host) if self._tls else sock
            except OSError as failure:
                error = failure
        raise error


def witness(probe: Probe, timeout_s: float) -> dict[str, Any]:
    """Make one attempt; the journal line that tells its outcome."""
    now, start_ns = datetime.now(timezone.utc), time.monotonic_ns()
    start = wall(now)
    announced = probe.announce(start, start_ns)
    outcome: dict[str, Any]
    try:
        outcome = {"ok": True, **probe.attempt(start, announced, Deadline(timeout_s))}
    except FAILURES as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        outcome = {"ok": False, **getattr(error, "seen", {}), "error": reason}
    times = {"start": start, "start_ns": start_ns, "end": wall(), "end_ns": time.monotonic_ns()}
    if not outcome["ok"]:
        probe.close()
    return {"event": "result", "probe": probe.name, **announced, **outcome, **times}


class Worker:
    """A thread that makes attempts of one kind, one at a time."""

    def __init__(self, probe: Probe, config: Config, journal: Journal, fatal: Callable[[Exception], None]) -> None:
        self._probe, self._config, self._journal, self._fatal = probe, config, journal, fatal
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._wake = threading.Event()
        self.busy = False

    def take(self) -> bool:
        """Take the tick if idle."""
        if self.busy:
            return False
        self.busy = True
        if self._thread.ident is None:
            self._thread.start()
        self._wake.set()
        return True

    def _work(self) -> None:
        try:
            while True:
                if not self._wake.wait(self._config.max_connection_age_s):
                    self._probe.close()  # an idle connection grows stale, and takes a slot of the server's
                    self._wake.wait()
                self._wake.clear()
                outcome = witness(self._probe, self._config.attempt_timeout_s)
                self._journal.write(outcome, durable=self._probe.name == "commit" and outcome["ok"])
                self._probe.tidy()
                self.busy = False
        except Exception as error:
            self._fatal(error)


def probes(config: Config, number: Callable[[str, int], int]) -> list[Callable[[], Probe]]:
    """What is asked each tick; each entry makes a worker's probe."""
    calls = [lambda name=name, url=url: HttpProbe(name, url) for name, url in config.endpoints.items()]
    return [lambda: CommitProbe(config, number), *calls]


def first_token(config: Config, last: int) -> int:
    """A number from which on none was ever used; `last` is the journal's.

    Without a journal an empty table tells a new witness, which starts at 1. In every other case numbers were used that
    nobody can name (rows go when a database is restored to an earlier moment), so it starts at the milliseconds
    since 1970: attempts are slower than that clock, so it is ahead of every number used before.
    """
    if last:
        return last + 1
    probe = CommitProbe(config, lambda _start, _start_ns: 0)
    try:
        deadline = Deadline(config.attempt_timeout_s)
        used = probe.connect(deadline).run("SELECT max(token) FROM pgrescue.witness WHERE token > 0", [], deadline)
    except FAILURES:
        used = "unknown"
    return int(1000 * time.time()) if used else 1


def watch(config: Config, stop: threading.Event) -> None:
    """Ask at every tick until told to stop. No attempt delays another, nor the next tick."""
    failed: list[Exception] = []

    def fatal(error: Exception) -> None:
        failed.append(error)
        stop.set()

    journal = Journal(config.journal_dir, config.keep_days)
    journal.claim()
    journal.number_from(first_token(config, journal.last_token()))
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    who = {"boot_id": boot_id, "client": socket.gethostname(), "version": VERSION}
    journal.write({"event": "start", "wall": wall(), "mono_ns": time.monotonic_ns(), **who}, durable=True)
    kinds = probes(config, journal.next_token)
    teams = [[Worker(make(), config, journal, fatal) for _ in range(WORKERS)] for make in kinds]
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        for team in teams:
            any(worker.take() for worker in team)  # the first idle one; when all are busy the tick is let go
        due = max(due + config.interval_s, time.monotonic())
    until = time.monotonic() + 0.5  # answers that are about to come are worth half a second
    while not failed and time.monotonic() < until and any(w.busy for team in teams for w in team):
        time.sleep(0.01)  # between two looks: the workers are threads that tell nobody
    journal.close()
    if failed:
        raise failed[0]


def try_once(config: Config) -> int:
    """One round for a person to look at. Its token is negative, for numbers belong to the journal."""
    rounds = [make() for make in probes(config, lambda _start, _start_ns: -int(1000 * time.time()))]
    outcomes = [witness(probe, config.attempt_timeout_s) for probe in rounds]
    print(json.dumps(outcomes, indent=2))
    return 0 if all(outcome["ok"] for outcome in outcomes) else 1


def main() -> int:
    """Watch, or try everything once; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    needed = "service, dsn, endpoints {health, products, videos: URL}, journal_dir"
    parser.add_argument("--config", required=True, metavar="FILE", help=f"JSON with {needed}")
    parser.add_argument("--once", action="store_true", help="one round, printed as JSON; exit 1 if any part failed")
    arguments = parser.parse_args()
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")  # a lookup has no deadline but the resolver's
    try:
        config = Config.read(arguments.config)
    except ValueError as error:
        parser.error(str(error))
    if arguments.once:
        return try_once(config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        watch(config, stop)
    except Exception as error:
        print(f"The witness of {config.service} stops: {error!s} ({type(error).__name__})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # attempts in flight must not hold up the end
