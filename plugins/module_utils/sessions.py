"""Who is connected to a server and could write, and whether anybody else would get in."""

from __future__ import annotations

import os
import re
import socket
import ssl
import struct
from typing import Any, Collection, Iterable, Mapping, Optional

from .network import PATIENCE_S

SESSIONS = """
SELECT pid, usename AS role, datname AS database, application_name AS application, backend_type AS type,
       coalesce(host(client_addr), 'the local socket') AS address
  FROM pg_stat_activity WHERE pid <> pg_backend_pid()
"""
# PostgreSQL 18 lists a connection before it is let in; it has no role then.
LET_IN = "SELECT pid FROM pg_stat_activity WHERE backend_type <> 'client backend' OR usesysid IS NOT NULL"
PREPARED = "SELECT gid, owner, database FROM pg_prepared_xacts ORDER BY prepared"
# They write what another server sends; no connection from outside is needed. Their name became longer in PostgreSQL 16.
APPLIES = re.compile(r"^logical replication (apply |parallel |tablesync |table synchronization )?worker$")
# Processes that have a server's own work and are not in pg_stat_activity.
AUXILIARY = re.compile(r"^postgres: (.*: )?(logger|stats collector|archiver.*)\s*$")

Session = Mapping[str, Any]


def clients(sessions: Iterable[Session], keep: Collection[str]) -> "list[Session]":
    """Sessions in which somebody could send a statement that writes, but for those of the roles to keep.

    A walsender without a database streams WAL and takes no SQL; one with a database takes any.
    """
    return [
        s
        for s in sessions
        if s["role"]
        and s["role"] not in keep
        and (s["type"] == "client backend" or (s["type"] == "walsender" and s["database"]))
    ]


def appliers(sessions: Iterable[Session]) -> "list[Session]":
    """Processes that write what a subscription brings."""
    return [s for s in sessions if APPLIES.match(s["type"] or "")]


def workers(sessions: Iterable[Session]) -> "list[str]":
    """The kinds of processes at work that nobody connected for and that a server does not always have."""
    return sorted({s["type"] for s in sessions if s["type"] and "worker" in s["type"] and s["type"] != "io worker"})


def named(sessions: Iterable[Session]) -> "list[str]":
    """Who they are, each once with how often, for a sentence."""
    counted: "dict[str, int]" = {}
    for s in sessions:
        who = "%s as %s in %s from %s" % (s["application"] or "a client", s["role"], s["database"], s["address"])
        counted[who] = counted.get(who, 0) + 1
    return [who + (" (%d times)" % n if n > 1 else "") for who, n in sorted(counted.items())]


def parent(pid: int) -> int:
    """The process that started this one."""
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stat:
        return int(stat.read().rpartition(")")[2].split()[1])


def starting(connection: Any) -> "list[int]":
    """Processes of the server that somebody has connected to and that have not let him in yet.

    They go by the rules that held when they were started, however long ago the server read new ones. One that is refused, or is about
    to be something else, is among them for an instant: what is seen in two looks waits.
    """
    server = parent(connection.execute("SELECT pg_backend_pid() AS pid").fetchone()["pid"])
    with open("/proc/%d/task/%d/children" % (server, server), encoding="ascii") as children:
        running = [int(pid) for pid in children.read().split()]
    known = {row["pid"] for row in connection.execute(LET_IN)}
    return [pid for pid in running if pid not in known and _waits(pid)]


def _waits(pid: int) -> bool:
    """Whether a process of the server, of which it tells nothing, is there and has none of its own work."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as title:
            said = title.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return False
    return bool(said) and not AUXILIARY.match(said)  # a zombie has no title


def end(pids: Iterable[int]) -> None:
    """Tell processes of the server that wait for a client to end; one that is gone is well."""
    for pid in pids:
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            continue


SSL_REQUEST = struct.pack("!II", 8, 80877103)


def _startup(role: str, database: str) -> bytes:
    body = b"".join(word.encode() + b"\0" for word in ("user", role, "database", database)) + b"\0"
    return struct.pack("!II", 8 + len(body), 196608) + body


def _read(connection: socket.socket) -> bytes:
    """One message of the server, or what came of it."""
    said = b""
    while len(said) < 5 or len(said) < 1 + struct.unpack("!I", said[1:5])[0]:
        more = connection.recv(4096)
        if not more:
            break
        said += more
    return said


def lets_in(address: str, port: int, role: str, database: str, tls: bool) -> Optional[str]:
    """What a server does with a new connection; None when its pg_hba.conf refuses it, or nobody listens.

    The refusal is told by its code and its place in the server, for its words are in the server's language.
    """
    try:
        with socket.create_connection((address, port), timeout=PATIENCE_S) as plain:
            connection: socket.socket = plain
            if tls:
                plain.sendall(SSL_REQUEST)
                offered = plain.recv(1)
                if offered != b"S":  # N: it speaks none, so nobody gets in that way
                    return None if offered == b"N" else "it does not say whether it speaks TLS"
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                connection = context.wrap_socket(plain)
            connection.sendall(_startup(role, database))
            said = _read(connection)
    except ConnectionRefusedError:
        return None
    except OSError as error:
        return "it does not answer (%s)" % error
    return _meaning(said)


def _meaning(said: bytes) -> Optional[str]:
    """What a server's first message says; None when it is the refusal."""
    if said[:1] == b"R":
        return "it is let in" if said[5:9] == b"\0\0\0\0" else "it is asked for a password"
    fields = {part[:1]: part[1:].decode(errors="replace") for part in said[5:].split(b"\0") if part}
    if said[:1] == b"E" and (fields.get(b"C"), fields.get(b"R")) == ("28000", "ClientAuthentication"):
        return None
    return "the server says: " + (fields.get(b"M") or "nothing")
