#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Find the transaction that damaged a table, and the last one before it."""

from __future__ import annotations

DOCUMENTATION = """
module: find_moment
short_description: Find the transaction that damaged a table, and the last one before it
description:
  - Lets a copy replay WAL from one transaction to the next, exactly, and asks it at each halt whether the table is still good.
  - Halts at every transaction when there are few; otherwise around those that did most to the table and evenly over the others, and
    answers with C(between), from where the same search goes on with a copy that was restored again.
  - What M(pgrescue.runbooks.read_wal) noted must be at C(place) with the ending C(.wal), and a server on C(place) must restore its WAL
    from the folder C(feed) there. Only looks at that server.
options:
  place: {description: The data directory of the copy., type: path, required: true}
  table: {description: 'The table, as C(schema.table) or C(database.schema.table).', type: str, required: true}
  damage: {description: What happened to it., type: str, choices: [rows_gone, table_dropped, bad_update], required: true}
  condition: {description: 'Which rows are meant, as SQL behind WHERE.', type: str}
  expect: {description: 'What is true while the table is good, as SQL.', type: str}
  between: {description: 'The positions of two commits, from an earlier search.', type: list, elements: str, default: []}
  limit: {description: At how many places to ask., type: int, default: 100}
  question_timeout_s: {description: How long one question may take in seconds., type: int, default: 300}
  deadline_s: {description: How long the whole search may take in seconds., type: int, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Asks nothing and answers at once.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Find who deleted the orders
  pgrescue.runbooks.find_moment:
    version: 17
    place: /var/lib/postgresql/17/moment-shop
    socket_directory: /var/lib/postgresql/17/moment-shop.socket
    table: public.orders
    damage: rows_gone
    deadline_s: 3600
  become: true
  become_user: postgres
"""

RETURN = """
moment: {description: 'What was found; docs/last_good_moment.md describes it.', returned: when it was found, type: dict}
between: {description: The positions between which the search must go on., returned: when it was not found yet, type: list, elements: str}
"""

import contextlib
import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    lsn,
    moments,
    places,
    postgres,
    records,
    wal_feed,
    waldump,
)

LOCK_TIMEOUT_MS = 300
POLL_S = 0.01
DATABASES = "SELECT oid::text, datname FROM pg_database WHERE datallowconn ORDER BY datname"
FILES = """
WITH RECURSIVE tree AS (SELECT %(oid)s::oid AS oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid)
SELECT oid::int8, pg_relation_filenode(oid)::text FROM tree
"""
FULL_NAME = """
SELECT format('%%I.%%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %(oid)s::oid
"""
NAMES = """
SELECT pg_relation_filenode(c.oid)::text, format('%I.%I', nspname, relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE relkind IN ('r', 'm') AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema')
"""


class Copy:
    """The server that replays, and what it answers where it stands."""

    def __init__(self, module: AnsibleModule, note: "dict[str, object]", history: waldump.History) -> None:
        self.module, self.history = module, history
        self.place = module.params["place"]
        self.sessions, self.open = contextlib.ExitStack(), {}
        self.deadline = time.monotonic() + module.params["deadline_s"]
        folder = places.wal(self.place)
        self.feed = wal_feed.Feed(folder, os.path.join(folder, "feed"), note["segments"], note["segment_bytes"])

    def session(self, database: str = "postgres") -> "object":
        """The connection to a database, made anew when the server ended it: the replay of DROP DATABASE does."""
        if database not in self.open or self.open[database].closed:
            made = self.sessions.enter_context(postgres.connect(self.module, database))
            made.prepare_threshold = None  # what is asked may mean another table in the end
            made.execute("SET lock_timeout = %d" % LOCK_TIMEOUT_MS)
            made.execute("SET statement_timeout = '%ds'" % self.module.params["question_timeout_s"])
            self.open[database] = made
        return self.open[database]

    def go_to(self, boundary: int) -> None:
        """Replay exactly the transactions before the boundary."""
        transactions = self.history.transactions
        if boundary < len(transactions):
            self.feed.up_to(transactions[boundary].lsn)
        else:
            self.feed.all()
        wanted = transactions[boundary - 1].lsn if boundary else 0
        import psycopg

        stood = "nothing"

        def arrived() -> bool:
            nonlocal stood
            try:
                stood = self.session().execute("SELECT pg_last_wal_replay_lsn()::text").fetchone()[0] or "0/0"
                return lsn.parse_lsn(stood) > wanted
            except psycopg.OperationalError:  # it starts, or it ended
                if not postgres.is_alive(self.place):
                    said = "The copy ended. Its log ends with: %s" % postgres.last_words(self.place + ".log")
                    raise guards.Stop(said, guards.STEP_FAILED) from None
            return False

        if not postgres.wait_until(arrived, self.deadline - time.monotonic(), POLL_S):
            said = "The copy did not replay up to %s within %d s; it stood at %s. Give it more with moment_deadline_s."
            raise guards.Stop(
                said % (lsn.format_lsn(wanted), self.module.params["deadline_s"], stood), guards.STEP_FAILED
            )

    def databases(self) -> "dict[str, str]":
        """Name of each database that can be asked, by its number."""
        return {n: name for n, name in self.session().execute(DATABASES).fetchall() if self.has(name)}

    def has(self, database: str) -> bool:
        """Whether a database is there. One that is about to be dropped is listed until that is committed, and lets nobody in."""
        import psycopg

        for last_try in (False, True):
            try:
                self.session(database).execute("SELECT")
                return True
            except psycopg.OperationalError as error:
                if "does not exist" in str(error) or "invalid database" in str(error):
                    return False
                if last_try:  # the first session may have been ended by replay
                    raise
        return False

    def locate(self, name: str) -> "tuple[str, str, int]":
        """Number and name of the database that has the table, and the table's number."""
        import psycopg

        found = []
        for number, database in self.databases().items():
            try:
                oid = self.session(database).execute("SELECT to_regclass(%s)::oid::int8", (name,)).fetchone()[0]
            except psycopg.errors.FeatureNotSupported:  # it names another database
                continue
            except psycopg.Error as error:
                said = "%s names no table: %s. Nothing was changed." % (name, str(error).splitlines()[0])
                raise guards.Stop(said, guards.PRECONDITION) from error
            if oid:
                found.append((number, database, oid))
        if len(found) != 1:
            where = "in %s; say moment_table=DATABASE.%s" % (" and in ".join(d for _n, d, _o in found), name)
            nowhere = "nowhere. Look earlier with moment_since, or correct the name"
            said = "At the beginning of the search table %s is %s. Nothing was changed."
            raise guards.Stop(said % (name, where if found else nowhere), guards.PRECONDITION)
        return found[0]

    def table(self, number: str, database: str, oid: int) -> moments.Table:
        """What belongs to the table now."""
        rows = self.session(database).execute(FILES, {"oid": oid}).fetchall()
        files = {"%s/%s" % (number, file) for _oid, file in rows if file}
        return moments.Table(number, files, {int(relation) for relation, _file in rows})

    def names(self, own: str) -> "dict[str, str]":
        """The names of all tables by their files; those of other databases with the database's name."""
        found = {}
        for number, database in self.databases().items():
            for file, name in self.session(database).execute(NAMES).fetchall():
                found["%s/%s" % (number, file)] = name if database == own else "%s.%s" % (database, name)
        return found

    def ask(self, database: str, statement: str) -> "str | None":
        """One answer, in words; None while a transaction that is not over holds the table locked."""
        import psycopg

        if database in self.open:
            self.open[
                database
            ].close()  # a database that is about to be dropped lets nobody in who is not there already
        try:
            return self.session(database).execute(statement).fetchone()[0] or ""
        except psycopg.errors.LockNotAvailable:
            return None
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedColumn):
            return moments.GONE
        except psycopg.errors.QueryCanceled:  # it took too long
            raise
        except psycopg.OperationalError:
            if self.has(database):
                raise
            return moments.GONE


def search(module: AnsibleModule, copy: Copy, note: "dict[str, object]") -> "dict[str, object]":
    """Go from halt to halt, and say what was found or where to go on."""
    p, transactions = module.params, copy.history.transactions
    at = {lsn.format_lsn(t.lsn): k for k, t in enumerate(transactions)}
    whole = tuple(note["bounds"])
    first, last = (at[p["between"][0]], at.get(p["between"][1], len(transactions))) if p["between"] else whole
    copy.go_to(first)
    number, database, oid = copy.locate(p["table"])
    table = copy.table(number, database, oid)
    names = copy.names(database)
    (full_name,) = copy.session(database).execute(FULL_NAME, {"oid": oid}).fetchone()
    own = p["table"].split(".", 1)[1] if p["table"].count(".") == 2 else p["table"]
    how = moments.reading(p["damage"], p["condition"], p["expect"])
    statement = moments.question(how, own, oid, p["condition"], p["expect"])
    weights = table.weights(transactions, how, p["condition"])
    answers = []
    if how == "size":
        damage = moments.largest(weights, first, last)
        copy.go_to(last)
    else:
        spread = how != "rows" or bool(p["condition"] or p["between"])
        first_said = copy.ask(database, statement)
        if first_said == moments.GONE:
            raise guards.Stop("What is asked cannot be: %s. Nothing was changed." % statement, guards.PRECONDITION)
        answers.append((first, first_said))
        for k in moments.boundaries(first, last, weights, p["limit"], spread)[1:]:
            copy.go_to(k)
            answers.append((k, copy.ask(database, statement)))
        between = moments.damaged_between(how, answers, weights)
        if between and not moments.is_decided(between, answers):
            ends = [lsn.format_lsn(transactions[k].lsn) if k < len(transactions) else "end" for k in between]
            if ends == p["between"]:
                said = (
                    "Between %s and %s the search does not go on. Nothing was changed. Give it more with moment_limit."
                )
                raise guards.Stop(said % tuple(ends), guards.STEP_FAILED)
            return {"between": ends}
        damage = between[1] - 1 if between else None
    if damage is None:
        why = moments.unseen(how, answers)
        raise guards.Stop("%s. %sNothing was changed." % (why, moments.broken(note["gap"])), guards.PRECONDITION)
    names.update(copy.names(database))
    moment = {
        "table": full_name,
        "database": database,
        "damage": p["damage"],
        "condition": p["condition"],
        "question": statement or None,
        "judged_by": how,
        "answers": moments.around(answers, damage, transactions),
        "searched": moments.searched(transactions, whole, note["gap"]),
        **moments.found(copy.history, whole, damage, table, names),
    }
    return {"moment": moment}


def main() -> None:
    """Read what was noted, and search."""
    spec = {
        **postgres.CONNECTION_ARGUMENTS,
        "place": {"type": "path", "required": True},
        "table": {"type": "str", "required": True},
        "damage": {"type": "str", "choices": list(moments.DAMAGES), "required": True},
        "condition": {"type": "str"},
        "expect": {"type": "str"},
        "between": {"type": "list", "elements": "str", "default": []},
        "limit": {"type": "int", "default": 100},
        "question_timeout_s": {"type": "int", "default": 300},
        "deadline_s": {"type": "int", "required": True},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False)
    import psycopg

    note = records.read_json(os.path.join(places.wal(module.params["place"]), "transactions.json"))
    copy = Copy(module, note, waldump.History.of(note))
    try:
        with copy.sessions:
            answer = search(module, copy, note)
    except guards.Stop as stop:
        guards.fail(module, stop)
    except psycopg.Error as error:
        said = "The copy could not be asked: %s. Nothing was changed." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.PRECONDITION))
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
