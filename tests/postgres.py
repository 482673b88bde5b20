"""A real PostgreSQL to test against: made in a folder of its own, and free to be stopped, killed and frozen."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

INSTALLED = Path("/usr/lib/postgresql")
FETCHED = Path(__file__).resolve().parents[1] / ".cache" / "postgres"
QUICK = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "max_connections": 60,
}  # survives kill -9 of the server, not of the host


def until(true: Callable[[], Any], seconds: float, sentence: str) -> Any:
    """Poll until something is true and return it; fail with the sentence when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {sentence}")
        time.sleep(0.02)  # between two looks
    return found


def programs(version: int | None = None) -> Path:
    """The folder of the newest PostgreSQL installed, or of a major version's that tests/fetch_postgres brought."""
    if version:
        if not (FETCHED / str(version) / "bin" / "postgres").exists():
            raise RuntimeError(f"PostgreSQL {version} is not below {FETCHED}: run tests/fetch_postgres")
        return FETCHED / str(version) / "bin"
    found = sorted((p for p in INSTALLED.glob("*/bin") if (p / "initdb").exists()), key=lambda p: int(p.parent.name))
    if not found:
        raise RuntimeError(f"no PostgreSQL below {INSTALLED}: install the package postgresql")
    return found[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One server on a loopback address. As root it runs as user postgres, for PostgreSQL refuses root.

    A `version` takes a server that tests/fetch_postgres brought: it has no clients and no pg_basebackup.
    """

    def __init__(
        self,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        settings: dict[str, str | int] | None = None,
        source: PostgresServer | None = None,
        version: int | None = None,
        initdb: tuple[str, ...] = ("-k",),
    ) -> None:
        self.programs = programs(version)
        self.version = version or int(self.programs.parent.name)
        self.address = address
        self.port = port or free_port()
        self.user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        self.folder = Path(tempfile.mkdtemp(prefix="pgrescue-test-"))  # pytest's own belong to its user alone
        self.data = self.folder / "data"
        shutil.chown(self.folder, self.user)
        if source:
            origin = ["-d", source.dsn, "-R", "-X", "stream", "-c", "fast"]
            self.run("pg_basebackup", "-D", self.data, *origin)
        else:
            self.run("initdb", "-D", self.data, *initdb, "-N", "-A", "trust", "-U", "postgres", "-E", "UTF8")
        place = {"listen_addresses": address, "port": self.port, "unix_socket_directories": self.folder}
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{key} = '{value}'\n" for key, value in {**QUICK, **place, **(settings or {})}.items())

    def standby_of(self, **more: Any) -> PostgresServer:
        """A streaming standby of this server, not started yet."""
        return PostgresServer(source=self, **more)

    def run(self, program: str, *arguments: Any) -> str:
        """Run one of PostgreSQL's programs as the server's user; its output."""
        other = os.geteuid() == 0
        command = [*(["runuser", "-u", self.user, "--"] if other else []), str(self.programs / program)]
        done = subprocess.run(
            [*command, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")
        return done.stdout

    @property
    def dsn(self) -> str:
        return f"host={self.address} port={self.port} dbname=postgres user=postgres"

    @property
    def running(self) -> bool:
        """Whether its main process lives."""
        pid = self.pid
        return pid is not None and Path(f"/proc/{pid}").exists()

    @property
    def pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def start(self) -> Self:
        """Start it, if it does not run, and wait until it answers."""

        def started() -> bool:
            try:
                # its output goes to a file: a pipe would stay open for as long as the server lives
                self.run("pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "-t", 30, "start")
            except RuntimeError:
                if "still in use" in (self.folder / "log").read_text()[-2000:]:
                    return False  # processes of a killed server are about to end
                raise
            return True

        if not self.running:
            until(started, 30, "the server starts")
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs; mode is one of pg_ctl's."""
        if self.running:
            self.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def processes(self) -> list[int]:
        """Its processes, the main one first."""
        if self.pid is None:
            return []
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def kill9(self) -> None:
        """Kill all its processes at once."""
        processes = self.processes()
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), 10, "the processes are gone")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop its processes from running, while the kernel goes on to acknowledge what clients send."""
        processes = self.processes()
        for pid in processes:
            with suppress(ProcessLookupError):  # a worker that ended by itself
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def connect(self, **more: Any) -> psycopg.Connection[Any]:
        """A connection in autocommit mode."""
        return psycopg.connect(self.dsn, autocommit=True, **more)

    def psql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; its rows, if it has any."""
        with self.connect() as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def remove(self) -> None:
        """Stop it and remove its folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
