"""A real PgBouncer to test against, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from postgres import PostgresServer, free_port, until

CONFIGURATION = """; the operator's own words stay
[databases]
orders = host={server.address} port={server.port} dbname=postgres user=postgres pool_size=5
other = host={server.address} port={server.port} dbname=postgres user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
admin_users = pgbouncer
pool_mode = transaction
pidfile = {folder}/pid
logfile = {folder}/log
"""


class PgBouncer:
    """One in front of a server, with a database `orders` and another one, and more settings where given."""

    def __init__(self, server: PostgresServer, **settings: int) -> None:
        self.port, self.user = free_port(), server.user
        self.folder = Path(tempfile.mkdtemp(prefix="pgrescue-bouncer-"))
        shutil.chown(self.folder, self.user)
        self.config = self.folder / "pgbouncer.ini"
        more = "".join(f"{name} = {value}\n" for name, value in settings.items())
        self.config.write_text(CONFIGURATION.format(server=server, port=self.port, folder=self.folder) + more)
        shutil.chown(self.config, self.user)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} dbname=orders user=app"

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        """A client's connection; it prepares nothing, for in transaction pooling the next transaction is elsewhere."""
        return psycopg.connect(self.dsn, autocommit=True, prepare_threshold=None, **more)

    def answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def __enter__(self) -> Self:
        command = [
            "setpriv",
            f"--reuid={self.user}",
            f"--regid={self.user}",
            "--clear-groups",
            "pgbouncer",
            str(self.config),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(self.answers, 20, "PgBouncer answers")
        except AssertionError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it, and remove its folder."""
        assert self.process
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
