"""What restoring a dump does to a server: roles, databases from template0, data, statistics."""

from __future__ import annotations

import os
import time
from typing import Any, Mapping

from . import dump_server, dumps, libpq, postgres
from .guards import PRECONDITION, STEP_FAILED, Stop


def maintenance(url: str) -> str:
    """A database to connect to for what is about whole databases; template1 last, for making a database waits for it."""
    said: "list[Stop]" = []
    for database in filter(None, (libpq.default_database(url), "postgres", "template1")):
        try:
            with libpq.connect(url, database):
                return database
        except Stop as stop:
            said.append(stop)
    raise said[0]


def observe(url: str) -> "dict[str, Any]":
    """The version and the databases of the server to restore into."""
    place = maintenance(url)
    with libpq.connect(url, place) as connection:
        version = connection.execute("SHOW server_version").fetchone()[0].split()[0]
        found = connection.execute("SELECT datname FROM pg_database").fetchall()
    return {"version": version, "databases": [row[0] for row in found]}


def is_empty(url: str, database: str) -> bool:
    """Whether a database is there and holds nothing but what initdb made."""
    with libpq.connect(url, database) as connection:
        return not connection.execute(dump_server.HOLDS_ANYTHING).fetchone()[0]


def drop(url: str, database: str) -> None:
    """Drop a database that was found empty."""
    from psycopg import sql

    with libpq.connect(url, "template1") as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(database)))


def tool(module: Any, server_version: str, payload: Mapping[str, Any]) -> str:
    """The pg_restore that can read the dump."""
    written_by = libpq.major(payload["tools"]["pg_dump"])
    wanted = max(written_by, libpq.major(server_version))
    path = libpq.program("pg_restore", module.params["program_directory"], wanted)
    version = libpq.program_version(module, path)
    if libpq.major(version) < written_by:
        raise Stop(
            "The dump was written by pg_dump %s, which %s (%s) cannot read. Install the client programs of PostgreSQL %d, or "
            "say where they are (program_directory). Nothing was changed."
            % (payload["tools"]["pg_dump"], path, version, written_by),
            PRECONDITION,
        )
    return path


def make_roles(url: str, root: str) -> "list[str]":
    """Make the roles that are missing, all or none; which they are."""
    import psycopg

    with open(os.path.join(root, dumps.GLOBALS), encoding="utf-8") as source:
        script = source.read()
    with libpq.connect(url, maintenance(url)) as connection:
        existing = [row[0] for row in connection.execute("SELECT rolname FROM pg_roles").fetchall()]
        with connection.transaction():
            for statement in dumps.role_statements(script, existing):
                try:
                    connection.execute(statement)
                except psycopg.Error as error:
                    raise Stop(
                        "The dump's roles cannot be made: %s (%s). Nothing was changed."
                        % (" ".join(str(error).split()), statement[:200]),
                        STEP_FAILED,
                        disproves=not postgres.blames_host(str(error)),
                    ) from error
    return [role for role in dumps.roles_made(script) if role not in existing]


def create(url: str, entry: Mapping[str, Any], name: str) -> None:
    """Make the database under another name than it had, as it was."""
    from psycopg import sql

    options = {
        "OWNER": sql.Identifier(entry["owner"]),
        "TEMPLATE": sql.Identifier("template0"),
        "ENCODING": sql.Literal(entry["encoding"]),
        "LC_COLLATE": sql.Literal(entry["collate"]),
        "LC_CTYPE": sql.Literal(entry["ctype"]),
    }
    if entry["locale_provider"] != "libc":
        options["LOCALE_PROVIDER"] = sql.Identifier(entry["locale_provider"])
        options["%s_LOCALE" % entry["locale_provider"].upper()] = sql.Literal(entry["locale"])
    said = sql.SQL(" ").join(sql.SQL("%s = {}" % key).format(value) for key, value in options.items())
    with libpq.connect(url, maintenance(url)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} WITH {}").format(sql.Identifier(name), said))


def database(module: Any, program: str, url: str, root: str, entry: Mapping[str, Any], name: str, held: int) -> float:
    """Restore one database and have its statistics made; how many seconds it took.

    pg_restore makes the database itself, from template0 with all it had, unless it shall have another name.
    """
    begun = time.monotonic()
    renamed = name != entry["name"]
    if renamed:
        create(url, entry, name)
    arguments = [
        program,
        "--jobs=%d" % (module.params["jobs"] or os.cpu_count() or 1),
        "--exit-on-error",
        "--no-tablespaces",
        "--no-password",
        *([] if renamed else ["--create"]),
        "--dbname=" + libpq.target(url, name if renamed else maintenance(url)),
        os.path.join(root, os.path.dirname(entry["files"][0]["name"])),
    ]
    code, _out, err = libpq.run(module, arguments, url, pass_fds=[held])
    if code:
        raise Stop(
            "Database %s was not restored: %s. What is there of it is not whole; drop it before another try."
            % (name, dump_server.reason(err)),
            STEP_FAILED,
            disproves=not postgres.blames_host(err),
        )
    with libpq.connect(url, name) as connection:
        connection.execute("ANALYZE")
    return round(time.monotonic() - begun, 3)
