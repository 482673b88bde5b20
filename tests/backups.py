"""A real pgBackRest with repositories in folders, for a server of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from postgres import PostgresServer, until

CONFIG = """[global]
lock-path={folder}/lock
log-path={folder}/log
spool-path={folder}/spool
log-level-file=off
start-fast=y
compress-type=lz4
archive-timeout=20
{repos}
[test]
pg1-path={server.data}
pg1-port={server.port}
pg1-socket-path={server.folder}
pg1-user=postgres
"""


class Repositories:
    """Two repositories of the stanza `test`, beside the server they belong to."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.folder = server.folder / "pgbackrest"
        self.config = self.folder / "pgbackrest.conf"
        for name in ("lock", "log", "spool", "repo1", "repo2"):
            (self.folder / name).mkdir(parents=True)
        self.repos = "\n".join(f"repo{n}-path={self.folder}/repo{n}\nrepo{n}-retention-full=9" for n in (1, 2))
        self.config.write_text(CONFIG.format(folder=self.folder, server=server, repos=self.repos))
        archive = f"pgbackrest --config={self.config} --stanza=test archive-push %p"
        with (server.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_mode = 'on'\narchive_command = '{archive}'\n")
        server.start()
        self.run("stanza-create")

    def config_of(self, other: PostgresServer) -> Path:
        """Where the configuration for another server is."""
        return self.folder / f"pgbackrest-{other.port}.conf"

    def archive_of(self, other: PostgresServer) -> None:
        """Let another server, not started yet, archive to the same repositories, as its copy does after a failover."""
        config = self.config_of(other)
        config.write_text(CONFIG.format(folder=self.folder, server=other, repos=self.repos))
        with (other.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_command = 'pgbackrest --config={config} --stanza=test archive-push %p'\n")

    def own(self) -> list[str]:
        """Give everything to the server's user; how a command is begun that shall run as that user."""
        if os.geteuid() != 0:
            return []
        for path in [self.folder, *self.folder.rglob("*")]:
            with suppress(FileNotFoundError):  # the engine's temporary files come and go
                shutil.chown(path, self.server.user, self.server.user)
        return ["runuser", "-u", self.server.user, "--"]

    def run(self, *arguments: str) -> str:
        """Run pgBackRest as the server's user; its output."""
        command = [*self.own(), "pgbackrest", f"--config={self.config}", "--stanza=test", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def backup(self, repo: int = 1, kind: str = "full") -> str:
        """Take a backup; its label."""
        self.run(f"--repo={repo}", f"--type={kind}", "backup")
        return self.labels(repo)[-1]

    def labels(self, repo: int) -> list[str]:
        """Backups in one repository, oldest first."""
        return sorted(p.name for p in (self.folder / f"repo{repo}/backup/test").iterdir() if p.name[:8].isdigit())

    def archive(self) -> None:
        """Switch WAL and wait until it has arrived."""
        self.run("check")

    def files(self, repo: int, label: str) -> list[Path]:
        """The stored files of one backup, largest first."""
        stored = (self.folder / f"repo{repo}/backup/test/{label}").rglob("*")
        return sorted((p for p in stored if p.is_file()), key=lambda p: -p.stat().st_size)

    def segments(self, repo: int) -> list[Path]:
        """The archived segments, oldest first."""
        return sorted((self.folder / f"repo{repo}/archive/test").rglob("*-*.lz4"), key=lambda p: p.name)

    def of_timeline(self, timeline: int) -> list[Path]:
        """The archived segments of one timeline in repository 1, oldest first."""
        return [path for path in self.segments(1) if path.name.startswith(f"{timeline:08X}")]


@contextmanager
def left_by_its_primary(made: Repositories) -> Iterator[PostgresServer]:
    """A standby that archives to the same repositories and streamed until its primary was stopped."""
    standby = made.server.standby_of()
    try:
        made.archive_of(standby)
        standby.start()
        streams = "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"
        until(lambda: standby.psql(streams), 20, "it streams")
        made.server.stop()
        yield standby
    finally:
        standby.remove()


@contextmanager
def failed_over() -> Iterator[tuple[Repositories, PostgresServer, str, str]]:
    """After a failover the old primary came back, archived and took a backup; the new primary goes on meanwhile.

    The repositories, the new primary, the backup from before the failover and the old primary's.
    """
    with repositories_of() as made:
        old = made.server
        old.psql("CREATE TABLE things (said text)")
        good = made.backup(1)
        with left_by_its_primary(made) as new:
            new.psql("SELECT pg_promote()")
            for _ in range(2):
                new.psql("INSERT INTO things VALUES ('after the failover')")
                new.psql("SELECT pg_switch_wal()")
            until(lambda: len(made.of_timeline(2)) == 2, 20, "the new primary has archived")
            old.start()
            old.psql("INSERT INTO things VALUES ('by the old primary')")
            bad = made.backup(1)
            made.archive()
            yield made, new, good, bad


@contextmanager
def repositories_of(server: PostgresServer | None = None) -> Iterator[Repositories]:
    """Repositories of a server that is made for them, unless one is given; both are removed afterwards."""
    server = server or PostgresServer()
    try:
        yield Repositories(server)
    finally:
        server.remove()


@contextmanager
def flipped(path: Path) -> Iterator[None]:
    """One bit in the middle of a file is wrong meanwhile."""
    whole = path.read_bytes()
    flip(path)
    try:
        yield
    finally:
        path.write_bytes(whole)


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_page(path: Path, page: int = 0, size: int = 8192) -> None:
    """Turn bits in the middle of one page of a relation's file."""
    content = bytearray(path.read_bytes())
    middle = page * size + size // 2
    content[middle : middle + 8] = bytes(byte ^ 0xFF for byte in content[middle : middle + 8])
    path.write_bytes(content)
