"""The schema of a run in the live database: what is loaded beside, what was found, and what an undo needs. All of it is the run's own.

`facts` keeps what was decided, so that a step that was killed, or another controller, finds it where it belongs.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import contextmanager
from typing import Any, Iterator, Mapping, Optional

from . import postgres, table_catalog
from .guards import PRECONDITION, STEP_FAILED, Stop

FACTS = "CREATE TABLE IF NOT EXISTS {}.facts (name text PRIMARY KEY, value jsonb NOT NULL)"
LOADS = "CREATE TABLE IF NOT EXISTS {}.loads (stage text PRIMARY KEY, rows bigint NOT NULL)"


def name(run: str) -> str:
    """The name of a run's schema, which needs no quotes and fits."""
    plain = re.sub(r"[^a-z0-9]+", "_", run.lower())
    if len(plain) > 40:
        plain = plain[:31] + "_" + hashlib.sha256(run.encode()).hexdigest()[:8]
    return "pgrescue_partial_" + plain


def loader(run: str) -> str:
    """The name of the account that loads, of which there is one for a run and not for long."""
    return "pgrescue_load_" + name(run)[len("pgrescue_partial_") :]


def stages(closure: Mapping[str, Any]) -> "dict[str, str]":
    """The table of the run's schema that holds the rows of each table."""
    return {table: "s%d" % n for n, table in enumerate(closure["order"], 1)}


@contextmanager
def connect(module: Any) -> "Iterator[Any]":
    """A connection to the live database of the run, when it is the planned one and can be written."""
    import psycopg

    try:
        with postgres.connect(module, module.params["database"]) as connection:
            check_system(connection, module.params["system_identifier"])
            table_catalog.settle(connection)
            if connection.info.server_version >= 170000:
                connection.execute("SET transaction_timeout = 0")
            yield connection
    except psycopg.errors.LockNotAvailable as error:
        said = "A lock could not be had in time: %s. Nothing was changed. Run it again with the same run id."
        raise Stop(said % first_line(error), STEP_FAILED) from error
    except psycopg.Error as error:
        raise Stop(
            "PostgreSQL said: %s. What this step had begun was rolled back." % first_line(error), STEP_FAILED
        ) from error


def first_line(error: Exception) -> str:
    """What the server said, without its details."""
    return (str(error).strip().splitlines() or [repr(error)])[0].rstrip(".")


def check_system(connection: Any, wanted: "Optional[str]") -> None:
    """Refuse another database system than the planned one, and a server that replays."""
    system, replays = connection.execute(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_is_in_recovery()"
    ).fetchone()
    if wanted and system != str(wanted):
        raise Stop("This server is of database system %s, the plan of %s. Nothing was changed." % (system, wanted))
    if replays:
        raise Stop("This server is a standby. Rows are brought back on the primary. Nothing was changed.", PRECONDITION)


def exists(connection: Any, schema: str) -> bool:
    """Whether the run has its schema here."""
    return bool(connection.execute("SELECT to_regclass(%s) IS NOT NULL", (schema + ".facts",)).fetchone()[0])


def left(connection: Any, schema: str) -> bool:
    """Whether anything of the run is here still."""
    ask = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
    return bool(connection.execute(ask, (schema,)).fetchone()[0])


def remove_account(connection: Any, run: str) -> bool:
    """Take the account away, when it is there."""
    account = loader(run)
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (account,)).fetchone() is None:
        return False
    connection.execute("DROP OWNED BY " + account)
    connection.execute("DROP ROLE " + account)
    return True


def facts(connection: Any, schema: str) -> "dict[str, Any]":
    """What the run has decided here so far; empty when it has no schema."""
    if not exists(connection, schema):
        return {}
    return dict(connection.execute("SELECT name, value FROM %s.facts" % schema).fetchall())


def keep(connection: Any, schema: str, fact: str, value: Any) -> None:
    """Keep a decision."""
    connection.execute(
        "INSERT INTO %s.facts VALUES (%%s, %%s) ON CONFLICT (name) DO UPDATE SET value = excluded.value" % schema,
        (fact, json.dumps(value)),
    )


def needed(found: Mapping[str, Any], fact: str, run: str) -> Any:
    """A decision that must have been made before."""
    if fact not in found:
        said = "Run %s has nothing of the kind in this database (%s). Nothing was changed. Run partial_loss.yml with its run id."
        raise Stop(said % (run, fact), PRECONDITION)
    return found[fact]
