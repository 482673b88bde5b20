"""What the new primary says of itself to a host that shall follow it."""

from __future__ import annotations

from typing import Any

from .guards import PRECONDITION, Stop

QUESTION = """
SELECT pg_is_in_recovery() AS in_recovery, (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN NOT pg_is_in_recovery()
            THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline
"""


def ask(source: str) -> "dict[str, Any]":
    """Identifier, timeline and history of the primary that a connection string (without a password) leads to."""
    import psycopg
    from psycopg.rows import dict_row

    try:
        with psycopg.connect(source, connect_timeout=5, autocommit=True, row_factory=dict_row) as connection:
            seen: "dict[str, Any]" = connection.execute(QUESTION).fetchone() or {}
            if seen["in_recovery"]:
                raise Stop("The server to follow is a standby itself. Nothing was changed.", PRECONDITION)
            path = "pg_wal/%08X.history" % seen["timeline"]
            read = "SELECT convert_from(pg_read_binary_file(%s, 0, 1000000, true), 'UTF8') AS history"
            found = connection.execute(read, (path,)).fetchone() or {}
            return {**seen, "history": found["history"] or ""}
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise Stop("The new primary cannot be asked: %s. Nothing was changed." % said, PRECONDITION) from error
