"""What makes a dropped table again: entries chosen from the table of contents that pg_dump writes. Pure.

pg_dump knows the statements for everything, and on what each depends. Here is decided which of them a table needs: its own parts, and
what is missing of the types, functions, sequences and schemas that those depend on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Iterable

ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
DEPENDS = re.compile(r"^;\s+depends on: ([\d ]+)$")
CLASS = 1259  # of pg_class
KINDS = (
    *("TABLE ATTACH", "TABLE DATA", "TABLE", "SEQUENCE OWNED BY", "SEQUENCE SET", "SEQUENCE", "INDEX ATTACH", "INDEX"),
    *("FK CONSTRAINT", "CHECK CONSTRAINT", "CONSTRAINT", "DEFAULT ACL", "DEFAULT", "TRIGGER", "POLICY", "ROW SECURITY"),
    *("ACL", "COMMENT", "SECURITY LABEL", "STATISTICS", "SCHEMA", "EXTENSION", "TYPE", "SHELL TYPE", "DOMAIN"),
    *("FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR CLASS", "OPERATOR FAMILY", "OPERATOR", "COLLATION", "CAST"),
)
# Parts of a table; a view that needs it is none.
PARTS = {
    *(
        "TABLE ATTACH",
        "SEQUENCE",
        "INDEX",
        "INDEX ATTACH",
        "FK CONSTRAINT",
        "CHECK CONSTRAINT",
        "CONSTRAINT",
        "DEFAULT",
    ),
    *("TRIGGER", "POLICY", "ROW SECURITY", "STATISTICS"),
}
# Said of whatever it depends on, and gone with it.
REMARKS = {"ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE OWNED BY"}
POST_DATA = {
    *("INDEX", "INDEX ATTACH", "FK CONSTRAINT", "CONSTRAINT", "TRIGGER", "POLICY", "ROW SECURITY", "STATISTICS"),
}


@dataclass(frozen=True)
class Entry:
    """One line of the table of contents."""

    id: int
    catalog: int
    oid: int
    kind: str
    name: str
    depends: "tuple[int, ...]" = ()


def parse(listing: str) -> "list[Entry]":
    """What `pg_restore --list --verbose` says, in its order."""
    found: "list[Entry]" = []
    for line in listing.splitlines():
        entry, depends = ENTRY.match(line), DEPENDS.match(line)
        if entry:
            rest = entry[4]
            kind = next((k for k in KINDS if rest.startswith(k + " ")), rest.split(" ")[0])
            found.append(Entry(int(entry[1]), int(entry[2]), int(entry[3]), kind, rest[len(kind) + 1 :]))
        elif depends and found:
            last = found[-1]
            ids = tuple(int(n) for n in depends[1].split())
            found[-1] = Entry(last.id, last.catalog, last.oid, last.kind, last.name, ids)
    return found


def chosen(entries: "Iterable[Entry]", tables: "Iterable[int]") -> "list[Entry]":
    """What the tables with these oids need, in the order of the dump. What of it is there already is told on the live side."""
    entries, oids = list(entries), set(tables)
    known = {entry.id: entry for entry in entries}
    taken = {e.id for e in entries if e.kind == "TABLE" and e.catalog == CLASS and e.oid in oids}
    taken |= {e.id for e in entries if e.kind in PARTS and taken & set(e.depends)}
    waiting = sorted(taken)
    while waiting:  # what they need, but for other tables: those are chosen by name or not at all
        for one in known[waiting.pop()].depends:
            if (
                one in known
                and one not in taken
                and known[one].kind != "TABLE"
                and known[one].kind not in PARTS - {"SEQUENCE"}
            ):
                taken.add(one)
                waiting.append(one)
    taken |= {e.id for e in entries if e.kind in REMARKS and taken & set(e.depends)}
    return [entry for entry in entries if entry.id in taken]


def step(entry: Entry, address: "dict[str, Any] | None", sql: str) -> "dict[str, Any]":
    """One statement of the script with what tells whether it is needed."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.name,
        "address": address,
        "after": list(entry.depends),
        "post_data": entry.kind in POST_DATA,
        "sql": obeyed(sql),
    }


def obeyed(sql: str) -> str:
    """The statements of a script, without the commands to psql that newer versions put around it."""
    lines = sql.splitlines()
    return "\n".join(line for line in lines if not re.match(r"\\(un)?restrict \w+$", line)) + "\n"
