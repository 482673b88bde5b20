"""The one layer that talks to PostgreSQL and its tools on a host. Everything that decides is elsewhere, and pure."""

from __future__ import annotations

import glob
import os
import re
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional

from . import observation

BIN = "/usr/lib/postgresql/%s/bin"
CONFIG = "/etc/postgresql/%s/main"

# What somebody set for a role or a database must not end or forbid what we ask.
UNLIMITED = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c default_transaction_read_only=off"

CONNECTION_ARGUMENTS = {
    "version": {"type": "int", "required": True},
    "port": {"type": "int", "default": 5432},
    "socket_directory": {"type": "path", "default": "/var/run/postgresql"},
}


# The timeline that a standby follows. pg_control learns it only now and then, and a standby whose primary is dead has no receiver
# that could tell; the segment that holds what came last is named after it.
FOLLOWED_TIMELINE = """
greatest((SELECT min_recovery_end_timeline FROM pg_control_recovery()), (SELECT timeline_id FROM pg_control_checkpoint()),
         (SELECT max(received_tli) FROM pg_stat_wal_receiver),
         (SELECT max(('x' || substr(file.name, 1, 8))::bit(32)::int)
            FROM pg_ls_waldir() AS file,
                 pg_size_bytes(current_setting('wal_segment_size')) AS segment (bytes),
                 trunc((greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/1') / segment.bytes) AS last (number)
           WHERE file.name ~ '^[0-9A-F]{24}$'
             AND substr(file.name, 9) = upper(lpad(to_hex(div(last.number, 4294967296 / segment.bytes)::bigint), 8, '0')
                                              || lpad(to_hex(mod(last.number, 4294967296 / segment.bytes)::bigint), 8, '0'))))
"""


# Of a module that may also ask a server somewhere else. When a version is given the server must be of it.
SERVER_ARGUMENTS = {
    **CONNECTION_ARGUMENTS,
    "version": {"type": "int"},
    "url": {"type": "str", "no_log": True},
}


@contextmanager
def connect(module: Any, database: str = "postgres", **more: Any) -> Iterator[Any]:
    """A connection as the operating-system user, in autocommit, with PostgreSQL's messages in English.

    A module's `url`, when it has one, says where and as whom instead.
    """
    import psycopg

    url = module.params.get("url")
    local = {"host": module.params["socket_directory"], "port": module.params["port"], "options": UNLIMITED}
    connection = psycopg.connect(
        url or "",
        **({} if url else local),
        dbname=database,
        connect_timeout=5,
        application_name="pgrescue",
        autocommit=True,
        **more,
    )
    try:
        yield connection
    finally:
        connection.close()


def ask_without_driver(module: Any, query: str) -> Optional[str]:
    """The one value that `psql` answers, where no driver may be installed yet; None when there is no server that answers."""
    psql = os.path.join(BIN % module.params["version"], "psql")
    if not os.path.exists(psql):
        return None
    where = ["--host=" + module.params["socket_directory"], "--port=%d" % module.params["port"], "--dbname=postgres"]
    plain = ["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--no-password", "--command=" + query]
    patience = {"PGCONNECT_TIMEOUT": "5", "PGAPPNAME": "pgrescue"}
    code, out, _err = module.run_command([psql, *where, *plain], environ_update=patience)
    return None if code else str(out).strip()


def control_data(module: Any, data_directory: str, programs: Optional[str] = None) -> "dict[str, str]":
    """`pg_controldata` of a directory; empty when there is no cluster in it."""
    if not os.path.exists(os.path.join(data_directory, "global", "pg_control")):
        return {}
    program = os.path.join(programs or BIN % module.params["version"], "pg_controldata")
    _code, out, _err = module.run_command([program, data_directory], check_rc=True, environ_update={"LC_ALL": "C"})
    return observation.parse_controldata(out)


def start_word(version: int) -> str:
    """What `start.conf` of the cluster says: auto, manual or disabled; empty where there is none."""
    path = os.path.join(CONFIG % version, "start.conf")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as lines:
        words = [line.partition("#")[0].strip() for line in lines]
    return next((word for word in words if word), "")


def data_directory(module: Any) -> Optional[str]:
    """The data directory this host's configuration names, whether or not a server runs.

    Where it names none, for a manager names it to the server, the path in use that the module was told, if a cluster is there.
    """
    config = CONFIG % module.params["version"]
    text = ""
    for path in [os.path.join(config, "postgresql.conf")] + sorted(glob.glob(os.path.join(config, "conf.d", "*.conf"))):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as settings:
                text += settings.read() + "\n"
    return observation.configured_data_directory(text) or in_use(module)


def in_use(module: Any) -> Optional[str]:
    """The path in use that the module was told, if a cluster is there."""
    path = module.params.get("in_use")
    return path if path and os.path.exists(os.path.join(path, "PG_VERSION")) else None


def is_alive(directory: str) -> bool:
    """Whether a server process runs on the data directory, whether or not it answers."""
    try:
        with open(os.path.join(directory, "postmaster.pid"), encoding="ascii") as pid:
            number = int(pid.readline())
        with open("/proc/%d/comm" % number, encoding="ascii") as name:
            if name.read().strip() not in ("postgres", "postmaster"):
                return False
    except (OSError, ValueError):
        return False
    try:
        # after a reboot its number may be another server's, which works in its own data directory
        return os.path.samefile("/proc/%d/cwd" % number, directory)
    except OSError:
        return True  # not ours to look at


def is_ready(directory: str) -> bool:
    """Whether the server on the data directory says, in the last line of its pid file, that clients may connect."""
    try:
        with open(os.path.join(directory, "postmaster.pid"), encoding="utf-8") as pid:
            says = [line.strip() for line in pid.read().splitlines()[7:]]
    except OSError:
        return False
    return says == ["ready"] and is_alive(directory)


def last_words(log: str, lines: int = 3) -> str:
    """The end of a server's log, in one line."""
    if not os.path.exists(log):
        return "there is no log"
    with open(log, encoding="utf-8", errors="replace") as text:
        return " / ".join(text.read().splitlines()[-lines:])


# How a server says that what it reads is wrong, and how that a host keeps it from reading or writing.
DAMAGE = re.compile(
    r"PANIC|invalid page|invalid (primary )?checkpoint|invalid (record|resource manager|magic number)|corrupt|checksum|"
    r"could not locate|contrecord|unexpected pageaddr|recovery ended before|WAL ends before|terminated by signal (6|7|11)\b"
)
OF_HOST = re.compile(
    r"No space left|[Oo]ut of memory|Cannot allocate memory|terminated by signal 9\b|\[049\]|too many clients|"
    r"Too many open files|is not available|could not open extension control file|Input/output error|canceling statement"
)


def blames_content(said: str) -> bool:
    """Whether a server that ended says that what it was started on is wrong."""
    return bool(DAMAGE.search(said)) and not blames_host(said)


def blames_host(said: str) -> bool:
    """Whether what a server or a program said is about this host, and tells nothing of what was restored."""
    return bool(OF_HOST.search(said))


def wait_until(question: Callable[[], Any], deadline_s: float, poll_s: float = 0.1) -> Any:
    """The first true answer within `deadline_s` seconds, else the last answer."""
    end = time.monotonic() + deadline_s
    while True:
        answer = question()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(poll_s)  # between two questions, so that who is asked is not kept busy by them
