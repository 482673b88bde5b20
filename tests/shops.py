"""A sample database with one of every kind of object, on any major version, and copies of it to plant faults in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from modules import collection
from postgres import PostgresServer

SHOP = (Path(__file__).parent / "shop.sql").read_text()
VERSIONS = (14, 15, 16, 17, 18)
ROLES = """
CREATE ROLE clerk LOGIN CONNECTION LIMIT 5; CREATE ROLE reader; CREATE ROLE staff;
GRANT staff TO clerk WITH ADMIN OPTION; GRANT pg_monitor TO reader; ALTER ROLE clerk SET statement_timeout = '1min';
"""


class Shop:
    """A server that holds the database `shop`."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        for statement in [*ROLES.strip().split(";"), "CREATE DATABASE shop TEMPLATE template0"]:
            if statement.strip():
                server.psql(statement)
        self.settle("shop")
        with self.connect("shop") as connection:
            connection.execute(SHOP)

    def settle(self, database: str) -> None:
        """What is set and granted on a database itself, which a copy does not take over."""
        self.server.psql(f"ALTER DATABASE {database} SET work_mem = '8MB'")
        self.server.psql(f"ALTER ROLE clerk IN DATABASE {database} SET search_path = sales")
        self.server.psql(f"GRANT CONNECT ON DATABASE {database} TO reader")

    def connect(self, database: str, **more: Any) -> psycopg.Connection[Any]:
        """A connection to one of its databases, in autocommit mode."""
        return psycopg.connect(self.server.dsn, dbname=database, autocommit=True, **more)

    @contextmanager
    def copy(self, name: str = "copy") -> Iterator[str]:
        """A database with the same content, whose files are on disk and not in memory."""
        strategy = "" if self.server.version == 14 else "STRATEGY file_copy"
        self.server.psql(f"CREATE DATABASE {name} TEMPLATE shop {strategy}")
        self.settle(name)
        try:
            yield name
        finally:
            self.server.psql(f"DROP DATABASE {name} (FORCE)")

    def run(self, database: str, statements: str) -> list[tuple[Any, ...]]:
        """Run statements in a database; the rows of the last one, if it gives any."""
        with self.connect(database) as connection:
            cursor = connection.execute(statements)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def file(self, database: str, relation: str) -> Path:
        """The file of a relation, as it is on disk."""
        self.server.psql("CHECKPOINT")
        ((path,),) = self.run(database, f"SELECT pg_relation_filepath('{relation}')")
        return self.server.data / str(path)

    def census(self, database: str, plant: str = "", **more: Any) -> dict[str, Any]:
        """The census of the cluster with one database, told as `shop`; what is planted before is rolled back after."""
        census = collection("plugins.module_utils.census")
        with self.connect(database) as connection, connection.transaction(force_rollback=True):
            if plant:
                connection.execute(plant)
            else:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            about = census.database(connection, **more)
            return {"lsn": None, "cluster": census.cluster(connection), "databases": {"shop": about}}
