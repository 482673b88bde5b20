"""Loading a script that the original tools left into a database made for it, as a role that owns nothing else."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import Any, Iterator, Mapping

from . import dump_restore, dump_server, libpq
from .guards import PRECONDITION, STEP_FAILED, Stop

# The first minor versions whose psql can be told to obey no command in a script (CVE-2025-8714).
RESTRICTS = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}

# What a role may do beyond owning things, by itself or through roles that it can become; and whether it can log in.
POWERS = """
SELECT array_remove(ARRAY[
         CASE WHEN bool_or(r.rolsuper) THEN 'is, or can become, a superuser' END,
         CASE WHEN bool_or(r.rolcreaterole) THEN 'can make roles' END,
         CASE WHEN bool_or(r.rolreplication) THEN 'can replicate everything' END,
         CASE WHEN bool_or(r.rolbypassrls) THEN 'is not bound by row security' END,
         CASE WHEN bool_or(r.rolname ~ '^pg_' AND r.rolname <> 'pg_database_owner') THEN 'has rights over the server' END], NULL),
       o.rolcanlogin
  FROM pg_roles AS o JOIN pg_roles AS r ON pg_has_role(o.oid, r.oid, 'MEMBER')
 WHERE o.rolname = %s GROUP BY o.oid, o.rolcanlogin
"""


def psql(module: Any, server_version: str) -> str:
    """The psql to load with; one that a script could make run programs is refused."""
    path = libpq.program("psql", module.params["program_directory"], libpq.major(server_version))
    version = libpq.program_version(module, path)
    major, _dot, minor = version.partition(".")
    if (
        major.isdigit()
        and int(major) < 18
        and not (minor.isdigit() and int(minor) >= RESTRICTS.get(int(major), 1 << 16))
    ):
        raise Stop(
            "%s is %s, which a script can make run programs (CVE-2025-8714). Update it. Nothing was changed."
            % (path, version),
            PRECONDITION,
        )
    return path


def observe(url: str, database: str) -> "dict[str, Any]":
    """The server to restore into, which must not have the database yet."""
    server = dump_restore.observe(url)
    if database in server["databases"]:
        raise Stop(
            "The server already has a database %s. A backup is restored only into a database that does not exist. "
            "Nothing was changed." % database
        )
    return server


def owner_for(url: str, database: str, wanted: "str | None") -> "str | None":
    """The role that shall own what was restored; None where who connects has no more rights than that.

    Whatever the script made runs with its owner's rights from then on, by autovacuum too, so it may be nobody of power.
    """
    name = wanted or database.encode()[:57].decode(errors="ignore") + "_owner"
    with libpq.connect(url, dump_restore.maintenance(url)) as connection:
        if not connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()[0]:
            return None
        found = connection.execute(POWERS, (name,)).fetchone()
    powers = list(found[0]) if found else []
    if found and found[1] and not wanted:
        powers.append("can log in, so somebody uses it")
    if powers:
        raise Stop(
            "The restored database cannot belong to role %s: it %s. What the script made would run with its rights. Name another "
            "role (owner), or one that does not exist. Nothing was changed." % (name, "; it ".join(powers))
        )
    return name


@contextmanager
def _made(url: str, database: str, locale: Mapping[str, str], owner: "str | None") -> "Iterator[dict[str, str]]":
    """Make the database, and a role to load it as; give the database to its owner, or leave nothing behind."""
    from psycopg import sql

    name = sql.Identifier(database)
    options = [sql.SQL("%s = {}" % key).format(sql.Literal(value)) for key, value in sorted(locale.items())]
    with libpq.connect(url, dump_restore.maintenance(url)) as connection:
        role, password, who = "pgrescue_" + secrets.token_hex(8), secrets.token_urlsafe(24), {}
        quoted = sql.Identifier(role)
        if owner:
            scrambled = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(quoted, sql.Literal(scrambled)))
            who = {"PGUSER": role, "PGPASSWORD": password}
            options.insert(0, sql.SQL("OWNER = {}").format(quoted))
        whole = False
        try:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE template0 {}").format(name, sql.SQL(" ").join(options))
            )
            try:
                yield who
                whole = True
            finally:
                if not whole:
                    connection.execute(sql.SQL("DROP DATABASE {}").format(name))
        finally:
            if who:
                if whole and owner:
                    kept = sql.Identifier(owner)
                    if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (owner,)).fetchall():
                        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(kept))
                    with libpq.connect(url, database) as inside:
                        inside.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(quoted, kept))
                        inside.execute(sql.SQL("DROP OWNED BY {}").format(quoted))
                connection.execute(sql.SQL("DROP ROLE {}").format(quoted))


def load(module: Any, program: str, url: str, script: str, locale: Mapping[str, str], owner: "str | None") -> str:
    """Run a script that was read and found harmless, in one transaction; which role it ran as."""
    import psycopg

    database = module.params["database"]
    with _made(url, database, locale, owner) as who:
        if who:
            _check_login(url, database, who)
        arguments = [
            *(program, "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction"),
            *("--output=" + os.devnull, "--file=" + script, "--dbname=" + libpq.target(url, database)),
        ]
        code, _out, err = libpq.run(module, arguments, url, environ_update=who)
        errors = [line for line in err.splitlines() if "ERROR:" in line]
        if code or errors:
            raise Stop(
                "The backup was not restored: %d error(s), the first: %s. Nothing of it is kept."
                % (len(errors), dump_server.reason(err)),
                STEP_FAILED,
            )
        with libpq.connect(url, database) as connection:
            try:
                connection.execute("ANALYZE")
            except psycopg.Error as error:
                raise Stop("The restored database cannot be read: %s" % str(error).strip(), STEP_FAILED) from error
    return who.get("PGUSER", "the role that connected")


def _check_login(url: str, database: str, who: Mapping[str, str]) -> None:
    """See whether the role made for it may connect."""
    try:
        with libpq.connect(url, database, user=who["PGUSER"], password=who["PGPASSWORD"]):
            pass
    except Stop as stop:
        raise Stop(
            "The backup would run as a role of its own, which the server does not let in: %s Let roles connect with a password, "
            "or, on a server that holds nothing else, say unprivileged: false." % stop,
            PRECONDITION,
        ) from stop


def write(lines: Iterator[bytes], path: str) -> None:
    """Write the lines that may run, between the two that keep psql from obeying anything in them."""
    key = secrets.token_hex(16).encode()
    with open(path, "wb") as out:
        out.write(b"\\restrict %s\n" % key)
        for line in lines:
            out.write(line)
        out.write(b"\n\\unrestrict %s\n" % key)
