"""Taking a merge back in one transaction: what came back goes, what was replaced returns, what somebody changed since is not touched."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from . import partial_difference
from .guards import Stop
from .partial_checks import UNTOUCHED
from .partial_merge import Merge
from .partial_rows import Table, hashed, quoted, same, summed

GONE = "every row that came back is gone"
RETURNED = "every row that was replaced is as it was before"


class Undo:
    """One merge that is taken back."""

    def __init__(self, connection: Any, schema: str, facts: Mapping[str, Any], p: Mapping[str, Any]) -> None:
        self.connection = connection
        self.merged = facts["merged"]
        asked = {**p, "fire_triggers": False, "replace": {}}
        self.work = Merge(connection, schema, facts["closure"], asked)

    def changed(self) -> "list[str]":
        """Rows that are not as the merge left them, per table."""
        said = []
        for table in self.work.tables:
            if not table.live:
                said.append("%s is gone" % table.name)
            elif table.name in self.merged["dropped"]:
                now = self.work.ask("SELECT %s FROM %s l" % (summed("ROW(l.*)::text"), table.relation))
                said += (
                    ["%s holds other rows now" % table.name] if list(now) != self.merged["whole"][table.name] else []
                )
            else:
                ask = "SELECT count(*), min(ROW(%s)::text) FROM %s u LEFT JOIN %s l ON %s WHERE %s IS DISTINCT FROM u.after"
                told = ", ".join("u." + quoted(c) for c in table.key)
                row = "CASE WHEN l.%s IS NULL THEN NULL ELSE %s END" % (quoted(table.key[0]), hashed("ROW(l.*)::text"))
                count, example = self.work.ask(ask % (told, table.undo, table.relation, same(table.key, "u", "l"), row))
                said += ["%s: %d, such as %s" % (table.name, count, example)] if count else []
        return said

    def restore(self, table: Table) -> None:
        """Put the rows of one table back as they were."""
        deleted = "DELETE FROM %s l USING %s u WHERE u.action = 'insert' AND %s"
        self.connection.execute(deleted % (table.relation, table.undo, same(table.key, "u", "l")))
        columns = [
            c["name"] for c in (table.live or {})["columns"] if not c["generated"] and c["name"] not in table.key
        ]
        if not columns:
            return
        values = ", ".join("(u.before::%s).%s" % (table.name, quoted(c)) for c in columns)
        self.connection.execute(
            "UPDATE %s l SET (%s) = ROW(%s) FROM %s u WHERE u.action = 'replace' AND %s"
            % (table.relation, ", ".join(map(quoted, columns)), values, table.undo, same(table.key, "u", "l"))
        )

    def others(self, table: Table) -> "tuple[Any, ...]":
        """Count and digest of the rows that the merge did not write."""
        ask = "SELECT %s FROM %s l WHERE NOT EXISTS (SELECT FROM %s u WHERE %s)"
        return self.work.ask(ask % (summed("ROW(l.*)::text"), table.relation, table.undo, same(table.key, "u", "l")))

    def _left(self, table: Table) -> "list[str]":
        ask = "SELECT count(*) FROM %s u JOIN %s l ON %s WHERE u.action = 'insert'"
        left = self.work.ask(ask % (table.undo, table.relation, same(table.key, "u", "l")))[0]
        return ["%s: %d" % (table.name, left)] if left else []

    def _not_returned(self, table: Table) -> "list[str]":
        ask = "SELECT count(*) FROM %s u LEFT JOIN %s l ON %s WHERE u.action = 'replace' AND ROW(l.*)::text IS DISTINCT FROM u.before"
        differ = self.work.ask(ask % (table.undo, table.relation, same(table.key, "u", "l")))[0]
        return ["%s: %d" % (table.name, differ)] if differ else []

    def run(self) -> "list[dict[str, Any]]":
        """Everything, within a transaction that the caller ends as the checks say; the checks."""
        work = self.work
        work.settle()
        work.tables = partial_difference.tables(self.connection, work.schema, work.closure)
        work.hold()
        changed = self.changed()
        if changed:
            raise Stop(
                "Rows that came back were changed since (%s), and taking them back would lose that. Nothing was changed."
                % "; ".join(changed)
            )
        kept = [table for table in work.tables if table.name not in self.merged["dropped"]]
        before = {table.name: self.others(table) for table in kept}
        silenced = work.quiet()
        self.drop([said for said in self.merged["take_back"] if said.startswith("ALTER TABLE")])
        for table in reversed(kept):
            self.restore(table)
        work.loud(silenced)
        self.drop([said for said in self.merged["take_back"] if not said.startswith("ALTER TABLE")])
        self.check_referred()
        work.checked(GONE, "all of them", lambda: [said for t in kept for said in self._left(t)])
        work.checked(RETURNED, "all of them", lambda: [said for t in kept for said in self._not_returned(t)])
        work.checked(
            UNTOUCHED,
            "the same count and digest",
            lambda: [t.name for t in kept if self.others(t) != before[t.name]],
        )
        return work.checks

    def drop(self, statements: "Sequence[str]") -> None:
        """Drop what was made again."""
        for statement in statements:
            self.connection.execute(statement)

    def check_referred(self) -> None:
        """Refuse when rows would be left without their parent that were not before the merge: newer ones refer to what came back."""
        before = self.merged["left_alone"]
        now = self.work.left_alone()
        wrong = [
            "%s: %d rows" % (key, seen[0]) for key, seen in now.items() if seen[0] and seen != before.get(key, [0, "0"])
        ]
        if wrong:
            raise Stop(
                "Newer rows refer to rows that came back (%s). They stay, so those stay too. Nothing was changed."
                % "; ".join(wrong)
            )
