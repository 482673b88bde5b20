#!/usr/bin/python3
"""The lab's sample service: a small shop that reads and writes PostgreSQL through the service's DNS name.

GET /health, GET and POST /api/products, GET and POST /api/videos; all JSON. Instances share one port, so
that templates of one systemd unit scale it. Every request is a line of /var/log/shop/access.<instance>.log.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

TABLES = ("products", "videos")
PATIENCE_S = 2  # how long anything may wait for the database, and requests in flight for the end
CONNECTIONS = 4
THREADS = 32
LARGEST = 65_536  # bytes of a request's body
CREATE = """
    CREATE TABLE {table} (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        body jsonb NOT NULL DEFAULT '{{}}',
        price numeric NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON {table} (created_at);
    INSERT INTO {table} (name, body, price)
        SELECT {name} || ' ' || n, jsonb_build_object('number', n), n / 100.0 FROM generate_series(1, 1000) AS n"""
NEWEST = "SELECT to_jsonb(n) FROM (SELECT * FROM {} ORDER BY created_at DESC, id DESC LIMIT 20) AS n"
COUNT = "SELECT count(*), max(created_at)::text FROM {}"
INSERT = "INSERT INTO {} (name) VALUES (%s) RETURNING id"

Answer = tuple[int, dict[str, Any]]
Connection = psycopg.Connection[Any]


class Database:
    """A few connections. One that broke is dropped; one that aged is, if the name leads elsewhere by then."""

    def __init__(self, dsn: str, max_age_s: float = 5) -> None:
        self._dsn = dsn
        self._max_age_s = max_age_s
        self._slots: queue.LifoQueue[tuple[Connection | None, float]] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self._slots.put((None, 0.0))

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for one request."""
        connection, looked_up = self._slots.get(timeout=PATIENCE_S)
        try:
            if connection is not None and time.monotonic() - looked_up > self._max_age_s:
                looked_up = time.monotonic()
                connection = self._follow(connection)
            if connection is None:
                looked_up = time.monotonic()
                connection = self._connect()
            with hung_up_after(2 * PATIENCE_S, connection):
                yield connection
        except (psycopg.Error, OSError):
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            self._slots.put((connection, looked_up))

    def _connect(self) -> Connection:
        settings = {"autocommit": True, "application_name": "shop", "connect_timeout": PATIENCE_S}
        limits = {"tcp_user_timeout": 1000 * PATIENCE_S, "options": f"-c statement_timeout={1000 * PATIENCE_S}"}
        keepalives = {"keepalives_idle": 1, "keepalives_interval": 1, "keepalives_count": 2}
        for address in self._addresses():
            try:
                return psycopg.connect(self._dsn, hostaddr=address, **settings, **limits, **keepalives)  # type: ignore[arg-type]
            except psycopg.Error as failure:
                error = failure
        raise error

    def _addresses(self) -> list[str]:
        host = str(conninfo_to_dict(self._dsn).get("host"))
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]

    def _follow(self, connection: Connection) -> Connection | None:
        try:
            if connection.info.hostaddr in self._addresses():
                return connection
        except OSError:
            return connection  # a silent name server says nothing about a database that answers
        connection.close()
        return None


@contextmanager
def hung_up_after(seconds: float, connection: Connection) -> Iterator[None]:
    """End a connection whose server froze: time-outs of libpq do not notice while its kernel acknowledges."""

    def hang_up() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def health(database: Database) -> Answer:
    """Well when the database answers and can be written to."""
    with database.connection() as connection:
        read_only = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        server = connection.info.hostaddr
    if read_only != (False,):
        return 503, {"error": f"the database at {server} is read only"}
    return 200, {"status": "ok", "database": {"writable": True, "server": server}}


def newest(database: Database, table: str) -> Answer:
    """The newest rows of a table, and how many there are."""
    with database.connection() as connection:
        rows = connection.execute(sql.SQL(NEWEST).format(sql.Identifier(table))).fetchall()
        count, moment = connection.execute(sql.SQL(COUNT).format(sql.Identifier(table))).fetchone() or (0, None)
    return 200, {"items": [row[0] for row in rows], "count": count, "newest": moment}


def add(database: Database, table: str, name: str) -> Answer:
    """A new row."""
    with database.connection() as connection:
        row = connection.execute(sql.SQL(INSERT).format(sql.Identifier(table)), [name]).fetchone()
    return 201, {"id": row[0] if row else None}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 5
    server: Server

    def do_GET(self) -> None:
        """Read."""
        self._serve()

    def do_POST(self) -> None:
        """Write."""
        self._serve()

    def _serve(self) -> None:
        began = time.monotonic()
        try:
            status, body = self._route()
        except (KeyError, TypeError, ValueError):
            status, body = 400, {"error": 'the body must be JSON such as {"name": "a new one"}'}
        except queue.Empty:
            status, body = 503, {"error": "no connection to the database is free"}
        except Exception as error:
            status, body = 503, {"error": (str(error).strip().splitlines() or [type(error).__name__])[0]}
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            status = 499  # the client did not wait
        self.server.log(
            method=self.command,
            path=self.path,
            status=status,
            duration_s=round(time.monotonic() - began, 6),
            agent=self.headers.get("User-Agent", ""),
            client=self.client_address[0],
        )

    def _route(self) -> Answer:
        database, path = self.server.database, self.path.partition("?")[0]
        if path == "/health" and self.command == "GET":
            return health(database)
        if path not in [f"/api/{table}" for table in TABLES]:
            return 404, {"error": f"there is no {self.command} {path}"}
        table = path.rpartition("/")[2]
        if self.command == "GET":
            return newest(database, table)
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST:
            return 413, {"error": f"the body may have {LARGEST} bytes"}
        return add(database, table, str(json.loads(self.rfile.read(length))["name"]))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests are logged by the server."""


class Server(ThreadingHTTPServer):
    """Shares its port with other instances, and serves so many requests at a time."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, port: int, instance: str, database: Database, log: Path) -> None:
        self.instance = instance
        self.database = database
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._room = threading.Semaphore(THREADS)
        super().__init__(("", port), Handler)

    def server_bind(self) -> None:
        """Share the port; http.server would look its own name up as well, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a request when there is a thread for it; the others wait in the queue of the socket."""
        self._room.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve it."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell it in one line."""
        print(f"request of {client_address[0]}: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)

    def log(self, **request: Any) -> None:
        """Write a request down at its completion."""
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        os.write(self._log, json.dumps({"wall": now, "instance": self.instance, **request}).encode() + b"\n")

    def drain(self) -> None:
        """Serve whoever has connected already, and nobody else."""
        self.timeout = 0
        while select.select([self.socket], [], [], 0)[0]:
            self.handle_request()
        self.socket.close()
        end = time.monotonic() + PATIENCE_S
        for _ in range(THREADS):
            self._room.acquire(timeout=max(0.0, end - time.monotonic()))


def make_tables(dsn: str) -> bool:
    """Make and fill the tables; whether one was missing."""
    changed = False
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        for table in TABLES:
            if connection.execute("SELECT to_regclass(%s) IS NULL", [table]).fetchone() == (True,):
                names = {"table": sql.Identifier(table), "name": sql.Literal(table.rstrip("s"))}
                connection.execute(sql.SQL(CREATE).format(**names))
                changed = True
    return changed


def main() -> int:
    """Serve until told to stop, or make the tables; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="/etc/shop/shop.json", help="JSON with the key dsn (a libpq string)")
    parser.add_argument("--instance", default="1", help="names the access log")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--log-directory", default="/var/log/shop")
    parser.add_argument("--init-db", action="store_true", help="make and fill the tables where they are missing")
    arguments = parser.parse_args()
    dsn = json.loads(Path(arguments.config).read_text(encoding="utf-8"))["dsn"]
    if arguments.init_db:
        print("changed" if make_tables(dsn) else "unchanged")
        return 0
    log = Path(arguments.log_directory, f"access.{arguments.instance}.log")
    server = Server(arguments.port, arguments.instance, Database(dsn), log)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.drain()
    return 0


if __name__ == "__main__":
    sys.exit(main())
