"""Which tables hang together by foreign keys, and in which order their rows can be put back. Pure."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

ForeignKeys = Sequence[Mapping[str, Any]]


def required(chosen: "Iterable[str]", keys: ForeignKeys) -> "list[str]":
    """Tables that rows of the chosen ones refer to, directly or not, and that were not chosen themselves."""
    chosen = set(chosen)
    return sorted(_reach(chosen, keys, "child_root", "parent_root") - chosen)


def referring(chosen: "Iterable[str]", keys: ForeignKeys) -> "list[str]":
    """Tables whose rows refer to the chosen ones, directly or not: a cascade may have taken theirs as well."""
    chosen = set(chosen)
    return sorted(_reach(chosen, keys, "parent_root", "child_root") - chosen)


def _reach(begin: "set[str]", keys: ForeignKeys, start: str, end: str) -> "set[str]":
    found, waiting = set(begin), sorted(begin)
    while waiting:
        table = waiting.pop()
        new = {str(key[end]) for key in keys if key[start] == table} - found
        found |= new
        waiting += sorted(new)
    return found


def ordered(tables: "Iterable[str]", keys: ForeignKeys) -> "tuple[list[str], list[Mapping[str, Any]]]":
    """Parents before children, and the foreign keys for which that cannot be, for they close a cycle.

    A key of a table on itself closes one as well: PostgreSQL checks it at the end of the statement, which inserts all rows at once.
    """
    waiting = sorted(set(tables))
    inner = [key for key in keys if key["child_root"] in waiting and key["parent_root"] in waiting]
    placed: "list[str]" = []
    while waiting:
        open_parents = {
            table: {k["parent_root"] for k in inner if k["child_root"] == table} & set(waiting) - {table}
            for table in waiting
        }
        ready = [table for table in waiting if not open_parents[table]]
        # of a cycle, one that only waits for tables of that very cycle, fewest first
        placed += ready or [min(_innermost(open_parents), key=lambda table: (len(open_parents[table]), table))]
        waiting = [table for table in waiting if table not in placed]
    place = {table: n for n, table in enumerate(placed)}
    return placed, [key for key in inner if place[key["parent_root"]] > place[key["child_root"]]]


def _innermost(open_parents: "Mapping[str, set[str]]") -> "list[str]":
    """Tables that wait for nothing but what waits for them in its turn."""

    def reach(table: str) -> "set[str]":
        found: "set[str]" = set()
        waiting = [table]
        while waiting:
            for parent in open_parents[waiting.pop()] - found:
                found.add(parent)
                waiting.append(parent)
        return found

    reached = {table: reach(table) for table in open_parents}
    return [table for table in open_parents if all(table in reached[parent] for parent in reached[table])]


def unfit(name: str, table: Mapping[str, Any]) -> str:
    """Why rows of a table cannot be brought back one by one; empty when they can."""
    if table["kind"] not in ("r", "p"):
        return "%s is no table" % name
    if table["persistence"] != "p":
        return "%s is unlogged or temporary, and no backup holds its rows" % name
    if table["inherits"]:
        return "%s inherits, or is inherited from, without being partitioned" % name
    return ""
