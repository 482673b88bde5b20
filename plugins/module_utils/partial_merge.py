"""Bringing rows back into live tables in one transaction, which is rolled back when a check fails."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from . import partial_difference, partial_sequences, partial_steps, table_catalog, table_closure
from .guards import REFUSED, Stop
from .partial_checks import Checks
from .partial_rows import quoted, summed

NEXT = "the next key of every sequence is free"
TRIGGERS = "triggers are enabled as they were"

# Triggers that fire although a session calls itself a replica.
ALWAYS = """
SELECT t.tgrelid::regclass::text AS relation, t.tgname, t.tgenabled FROM pg_trigger t
WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('A', 'R')
  AND coalesce(pg_partition_root(t.tgrelid), t.tgrelid)::regclass::text = ANY(%s) ORDER BY 1, 2
"""


class Merge(Checks):
    """One merge: the tables, what is agreed, and what was found while it went on."""

    def __init__(self, connection: Any, schema: str, closure: Mapping[str, Any], p: Mapping[str, Any]) -> None:
        super().__init__(connection, closure, bool(p["fire_triggers"]), p["replace"])
        self.schema = schema
        self.lock_timeout_s = int(p["lock_timeout_s"])

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
        moved = [
            t["table"]
            for t in now["tables"]
            if self.replace.get(t["table"], t["differing_digest"]) != t["differing_digest"]
        ]
        if moved:
            raise Stop(
                "Rows of %s that would be replaced are not those that were shown: production changed meanwhile. Nothing was "
                "changed. Run it again with the same run id; it shows the new difference." % ", ".join(moved),
                REFUSED,
            )
        return now

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


def check_replace(difference: "Mapping[str, Any]", replace: "Iterable[str]") -> None:
    """Refuse a replacement in a table that was not chosen."""
    chosen = [one["table"] for one in difference["tables"] if one["chosen"]]
    strange = sorted(set(replace) - set(chosen))
    if strange:
        raise Stop("Rows can be replaced in chosen tables only, not in %s. Nothing was changed." % ", ".join(strange))
