#!/usr/bin/python3
"""The witness: a client of a service that writes down what it was promised.

Every interval it commits one numbered token through the service's own name and calls the service's endpoints, and
journals each attempt and each outcome on its own disk, with wall and monotonic time. Recovery times and recovery points
are folds over that journal; its format is in docs/contracts.md. It needs Python 3.9 and psycopg 3, and nothing of pgrescue.

    pgrescue_witness.py --config /etc/pgrescue/witness-shop.json          run until told to stop
    pgrescue_witness.py --config /etc/pgrescue/witness-shop.json --once   try everything once and print the outcome
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg

VERSION = 1
WORKERS = 8  # attempts of one kind in flight at most: enough for time-outs of 2 s at four ticks a second
INSERT = "INSERT INTO pgrescue.witness (token, attempted_at, client) VALUES (%s, %s, %s)"
PRUNE = "DELETE FROM pgrescue.witness WHERE token < %s"
PRUNE_EVERY = 1000
DEFAULTS = {
    "interval_s": 0.25,
    "attempt_timeout_s": 2,
    "max_connection_age_s": 5,
    "keep_tokens": 200000,
    "keep_days": 7,
}


def wall() -> str:
    """Now, as RFC 3339 UTC with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Journal:
    """The witness's own memory: one line per event, one file per hour. A witness that cannot write must not claim."""

    def __init__(self, directory: str, keep_days: int) -> None:
        self.directory = directory
        self.keep_days = keep_days
        self._lock = threading.Lock()
        self._name = ""
        self._file = -1

    def _open(self) -> int:
        name = datetime.now(UTC).strftime("%Y%m%dT%H.jsonl")
        if name != self._name:
            if self._file >= 0:
                os.close(self._file)
            self._file = os.open(os.path.join(self.directory, name), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            length = os.fstat(self._file).st_size
            if length and os.pread(self._file, 1, length - 1) != b"\n":
                os.write(self._file, b"\n")  # a crash tore the last line
            self._name = name
            self._forget()
        return self._file

    def _forget(self) -> None:
        oldest = (datetime.now(UTC) - timedelta(days=self.keep_days)).strftime("%Y%m%dT%H.jsonl")
        for name in os.listdir(self.directory):
            if name[:1].isdigit() and name < oldest:
                os.unlink(os.path.join(self.directory, name))

    def write(self, durable: bool = False, **line: Any) -> None:
        """Append one line; with `durable` it is on disk when this returns."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            file = self._open()
            if os.write(file, data) != len(data):
                raise OSError("short write to the journal")
        if durable:
            os.fdatasync(file)

    def last_token(self) -> int:
        """The highest token this journal names, or 0."""
        for name in sorted((n for n in os.listdir(self.directory) if n[:1].isdigit()), reverse=True):
            with open(os.path.join(self.directory, name), encoding="utf-8", errors="replace") as lines:
                tokens = [_token(line) for line in lines if '"token"' in line]
            if any(tokens):
                return max(tokens)
        return 0


def _token(line: str) -> int:
    try:
        return int(json.loads(line).get("token", 0))
    except ValueError:
        return 0


class Tokens:
    """Numbers that never repeat, across restarts too."""

    def __init__(self, last: int) -> None:
        self._next = last + 1
        self._lock = threading.Lock()

    def take(self) -> int:
        """The next number."""
        with self._lock:
            token = self._next
            self._next += 1
            return token


class CommitProbe:
    """One worker's connection. It lives as long as the service's name leads to the server it is connected to."""

    name = "commit"

    def __init__(self, config: dict[str, Any], journal: Journal, tokens: Tokens) -> None:
        self.config = config
        self.journal = journal
        self.tokens = tokens
        self.client = socket.gethostname()
        self.host = psycopg.conninfo.conninfo_to_dict(config["dsn"])["host"]
        self._connection: psycopg.Connection[Any] | None = None
        self._checked = 0.0

    def _connected(self) -> psycopg.Connection[Any]:
        connection = self._connection
        if connection is not None and time.monotonic() - self._checked > self.config["max_connection_age_s"]:
            self._checked = time.monotonic()
            if connection.info.hostaddr not in {a[4][0] for a in socket.getaddrinfo(self.host, None)}:
                connection = self._drop()
        if connection is None:
            patience = int(1000 * self.config["attempt_timeout_s"])
            connection = psycopg.connect(
                self.config["dsn"],
                autocommit=True,
                connect_timeout=max(2, patience // 1000),
                tcp_user_timeout=patience,
                application_name="pgrescue-witness",
                options="-c statement_timeout=%d" % patience,
            )
            self._connection, self._checked = connection, time.monotonic()
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def attempt(self) -> dict[str, Any]:
        """Commit the next token; the answer is journalled before anybody may count on it."""
        token = self.tokens.take()
        self.journal.write(event="attempt", probe=self.name, token=token, wall=wall(), mono_ns=time.monotonic_ns())
        try:
            connection = self._connected()
            connection.execute(INSERT, (token, datetime.now(UTC), self.client))
            server = connection.info.hostaddr
            if token % PRUNE_EVERY == 0:
                connection.execute(PRUNE, (token - self.config["keep_tokens"],))
            return {"ok": True, "token": token, "server": server}
        except (psycopg.Error, OSError) as error:
            self._drop()
            return {"ok": False, "token": token, "error": _first_line(error)}


class HttpProbe:
    """Calls one endpoint; a new connection each time, so that the name is looked up each time."""

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.name = name
        self.url = urlsplit(url)
        self.timeout_s = timeout_s

    def attempt(self) -> dict[str, Any]:
        """Well is what answers 200 with JSON that reports no error."""
        kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self.url.hostname or "", self.url.port, timeout=self.timeout_s)
        try:
            connection.request("GET", self.url.path or "/", headers={"User-Agent": "pgrescue-witness"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            well = answer.status == 200 and "error" not in body
            outcome = {"ok": well, "status": answer.status}
            return outcome if well else {**outcome, "error": str(body.get("error", answer.status))}
        except (OSError, ValueError, http.client.HTTPException) as error:
            return {"ok": False, "error": _first_line(error)}
        finally:
            connection.close()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


class Pool:
    """Workers of one probe. The first idle one takes the tick: in quiet times always the first, in an outage up to all."""

    def __init__(self, make: Callable[[], Any], journal: Journal, fatal: Callable[[BaseException], None]) -> None:
        self.journal = journal
        self.fatal = fatal
        self._make = make
        self._idle: list[Any] = [None] * WORKERS
        self._lock = threading.Lock()
        self._free = list(range(WORKERS))
        self._wake = [threading.Event() for _ in range(WORKERS)]
        self._started = [False] * WORKERS

    def tick(self) -> None:
        """Hand the tick to the first idle worker; when all are busy nothing is attempted."""
        with self._lock:
            if not self._free:
                return
            number = min(self._free)
            self._free.remove(number)
        if not self._started[number]:
            self._started[number] = True
            threading.Thread(target=self._work, args=(number,), daemon=True).start()
        self._wake[number].set()

    def _work(self, number: int) -> None:
        probe = self._make()
        while True:
            self._wake[number].wait()
            self._wake[number].clear()
            try:
                run_attempt(probe, self.journal)
            except BaseException as error:
                self.fatal(error)
                return
            with self._lock:
                self._free.append(number)


def run_attempt(probe: Any, journal: Journal) -> dict[str, Any]:
    """One attempt, timed and journalled."""
    start, start_ns = wall(), time.monotonic_ns()
    outcome = probe.attempt()
    line = {"event": "result", "probe": probe.name, **outcome, "start": start, "start_ns": start_ns}
    line.update(end=wall(), end_ns=time.monotonic_ns())
    journal.write(durable=probe.name == "commit", **line)
    return line


def first_token(journal: Journal, config: dict[str, Any]) -> int:
    """The last token used: from the journal, else from the database, else from the clock.

    A witness whose disk was lost and that cannot ask starts at the seconds since 1970, far above any count of tokens at
    four a second; it never meets a number used before.
    """
    last = journal.last_token()
    if last:
        return last
    try:
        with psycopg.connect(config["dsn"], connect_timeout=5) as connection:
            row = connection.execute("SELECT coalesce(max(token), 0) FROM pgrescue.witness").fetchone()
            return int(row[0]) if row else 0
    except psycopg.Error:
        return int(time.time())


def probes(config: dict[str, Any], journal: Journal, tokens: Tokens) -> dict[str, Callable[[], Any]]:
    """What to attempt each tick: how to make a worker for each kind."""
    makers: dict[str, Callable[[], Any]] = {"commit": lambda: CommitProbe(config, journal, tokens)}
    for name, url in config["endpoints"].items():
        makers[name] = lambda name=name, url=url: HttpProbe(name, url, config["attempt_timeout_s"])
    return makers


def watch(config: dict[str, Any], journal: Journal, tokens: Tokens, stop: threading.Event) -> BaseException | None:
    """Tick until told to stop; the error that ended it, if one did."""
    failed: list[BaseException] = []

    def fatal(error: BaseException) -> None:
        failed.append(error)
        stop.set()

    pools = [Pool(make, journal, fatal) for make in probes(config, journal, tokens).values()]
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        for pool in pools:
            pool.tick()
        due = max(due + config["interval_s"], time.monotonic() - config["interval_s"])
    return failed[0] if failed else None


def main() -> int:
    """Run, or try everything once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="JSON file: service, dsn, endpoints, journal_dir")
    parser.add_argument(
        "--once", action="store_true", help="try everything once, print the outcome, exit 1 if any failed"
    )
    arguments = parser.parse_args()
    with open(arguments.config, encoding="utf-8") as source:
        config = {**DEFAULTS, **json.load(source)}
    journal = Journal(config["journal_dir"], config["keep_days"])
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        tokens = Tokens(first_token(journal, config))
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            journal.write(
                event="start",
                wall=wall(),
                mono_ns=time.monotonic_ns(),
                boot_id=boot.read().strip(),
                client=socket.gethostname(),
                version=VERSION,
            )
        if arguments.once:
            outcomes = [run_attempt(make(), journal) for make in probes(config, journal, tokens).values()]
            print(json.dumps(outcomes, indent=2))
            return 0 if all(outcome["ok"] for outcome in outcomes) else 1
        failed = watch(config, journal, tokens, stop)
    except OSError as error:
        failed = error
    if failed is not None:
        print("The witness stops, for it cannot write its journal: %s" % failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # attempts in flight must not hold up the end
