"""A live server and a physical copy of it from before the damage, with thirty tables, for tests of a partial loss."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from modules import module
from postgres import PostgresServer, programs

TABLES = (Path(__file__).parent / "thirty_tables.sql").read_text()
CLIENTS = Path(__file__).resolve().parents[1] / ".cache" / "clients"
LOST = ["public.orders", "public.payments", "public.events"]
COUNTED = "SELECT count(*) AS n, sum(hashtextextended(ROW(t.*)::text, 0)::numeric) AS s FROM %s t"
SNAPSHOT = f"""
SELECT c.oid::regclass::text, query_to_xml(format('{COUNTED}', c.oid::regclass), false, true, '')::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname = 'public' ORDER BY 1
"""


def clients(version: int) -> Path:
    """The folder of pg_dump and pg_restore of a major version."""
    fetched = CLIENTS / str(version) / "bin"
    return fetched if fetched.exists() else programs()


class Pair:
    """Two servers of one database system: what is live, and what it was."""

    def __init__(self, live: PostgresServer, side: PostgresServer) -> None:
        self.live, self.side = live, side
        ((self.system,),) = live.psql("SELECT system_identifier::text FROM pg_control_system()")

    @contextmanager
    def database(self, name: str) -> Iterator[Shop]:
        """A database of the thirty tables on both."""
        for server in (self.live, self.side):
            server.psql(f"CREATE DATABASE {name} TEMPLATE thirty")
        try:
            yield Shop(self, name)
        finally:
            self.live.psql(f"DROP DATABASE {name} (FORCE)")
            self.side.psql(f"DROP DATABASE {name} (FORCE)")


class Shop:
    """One database on both servers, and one run that brings part of it back."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.pair, self.name = pair, name
        self.run_id = f"20261124T012050Z-{name}-partial_loss"

    def sql(self, statements: str, side: bool = False) -> list[tuple[Any, ...]]:
        """Run statements in the live database, or in the copy; the rows of the last."""
        server = self.pair.side if side else self.pair.live
        with psycopg.connect(server.dsn, dbname=self.name, autocommit=True) as connection:
            cursor = connection.execute(statements)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def one(self, question: str) -> Any:
        """The one value that a question gives."""
        return self.sql(question)[0][0]

    def state(self) -> dict[str, str]:
        """Count and digest of every table, but for the one that triggers write to."""
        return {name: said for name, said in self.sql(SNAPSHOT) if name != "audit"}

    def at(self, server: PostgresServer) -> dict[str, Any]:
        """Where a server is, for a module."""
        return {
            "version": server.version,
            "port": server.port,
            "socket_directory": str(server.folder),
            "database": self.name,
        }

    def lively(self, name: str, **more: Any) -> dict[str, Any]:
        """The answer of a module that works on the live server."""
        of_run = {"run": self.run_id, "system_identifier": self.pair.system}
        return module(name)(**{**self.at(self.pair.live), **of_run, **more})

    def closure(self, tables: list[str]) -> dict[str, Any]:
        return module("table_closure")(tables=tables, **self.at(self.pair.side))

    def stage(self, tables: list[str]) -> dict[str, Any]:
        """Everything up to the difference; what the live server said when it was made ready."""
        closure = ok(self.closure(tables))["closure"]
        opened = ok(self.lively("partial_staging", state="open", closure=closure, password="secret"))
        side = self.at(self.pair.side)
        where = str(clients(self.pair.side.version))
        script = ok(module("object_script")(tables=opened["missing"], program_directory=where, **side))
        live = f"host={self.pair.live.address} port={self.pair.live.port}"
        ok(module("stage_rows")(run=self.run_id, closure=closure, live=live, password="secret", **side))
        ok(self.lively("partial_staging", state="closed", steps=script["steps"]))
        return {**opened, **script, "closure": closure}

    def undo(self, **more: Any) -> dict[str, Any]:
        return self.lively("undo_merge", **{"service": "shop", "confirm": "shop", **more})

    def difference(self, tables: list[str]) -> dict[str, Any]:
        """The difference, with everything before it."""
        self.stage(tables)
        return dict(ok(self.lively("row_difference"))["difference"])

    def merge(self, tables: list[str], **more: Any) -> dict[str, Any]:
        """All of it."""
        difference = self.difference(tables)
        digests = {one["table"]: one["differing_digest"] for one in difference["tables"]}
        replace = {table: digests.get(table) for table in more.pop("replace", ())}
        return self.lively("merge_rows", digest=difference["digest"], replace=replace, **more)


def trigger(name: str, when: str, body: str) -> str:
    """Statements that make a trigger on orders."""
    made = f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$"
    return f"{made}; CREATE TRIGGER {name} {when} EXECUTE FUNCTION {name}()"


def ok(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is no failure."""
    assert not answer.get("failed"), answer
    return answer


@contextmanager
def pair(version: int) -> Iterator[Pair]:
    """Both servers; the copy is one of files, as a physical backup restores them."""
    live = PostgresServer(version=None if version == int(programs().parent.name) else version)
    side = PostgresServer(version=None if version == int(programs().parent.name) else version)
    try:
        live.start()
        live.psql("CREATE ROLE clerk")
        live.psql("CREATE DATABASE thirty")
        with psycopg.connect(live.dsn, dbname="thirty", autocommit=True) as connection:
            connection.execute(TABLES)
        live.stop()
        own = (side.data / "postgresql.auto.conf").read_bytes()
        shutil.rmtree(side.data)
        subprocess.run(["cp", "-a", str(live.data), str(side.data)], check=True)
        (side.data / "postgresql.auto.conf").write_bytes(own)
        live.start()
        side.start()
        yield Pair(live, side)
    finally:
        live.remove()
        side.remove()
