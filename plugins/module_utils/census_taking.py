"""Taking the census of a whole server: each database in a snapshot of its own, replay of a standby held still meanwhile."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import Any, Callable, Collection, Iterator, Mapping, Optional

from . import census, guards, postgres
from .journal import now

TIMELINE = """
SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT min_recovery_end_timeline FROM pg_control_recovery())
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END
"""
REPLAYED = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END"
IS_THERE = "SELECT to_regclass(%s) IS NOT NULL"


def check_version(module: Any, connection: Any) -> None:
    """Refuse a server of another major version than the one that is meant."""
    wanted, found = module.params["version"], connection.info.server_version // 10000
    if wanted and wanted != found:
        raise guards.Stop(
            "The server is PostgreSQL %d, not %d. Nothing was changed. Give the port of the one you mean."
            % (found, wanted),
            guards.PRECONDITION,
        )


@contextmanager
def snapshot(module: Any, database: str) -> "Iterator[Any]":
    """A connection to a database, in one read-only transaction that sees one state."""
    with postgres.connect(module, database=database) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield connection


@contextmanager
def replay_paused(module: Any, deadline_s: float) -> "Iterator[None]":
    """Hold replay still on a standby, and let it go on whatever happens; a primary has none.

    A pause that somebody else made is theirs to end: what it keeps from being replayed may be a mistake.
    """
    with postgres.connect(module) as connection:
        if not connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]:
            yield
            return

        def state() -> str:
            return str(connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone()[0])

        if state() != "not paused":
            raise guards.Stop(
                "Replay on this standby is paused already, by somebody else. Nothing was changed. When nobody needs the pause "
                "any more, end it with SELECT pg_wal_replay_resume() and take the census again.",
                guards.PRECONDITION,
            )
        with ended_by_signals():
            try:
                connection.execute("SELECT pg_wal_replay_pause()")
                if not postgres.wait_until(lambda: state() == "paused", deadline_s):
                    raise guards.Stop(
                        "Replay was not paused within %g s; it goes on. No census was taken. Try it again when the standby has "
                        "replayed the record it is at." % deadline_s,
                        guards.STEP_FAILED,
                    )
                yield
            finally:
                # a standby that was promoted meanwhile has no replay to resume
                connection.execute("SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()")


@contextmanager
def ended_by_signals() -> "Iterator[None]":
    """Let a signal that ends this process be an exception, so that what must be put back is put back."""

    def end(number: int, _frame: Any) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def take(
    module: Any, databases: "Optional[Collection[str]]" = None, fingerprint_tables: Collection[str] = ()
) -> "dict[str, Any]":
    """The census of a server as it is. Tables are fingerprinted in every database that has them."""
    found = begun(module)
    names = databases or [name for name, about in found["cluster"]["databases"].items() if wanted(about)]
    nowhere = set(fingerprint_tables)
    for name in names:
        with snapshot(module, name) as connection:
            here = [table for table in fingerprint_tables if connection.execute(IS_THERE, (table,)).fetchone()[0]]
            nowhere -= set(here)
            found["databases"][name] = census.database(connection, here)
    if nowhere:
        raise guards.Stop(
            "No database has %s, whose content was to be summed. Nothing was changed. Name tables as schema.table."
            % ", ".join(sorted(nowhere)),
            guards.PRECONDITION,
        )
    return found


def begun(module: Any) -> "dict[str, Any]":
    """A census that knows all but its databases."""
    with snapshot(module, "postgres") as connection:
        check_version(module, connection)
        timeline = connection.execute(TIMELINE).fetchone()[0]
        return {
            "taken": now(),
            "lsn": None,
            "timeline": timeline,
            "cluster": census.cluster(connection),
            "databases": {},
        }


def wanted(about: "Mapping[str, Any]") -> bool:
    """Whether a database is looked into unless others are asked for."""
    return bool(about["connectable"] and not about["template"])


def take_copy(
    module: Any,
    expected: "Mapping[str, Any]",
    unreadable: "Mapping[str, Collection[str]]",
    remaining_ms: "Callable[[], Optional[int]]",
) -> "dict[str, Any]":
    """The census of a copy: the same tables fingerprinted as in the original, indexes not relied upon, damage passed over.

    `unreadable` names, by database, the tables whose rows cannot be read.
    """
    found = begun(module)
    for name, damaged in unreadable.items():
        wanted_tables = expected.get("databases", {}).get(name, {}).get("fingerprints", {})
        with snapshot(module, name) as connection:
            for setting, value in census.FROM_THE_HEAP.items():
                connection.execute("SET LOCAL %s = %s" % (setting, value))
            here = [table for table in wanted_tables if connection.execute(IS_THERE, (table,)).fetchone()[0]]
            found["databases"][name] = census.database(connection, here, damaged, remaining_ms)
    return found


def take_still(
    module: Any, databases: "Optional[Collection[str]]", fingerprint_tables: Collection[str], deadline_s: float
) -> "dict[str, Any]":
    """The census of a server whose replay is paused meanwhile: on a standby the exact state at `lsn`."""
    with replay_paused(module, deadline_s):
        found = take(module, databases, fingerprint_tables)
        with postgres.connect(module) as connection:
            found["lsn"] = connection.execute(REPLAYED).fetchone()[0]
    return found
