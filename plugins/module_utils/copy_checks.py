"""What must hold of a restored copy whatever the original was: its files, pages, heaps, indexes and constraints.

Each check goes over every database. A relation that is damaged is told once, by the first check that finds it, and the
checks after it leave it out. A server in use is asked the same gently: nobody is kept from writing, its memory is left to
its clients, and on a standby nothing is made.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import Any, Callable, ClassVar, Collection, Iterable, Iterator, Mapping, Optional

from . import copy_queries as queries
from .census import FROM_THE_HEAP, NO_TIME
from .validation import check

NAMED = 10  # problems a check names
ANSWERS = "every database answers"
FILES = "every relation has its file"
PAGES = "every page can be read"
HEAPS = "every table is sound"
INDEXES = "every index is sound and holds every row of its table"
FOREIGN_KEYS = "every foreign key holds"
CONSTRAINTS = "every CHECK constraint holds"
PARTITIONS = "every row is in its partition"
CATALOG = "the catalog agrees with itself"
WITHOUT = "what the extension"  # and what it would tell, of a standby whose primary does not have it
OF_STORAGE = (ANSWERS, FILES, PAGES, HEAPS, INDEXES)
OF_CONSTRAINTS = (FOREIGN_KEYS, CONSTRAINTS, PARTITIONS)


class Proof:
    """The checks of one copy: what each found, how long it took, and what there was no time for."""

    def __init__(self, deadline_s: Optional[float] = None) -> None:
        self.deadline_s = deadline_s
        self.began = time.monotonic()
        self.problems: "dict[str, list[str]]" = {}
        self.looked_at: "dict[str, int]" = {}
        self.spent: "dict[str, float]" = {}
        self.left_out: "dict[str, list[str]]" = {}
        self.limits: "dict[str, list[str]]" = {}  # what a check cannot tell, which its reader should know

    def remaining_ms(self) -> Optional[int]:
        """What is left of the time; None when there is no limit."""
        return int(1000 * (self.deadline_s + self.began - time.monotonic())) if self.deadline_s else None

    @contextmanager
    def timed(self, name: str) -> "Iterator[None]":
        """Count the time to a check, which exists from here on."""
        self.problems.setdefault(name, [])
        self.looked_at.setdefault(name, 0)
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.monotonic() - began

    def late(self, name: str, what: str) -> None:
        """There was no time to look at it."""
        self.left_out.setdefault(name, []).append(what)

    def leave_out(self, census: "dict[str, Any]") -> None:
        """What the census of the copy had no time for is told here, and not as unreadable."""
        for name, about in census["databases"].items():
            late = [what for what, why in about["unreadable"].items() if why == NO_TIME]
            for what in late:
                del about["unreadable"][what]
                self.late("census", "%s: %s" % (name, what))
            about["skipped"] = sorted({*about["skipped"], *late})

    def checks(self, *names: str) -> "list[dict[str, Any]]":
        """These of the checks that were begun. One that found nothing wrong and was not finished has not passed."""
        made = []
        for name in (name for name in names if name in self.problems):
            wrong, left = self.problems[name], self.left_out.get(name, [])
            seen = shortened(wrong) or "; ".join(
                ["no problem among %d" % self.looked_at[name], *self.limits.get(name, [])]
            )
            made.append(check(name, "no problem", seen, not wrong, self.spent[name]))
            if left and not wrong:
                made[-1].update(verdict="truncated", observed="%s, %d left out" % (seen, len(left)))
        return made

    def in_time(self) -> "list[dict[str, Any]]":
        """Whether all checks were made, when there is a limit."""
        if not self.deadline_s:
            return []
        late = ["%s: %s" % (name, what) for name, left in self.left_out.items() for what in left]
        name = "all checks were made within %g s" % self.deadline_s
        return [
            check(
                name, "nothing left out", shortened(late) or "nothing left out", not late, time.monotonic() - self.began
            )
        ]


class Database:
    """One database of the copy, asked within the time that is left."""

    gentle = False
    settings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, proof: Proof, name: str, connection: Any) -> None:
        self.proof, self.name, self.connection = proof, name, connection
        self.major = int(connection.info.server_version // 10000)

    def rest(self, worked_s: float) -> None:
        """What follows a question that took so long; nobody waits for a copy."""

    def rows(self, query: str) -> "list[tuple[Any, ...]]":
        """The answer to a question about the catalog, with names qualified."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL search_path = pg_catalog")
            return list(self.connection.execute(query).fetchall())

    def each(
        self, name: str, items: "Iterable[tuple[str, str]]", wrong: "Callable[[Any], Iterable[str]]" = lambda rows: ()
    ) -> "set[str]":
        """Run a query for each named thing; `wrong` says from its rows what is wrong. An error is wrong as well."""
        import psycopg

        found = set()
        with self.proof.timed(name):
            for what, query in items:
                remaining = self.proof.remaining_ms()
                full = "%s: %s" % (self.name, what)
                if remaining is not None and remaining <= 0:
                    self.proof.late(name, full)
                    continue
                self.proof.looked_at[name] += 1
                began = time.monotonic()
                try:
                    # rolled back, so that locks are let go
                    with self.connection.transaction(force_rollback=True):
                        self.connection.execute("SET LOCAL statement_timeout = %d" % (remaining or 0))
                        for setting, value in self.settings.items():
                            self.connection.execute("SET LOCAL %s = %s" % (setting, value))
                        said = list(wrong(self.connection.execute(query).fetchall()))
                    self.rest(time.monotonic() - began)
                except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
                    self.proof.late(name, full)
                    continue
                except psycopg.Error as error:
                    if self.connection.closed:
                        raise
                    said = [str(error).strip().splitlines()[0]]
                if said:
                    found.add(what)
                    self.proof.problems[name] += ["%s: %s" % (full, one) for one in said]
        return found

    @contextmanager
    def extension(self, extension: str, name: str) -> "Iterator[Optional[str]]":
        """The schema of an extension in its newest version, which is made for the time and rolled back.

        None, and a problem of the check, when the server does not have it.
        """
        import psycopg

        with self.connection.transaction(force_rollback=True):
            place = None
            with self.proof.timed(name):
                try:
                    with self.connection.transaction():
                        self.connection.execute("CREATE SCHEMA IF NOT EXISTS pgrescue_proof")
                        self.connection.execute("CREATE EXTENSION IF NOT EXISTS %s SCHEMA pgrescue_proof" % extension)
                        self.connection.execute("ALTER EXTENSION %s UPDATE" % extension)
                        place = self.rows(queries.EXTENSION % extension)[0][0]
                except psycopg.Error as error:
                    self.proof.problems[name].append("%s: %s" % (self.name, str(error).strip().splitlines()[0]))
            yield place


class LiveDatabase(Database):
    """One database of a server that is in use. For each second of work it is left alone for `rest_share` seconds."""

    gentle = True
    # a lock that somebody else wants or holds is not waited for; one core is enough
    settings: ClassVar[Mapping[str, str]] = {
        **FROM_THE_HEAP,
        "lock_timeout": "1000",
        "max_parallel_workers_per_gather": "0",
    }

    def __init__(self, proof: Proof, name: str, connection: Any, rest_share: float = 1.0) -> None:
        super().__init__(proof, name, connection)
        self.rest_share, self.worked_s = rest_share, 0.0
        connection.execute("SET lock_timeout = 1000")  # to make an extension may need to wait for another look
        self.standby = bool(self.rows("SELECT pg_is_in_recovery()")[0][0])

    def rest(self, worked_s: float) -> None:
        """Leave the disk to the clients for a while."""
        self.worked_s += worked_s
        remaining = self.proof.remaining_ms()
        rest_s = worked_s * self.rest_share
        # beside clients a look takes a share of the time and no more; nothing is waited for
        time.sleep(rest_s if remaining is None else max(min(rest_s, remaining / 1000.0), 0.0))

    @contextmanager
    def extension(self, extension: str, name: str) -> "Iterator[Optional[str]]":
        """The schema of an extension as it is there; on a primary that lacks it, it is made for the time and rolled back."""
        there = self.rows(queries.EXTENSION % extension)
        if there:
            yield there[0][0]
        elif self.standby:
            with self.proof.timed(name):
                self.proof.late(name, "%s: %s %s would tell" % (self.name, WITHOUT, extension))
            yield None
        else:
            with super().extension(extension, name) as schema:
                if schema is None:  # the package is missing: that says nothing of the data
                    self.proof.late(name, self.proof.problems[name].pop())
                yield schema


def check_storage(here: Database) -> "set[str]":
    """Files, then pages, then what amcheck knows of heaps and indexes; the tables whose rows cannot be relied upon."""
    return unreadable(*examine(here))


def unreadable(relations: "list[tuple[Any, ...]]", damaged: "set[str]") -> "set[str]":
    """The tables whose rows cannot be relied upon, by what is damaged."""
    return {table for _o, _k, _m, _v, name, table, aside in relations if name in damaged and not aside}


def examine(here: Database) -> "tuple[list[tuple[Any, ...]], set[str]]":
    """Every relation with a file, as `queries.RELATIONS` tells it, and the names of those that are damaged."""
    relations = here.rows(queries.RELATIONS)
    if here.gentle:
        elsewhere = {row[0] for row in here.rows(queries.NOT_HERE)}
        relations = [r for r in relations if r[0] not in elsewhere]
    damaged: "set[str]" = set()

    def intact(kinds: str) -> "list[tuple[Any, ...]]":
        lost = unreadable(relations, damaged)
        return [r for r in relations if r[1] in kinds and r[4] not in damaged and r[5] not in lost]

    files = [(r[4], queries.FILE % (r[0], r[0])) for r in relations]
    damaged |= here.each(FILES, files, lambda rows: [said for (said,) in rows])
    if here.rows("SELECT 1 WHERE current_setting('data_checksums') = 'off'"):
        here.proof.limits[PAGES] = ["without data checksums, which would tell more"]
    methods = queries.index_checks(here.major, here.gentle)
    with here.extension("pg_prewarm", PAGES) as schema:
        if schema:
            to_read = [
                r
                for r in intact("rmtiS")
                # what amcheck reads needs not be brought into the memory of a server with clients
                if not here.gentle or (r[2] not in methods and r[2] != "heap")
            ]
            damaged |= here.each(PAGES, [(r[4], queries.READ % (schema, r[0])) for r in to_read])
    with here.extension("amcheck", HEAPS) as schema:
        if here.gentle and not schema:
            damaged |= scanned(here, intact("rmt"))
        if schema:
            heaps = [(r[4], queries.HEAP % (schema, r[0])) for r in intact("rmt") if r[2] == "heap"]
            damaged |= here.each(HEAPS, heaps, lambda rows: ["block %s, item %s: %s" % row for row in rows[:3]])
            valid = [r for r in intact("i") if r[3]]
            indexes = [r for r in valid if r[2] in methods]
            only_read = sorted({r[2] for r in valid} - set(methods))
            if only_read:
                said = "%s: %d of %s were only read" % (here.name, len(valid) - len(indexes), ", ".join(only_read))
                here.proof.limits.setdefault(INDEXES, []).append(said)
            damaged |= here.each(INDEXES, [(r[4], methods[r[2]] % (schema, r[0])) for r in indexes])
    return relations, damaged


def check_index(here: Database, name: str, oid: int, method: str) -> bool:
    """Whether one index is known to be sound."""
    methods = queries.index_checks(here.major, here.gentle)
    extension, check = ("amcheck", INDEXES) if method in methods else ("pg_prewarm", PAGES)
    left = len(here.proof.left_out.get(check, []))
    with here.extension(extension, check) as schema:
        if schema is None:
            return False
        damaged = here.each(check, [(name, methods.get(method, queries.READ) % (schema, oid))])
    return not damaged and len(here.proof.left_out.get(check, [])) == left


def scanned(here: Database, tables: "list[tuple[Any, ...]]") -> "set[str]":
    """Read tables by a scan, where amcheck is not there; what is damaged.

    The planner reads the first page of each index of a table before it reads the table: the server names the file it means.
    """
    scans = {row[0]: row[1] for row in here.rows(queries.SCANS)}
    names = {row[1]: row[0] for row in here.rows(queries.PATHS)}
    failed = here.each(PAGES, [(r[4], scans[r[0]]) for r in tables if r[0] in scans])
    for table in sorted(failed):
        begins = "%s: %s: " % (here.name, table)
        for index, said in enumerate(here.proof.problems[PAGES]):
            path = re.search(r"of relation (\S+)$", said)
            meant = names.get(path.group(1)) if path and said.startswith(begins) else None
            if meant:
                here.proof.problems[PAGES][index] = "%s: %s: %s" % (here.name, meant, said[len(begins) :])
                here.proof.late(PAGES, begins + "it cannot be scanned")
                failed = (failed - {table}) | {meant}
    return failed


def check_catalog(here: Database) -> None:
    """Whether every reference from one system catalog to another leads somewhere, as PostgreSQL's own tests ask it."""
    items = [("%s (%s)" % (table, columns), ask) for table, columns, ask in here.rows(queries.CATALOG_KEYS)]
    here.each(CATALOG, items, lambda rows: ["%d rows lead nowhere" % count for (count,) in rows if count])


def check_constraints(here: Database, skip: Collection[str]) -> None:
    """Whether the rows keep what the constraints promise; those that need a table in `skip` cannot be asked."""
    for name, query in (
        (FOREIGN_KEYS, queries.FOREIGN_KEYS),
        (CONSTRAINTS, queries.CHECKS),
        (PARTITIONS, queries.PARTITIONS),
    ):
        items = [(what, ask) for what, tables, ask in here.rows(query) if not set(tables) & set(skip)]
        here.each(name, items, lambda rows: [said for (said,) in rows])


def check_assertion(proof: Proof, connection: Any, assertion: Mapping[str, Any], limit_s: float) -> "dict[str, Any]":
    """A statement of the business about its data. The transaction is read only, and the statement is one."""
    import psycopg

    began = time.monotonic()
    remaining = proof.remaining_ms()
    limit = 1000 * limit_s if remaining is None else min(1000 * limit_s, remaining)
    try:
        if limit <= 0:
            raise psycopg.errors.QueryCanceled("no time was left")
        with connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SET LOCAL statement_timeout = %d" % limit)
            cursor = connection.execute(assertion["sql"], prepare=True)  # which takes one statement only
            answer = cursor.pgresult
            rows = [[text(answer.get_value(r, c)) for c in range(answer.nfields)] for r in range(answer.ntuples)]
    except psycopg.errors.QueryCanceled as error:
        if remaining is not None and limit <= remaining:
            proof.late("assertion", assertion["name"])
        said: Any = str(error).strip().splitlines()[0]
        return check(assertion["name"], assertion["expect"], said, False, time.monotonic() - began)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0]
        return check(assertion["name"], assertion["expect"], said, False, time.monotonic() - began)
    seen, holds = judged(rows, assertion["expect"])
    return check(assertion["name"], assertion["expect"], seen, holds, time.monotonic() - began)


def judged(rows: "list[list[Optional[str]]]", expect: Any) -> "tuple[Any, bool]":
    """What a statement gave, to a reader, and whether it is what was expected: one value or one row, as text."""
    if len(rows) != 1:
        return "%d rows instead of one" % len(rows), False
    seen: Any = rows[0] if len(rows[0]) != 1 else rows[0][0]
    if isinstance(expect, bool):
        return {"t": True, "f": False}.get(seen, seen), seen == ("t" if expect else "f")
    if isinstance(expect, (list, tuple)):
        return rows[0], rows[0] == [None if value is None else str(value) for value in expect]
    return seen, seen == (None if expect is None else str(expect))


def text(value: "Optional[bytes]") -> Optional[str]:
    """A value as PostgreSQL writes it."""
    return None if value is None else value.decode()


def shortened(problems: "list[str]") -> str:
    """The first problems, and how many there are more."""
    more = "; and %d more" % (len(problems) - NAMED) if len(problems) > NAMED else ""
    return "; ".join(problems[:NAMED]) + more
