"""The census of a cluster: everything a copy of it must hold again, named and counted, in one transaction's snapshot.

The caller opens the transaction (REPEATABLE READ READ ONLY, with another one's snapshot if need be). No superuser is
needed; what may not be read is named under `unreadable`, never left out.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Collection, Iterator, Optional

from . import census_digests, census_objects
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
# Rows are counted in the table itself: an index that lacks some of them would hide them.
FROM_THE_HEAP = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}
NEEDS_SELECT = "no right to read it: needs SELECT, or membership in pg_read_all_data"
NEEDS_BYPASSRLS = "row security hides rows of it: needs BYPASSRLS"
NO_TIME = "there was no time to read it"
NO_VALUE = {"last_value": None, "is_called": None, "log_cnt": None, "behind": None}


class Reader:
    """Asks one question after the other; one that fails is named and does not keep the next from its answer.

    `remaining_ms` says how much time is left, when it is limited.
    """

    def __init__(self, connection: Any, remaining_ms: "Callable[[], Optional[int]]" = lambda: None) -> None:
        self.connection = connection
        self.remaining_ms = remaining_ms
        self.unreadable: "dict[str, str]" = {}
        self.set(PINNED)
        self.in_recovery = bool(self.value("recovery", "SELECT pg_is_in_recovery()"))

    def set(self, settings: "dict[str, str]") -> None:
        """Change settings until the transaction ends."""
        for name, value in settings.items():
            self.connection.execute("SELECT pg_catalog.set_config(%s, %s, true)", (name, value))

    @contextmanager
    def heap_only(self) -> "Iterator[None]":
        """Read tables without their indexes."""
        before = {name: self.value(name, "SELECT current_setting('%s')" % name) for name in FROM_THE_HEAP}
        self.set(FROM_THE_HEAP)
        yield
        self.set(before)

    def ask(self, what: str, query: Any) -> "Optional[list[tuple[Any, ...]]]":
        """The rows of the answer; None, and a note of why, when there is none."""
        import psycopg
        from psycopg.rows import tuple_row

        remaining = self.remaining_ms()
        if remaining is not None and remaining <= 0:
            self.unreadable[what] = NO_TIME
            return None
        try:
            # rolled back, so that the lock of each table is let go and not all are held together
            with (
                self.connection.transaction(force_rollback=True),
                self.connection.cursor(row_factory=tuple_row) as cursor,
            ):
                if remaining is not None:
                    cursor.execute("SET LOCAL statement_timeout = %d" % remaining)
                return list(cursor.execute(query).fetchall())
        except psycopg.Error as error:
            if self.connection.closed:
                raise
            cut = remaining is not None and isinstance(error, psycopg.errors.QueryCanceled)
            self.unreadable[what] = NO_TIME if cut else str(error).strip().splitlines()[0]
            return None

    def value(self, what: str, query: Any) -> Any:
        """The one value of the answer."""
        return (self.ask(what, query) or [(None,)])[0][0]

    def named(self, aspect: str, query: str) -> "dict[str, Any]":
        """A query of names and values as a mapping, in the order of the names."""
        return dict(sorted(self.ask(aspect, query) or [], key=lambda row: str(row[0])))


def database(
    connection: Any,
    fingerprint_tables: Collection[str] = (),
    skip: Collection[str] = (),
    remaining_ms: "Callable[[], Optional[int]]" = lambda: None,
) -> "dict[str, Any]":
    """Everything of the database the connection is in, as its current transaction sees it, with digests for what may hold a secret.

    Rows of the tables in `skip` are not read. The settings in PINNED stay set until the transaction ends.
    """
    reader = Reader(connection, remaining_ms)
    found: "dict[str, Any]" = {aspect: reader.named(aspect, query) for aspect, query in queries.ASPECTS.items()}
    for aspect in queries.DIGESTED:
        found[aspect] = {name: census_digests.digest(said) for name, said in found[aspect].items()}
    with reader.heap_only():
        found.update(rows(reader, skip))
        found["fingerprints"] = {
            name: fingerprint(reader, name) for name in sorted(set(fingerprint_tables) - set(skip))
        }
    gone = found["unlogged"] if reader.in_recovery else ()  # none of their columns can be read either
    found["sequences"] = sequences(reader, {*skip, *gone})
    return {**census_digests.of_database(found), "skipped": sorted(skip), "unreadable": reader.unreadable}


def cluster(connection: Any) -> "dict[str, Any]":
    """Everything that is not of one database. No password is read, and no setting's value kept."""
    reader = Reader(connection)
    number = int(reader.value("server version", "SHOW server_version_num"))
    found: "dict[str, Any]" = {aspect: reader.named(aspect, query) for aspect, query in queries.CLUSTER_ASPECTS.items()}
    grants = census_objects.CLUSTER_GRANTS.replace("PARAMETERS", census_objects.PARAMETERS if number >= 150000 else "")
    found["grants"] = reader.named("grants", grants)
    collations = reader.named("collations", queries.COLLATIONS_OF_DATABASES) if number >= 150000 else {}
    for name, about in found["databases"].items():
        about["actual_collation_version"] = collations.get(name)
    found["server_version"] = reader.value("server version", "SHOW server_version")
    found["server_version_num"] = number
    return {**census_digests.of_cluster(found), "unreadable": reader.unreadable}


def rows(reader: Reader, skip: Collection[str]) -> "dict[str, dict[str, Any]]":
    """Exact rows by table. What a physical restore does not bring back, or another server holds, is apart."""
    from psycopg import sql

    found: "dict[str, dict[str, Any]]" = {"tables": {}, "unlogged": {}, "extension_tables": {}, "foreign_tables": {}}
    for name, kind, unlogged, populated, readable, filtered, of_extension in (
        reader.ask("tables", queries.COUNTABLE) or []
    ):
        place = found["unlogged" if unlogged else "extension_tables" if of_extension else "tables"]
        if kind == "f":
            found["foreign_tables"][name] = None
        elif unlogged and reader.in_recovery:  # a standby has none of its rows
            place[name] = None
        elif kind == "p" or not populated or name in skip:
            continue
        elif not readable:
            reader.unreadable[name] = NEEDS_SELECT
        elif filtered:
            reader.unreadable[name] = NEEDS_BYPASSRLS
        else:
            answer = reader.ask(name, sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.SQL(name)))
            if answer:
                place[name] = answer[0][0]
    return found


def sequences(reader: Reader, skip: Collection[str]) -> "dict[str, dict[str, Any]]":
    """Where every sequence stands, and which column that it feeds has come as far.

    An unlogged one is not brought back by a physical restore, which `unlogged` says. `log_cnt` is how many values beyond the
    last one WAL holds as given out already. A sequence whose page is empty, as one that replay should have made, has no value.
    """
    from psycopg import sql

    fed: "dict[str, list[tuple[Any, ...]]]" = {}
    for name, *column in reader.ask("columns with sequences", queries.FED) or []:
        fed.setdefault(name, []).append(tuple(column))
    found = {}
    for name, unlogged, readable, definition, owned_by in reader.ask("sequences", queries.SEQUENCES) or []:
        about = {"owned_by": owned_by, "definition": definition, "unlogged": unlogged}
        if unlogged and reader.in_recovery:
            found[name] = {**about, **NO_VALUE}
        elif not readable:
            reader.unreadable[name] = NEEDS_SELECT
        else:
            query = sql.SQL("SELECT last_value, is_called, log_cnt FROM {}").format(sql.SQL(name))
            stands = reader.ask(name, query)
            if stands:
                last, called, ahead = stands[0]
                behind = [said for column in fed.get(name, []) for said in reached(reader, last, called, skip, *column)]
                seen = {"last_value": last, "is_called": called, "log_cnt": ahead}
                found[name] = {**about, **seen, "behind": ", ".join(behind) or None}
            elif stands is not None:
                found[name] = {**about, **NO_VALUE, "behind": "every use of it fails"}
    return found


def reached(
    reader: Reader, last: int, called: bool, skip: Collection[str], table: str, column: str, rising: bool, whole: bool
) -> "list[str]":
    """The column and how far it is, if the sequence would next give a value that is not beyond it."""
    from psycopg import sql

    if table in skip or table in reader.unreadable:
        return []
    query = "SELECT {}({}) FROM {} {}".format("max" if rising else "min", column, "" if whole else "ONLY", table)
    farthest = reader.value("%s.%s" % (table, column), sql.SQL(query))
    if farthest is None:
        return []
    beyond = farthest > last if rising else farthest < last
    return ["%s.%s reaches %d" % (table, column, farthest)] if beyond or (farthest == last and not called) else []


def fingerprint(reader: Reader, name: str) -> "Optional[dict[str, Any]]":
    """A sum over the text of every row, whatever their order; that of a partitioned table covers its partitions."""
    from psycopg import sql

    query = """SELECT count(*), coalesce(sum(hashtextextended(pgrescue_row::text COLLATE "C", 0)::numeric), 0)::text
                 FROM {} AS pgrescue_row"""
    answer = reader.ask("content of " + name, sql.SQL(query).format(sql.SQL(name)))
    return {"rows": answer[0][0], "sum": answer[0][1]} if answer else None
