"""Statements that make a dropped table again, run one by one where they are needed, and how each is taken back."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from .partial_rows import quoted

# Parts of a table go with it; what stands alone is dropped by itself.
ALONE = {
    "SCHEMA",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "AGGREGATE",
    "COLLATION",
    "EXTENSION",
    "TABLE",
    "SEQUENCE",
}


def exists(connection: Any, address: "Mapping[str, Any]") -> bool:
    """Whether what an address names is there."""
    import psycopg

    try:
        with connection.transaction():
            connection.execute(
                "SELECT pg_get_object_address(%s, %s, %s)", (address["type"], address["names"], address["arguments"])
            )
    except psycopg.errors.ProgrammingError:  # it says which part of the address is not there
        return False
    return True


def table_of(step: "Mapping[str, Any]") -> Optional[str]:
    """The table that a part belongs to."""
    return (step["address"] or {}).get("table")


def run(
    connection: Any, steps: "Sequence[Mapping[str, Any]]", post_data: bool, made: "set[int]"
) -> "list[Mapping[str, Any]]":
    """Run the steps that are needed; those that made something. `made` holds their numbers, of earlier calls too."""
    ran = []
    for step in steps:
        if step["post_data"] != post_data:
            continue
        if step["address"] is None:  # said of something else
            if not made & set(step["after"]):
                continue
        elif exists(connection, step["address"]):
            continue
        table = table_of(step) if step["kind"] == "FK CONSTRAINT" else None
        if table and not connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()[0]:
            continue  # a foreign key of a table that is gone as well and was not chosen
        connection.execute(step["sql"])
        made.add(step["id"])
        ran.append(step)
    return ran


def taken_back(ran: "Sequence[Mapping[str, Any]]") -> "list[str]":
    """The statements that take them back, last first. What anybody else has made since and hangs on them keeps them from it."""
    tables = [step["address"]["identity"] for step in ran if step["kind"] == "TABLE"]
    keys = [step for step in reversed(ran) if step["kind"] == "FK CONSTRAINT" and table_of(step) not in tables]
    alone = [step for step in reversed(ran) if step["kind"] in ALONE - {"TABLE"} and step["address"]]
    return [
        *("ALTER TABLE %s DROP CONSTRAINT %s" % (table_of(step), quoted(step["address"]["names"][2])) for step in keys),
        *(["DROP TABLE IF EXISTS %s RESTRICT" % ", ".join(tables)] if tables else []),
        *("DROP %s IF EXISTS %s RESTRICT" % (step["kind"], step["address"]["identity"]) for step in alone),
    ]
