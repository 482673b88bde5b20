"""Statements that tell rows of a table apart: what the side copy holds against what is live. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Optional, Sequence


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"%s"' % name.replace('"', '""')


def listed(columns: "Iterable[str]", alias: str = "") -> str:
    """Columns separated by commas."""
    return ", ".join((alias + "." if alias else "") + quoted(column) for column in columns)


def same(columns: "Iterable[str]", one: str, other: str) -> str:
    """That two rows agree in these columns, none of which is null."""
    return " AND ".join("%s.%s = %s.%s" % (one, quoted(c), other, quoted(c)) for c in columns)


def hashed(said: str) -> str:
    """A number for a text."""
    return 'hashtextextended((%s) COLLATE "C", 0)::numeric' % said


def summed(said: str) -> str:
    """How many rows, and a digest of them that does not depend on their order."""
    return "count(*), coalesce(sum(%s), 0)::text" % hashed(said)


@dataclass(frozen=True)
class Table:
    """One table of a run: its name, what is live of it, and where the rows of the side copy are."""

    name: str
    schema: str
    stage: str
    side: Mapping[str, Any]
    live: "Optional[Mapping[str, Any]]"
    chosen: bool

    @property
    def relation(self) -> str:
        """The live table with all of its partitions, and nothing that inherits from it."""
        return self.name if (self.live or self.side)["kind"] == "p" else "ONLY " + self.name

    @property
    def rows(self) -> str:
        """The rows of the side copy."""
        return "%s.%s" % (self.schema, self.stage)

    @property
    def found(self) -> str:
        """What was found about each of them."""
        return "%s.d%s" % (self.schema, self.stage[1:])

    @property
    def undo(self) -> str:
        """What an undo needs."""
        return "%s.u%s" % (self.schema, self.stage[1:])

    @property
    def key(self) -> "Sequence[str]":
        """What names a row."""
        return list((self.live or self.side)["key"] or [])

    @property
    def loaded(self) -> "list[str]":
        """Columns whose values are loaded: those that a row can be given."""
        return [c["name"] for c in self.side["columns"] if not c["generated"]]

    @property
    def common(self) -> "list[str]":
        """Columns of the side copy that a live row can be given."""
        there = {c["name"] for c in (self.live or self.side)["columns"] if not c["generated"]}
        return [column for column in self.loaded if column in there]

    @property
    def types(self) -> "dict[str, str]":
        """The type of each column, as the live side has it now."""
        side = {c["name"]: c["type"] for c in self.side["columns"]}
        return {**side, **{c["name"]: c["type"] for c in (self.live or self.side)["columns"] if c["name"] in side}}

    def text(self, alias: str) -> str:
        """The common columns of a row as text."""
        return "ROW(%s)::text" % listed(self.common, alias)

    def values(self, alias: str) -> str:
        """The common columns of a loaded row, each of the live column's type."""
        return ", ".join("%s.%s::%s" % (alias, quoted(c), self.types[c]) for c in self.common)

    def find(self) -> "list[str]":
        """Say of every loaded row whether it is missing from the live table, the same there, or differs."""
        make = "CREATE TABLE %s (row bigint PRIMARY KEY, verdict text NOT NULL, take boolean NOT NULL)" % self.found
        if not self.live:
            found = "SELECT s.pgrescue_row, 'missing', %s FROM %s s" % (self.chosen, self.rows)
        else:
            found = (
                "SELECT s.pgrescue_row, v.verdict, v.verdict = 'missing' AND %s FROM %s s LEFT JOIN %s l ON %s "
                "CROSS JOIN LATERAL (SELECT CASE WHEN l.%s IS NULL THEN 'missing' WHEN %s = %s THEN 'same' ELSE 'differing' END"
                " AS verdict) v"
            ) % (
                self.chosen,
                self.rows,
                self.relation,
                same(self.key, "s", "l"),
                quoted(self.key[0]),
                self.text("s"),
                self.text("l"),
            )
        return [
            "ANALYZE " + self.rows,
            "DROP TABLE IF EXISTS " + self.found,
            make,
            "INSERT INTO %s %s" % (self.found, found),
            "ANALYZE " + self.found,
        ]

    def need(self, parent: "Table", foreign_key: "Mapping[str, Any]") -> str:
        """Take missing rows of a parent that rows which are taken refer to."""
        pairs = zip(foreign_key["parent_columns"], foreign_key["columns"])
        joined = " AND ".join("p.%s::text = c.%s::text" % (quoted(one), quoted(other)) for one, other in pairs)
        return (
            "UPDATE %s d SET take = true FROM %s p WHERE d.row = p.pgrescue_row AND d.verdict = 'missing' AND NOT d.take "
            "AND EXISTS (SELECT FROM %s c JOIN %s t ON t.row = c.pgrescue_row AND t.take WHERE %s)"
        ) % (parent.found, parent.rows, self.rows, self.found, joined)

    def taken(self, alias: str = "s", verdict: str = "missing") -> str:
        """The loaded rows that are brought back (missing) or put in place of newer ones (differing)."""
        wanted = "d.take" if verdict == "missing" else "d.verdict = '%s'" % verdict
        return "%s %s JOIN %s d ON d.row = %s.pgrescue_row AND %s" % (self.rows, alias, self.found, alias, wanted)

    def live_taken(self, verdicts: "Sequence[str]" = ("missing",)) -> str:
        """The condition that a live row `l` is one of those."""
        wanted = " OR ".join("d.take" if v == "missing" else "d.verdict = '%s'" % v for v in verdicts)
        return "EXISTS (SELECT FROM %s s JOIN %s d ON d.row = s.pgrescue_row AND (%s) WHERE %s)" % (
            self.rows,
            self.found,
            wanted,
            same(self.key, "s", "l"),
        )

    def blocked(self, columns: "Sequence[str]") -> str:
        """How many rows that are taken meet a live row in another unique key, and one of them."""
        told = listed(self.key or self.common[:1], "s")
        return "SELECT count(*), min(ROW(%s)::text) FROM %s WHERE EXISTS (SELECT FROM %s l WHERE %s)" % (
            told,
            self.taken(),
            self.relation,
            same(columns, "s", "l"),
        )

    def insert(self) -> str:
        """Bring back what is taken."""
        return "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s ORDER BY s.pgrescue_row" % (
            self.name,
            listed(self.common),
            self.values("s"),
            self.taken(),
        )

    def replace(self) -> str:
        """Put rows of the side copy in place of live ones that differ; their key stays as it is."""
        rest = [c for c in self.common if c not in self.key]
        values = ", ".join("s.%s::%s" % (quoted(c), self.types[c]) for c in rest)
        return "UPDATE %s l SET (%s) = ROW(%s) FROM %s WHERE %s" % (
            self.relation,
            listed(rest),
            values,
            self.taken(verdict="differing"),
            same(self.key, "s", "l"),
        )

    def remember(self, verdict: str) -> "list[str]":
        """Write down, before they are touched, the key of each row that is brought back and the whole of each that is replaced."""
        keys = "".join(", " + quoted(c) for c in self.key)
        if verdict == "missing":
            what = "'insert', NULL" + "".join(", s." + quoted(c) for c in self.key)
            return ["INSERT INTO %s (action, before%s) SELECT %s FROM %s" % (self.undo, keys, what, self.taken())]
        what = "'replace', ROW(l.*)::text" + "".join(", l." + quoted(c) for c in self.key)
        joined = (self.relation, self.taken(verdict=verdict), same(self.key, "s", "l"))
        return [
            "INSERT INTO %s (action, before%s) SELECT %s FROM %s l JOIN %s ON %s" % (self.undo, keys, what, *joined)
        ]

    def seal(self) -> str:
        """Write down what each of those rows is afterwards, so that an undo can tell whether somebody changed it since."""
        return "UPDATE %s u SET after = %s FROM %s l WHERE %s" % (
            self.undo,
            hashed("ROW(l.*)::text"),
            self.relation,
            same(self.key, "u", "l"),
        )

    def make_undo(self) -> str:
        """The table that an undo reads."""
        keys = "".join(", %s %s" % (quoted(c), self.types[c]) for c in self.key)
        return "CREATE TABLE %s (action text NOT NULL, before text, after numeric%s)" % (self.undo, keys)
