"""Whether a server can connect to something: it is told to, and somebody listens. Nothing is left of it afterwards."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import closing
from typing import Any

WITHIN_MS = 1000  # for a server that does connect waits for an answer, which nobody gives
# Every server can do it, without an extension. An event trigger of the copy's shall not have a say in it.
PREPARE = (
    "SET LOCAL session_replication_role = replica; SET LOCAL lc_messages = 'C'; SET LOCAL statement_timeout = %d"
    % WITHIN_MS
)
CONNECT = "CREATE SUBSCRIPTION pgrescue_way_out CONNECTION '%s' PUBLICATION nothing WITH (create_slot = false, enabled = false, copy_data = false)"
REFUSED = "could not connect to the publisher"


def found(connection: Any) -> "list[str]":
    """The ways out that are open to the server, in words; and why one could not be tried."""
    with tempfile.TemporaryDirectory(prefix="pgrescue-") as folder:
        os.chmod(folder, 0o755)  # the server may run as somebody else
        ways = {
            "it connected to an address": (socket.AF_INET, ("127.0.0.1", 0)),
            "it connected to another server's socket": (socket.AF_UNIX, os.path.join(folder, ".s.PGSQL.5432")),
        }
        return [said for words, way in ways.items() for said in tried(connection, words, *way)]


def of_replaying(directory: str) -> "list[str]":
    """The same of a server that replays, and so can be told nothing: whether it was started with a filter that we do not have."""
    with open(os.path.join(directory, "postmaster.pid"), encoding="ascii") as pid:
        server = pid.readline().strip()
    return [] if filters(server) > filters("self") else ["it was started without a filter"]


def filters(process: str) -> int:
    """How many seccomp filters a process has."""
    with open("/proc/%s/status" % process, encoding="ascii", errors="replace") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("Seccomp_filters:")), 0)


def tried(connection: Any, words: str, family: int, address: Any) -> "list[str]":
    """The words, when the server connects to where we listen; nothing when it says that it cannot."""
    import psycopg

    with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
        listener.bind(address)
        listener.listen()
        if family == socket.AF_UNIX:
            os.chmod(address, 0o777)
            place = "host=%s port=5432" % os.path.dirname(address)
        else:
            place = "host=%s port=%d" % listener.getsockname()
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(PREPARE)
                connection.execute(CONNECT % place)
            said = "CREATE SUBSCRIPTION went on without a publisher"
        except psycopg.Error as error:
            said = str(error).strip().splitlines()[0]
        listener.setblocking(False)
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return [] if REFUSED in said else ["it could not be tried: " + said]
    return [words]
