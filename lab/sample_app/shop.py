#!/usr/bin/python3
"""The lab's sample service: a small shop that reads and writes PostgreSQL through the service's DNS name.

GET /health, GET and POST /api/products, GET and POST /api/videos; JSON. Instances share one port (SO_REUSEPORT), so
that systemd template instances scale it. Every request is a JSON line in /var/log/shop/access.<instance>.log.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg

TABLES = ("products", "videos")
CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    body jsonb NOT NULL DEFAULT '{{}}',
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS {table}_created_at ON {table} (created_at)
"""
SEED = "INSERT INTO {table} (name, body) SELECT '{table} ' || n, jsonb_build_object('price', n) FROM generate_series(1, 1000) AS n"
PATIENCE_S = 2


def wall() -> str:
    """Now, as RFC 3339 UTC with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Database:
    """A few connections; one that broke, grew old or whose server the name no longer means is opened anew."""

    def __init__(self, dsn: str, size: int = 4, max_age_s: float = 5) -> None:
        self.dsn = dsn
        self.max_age_s = max_age_s
        self.host = psycopg.conninfo.conninfo_to_dict(dsn)["host"]
        self._slots: queue.Queue[Any] = queue.Queue()
        for _ in range(size):
            self._slots.put((None, 0.0))

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for one request."""
        connection, checked = self._slots.get(timeout=PATIENCE_S)
        try:
            if connection is not None and time.monotonic() - checked > self.max_age_s:
                checked = time.monotonic()
                if connection.info.hostaddr not in {a[4][0] for a in socket.getaddrinfo(self.host, None)}:
                    connection.close()
                    connection = None
            if connection is None:
                connection = psycopg.connect(
                    self.dsn,
                    autocommit=True,
                    connect_timeout=PATIENCE_S,
                    tcp_user_timeout=1000 * PATIENCE_S,
                    options="-c statement_timeout=%d" % (1000 * PATIENCE_S),
                    application_name="shop",
                )
                checked = time.monotonic()
            yield connection
        except (psycopg.Error, OSError):
            if connection is not None:
                connection.close()
            connection = None
            raise
        finally:
            self._slots.put((connection, checked))


def health(database: Database) -> tuple[int, dict[str, Any]]:
    """Well when the database answers and can be written to."""
    with database.connection() as connection:
        read_only = connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]
        if read_only:
            return 503, {"error": "the database is read only"}
        return 200, {"status": "ok", "database": {"writable": True, "server": connection.info.hostaddr}}


def newest(database: Database, table: str) -> tuple[int, dict[str, Any]]:
    """The newest rows of a table."""
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT id, name, body, created_at::text FROM %s ORDER BY created_at DESC, id DESC LIMIT 20" % table
        ).fetchall()
    items = [dict(zip(("id", "name", "body", "created_at"), row)) for row in rows]
    return 200, {"items": items, "newest": items[0]["created_at"] if items else None}


def add(database: Database, table: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """A new row."""
    with database.connection() as connection:
        row = connection.execute(
            "INSERT INTO %s (name) VALUES (%%s) RETURNING id" % table, (str(request["name"]),)
        ).fetchone()
    return 201, {"id": row[0]}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 5
    server: Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        began = time.monotonic()
        try:
            status, body = self._route()
        except (psycopg.Error, OSError, queue.Empty) as error:
            status, body = 503, {"error": (str(error).strip().splitlines() or ["no connection is free"])[0]}
        except (ValueError, KeyError):
            status, body = 400, {"error": "a JSON object with a name is expected"}
        data = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            status = 499  # the client had gone
        self.server.log(
            method=self.command,
            path=self.path,
            status=status,
            duration_s=round(time.monotonic() - began, 4),
            agent=self.headers.get("User-Agent", ""),
            client=self.client_address[0],
        )

    def _route(self) -> tuple[int, dict[str, Any]]:
        database, table = self.server.database, self.path.rpartition("/")[2]
        if self.path == "/health" and self.command == "GET":
            return health(database)
        if self.path == "/api/" + table and table in TABLES:
            if self.command == "GET":
                return newest(database, table)
            return add(database, table, json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        return 404, {"error": "no such thing"}

    def log_message(self, format: str, *args: Any) -> None:
        """The access log is ours."""


class Server(ThreadingHTTPServer):
    """Shares its port with other instances."""

    allow_reuse_port = True
    request_queue_size = 64
    daemon_threads = True

    def __init__(self, port: int, instance: str, database: Database, log_path: str) -> None:
        super().__init__(("", port), Handler)
        self.instance = instance
        self.database = database
        self._log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def server_bind(self) -> None:
        """Set SO_REUSEPORT also where the standard library does not know it yet."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def log(self, **line: Any) -> None:
        """One access, at its completion."""
        os.write(self._log, json.dumps({"wall": wall(), "instance": self.instance, **line}).encode() + b"\n")


def initialise(dsn: str) -> bool:
    """Make and fill the tables; whether anything was missing."""
    changed = False
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        for table in TABLES:
            if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()[0] is None:
                connection.execute(CREATE.format(table=table))
                connection.execute(SEED.format(table=table))
                changed = True
    return changed


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="/etc/shop/shop.json", help="JSON file with the key dsn")
    parser.add_argument("--instance", default="1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--log-directory", default="/var/log/shop")
    parser.add_argument("--init-db", action="store_true", help="make and fill the tables, then exit")
    arguments = parser.parse_args()
    with open(arguments.config, encoding="utf-8") as source:
        dsn = json.load(source)["dsn"]
    if arguments.init_db:
        print("changed" if initialise(dsn) else "unchanged")
        return
    log_path = os.path.join(arguments.log_directory, "access.%s.log" % arguments.instance)
    server = Server(arguments.port, arguments.instance, Database(dsn), log_path)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
