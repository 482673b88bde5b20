"""Sequences of tables that rows came back to: they go forward, so that the next key is free, and never back."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import table_catalog
from .partial_rows import quoted


def following(last: int, called: bool, increment: int) -> int:
    """What a sequence gives next."""
    return last + increment if called else last


def beyond(present: int, increment: int, copied: "Optional[int]", furthest: "Optional[int]") -> int:
    """What a sequence must give next: not less than now, than the copy's own next, than one beyond the furthest key."""
    known = [present] + ([copied] if copied is not None else [])
    known += [furthest + increment] if furthest is not None else []
    return max(known) if increment > 0 else min(known)


def _present(connection: Any, sequence: Mapping[str, Any]) -> int:
    last, called = connection.execute("SELECT last_value, is_called FROM " + sequence["name"]).fetchone()
    return following(last, called, sequence["increment"])


def _furthest(connection: Any, table: str, sequence: Mapping[str, Any]) -> "Optional[int]":
    if not sequence["whole_numbers"]:
        return None
    end = "max" if sequence["increment"] > 0 else "min"
    found = connection.execute("SELECT %s(%s) FROM %s" % (end, quoted(sequence["column"]), table)).fetchone()[0]
    return None if found is None else int(found)


def _copied(closure: Mapping[str, Any], table: str, name: str) -> "Optional[int]":
    for sequence in closure["tables"][table]["sequences"]:
        if sequence["name"] == name:
            return following(sequence["last_value"], sequence["is_called"], sequence["increment"])
    return None


def _states(connection: Any, closure: Mapping[str, Any]) -> "list[tuple[Mapping[str, Any], int, int]]":
    """Every sequence of the tables, what it gives next, and what it must."""
    found = []
    for table in closure["order"]:
        for sequence in (table_catalog.table(connection, table) or {"sequences": []})["sequences"]:
            present = _present(connection, sequence)  # once, for others may move it on
            copied = _copied(closure, table, sequence["name"])
            wanted = beyond(present, sequence["increment"], copied, _furthest(connection, table, sequence))
            found.append((sequence, present, wanted))
    return found


def forward(connection: Any, closure: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Move every sequence that is behind; which, from where and to where."""
    late = [sequence for sequence, present, wanted in _states(connection, closure) if wanted != present]
    for sequence in late:
        # setting what it is already locks it against others until the end, as nothing else does; then it is looked at again
        connection.execute("ALTER SEQUENCE %s INCREMENT BY %d" % (sequence["name"], sequence["increment"]))
    moved: "dict[str, dict[str, Any]]" = {}
    for sequence in late:  # one that fills several columns is there several times
        for again, present, wanted in _states(connection, closure):
            if again["name"] == sequence["name"] and wanted != present:
                connection.execute("ALTER SEQUENCE %s RESTART WITH %d" % (again["name"], wanted))
                begun = moved.setdefault(again["name"], {"sequence": again["name"], "from": present})
                begun["to"] = wanted
                break
    return list(moved.values())


def behind(connection: Any, closure: Mapping[str, Any]) -> "list[str]":
    """Sequences whose next value is not beyond every key."""
    return [
        "%s gives %d next, not %d" % (sequence["name"], present, wanted)
        for sequence, present, wanted in _states(connection, closure)
        if wanted != present
    ]
