"""What a dump asks of a server: who is there, a snapshot, and PostgreSQL's own programs to read it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from . import dumps, libpq
from .guards import PRECONDITION, STEP_FAILED, Stop

# Of the provider; they refuse their customers, or hold nothing of them.
PROVIDERS = ("rdsadmin", "cloudsqladmin", "cloudsqlpostgres", "azure_maintenance", "azure_sys")

DATABASES = """
SELECT to_jsonb(d) AS raw, datname AS name, datallowconn AS allowed, has_database_privilege(oid, 'CONNECT') AS granted,
       pg_encoding_to_char(encoding) AS encoding, datcollate AS collate, datctype AS ctype, pg_get_userbyid(datdba) AS owner
  FROM pg_database d WHERE NOT datistemplate ORDER BY datname
"""
# Object numbers below 16384 are what initdb made.
HOLDS_ANYTHING = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_proc WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_type WHERE oid >= 16384)
    OR EXISTS (SELECT FROM pg_extension WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_largeobject_metadata)
"""
SNAPSHOT = """
SELECT pg_export_snapshot() AS id, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS taken_at,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn,
       pg_database_size(current_database()) AS size_bytes
"""


def observe(module: Any) -> "dict[str, Any]":
    """The server, the programs that fit it, and the databases to dump; or why it cannot be dumped."""
    from psycopg.rows import dict_row

    p = module.params
    with libpq.connect(p["url"], row_factory=dict_row) as connection:
        version = connection.execute("SHOW server_version").fetchone()["server_version"].split()[0]
        found = connection.execute(DATABASES).fetchall()
        system = system_identifier(connection)
    tools = _tools(module, version)
    wanted, excluded = _wanted(p, found)
    method, said = dumps.compression(p["compression"], libpq.major(tools["pg_dump"]["version"]))
    return {
        "server_version": version,
        "system_identifier": system,
        "tools": {name: tool["version"] for name, tool in tools.items()},
        "programs": {name: tool["path"] for name, tool in tools.items()},
        "databases": wanted,
        "excluded": excluded,
        "compression": method,
        "notes": [said] if said else [],
    }


def system_identifier(connection: Any) -> Optional[str]:
    """The database system, where the role may ask."""
    import psycopg

    try:
        row = connection.execute("SELECT system_identifier::text AS id FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row["id"])


def _tools(module: Any, server: str) -> "dict[str, dict[str, str]]":
    found = {}
    for name in ("pg_dump", "pg_dumpall"):
        path = libpq.program(name, module.params["program_directory"], libpq.major(server))
        version = libpq.program_version(module, path)
        if libpq.major(version) < libpq.major(server):
            raise Stop(
                "The server is PostgreSQL %s and %s is %s, which cannot dump a newer server. Install the client programs of "
                "PostgreSQL %d, or say where they are (program_directory). Nothing was changed."
                % (server, path, version, libpq.major(server)),
                PRECONDITION,
            )
        found[name] = {"path": path, "version": version}
    return found


def _wanted(p: Mapping[str, Any], found: "list[dict[str, Any]]") -> "tuple[list[dict[str, Any]], list[dict[str, str]]]":
    """The databases to dump, and those that are not, each with the reason."""
    named = p["databases"]
    absent = sorted(set(named or []) - {d["name"] for d in found})
    if absent:
        raise Stop("The server has no database %s. Nothing was changed." % ", ".join(absent), PRECONDITION)
    wanted, excluded = [], []
    for database in found:
        reason = _reason(p["url"], database, named)
        if reason and named and database["name"] in named:
            raise Stop(
                "Database %s cannot be dumped: %s. Nothing was changed." % (database["name"], reason), PRECONDITION
            )
        if reason:
            excluded.append({"name": database["name"], "reason": reason})
        else:
            wanted.append(_facts(database))
    if not wanted:
        said = "; ".join("%(name)s: %(reason)s" % e for e in excluded)
        raise Stop("There is no database to dump (%s). Nothing was changed." % said, PRECONDITION)
    return wanted, excluded


def _reason(url: str, database: Mapping[str, Any], named: "Optional[list[str]]") -> Optional[str]:
    """Why a database is not dumped."""
    if named is not None and database["name"] not in named:
        return "not asked for"
    if database["name"] in PROVIDERS:
        return "belongs to the provider"
    if not database["allowed"]:
        return "allows no connections"
    if not database["granted"]:
        return "the role may not connect to it"
    if named is None and database["name"] == "postgres":
        with libpq.connect(url, "postgres") as connection:
            if not connection.execute(HOLDS_ANYTHING).fetchone()[0]:
                return "empty"
    return None


def _facts(database: Mapping[str, Any]) -> "dict[str, Any]":
    raw = database["raw"]
    locale = raw.get("datlocale") or raw.get("daticulocale")  # 17 and newer, 15 and 16
    return {
        **{key: database[key] for key in ("name", "owner", "encoding", "collate", "ctype")},
        "locale_provider": {"c": "libc", "i": "icu", "b": "builtin"}[raw.get("datlocprovider", "c")],
        "locale": locale,
        "collation_version": raw.get("datcollversion"),
    }


@contextmanager
def snapshot(p: Mapping[str, Any], database: Optional[str] = None) -> "Iterator[tuple[Any, dict[str, Any]]]":
    """A read-only transaction that shares its snapshot for as long as it is open, and what the snapshot is of."""
    import psycopg
    from psycopg.rows import dict_row

    # the transaction is idle while pg_dump works, which managed servers like to end
    limits = {
        "statement_timeout": "%ds" % p["statement_timeout_s"],
        "lock_timeout": "%ds" % p["lock_timeout_s"],
        "idle_in_transaction_session_timeout": "0",
    }
    with libpq.connect(p["url"], database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            for name, value in limits.items():
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            if connection.info.server_version >= 170000:
                connection.execute("SET LOCAL transaction_timeout = 0")
            facts = connection.cursor(row_factory=dict_row).execute(SNAPSHOT).fetchone()
            yield connection, facts


def dump(module: Any, server: Mapping[str, Any], database: str, snapshot_id: str, place: str, held: int) -> None:
    """Write one database to a folder with pg_dump."""
    p = module.params
    arguments = [
        server["programs"]["pg_dump"],
        "--format=directory",
        "--file=" + place,
        "--jobs=%d" % (p["jobs"] or os.cpu_count() or 1),
        "--snapshot=" + snapshot_id,
        "--lock-wait-timeout=%ds" % p["lock_timeout_s"],
        server["compression"],
        "--no-password",
        "--dbname=" + libpq.target(p["url"], database),
    ]
    code, _out, err = libpq.run(module, arguments, p["url"], pass_fds=[held])
    if code:
        raise Stop("Database %s was not dumped: %s" % (database, reason(err)), STEP_FAILED)


def dump_globals(module: Any, server: Mapping[str, Any], path: str, held: int) -> "tuple[Optional[str], Optional[str]]":
    """Write roles and tablespaces without passwords, or what of them the role may read; the script, and what it lacks."""
    said = ""
    database = libpq.default_database(module.params["url"]) or "postgres"
    for what in ("--globals-only", "--roles-only"):
        arguments = [
            server["programs"]["pg_dumpall"],
            what,
            "--no-role-passwords",
            "--no-password",
            "--file=" + path,
            "--database=" + database,
            "--dbname=" + libpq.target(module.params["url"], database),
        ]
        code, _out, err = libpq.run(module, arguments, module.params["url"], pass_fds=[held])
        if not code:
            with open(path, encoding="utf-8") as script:
                return script.read(), ("tablespaces are not dumped: " + said if said else None)
        said = reason(err)
    return None, "roles are not dumped: " + said


def roles(connection: Any) -> "list[str]":
    """The roles of the cluster that PostgreSQL did not make itself."""
    found = connection.execute(r"SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'").fetchall()
    return [str(row[0]) for row in found]


def reason(said: str) -> str:
    """The first error a program of PostgreSQL told."""
    errors = [line for line in said.splitlines() if "error:" in line or "FATAL" in line or "ERROR" in line]
    return (errors or said.strip().splitlines() or ["no reason given"])[0][:500]
