"""Two censuses compared: one check for each aspect, which names the first differences. Pure."""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator, Mapping, Optional

from . import census_digests
from . import census_rules as rules
from .census_rules import Census, Manner, differing, without
from .validation import SHOULD, check

NAMED = 10  # differences a check names

# What needs no original: nothing is invalid, unvalidated or behind.
BY_ITSELF = {
    "every index is there and valid": rules.indexes,
    "every constraint is there and validated": rules.constraints,
    "no sequence is behind its column": rules.behind,
}
DATABASE_RULES = {
    "every table has the rows the census counted": rules.rows,
    "tables that were summed hold the same content": rules.content,
    "sequences stand where the census saw them": rules.sequences,
    "tables and their columns are as the census saw them": rules.same("relations", "columns"),
    **BY_ITSELF,
    "every owner is the same": rules.owners,
    "row security and every policy are there": rules.same("row_security", "policies"),
    "every trigger is there": rules.same("triggers", "event_triggers"),
    "every function is there": rules.same("functions"),
    "every view is there": rules.same("views"),
    "every type is there": rules.same("types"),
    "every object of another kind is there": rules.same("objects"),
    "every extension is there": rules.extensions,
    "publications and subscriptions are there": rules.same("publications", "subscriptions"),
    "comments, labels and large objects are as many": rules.same("counts"),
}


OF_CLUSTER = (
    "every database is there",
    "every grant is there",
    "settings of databases and roles are there",
    "roles and their memberships are there",
    "every tablespace is there",
)
READABLE = "everything could be read"
COMPARED = "everything was compared with a census"


def compared(expected: Optional[Census]) -> "dict[str, Any]":
    """Say whether there was a census to compare with: without one rows and objects may be missing, and no check tells."""
    seen = "a census" if expected else "no census: what may be missing is not known"
    return check(COMPARED, "a census", seen, bool(expected), tier=SHOULD)


def compare(expected: Optional[Census], observed: Census, kind: str) -> "list[dict[str, Any]]":
    """The checks; without an original only those that need none. `kind` is physical or logical."""
    expected = expected and census_digests.of_census(expected)  # one of an older dump may hold the texts themselves
    original = expected or observed
    majors = {int(side["cluster"]["server_version_num"]) // 10000 for side in (original, observed)}
    how = Manner(kind == "logical", len(majors) == 1, bool(original.get("lsn")), not expected)
    of_databases = BY_ITSELF if how.alone else DATABASE_RULES
    checks = [said(name, *everywhere(how, original, observed, rule)) for name, rule in of_databases.items()]
    readable = said(READABLE, *unread(how, original, observed))
    if how.alone:
        return [*checks, readable]
    sides = original["cluster"], observed["cluster"]
    checks += [
        said("every grant is there", *grants(how, original, observed)),
        said("settings of databases and roles are there", *settings(how, original, observed)),
        said("roles and their memberships are there", *roles(how, *sides)),
        said("every tablespace is there", *tablespaces(how, *sides)),
    ]
    if not how.logical:
        checks[0]["observed"] += not_brought_back(original)
        checks.append(said("text sorts by the same version of its collations", *collations(how, original, observed)))
    return [said("every database is there", *databases(how, original, observed)), *checks, readable]


def not_brought_back(original: Census) -> str:
    """Unlogged tables, which are empty after a physical restore."""
    names = ["%s: %s" % (name, one) for name, about in original["databases"].items() for one in about["unlogged"]]
    return "; unlogged tables are not brought back: " + ", ".join(names) if names else ""


def said(name: str, differences: "list[str]", compared: int) -> "dict[str, Any]":
    """The check: passed when nothing differs."""
    more = "; and %d more" % (len(differences) - NAMED) if len(differences) > NAMED else ""
    observed = "; ".join(differences[:NAMED]) + more or "no difference among %d" % compared
    return check(name, "no difference", observed, not differences)


def both(original: Census, observed: Census) -> "Iterator[tuple[str, Census, Census]]":
    """Databases that stand on both sides."""
    for name, about in sorted(original["databases"].items()):
        if name in observed["databases"]:
            yield name, about, observed["databases"][name]


def everywhere(
    how: Manner, original: Census, observed: Census, rule: "Callable[..., tuple[list[str], int]]"
) -> "tuple[list[str], int]":
    """A rule in every database."""
    differences: "list[str]" = []
    compared = 0
    for database, want, found in both(original, observed):
        differ, among = rule(how, want, found)
        differences += ["%s: %s" % (database, one) for one in differ]
        compared += among
    return differences, compared


def of_those(want: Mapping[str, Any], found: Mapping[str, Any], how: Manner) -> "dict[str, Any]":
    """A server that a dump is restored on has things of its own; a physical copy has none."""
    return {name: about for name, about in found.items() if name in want or not how.logical}


def databases(how: Manner, original: Census, observed: Census) -> "tuple[list[str], int]":
    """Sizes are nobody's promise, and a library's version has a check of its own. A dump brings what it holds."""
    keys = ("size_bytes", "actual_collation_version", *(["collation_version"] if how.logical else []))
    want, found = original["cluster"]["databases"], observed["cluster"]["databases"]
    a, b = without(want, *keys), without(found, *keys)
    if how.logical:
        a = {name: about for name, about in a.items() if name in original["databases"]}
    return differing(a, of_those(a, b, how)), len(a)


def grants(how: Manner, original: Census, observed: Census) -> "tuple[list[str], int]":
    """In every database, and on what all share; those on a database that is not there are not told again."""
    differences, compared = everywhere(how, original, observed, rules.grants)
    want, found = original["cluster"]["grants"], observed["cluster"]["grants"]
    gone = set(original["cluster"]["databases"]) - set(observed["cluster"]["databases"])
    want = {
        name: said for name, said in want.items() if not name.startswith(tuple("database %s " % one for one in gone))
    }
    return differences + differing(want, of_those(want, found, how)), compared + len(want)


def settings(how: Manner, original: Census, observed: Census) -> "tuple[list[str], int]":
    """ALTER DATABASE and ALTER ROLE, in a database and everywhere."""
    want, found = original["cluster"]["settings"], observed["cluster"]["settings"]
    differences, compared = everywhere(how, original, observed, rules.same("settings"))
    return differing(want, of_those(want, found, how)) + differences, compared + len(want)


def roles(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """A newer server knows options of a membership that an older one does not, and a dump may name another grantor."""
    members = [side["memberships"] for side in (want, found)]
    if how.logical:
        members = [{name: re.sub(r"by .*?(, |$)", "", said) for name, said in side.items()} for side in members]
    if not how.same_major:
        members = [{name: "admin" in said for name, said in side.items()} for side in members]
    differences = differing(want["roles"], of_those(want["roles"], found["roles"], how))
    differences += differing(members[0], of_those(members[0], members[1], how))
    return differences, len(want["roles"]) + len(members[0])


def tablespaces(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Wherever they are put: a copy has its own places."""
    a, b = without(want["tablespaces"], "location"), without(found["tablespaces"], "location")
    return differing(a, of_those(a, b, how)), len(a)


def collations(how: Manner, original: Census, observed: Census) -> "tuple[list[str], int]":
    """Text that the files hold sorted by one version of a library is not found by another."""
    found = observed["cluster"]["databases"]
    want = {n: d["actual_collation_version"] for n, d in original["cluster"]["databases"].items() if n in found}
    now = {n: found[n]["actual_collation_version"] for n in want}
    differences, compared = everywhere(how, original, observed, rules.same("collations"))
    return differing(want, now) + differences, compared + len(want)


def unread(how: Manner, original: Census, observed: Census) -> "tuple[list[str], int]":
    """What either census could not read was not compared, and is said here."""
    found = []
    for whose, census in [("copy", observed)] + ([] if how.alone else [("original", original)]):
        parts = [("cluster", census["cluster"])] + sorted(census["databases"].items())
        found += [
            "%s of the %s: %s: %s" % (part, whose, *why) for part, about in parts for why in about["unreadable"].items()
        ]
    return found, 1 + len(observed["databases"])
