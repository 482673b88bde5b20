"""Backup and restore: the original way, the bare engines and ours, for the same database on this machine, in turn.

The original way is `pg_dump | gzip` into a file and `gunzip | psql` out of it. A backup is over when it is where it is
kept: in a file, in an object store, in a repository. A restore is over when the database can be read and written: a
logical one goes into an empty server that runs, a physical one to a new place where a server is then started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psycopg
from backups import Repositories
from dumping import key_pair
from modules import as_user, module
from object_store import ObjectStore
from postgres import PostgresServer, free_port, until

JOBS = 2
SETTINGS: dict[str, str | int] = {"fsync": "on", "shared_buffers": "128MB", "max_wal_size": "2GB"}
COMPRESSIONS = ("none", "lz4", "zst", "gz")
ROWS_OF_A_SCALE = 5000  # of the wide table: about as large as what pgbench makes of one
WIDE = """
CREATE TABLE wide AS SELECT g AS id, {columns} FROM generate_series(1, {rows}) g;
ALTER TABLE wide ADD PRIMARY KEY (id);
CREATE INDEX wide_by_text ON wide (text_1);
"""
RUN = "bench"
PRIVATE, PUBLIC = key_pair()
STANZA = {"stanza": "test"}


def shell(script: str) -> None:
    """Run a pipe, all of which must succeed."""
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=True, stdout=subprocess.DEVNULL)


def ask(name: str, *, user: str | None = None, **arguments: Any) -> dict[str, Any]:
    """Call a module, as another user if it must be; it must not fail."""
    call = partial(module(name), **arguments)
    answer = as_user(user, call) if user and os.geteuid() == 0 else call()
    if answer.get("failed"):
        raise RuntimeError(answer["msg"])
    return answer


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Seconds of what is done inside."""
    began = time.monotonic()
    yield
    into.append(time.monotonic() - began)


class Bench:
    """A database, where its backups go, and where they are restored."""

    def __init__(self, source: PostgresServer, made: Repositories, target: PostgresServer, store: ObjectStore) -> None:
        self.source, self.made, self.target, self.store = source, made, target, store
        self.folder = source.folder / "bench"
        self.folder.mkdir()
        shutil.chown(self.folder, source.user, source.user)
        self.plain, self.directory = self.folder / "original.sql.gz", self.folder / "directory"
        self.dump: str = ""
        self.stored: dict[str, int] = {}

    def at(self, server: PostgresServer, database: str = "bench") -> str:
        """How a client reaches a database."""
        return f"-h {server.address} -p {server.port} -U postgres -d {database}"

    def fill(self, scale: int) -> int:
        """Make the database; its size."""
        self.source.psql("CREATE DATABASE bench")
        self.source.run("pgbench", "-i", "-q", "-I", "dtGvp", "-s", scale, *self.at(self.source).split()[:6], "bench")
        columns = ", ".join(f"md5(g::text || '{n}') AS text_{n}, g % {n + 7} AS number_{n}" for n in range(1, 16))
        with self.source.connect(dbname="bench") as connection:
            connection.execute(WIDE.format(columns=columns, rows=scale * ROWS_OF_A_SCALE))
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
            row = connection.execute("SELECT pg_database_size('bench')").fetchone()
        assert row
        return int(row[0])

    # -- backups -----------------------------------------------------------------------------------------------------

    def original_backup(self, took: list[float]) -> None:
        """One stream into a file."""
        with timed(took):
            shell(f"pg_dump {self.at(self.source)} | gzip > {self.plain}")
        self.stored["original"] = self.plain.stat().st_size

    def bare_dump(self, took: list[float]) -> None:
        """PostgreSQL's own program, into a folder, with the compression that ours chooses."""
        shutil.rmtree(self.directory, ignore_errors=True)
        compression = "zstd:3" if self.source.version >= 16 else "6"
        with timed(took):
            shell(f"pg_dump {self.at(self.source)} -Fd -j {JOBS} -Z {compression} -f {self.directory}")
        self.stored["pg_dump"] = sum(p.stat().st_size for p in self.directory.iterdir())

    def our_dump(self, took: list[float]) -> None:
        """In one snapshot with a census, hashed on its way into an object store, signed."""
        with timed(took):
            taken = ask(
                "take_dump",
                url=f"postgresql://postgres@{self.source.address}:{self.source.port}/postgres",
                service="bench",
                databases=["bench"],
                stores=[self.store.place],
                signing_key=PRIVATE,
                jobs=JOBS,
                work_directory=str(self.folder / "dumps"),
            )
        self.dump, self.stored["take_dump"] = taken["id"], taken["dump_bytes"]

    def bare_backup(self, took: list[float]) -> None:
        """The engine's own command, full, to its first repository."""
        with timed(took):
            self.made.run("--repo=1", "--type=full", "backup")
        self.stored["pgbackrest"] = self.newest(1)["info"]["repository"]["delta"]

    def our_backup(self, took: list[float]) -> None:
        """The module, full, to the same repository."""
        with timed(took):
            ask("take_backup", user=self.source.user, repositories=[1], **STANZA)
        self.stored["take_backup"] = self.newest(1)["info"]["repository"]["delta"]

    def newest(self, repo: int) -> dict[str, Any]:
        """What the engine says of the newest backup in a repository."""
        found: dict[str, Any] = json.loads(self.made.run(f"--repo={repo}", "--output=json", "info"))[0]["backup"][-1]
        return found

    # -- restores ----------------------------------------------------------------------------------------------------

    @contextmanager
    def emptied(self) -> Iterator[None]:
        """The server that is restored into, without the database afterwards."""
        self.target.psql("CHECKPOINT")
        yield
        self.target.psql("DROP DATABASE bench")

    def original_restore(self, took: list[float]) -> None:
        """One stream into an empty database."""
        with self.emptied(), timed(took):
            self.target.psql("CREATE DATABASE bench")
            shell(f"gunzip -c {self.plain} | psql -X -q -v ON_ERROR_STOP=1 {self.at(self.target)}")

    def bare_pg_restore(self, took: list[float]) -> None:
        """PostgreSQL's own program."""
        with self.emptied(), timed(took):
            shell(f"pg_restore {self.at(self.target, 'postgres')} --create -e -j {JOBS} {self.directory}")

    def our_restore_dump(self, took: list[float]) -> None:
        """Every file compared with the signed manifest, and statistics made."""
        with self.emptied(), timed(took):
            ask(
                "restore_dump",
                service="bench",
                run="bench",
                dumps=[self.dump],
                stores=[self.store.place],
                public_keys=[PUBLIC],
                url=f"postgresql://postgres@{self.target.address}:{self.target.port}/postgres",
                jobs=JOBS,
                work_directory=str(self.folder / "restores"),
            )

    def bare_restore(self, took: list[float]) -> None:
        """The engine's own command, and a server started on what it brought."""
        place, port = self.folder / "bare", free_port()
        self.new(place)
        with timed(took):
            self.made.run("--repo=1", f"--pg1-path={place}", "--archive-mode=off", "restore")
            where = f"-c port={port} -c unix_socket_directories={self.folder}"
            start = ["-D", place, "-l", self.folder / "bare.log", "-o", where, "-w", "-t", 600, "start"]
            self.source.run("pg_ctl", *start)
            dsn = f"{self.source.dsn} port={port}"
            until(lambda: not self.asked(dsn, "SELECT pg_is_in_recovery()"), 600, "the copy can be written")
        self.source.run("pg_ctl", "-D", place, "-m", "immediate", "stop")
        shutil.rmtree(place)

    def our_restore(self, took: list[float]) -> None:
        """What can be restored is listed, restored and started, as a proof does it."""
        place = str(self.folder / "ours")
        given: dict[str, Any] = {
            "user": self.source.user,
            "place": place,
            "run": RUN,
            "version": self.source.version,
        }
        with timed(took):
            offered = ask("backup_catalog", **STANZA)["catalog"]
            what = {name: offered[name] for name in ("system_identifier", "candidates")}
            ask("restore_backup", archive=False, processes=JOBS, **what, **given, **STANZA)
            server = ask("scratch_server", state="started", settings={"shared_buffers": "128MB"}, **given)
            at = {name: server[name] for name in ("socket_directory", "port")}
            ask("await_server", until="writable", deadline_s=600, place=place, version=self.source.version, **at)
        ask("scratch_server", state="absent", **given)

    def new(self, place: Path) -> None:
        """An empty folder that belongs to the server's user."""
        place.mkdir(mode=0o700)
        shutil.chown(place, self.source.user, self.source.user)

    def asked(self, dsn: str, question: str) -> Any:
        """The answer of a server."""
        with psycopg.connect(dsn) as connection:
            row = connection.execute(question).fetchone()
        assert row
        return row[0]

    # -- compression -------------------------------------------------------------------------------------------------

    def compressed(self, kind: str) -> tuple[float, float, int]:
        """Seconds of one full backup, of fetching it to an empty place, and how much is stored."""
        took: list[float] = []
        with timed(took):
            self.made.run("--repo=2", "--type=full", f"--compress-type={kind}", "backup")
        place = self.folder / kind
        self.new(place)
        with timed(took):
            self.made.run("--repo=2", f"--pg1-path={place}", "--archive-mode=off", "restore")
        shutil.rmtree(place)
        stored: int = self.newest(2)["info"]["repository"]["delta"]
        return took[0], took[1], stored


WAYS: dict[str, tuple[Callable[[Bench, list[float]], None], Callable[[Bench, list[float]], None], str]] = {
    "original": (Bench.original_backup, Bench.original_restore, "original"),
    "pg_dump": (Bench.bare_dump, Bench.bare_pg_restore, "pg_dump"),
    "take_dump": (Bench.our_dump, Bench.our_restore_dump, "pg_dump"),
    "pgbackrest": (Bench.bare_backup, Bench.bare_restore, "pgbackrest"),
    "take_backup": (Bench.our_backup, Bench.our_restore, "pgbackrest"),
}  # how it backs up, how it restores, and the bare engine that it uses
NAMES = {
    "original": "original: `pg_dump \\| gzip`, `gunzip \\| psql`",
    "pg_dump": f"`pg_dump -Fd -j{JOBS}`, `pg_restore -j{JOBS}`",
    "take_dump": "ours: `take_dump`, `restore_dump`",
    "pgbackrest": "`pgbackrest backup`, `restore` and start",
    "take_backup": "ours: `take_backup`, `restore_backup`, `scratch_server`",
}


def rows(header: str, lines: Iterable[str]) -> str:
    """A table."""
    return "\n".join(
        [f"| {header} |", "|" + "---|" * (header.count(" | ") + 1), *(f"| {line} |" for line in lines), ""]
    )


def main() -> None:
    """Fill once, then run the rounds; the last line is the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=50, help="of pgbench, and of a wide table; 50 is about 1 GB")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    source = PostgresServer(settings=SETTINGS)
    try:
        made = Repositories(source)
        made.config.write_text(made.config.read_text().replace("[global]\n", f"[global]\nprocess-max={JOBS}\n", 1))
        os.environ.update(PGBACKREST_CONFIG=str(made.config), PGUSER="postgres")
        with PostgresServer(settings=SETTINGS) as target, ObjectStore(source.folder / "store") as store:
            measure(Bench(source, made, target, store), arguments.scale, arguments.rounds)
    finally:
        source.remove()


def measure(bench: Bench, scale: int, rounds: int) -> None:
    """Time every way in every round, then the compressions."""
    size = bench.fill(scale)
    print(f"==> {size / 1e6:.0f} MB of data, {rounds} rounds", flush=True)
    seen: dict[str, tuple[list[float], list[float]]] = {way: ([], []) for way in WAYS}
    for turn in range(rounds):
        order = list(WAYS)[turn % len(WAYS) :] + list(WAYS)[: turn % len(WAYS)]  # so that drift favours none
        for way in order:
            back_up, restore, _engine = WAYS[way]
            back_up(bench, seen[way][0])
            restore(bench, seen[way][1])
            print(f"round {turn + 1}, {way}: {seen[way][0][-1]:.1f} s, {seen[way][1][-1]:.1f} s", flush=True)
    medians = {way: tuple(statistics.median(took) for took in both) for way, both in seen.items()}
    said = []
    for way, (backup, restore) in medians.items():
        first, engine = medians["original"], medians[WAYS[way][2]]
        said.append(
            f"{NAMES[way]} | {backup:.1f} | {backup / first[0]:.2f} | {backup / engine[0]:.2f} | {restore:.1f} | "
            f"{restore / first[1]:.2f} | {restore / engine[1]:.2f} | {bench.stored[way] / 1e6:.0f}"
        )
    head = "way | backup s | to the original | to its engine | restore s | to the original | to its engine | stored MB"
    print(rows(head, said))
    turns = [{kind: bench.compressed(kind) for kind in COMPRESSIONS} for _ in range(rounds)]
    middle = {
        kind: [statistics.median(turn[kind][what] for turn in turns) for what in range(3)] for kind in COMPRESSIONS
    }
    lines = [f"{kind} | {b:.1f} | {r:.1f} | {stored / 1e6:.0f}" for kind, (b, r, stored) in middle.items()]
    print(rows("compression | backup s | restore s | stored MB", lines))
    ours, original = medians["take_backup"][1], medians["original"][1]
    print(f"our restore from a backup, until it can be written: {ours:.1f} s (median of {rounds})")
    print(f"the original way: {original:.1f} s (median of {rounds})")
    print(f"ratio: {ours / original:.2f}")


if __name__ == "__main__":
    main()
