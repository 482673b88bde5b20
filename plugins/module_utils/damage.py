"""What a look at a server in use found: which relations are damaged, and what is not known."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from . import copy_checks
from .copy_checks import Proof

KINDS = {"r": "table", "m": "table", "t": "toast", "i": "index", "S": "sequence"}
LOOKED = (*copy_checks.OF_STORAGE, copy_checks.CATALOG)
# Of one relation: how SQL names it, the bytes of its table, and whether it keeps an exclusion constraint.
DETAILS = """
SELECT c.oid, c.oid::regclass::text, pg_relation_size(coalesce(t.oid, c.oid)),
       EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype = 'x')
  FROM pg_class c LEFT JOIN pg_index i ON indexrelid = c.oid LEFT JOIN pg_class t ON t.oid = indrelid
 WHERE c.oid = ANY ('{%s}'::oid[])
"""
FAILURES = """
SELECT coalesce(datname, 'shared objects'), checksum_failures,
       to_char(checksum_last_failure AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM pg_stat_database WHERE checksum_failures > 0 ORDER BY 1
"""


def of_database(
    database: str,
    relations: "Iterable[tuple[Any, ...]]",
    damaged: "set[str]",
    details: "Mapping[int, tuple[Any, ...]]",
    proof: Proof,
) -> "list[dict[str, Any]]":
    """The damaged relations of a database; one that was dropped meanwhile is no longer there to be damaged."""
    found = []
    for oid, kind, method, _valid, name, table, _aside in relations:
        if name not in damaged or oid not in details:
            continue
        sql, size, excludes = details[oid]
        found.append(
            {
                "database": database,
                "name": name,
                "sql": sql,
                "kind": KINDS[kind],
                "method": method,
                "table": table,
                "table_bytes": int(size or 0),
                "excludes": bool(excludes),
                "catalog": table.startswith(("pg_catalog.", "information_schema.")),
                "problems": said_of(proof, "%s: %s: " % (database, name)),
            }
        )
    return found


def of_catalog(proof: Proof) -> "list[dict[str, Any]]":
    """Catalogs that do not agree with each other, and databases that do not answer."""
    found = []
    for check, kind in ((copy_checks.CATALOG, "catalog"), (copy_checks.ANSWERS, "database")):
        for problem in proof.problems.get(check, []):
            database, _colon, said = problem.partition(": ")
            named = {"database": database, "name": said.partition(": ")[0], "kind": kind, "catalog": True}
            found.append({**named, "problems": [said]})
    return found


def said_of(proof: Proof, begins: str) -> "list[str]":
    """What the checks said of one relation."""
    said = [one for problems in proof.problems.values() for one in problems if one.startswith(begins)]
    return [one[len(begins) :] for one in said]


def unknown(proof: Proof) -> "list[str]":
    """What could not be looked at."""
    return ["%s: %s" % (name, what) for name in LOOKED for what in proof.left_out.get(name, [])]


def in_words(one: Mapping[str, Any]) -> str:
    """A damaged thing in one sentence."""
    return "%s %s in database %s: %s" % (one["kind"], one["name"], one["database"], "; ".join(one["problems"]))


def only_indexes(damaged: "Iterable[Mapping[str, Any]]") -> bool:
    """Whether all that is damaged can be made again from what is not."""
    found = list(damaged)
    return bool(found) and all(one["kind"] == "index" and not one["catalog"] for one in found)


def decisions(host: str, found: Mapping[str, Any]) -> "list[dict[str, str]]":
    """What the timeline shall say of a look at a server."""
    said = ["Damaged on %s: %s" % (host, in_words(one)) for one in found["damaged"]]
    if not said:
        said = ["Nothing damaged was found on %s" % host]
    left = found["unknown"]
    if left:
        said.append("Not known of %s: %s" % (host, shortened(left)))
    return [{"event": "note", "detail": one} for one in said]


def shortened(sentences: "list[str]", most: int = 3) -> str:
    """The first sentences, and how many there are more."""
    return "; ".join(sentences[:most]) + ("; and %d more" % (len(sentences) - most) if len(sentences) > most else "")


def oids(relations: "Iterable[tuple[Any, ...]]", damaged: "set[str]") -> Optional[str]:
    """The damaged relations, as `DETAILS` wants them; None when there are none."""
    return ",".join(str(r[0]) for r in relations if r[4] in damaged) or None


def nothing_known(why: str) -> "dict[str, Any]":
    """A look at a server that does not answer."""
    known = {"data_checksums": False, "in_recovery": False, "data_bytes": 0, "worked_s": 0.0}
    return {"damaged": [], "unknown": [why], "checksum_failures": {}, "checks": [], **known}
