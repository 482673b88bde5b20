"""What must hold of a merge before its transaction may end, and what of a merge that is taken back."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Sequence

from . import table_catalog
from .partial_rows import Table, listed, quoted, same, summed
from .validation import check

BACK = "every missing row is back"
AS_THEY_WERE = "every row that came back is as it was"
UNTOUCHED = "no other row of production changed"
ADD_UP = "counts add up"
FOREIGN_KEYS = "every foreign key of these tables holds"
REPLACED = "rows were replaced only where that was chosen"

ENABLED = """
SELECT coalesce(json_agg(json_build_array(t.tgrelid::regclass::text, t.tgname, t.tgenabled) ORDER BY 1, 2)::text, '')
FROM (SELECT tgrelid, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal
      AND coalesce(pg_partition_root(tgrelid), tgrelid)::regclass::text = ANY(%s) ORDER BY tgrelid, tgname) t
"""


class Checks:
    """Questions about the tables of one merge, and the checks that follow from the answers."""

    def __init__(
        self, connection: Any, closure: Mapping[str, Any], fire_triggers: bool, replace: "Mapping[str, Any]"
    ) -> None:
        self.connection = connection
        self.closure = closure
        self.fire_triggers = fire_triggers
        self.replace = dict(replace)
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

    def others(self, table: Table) -> "tuple[int, str]":
        """Count and digest of the live rows that this merge must leave as they are."""
        if not table.live:
            return 0, "0"
        taken = ("missing", "differing") if table.name in self.replace else ("missing",)
        ask = "SELECT %s FROM %s l WHERE NOT %s"
        count, digest = self.ask(ask % (summed("ROW(l.*)::text"), table.relation, table.live_taken(taken)))
        return int(count), str(digest)

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
