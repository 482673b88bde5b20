"""Look at hosts over SSH, or at a server by its URL. Changes nothing there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from pgrescue import runner
from pgrescue.adopt.places import Place

PLAYBOOK = "playbooks/discover.yml"
LIMIT_S = 120.0
_QUESTION = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
       current_database() AS database, current_user AS account,
       pg_is_in_recovery() AS in_recovery,
       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database
         WHERE has_database_privilege(oid, 'CONNECT')) AS data_bytes,
       (SELECT coalesce(array_agg(datname::text ORDER BY datname), '{}') FROM pg_database
         WHERE NOT datistemplate AND has_database_privilege(oid, 'CONNECT')) AS databases,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
         OR pg_has_role('pg_read_all_data', 'MEMBER') AS reads_all
"""


class DetectError(Exception):
    """Nothing could be found out; the message says why."""


def by_ssh(
    places: Mapping[str, Place],
    service: str,
    common: Mapping[str, Any],
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What discover.yml finds on each of the places, by their keys.

    `common` are variables of all hosts and `more` of one, such as how to connect. Raises DetectError when one of them
    cannot be looked at.
    """
    hosts = {key: {**place.variables(), **((more or {}).get(key) or {})} for key, place in places.items()}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    groups = {
        "all": {
            "hosts": {"localhost": local, **hosts},
            "children": {service: {"hosts": {key: {} for key in hosts}, "vars": dict(common)}},
        }
    }
    with tempfile.TemporaryDirectory(prefix="pgrescue-") as folder:
        inventory = Path(folder, "hosts.json")
        inventory.write_text(json.dumps(groups), encoding="utf-8")
        play = runner.start(PLAYBOOK, str(inventory), {"service": service})
        failed = play.wait(LIMIT_S)
        results, said, output = play.results(), play.failures(), play.output()
        play.forget()
    if failed or "found" not in results:
        raise DetectError("; ".join(said) or output)
    found: dict[str, Any] = results["found"]
    return found


def by_url(url: str) -> dict[str, Any]:
    """What a server says of itself in one read-only session. Raises DetectError when it cannot be asked."""
    try:
        where = conninfo_to_dict(url)
    except psycopg.Error:  # it says what it could not read, and that may be the password
        raise DetectError(
            "The URL cannot be read: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in a password."
        ) from None
    try:
        with psycopg.connect(url, connect_timeout=10, autocommit=True, row_factory=dict_row,
                             options="-c default_transaction_read_only=on") as connection:  # fmt: skip
            found = dict(connection.execute(_QUESTION).fetchone() or {})
    except psycopg.Error as error:
        raise DetectError(f"The server cannot be asked: {str(error).strip().splitlines()[0]}.") from error
    return {**found, "host": where.get("host"), "sslmode": where.get("sslmode", "prefer")}
