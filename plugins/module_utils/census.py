"""The census of a cluster: everything a copy of it must hold again, named and counted, in one transaction's snapshot.

The caller opens the transaction (REPEATABLE READ READ ONLY, with another one's snapshot if need be). No superuser is
needed; what may not be read is named under `unreadable`, never left out.
"""

from __future__ import annotations

import hashlib
from typing import Any, Iterable, Optional

from . import census_queries as queries

# Fixes how values are written, so that the same row gives the same text, and ends a wait for somebody's lock.
PINNED = {
    "search_path": "pg_catalog",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    "lock_timeout": "10s",
}


class Reader:
    """Asks one question after the other; one that fails is named and does not keep the next from its answer."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.unreadable: "dict[str, str]" = {}

    def pin(self) -> None:
        for name, value in PINNED.items():
            self.connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))

    def ask(self, what: str, query: Any) -> "Optional[list[tuple[Any, ...]]]":
        """The rows of the answer; None, and a note of why, when there is none."""
        import psycopg
        from psycopg.rows import tuple_row

        try:
            with self.connection.transaction(), self.connection.cursor(row_factory=tuple_row) as cursor:
                return list(cursor.execute(query).fetchall())
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            self.unreadable[what] = str(error).strip().splitlines()[0]
            return None

    def named(self, aspect: str, query: str) -> "dict[str, Any]":
        """A query of names and values as a mapping, in the order of the names."""
        return dict(sorted(self.ask(aspect, query) or []))


def database(connection: Any, fingerprint_tables: Iterable[str] = ()) -> "dict[str, Any]":
    """Everything of the database the connection is in, as its current transaction sees it.

    The settings in PINNED stay set until that transaction ends.
    """
    reader = Reader(connection)
    reader.pin()
    found: "dict[str, Any]" = {aspect: reader.named(aspect, query) for aspect, query in queries.ASPECTS.items()}
    for aspect in queries.DIGESTED:
        found[aspect] = {name: digest(said) for name, said in found[aspect].items()}
    found.update(rows(reader), sequences=sequences(reader))
    found["fingerprints"] = {name: fingerprint(reader, name) for name in sorted(set(fingerprint_tables))}
    found["unreadable"] = reader.unreadable
    return found


def cluster(connection: Any) -> "dict[str, Any]":
    """Everything that is not of one database. No password is read."""
    reader = Reader(connection)
    reader.pin()
    number = int((reader.ask("server version", "SHOW server_version_num") or [(0,)])[0][0])
    asked = dict(queries.CLUSTER_ASPECTS)
    if number >= 150000:
        asked["parameter_grants"] = queries.PARAMETER_GRANTS
    found: "dict[str, Any]" = {aspect: reader.named(aspect, query) for aspect, query in asked.items()}
    found["server_version"] = (reader.ask("server version", "SHOW server_version") or [("",)])[0][0]
    found["server_version_num"] = number
    found["unreadable"] = reader.unreadable
    return found


def rows(reader: Reader) -> "dict[str, dict[str, Any]]":
    """Exact rows by table. What a physical restore does not bring back, or another server holds, is apart."""
    from psycopg import sql

    found: "dict[str, dict[str, Any]]" = {"tables": {}, "unlogged": {}, "extension_tables": {}, "foreign_tables": {}}
    for name, oid, kind, unlogged, populated, readable, filtered, of_extension in (
        reader.ask("tables", queries.COUNTABLE) or []
    ):
        if kind == "f":
            found["foreign_tables"][name] = None
        elif kind == "p" or not populated:
            continue
        elif not readable:
            reader.unreadable[name] = "no right to read it: needs SELECT or membership in pg_read_all_data"
        elif filtered:
            reader.unreadable[name] = "row security hides rows of it: needs BYPASSRLS"
        else:
            place = "unlogged" if unlogged else "extension_tables" if of_extension else "tables"
            answer = reader.ask(name, sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.SQL(name)))
            if answer:
                found[place][name] = answer[0][0]
    return found


def sequences(reader: Reader) -> "dict[str, dict[str, Any]]":
    """Where every sequence stands. An unlogged one is not brought back by a physical restore, which `unlogged` says."""
    from psycopg import sql

    found = {}
    for name, _oid, unlogged, readable, definition, owned_by in reader.ask("sequences", queries.SEQUENCES) or []:
        if not readable:
            reader.unreadable[name] = "no right to read it: needs SELECT or membership in pg_read_all_data"
            continue
        stands = reader.ask(name, sql.SQL("SELECT last_value, is_called FROM {}").format(sql.SQL(name)))
        if stands:
            found[name] = {
                "last_value": stands[0][0],
                "is_called": stands[0][1],
                "owned_by": owned_by,
                "definition": definition,
                "unlogged": unlogged,
            }
    return found


def fingerprint(reader: Reader, name: str) -> Optional[str]:
    """A sum over the text of every row, whatever their order; that of a partitioned table covers its partitions."""
    from psycopg import sql

    query = 'SELECT count(*) || %s || coalesce(sum(hashtextextended(pgrescue_row::text COLLATE "C", 0)::numeric), 0) FROM {} AS pgrescue_row'
    answer = reader.ask("fingerprint of " + name, sql.SQL(query.replace("%s", "' rows, '")).format(sql.SQL(name)))
    return str(answer[0][0]) if answer else None


def digest(said: Optional[str]) -> str:
    """A short name for a long text."""
    return hashlib.sha256((said or "").encode()).hexdigest()[:16]
