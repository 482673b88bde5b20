"""What the side copy holds that the live tables lack, counted and with a digest. It changes nothing but the run's own schema."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import partial_schema, records, table_catalog
from .guards import PRECONDITION, Stop
from .partial_rows import Table, same, summed

# What a person agrees to. Rows that are there may change meanwhile and newer ones come, as they do in production.
BOUND = ("table", "dropped", "missing", "taken", "taken_digest", "columns", "blocked")


def tables(connection: Any, schema: str, closure: Mapping[str, Any]) -> "list[Table]":
    """The tables of a run as they are now, parents first."""
    stages = partial_schema.stages(closure)
    live = table_catalog.tables(connection, closure["order"])
    return [
        Table(name, schema, stages[name], closure["tables"][name], live[name], name in closure["chosen"])
        for name in closure["order"]
    ]


def check_fit(table: Table) -> None:
    """Refuse a table whose rows cannot be told apart."""
    if not table.live:
        return
    if not table.key:
        raise Stop(
            "%s has no primary key and no unique index without nulls: which of its rows are missing cannot be told. "
            "Nothing was changed. Give it a key, or leave it out." % table.name,
            PRECONDITION,
        )
    lost = [column for column in table.key if column not in table.loaded]
    if lost:
        said = "%s has a key now that the copy does not have (%s): rows cannot be matched. Nothing was changed."
        raise Stop(said % (table.name, ", ".join(lost)), PRECONDITION)


def find(connection: Any, schema: str, closure: Mapping[str, Any]) -> "dict[str, Any]":
    """The difference, of which M(merge_rows) merges no other."""
    there = tables(connection, schema, closure)
    for table in there:
        check_fit(table)
        for statement in table.find():
            connection.execute(statement)
    _take_parents(connection, there, closure)
    counted = [_count(connection, table) for table in there]
    return {"tables": counted, "digest": records.digest([{key: one[key] for key in BOUND} for one in counted])}


def _take_parents(connection: Any, there: "list[Table]", closure: Mapping[str, Any]) -> None:
    """Take what rows that are taken refer to, until nothing more is needed."""
    named = {table.name: table for table in there}
    keys = [key for key in closure["foreign_keys"] if {key["child_root"], key["parent_root"]} <= set(named)]
    while sum(
        connection.execute(named[key["child_root"]].need(named[key["parent_root"]], key)).rowcount for key in keys
    ):
        continue


def _count(connection: Any, table: Table) -> "dict[str, Any]":
    """One table's share: rows by verdict, what is taken, what stands in its way, and digests of both sides."""
    verdicts = dict(connection.execute("SELECT verdict, count(*) FROM %s GROUP BY 1" % table.found).fetchall())
    taken, digest = connection.execute("SELECT %s FROM %s" % (summed(table.text("s")), table.taken())).fetchone()
    return {
        "table": table.name,
        "chosen": table.chosen,
        "dropped": table.live is None,
        "in_copy": sum(verdicts.values()),
        "same": verdicts.get("same", 0),
        "missing": verdicts.get("missing", 0),
        "differing": verdicts.get("differing", 0),
        "newer": _newer(connection, table),
        "taken": taken,
        "taken_digest": digest,
        "differing_digest": _differing(connection, table),
        "columns": table.common,
        "blocked": _blocked(connection, table),
    }


def _newer(connection: Any, table: Table) -> int:
    """Live rows that the copy does not have."""
    if not table.live:
        return 0
    ask = "SELECT count(*) FROM %s l WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)"
    return int(connection.execute(ask % (table.relation, table.rows, same(table.key, "s", "l"))).fetchone()[0])


def _differing(connection: Any, table: Table) -> "Optional[str]":
    """A digest of the live rows that differ: a replacement is agreed to for those, and no others."""
    if not table.live:
        return None
    ask = "SELECT %s FROM %s l WHERE %s" % (summed("ROW(l.*)::text"), table.relation, table.live_taken(("differing",)))
    return str(connection.execute(ask).fetchone()[1])


def _blocked(connection: Any, table: Table) -> "list[str]":
    """Unique keys in which a newer live row has taken the place of one that is missing."""
    said = []
    for unique in table.live["uniques"] if table.live else []:
        if unique["columns"] == table.key or not set(unique["columns"]) <= set(table.loaded):
            continue
        count, example = connection.execute(table.blocked(unique["columns"])).fetchone()
        if count:
            said.append("%d by %s, such as %s" % (count, unique["name"], example))
    return said


def sentence(one: Mapping[str, Any]) -> str:
    """One table of a difference, for people."""
    more = [", the table itself is gone" if one["dropped"] else ""]
    more += [", blocked: " + "; ".join(one["blocked"])] if one["blocked"] else []
    who = "" if one["chosen"] else " (needed by the others)"
    said = "%(table)s%(who)s: %(missing)d missing, %(taken)d of them come back, %(same)d the same, %(differing)d differ, %(newer)d newer"
    return said % {**one, "who": who} + "".join(more)
