"""PgBouncer: its admin console, and where its configuration sends clients."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Mapping

from .guards import PRECONDITION, Stop

ADMIN_ARGUMENTS = {
    "host": {"type": "str", "default": "/var/run/postgresql"},
    "port": {"type": "int", "default": 6432},
    "user": {"type": "str", "default": "pgbouncer"},
    "databases": {"type": "list", "elements": "str", "required": True},
}


@contextmanager
def admin(module: Any) -> Iterator[Any]:
    """A connection to the console. It knows the simple protocol alone, no transactions and no options."""
    import psycopg
    from psycopg.rows import dict_row

    p = module.params
    try:
        connection = psycopg.connect(
            host=p["host"],
            port=p["port"],
            user=p["user"],
            dbname="pgbouncer",
            connect_timeout=5,
            application_name="pgrescue",
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )
    except psycopg.OperationalError as error:
        said = "PgBouncer's console cannot be reached: %s. Nothing was changed here."
        raise Stop(said % " ".join(str(error).split()), PRECONDITION) from error
    try:
        yield connection
    finally:
        connection.close()


def quoted(name: str) -> str:
    """A database's name in a command of the console."""
    return '"%s"' % name.replace('"', '""')


def serving(connection: Any, databases: Iterable[str]) -> "dict[str, Mapping[str, Any]]":
    """What the console says of the databases; a refusal when it does not know one."""
    known = {row["name"]: row for row in connection.execute("SHOW DATABASES").fetchall()}
    missing = [name for name in databases if name not in known]
    if missing:
        said = "PgBouncer does not serve %s; it serves %s. Nothing was changed here."
        served = ", ".join(sorted(set(known) - {"pgbouncer"})) or "nothing"
        raise Stop(said % (", ".join(missing), served), PRECONDITION)
    return {name: known[name] for name in databases}


def is_so(row: Mapping[str, Any], state: str) -> bool:
    """Whether a database is paused, or resumed. It says that it is paused as soon as it waits for clients to let go."""
    if state == "resumed":
        return not row["paused"]
    return bool(row["paused"]) and not row["current_connections"]


def busy(connection: Any, databases: Iterable[str]) -> "list[str]":
    """Clients that hold a server's connection, as a sentence names them."""
    wanted = set(databases)
    rows = connection.execute("SHOW CLIENTS").fetchall()
    return [
        "%s as %s in %s from %s:%s"
        % (r.get("application_name") or "a client", r["user"], r["database"], r["addr"], r["port"])
        for r in rows
        if r["database"] in wanted and r["link"]
    ]


SECTION = re.compile(r"^\s*\[(\w+)\]\s*$")
ENTRY = re.compile(r"^\s*(\"(?:[^\"]|\"\")*\"|[^\s=;#]+)\s*=\s*(.*?)\s*$")
SETTING = re.compile(r"(\w+)\s*=\s*('(?:[^']|'')*'|[^\s']*)")


def pointed(text: str, databases: Iterable[str], host: str, port: int) -> str:
    """The configuration with the named databases sent to a host and port, and everything else as it was."""
    left = set(databases)
    section, lines = "", []
    for read in text.splitlines(keepends=True):
        line = read
        found = SECTION.match(read)
        section = found[1] if found else section
        entry = ENTRY.match(read) if section == "databases" and not found else None
        name = entry[1].strip('"').replace('""', '"') if entry else None
        if entry and name in left:
            left.discard(name)
            line = "%s%s\n" % (read[: entry.start(2)], _sent(entry[2], {"host": host, "port": str(port)}))
        lines.append(line)
    if left:
        said = "%s is not in the section [databases] of this file. Nothing was changed. Name the file that has it."
        raise Stop(said % ", ".join(sorted(left)), PRECONDITION)
    return "".join(lines)


def _sent(settings: str, values: Mapping[str, str]) -> str:
    """A database's settings with these values, in their place where they had one."""
    there = {found[1] for found in SETTING.finditer(settings)}
    settings = SETTING.sub(lambda s: "%s=%s" % (s[1], values[s[1]]) if s[1] in values else s[0], settings)
    return " ".join(["%s=%s" % pair for pair in values.items() if pair[0] not in there] + [settings]).strip()
