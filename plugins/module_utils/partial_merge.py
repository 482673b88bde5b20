"""Bringing rows back into live tables in one transaction, which is rolled back when a check fails."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Sequence

from . import partial_difference, partial_sequences, partial_steps, table_catalog, table_closure
from .guards import REFUSED, Stop
from .partial_rows import Table, listed, quoted, same, summed
from .validation import check

BACK = "every missing row is back"
AS_THEY_WERE = "every row that came back is as it was"
UNTOUCHED = "no other row of production changed"
ADD_UP = "counts add up"
FOREIGN_KEYS = "every foreign key of these tables holds"
REPLACED = "rows were replaced only where that was chosen"
NEXT = "the next key of every sequence is free"
TRIGGERS = "triggers are enabled as they were"

# Triggers that fire although a session calls itself a replica.
ALWAYS = """
SELECT t.tgrelid::regclass::text AS relation, t.tgname, t.tgenabled FROM pg_trigger t
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('A', 'R')
  AND coalesce(pg_partition_root(t.tgrelid), t.tgrelid)::regclass::text = ANY(%s) ORDER BY 1, 2
"""
ENABLED = """
SELECT coalesce(json_agg(json_build_array(t.tgrelid::regclass::text, t.tgname, t.tgenabled) ORDER BY 1, 2)::text, '')
FROM (SELECT tgrelid, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal
      AND coalesce(pg_partition_root(tgrelid), tgrelid)::regclass::text = ANY(%s) ORDER BY tgrelid, tgname) t
"""


class Merge:
    """One merge: the tables, what is agreed, and what was found while it went on."""

    def __init__(self, connection: Any, schema: str, closure: Mapping[str, Any], p: Mapping[str, Any]) -> None:
        self.connection = connection
        self.schema = schema
        self.closure = closure
        self.fire_triggers = bool(p["fire_triggers"])
        self.replace = set(p["replace"])
        self.lock_timeout_s = int(p["lock_timeout_s"])
        self.tables: "list[Table]" = []
        self.checks: "list[dict[str, Any]]" = []

    def ask(self, statement: str) -> "tuple[Any, ...]":
        """The one row that a question gives."""
        return tuple(self.connection.execute(statement).fetchone())

    def checked(self, name: str, expected: Any, wrong: "Callable[[], Sequence[str]]") -> None:
        """Add a check that passes when nothing is wrong."""
        began = time.monotonic()
        found = list(wrong())
        seen = "; ".join(found[:20]) or expected
        self.checks.append(check(name, expected, seen, not found, time.monotonic() - began))

    def settle(self) -> None:
        """Say how this transaction shall treat locks, triggers and foreign keys."""
        self.connection.execute("SET LOCAL lock_timeout = '%ds'" % self.lock_timeout_s)
        role = "origin" if self.fire_triggers else "replica"
        self.connection.execute("SET LOCAL session_replication_role = " + role)

    def hold(self) -> None:
        """Let nobody write to the tables until the end; who reads is not disturbed."""
        there = sorted(table.name for table in self.tables if table.live)
        if there:
            self.connection.execute("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE" % ", ".join(there))

    def refound(self, agreed: str) -> "dict[str, Any]":
        """The difference as it is now, with nobody writing: the one that was agreed to, or a refusal."""
        now = partial_difference.find(self.connection, self.schema, self.closure)
        if now["digest"] != agreed:
            raise Stop(
                "The rows that would be brought back are not those of the difference that was shown (%s, now %s): production "
                "changed meanwhile. Nothing was changed. Run it again with the same run id; it shows the new difference."
                % (agreed[:12], now["digest"][:12]),
                REFUSED,
            )
        check_blocked(now)
        return now

    def others(self, table: Table) -> "tuple[int, str]":
        """Count and digest of the live rows that this merge must leave as they are."""
        if not table.live:
            return 0, "0"
        taken = ("missing", "differing") if table.name in self.replace else ("missing",)
        ask = "SELECT %s FROM %s l WHERE NOT %s"
        count, digest = self.ask(ask % (summed("ROW(l.*)::text"), table.relation, table.live_taken(taken)))
        return int(count), str(digest)

    def quiet(self) -> "list[tuple[str, str, str]]":
        """Silence the triggers that would fire all the same; unless they are wanted."""
        loud = [] if self.fire_triggers else self.connection.execute(ALWAYS, (self.closure["order"],)).fetchall()
        for relation, trigger, _state in loud:
            self.connection.execute("ALTER TABLE %s DISABLE TRIGGER %s" % (relation, quoted(trigger)))
        return list(loud)

    def loud(self, silenced: "list[tuple[str, str, str]]") -> None:
        """Enable them again as they were."""
        for relation, trigger, state in silenced:
            how = {"A": "ALWAYS", "R": "REPLICA"}[state]
            self.connection.execute("ALTER TABLE %s ENABLE %s TRIGGER %s" % (relation, how, quoted(trigger)))

    def deferred(self, wanted: bool, cyclic: "Sequence[Mapping[str, Any]]") -> None:
        """Let the foreign keys that close a cycle be checked at the end, or as before again."""
        for key in cyclic if self.fire_triggers else []:
            before = "DEFERRABLE INITIALLY DEFERRED" if key["deferred"] else "DEFERRABLE"
            how = "DEFERRABLE INITIALLY DEFERRED" if wanted else (before if key["deferrable"] else "NOT DEFERRABLE")
            self.connection.execute("ALTER TABLE %s ALTER CONSTRAINT %s %s" % (key["child"], quoted(key["name"]), how))

    def write(self) -> "dict[str, int]":
        """Bring rows back, parents first, and replace where that was chosen; how many rows of each table."""
        written = {}
        for table in self.tables:
            self.connection.execute(table.make_undo())
            for statement in table.remember("missing"):
                self.connection.execute(statement)
            count = self.connection.execute(table.insert()).rowcount
            if table.name in self.replace and table.live:
                for statement in table.remember("differing"):
                    self.connection.execute(statement)
                self.connection.execute(table.replace())
            written[table.name] = count
        return written

    def seal(self) -> None:
        """Keep what the rows are now, for an undo."""
        for table in self.tables:
            if table.key:
                self.connection.execute(table.seal())

    def judge_rows(self, before: "Mapping[str, tuple[int, str]]", found: "Mapping[str, Any]") -> None:
        """The checks about rows."""
        taken = {one["table"]: one for one in found["tables"]}
        live = {table.name: table for table in self.tables}

        def not_back() -> "list[str]":
            ask = "SELECT count(*) FROM %s WHERE NOT EXISTS (SELECT FROM %s l WHERE %s)"
            counted = {
                t.name: self.ask(ask % (t.taken(), t.relation, same(t.key, "s", "l")))[0] for t in self.tables if t.key
            }
            return ["%s lacks %d" % item for item in counted.items() if item[1]]

        def not_as_they_were() -> "list[str]":
            wrong = []
            for t in self.tables:
                where = t.live_taken() if t.key else "true"
                seen = self.ask("SELECT %s FROM %s l WHERE %s" % (summed(t.text("l")), t.relation, where))
                if seen != (taken[t.name]["taken"], taken[t.name]["taken_digest"]):
                    wrong.append("%s: %d rows, not the %d of the copy" % (t.name, seen[0], taken[t.name]["taken"]))
            return wrong

        def touched() -> "list[str]":
            return [
                "%s: %d rows were %s before" % (name, self.others(live[name])[0], one[0])
                for name, one in before.items()
                if self.others(live[name]) != one
            ]

        def not_adding_up() -> "list[str]":
            wrong = []
            for one in found["tables"]:
                now = self.ask("SELECT count(*) FROM " + live[one["table"]].relation)[0]
                wanted = one["same"] + one["differing"] + one["newer"] + one["taken"]
                wrong += ["%s: %d, not %d" % (one["table"], now, wanted)] if now != wanted else []
            return wrong

        def not_replaced() -> "list[str]":
            ask = "SELECT count(*) FROM %s l JOIN %s ON %s WHERE %s IS DISTINCT FROM %s"
            wrong = []
            for t in self.tables:
                if t.name in self.replace and t.live:
                    shown = (t.relation, t.taken(verdict="differing"), same(t.key, "s", "l"), t.text("s"), t.text("l"))
                    differ = self.ask(ask % shown)[0]
                    wrong += ["%s: %d still differ" % (t.name, differ)] if differ else []
            return wrong

        self.checked(BACK, "all of them", not_back)
        self.checked(AS_THEY_WERE, "the same digest as in the copy", not_as_they_were)
        if self.fire_triggers:
            self.checks[-1]["tier"] = "should"  # a trigger that was asked for may change what is written
        self.checked(UNTOUCHED, "the same count and digest", touched)
        self.checked(ADD_UP, "before and brought back", not_adding_up)
        self.checked(REPLACED, "there alone", not_replaced)

    def judge_keys(self) -> None:
        """Whether foreign keys hold. Parents are locked first: who deletes one meanwhile is waited for, and then seen."""
        named = {table.name: table for table in self.tables}

        def broken() -> "list[str]":
            wrong = []
            for key in table_catalog.foreign_keys(self.connection):
                child = named.get(key["child_root"])
                where = self._written(child) if child else "true"
                if not child and key["parent_root"] not in self.replace:
                    continue
                if key["parent_root"] in self.replace:
                    where = "true"
                count, _digest = self.orphans(key, where)
                wrong += ["%s of %s: %d rows" % (key["name"], key["child"], count)] if count else []
            return wrong

        self.checked(FOREIGN_KEYS, "all of them", broken)

    def _written(self, table: Table) -> str:
        verdicts = ("missing", "differing") if table.name in self.replace else ("missing",)
        return table.live_taken(verdicts) if table.key else "true"

    def orphans(self, key: "Mapping[str, Any]", where: str, lock: bool = True) -> "tuple[int, str]":
        """How many rows of a child are without their parent, and a digest of what they refer to."""
        pairs = list(zip(key["parent_columns"], key["columns"]))
        joined = " AND ".join("p.%s = l.%s" % (quoted(one), quoted(other)) for one, other in pairs)
        told = [("l.%s IS NOT NULL" % quoted(c)) for c in key["columns"]]
        refers = "(%s)" % (" OR " if key["match_full"] else " AND ").join(told)
        if lock:
            rows = "SELECT FROM %s l WHERE %s AND %s AND %s" % (key["child"], refers, where, joined)
            self.connection.execute("SELECT FROM %s p WHERE EXISTS (%s) FOR KEY SHARE" % (key["parent"], rows))
        ask = "SELECT %s FROM %s l WHERE %s AND %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)"
        digest = summed("ROW(%s)::text" % listed(key["columns"], "l"))
        count, said = self.ask(ask % (digest, key["child"], refers, where, key["parent"], joined))
        return int(count), str(said)

    def left_alone(self) -> "dict[str, list[Any]]":
        """Rows that refer to nothing in these tables as it is, which damage may leave behind, by foreign key."""
        keys = [k for k in table_catalog.foreign_keys(self.connection) if k["parent_root"] in self.closure["order"]]
        return {"%(name)s of %(child)s" % key: list(self.orphans(key, "true", lock=False)) for key in keys}

    def enabled(self) -> str:
        """Every trigger of the tables and whether it is enabled."""
        return str(self.connection.execute(ENABLED, (self.closure["order"],)).fetchone()[0])

    def clear(self) -> None:
        """Remove what was loaded beside; an undo needs none of it."""
        for table in self.tables:
            self.connection.execute("DROP TABLE %s, %s" % (table.rows, table.found))

    def run(self, agreed: str, steps: "Sequence[Mapping[str, Any]]") -> "dict[str, Any]":
        """Everything, within a transaction that the caller ends as the checks say."""
        self.settle()
        self.tables = partial_difference.tables(self.connection, self.schema, self.closure)
        self.hold()
        self.tables = partial_difference.tables(self.connection, self.schema, self.closure)  # nobody can change it now
        found = self.refound(agreed)
        before = {table.name: self.others(table) for table in self.tables}
        triggers, alone = self.enabled(), self.left_alone()
        made: "set[int]" = set()
        ran = partial_steps.run(self.connection, steps, False, made)
        table_catalog.settle(self.connection)  # a script has settings of its own
        self.settle()
        silenced = self.quiet()
        _order, cyclic = table_closure.ordered(self.closure["order"], table_catalog.foreign_keys(self.connection))
        self.deferred(True, cyclic)
        written = self.write()
        self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.deferred(False, cyclic)
        self.loud(silenced)
        ran += partial_steps.run(self.connection, steps, True, made)
        table_catalog.settle(self.connection)
        self.settle()
        moved = partial_sequences.forward(self.connection, self.closure)
        self.seal()
        dropped = [one["table"] for one in found["tables"] if one["dropped"]]
        whole = {
            table.name: self.ask("SELECT %s FROM %s l" % (summed("ROW(l.*)::text"), table.relation))
            for table in self.tables
            if table.name in dropped
        }
        self.judge_rows(before, found)
        self.judge_keys()
        self.checked(NEXT, "beyond every key there is", lambda: partial_sequences.behind(self.connection, self.closure))
        after = self.enabled()
        changed = ["they are not"] if not dropped and not ran and after != triggers else []
        self.checked(TRIGGERS, "as before", lambda: changed)
        self.clear()
        return {
            "checks": self.checks,
            "written": written,
            "sequences": moved,
            "made": [step["kind"] + " " + step["name"] for step in ran],
            "take_back": partial_steps.taken_back(ran),
            "dropped": dropped,
            "whole": whole,
            "left_alone": alone,
            "role": "origin" if self.fire_triggers else "replica",
            "digest": agreed,
        }


def check_blocked(difference: "Mapping[str, Any]") -> None:
    """Refuse while a newer row has the place of a missing one: it stays, and both cannot be there."""
    blocked = ["%s: %s" % (one["table"], said) for one in difference["tables"] for said in one["blocked"]]
    if blocked:
        raise Stop(
            "Newer rows of production hold a unique key of rows that are missing (%s). They stay, so those cannot come back. "
            "Nothing was changed. Change that key of the newer row, or leave the table out." % "; ".join(blocked)
        )


def check_replace(difference: "Mapping[str, Any]", replace: "Sequence[str]") -> None:
    """Refuse a replacement in a table that was not chosen."""
    chosen = [one["table"] for one in difference["tables"] if one["chosen"]]
    strange = sorted(set(replace) - set(chosen))
    if strange:
        raise Stop("Rows can be replaced in chosen tables only, not in %s. Nothing was changed." % ", ".join(strange))
