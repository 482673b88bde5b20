"""How one aspect of a database is compared between two censuses: what differs, in words, and how many were compared. Pure.

A physical copy must be exact. A logical one may differ in what a dump does not carry or a newer server writes in another
way; each such tolerance stands where it is made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Mapping

Census = Mapping[str, Any]
AHEAD = 33  # values by which WAL may hold a sequence ahead of what a primary shows


@dataclass(frozen=True)
class Manner:
    """What two censuses have in common, which decides how strictly they are compared."""

    logical: bool  # the copy was made from a dump
    same_major: bool  # another major version writes the same definition in another way
    still: bool  # the original was counted while its replay stood still
    alone: bool  # there is no original: what is found is judged by itself


def sides(aspect: str, want: Census, found: Census) -> "tuple[dict[str, Any], dict[str, Any]]":
    """Both sides of an aspect, without what could not be read: that is said once, by a check of its own."""
    unread = {*want["unreadable"], *found["unreadable"], *found["skipped"]}
    if aspect in unread:
        return {}, {}
    both = [{name: said for name, said in side[aspect].items() if name not in unread} for side in (want, found)]
    return both[0], both[1]


def same(*aspects: str) -> Any:
    """A rule: names and values of these aspects must be the same; only names when a value is another version's."""

    def rule(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
        differences: "list[str]" = []
        compared = 0
        for aspect in aspects:
            a, b = sides(aspect, want, found)
            if not how.same_major and aspect not in ("relations", "columns", "counts", "row_security"):
                a, b = dict.fromkeys(a), dict.fromkeys(b)
            differences += differing(a, b)
            compared += len(a)
        return differences, compared

    return rule


def rows(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """A dump holds the rows of unlogged tables; of an extension's only those that it says are its configuration."""
    also = "unlogged" if how.logical else "extension_tables"
    counted, there = ({**a, **b} for a, b in zip(sides("tables", want, found), sides(also, want, found)))
    counted = {name: rows for name, rows in counted.items() if rows is not None}
    there = {name: rows for name, rows in there.items() if name in counted or name in found["tables"]}
    return differing(counted, there, " rows"), len(counted)


def content(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Only where the rows are as many: otherwise their number says it."""
    a, b = sides("fingerprints", want, found)
    both = [name for name in a if a[name] and b.get(name)]
    wrong = [name for name in both if a[name]["rows"] == b[name]["rows"] and a[name]["sum"] != b[name]["sum"]]
    return ["the rows of %s are not the same" % name for name in wrong], len(both)


def sequences(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Where they stand, which columns own them and how they count."""
    a, b = sides("sequences", want, found)
    differences = missing(a, b, "is missing") + missing(b, a, "was not there")
    for name in sorted(set(a) & set(b)):
        if not (a[name]["unlogged"] and not how.logical) and not stands(how, a[name], b[name]):
            differences.append("%s: %s became %s" % (name, position(a[name]), position(b[name])))
        parts = [part for part in ("owned_by", "definition") if a[name][part] != b[name][part]]
        differences += ["%s: %s %s became %s" % (name, part, a[name][part], b[name][part]) for part in parts]
    return differences, len(a)


def stands(how: Manner, want: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a sequence stands right.

    A dump reads sequences after the census and outside its snapshot, and WAL holds them ahead of what a primary shows: a
    copy may be ahead, never behind. A standby whose replay stood still and a copy that was replayed as far agree on what WAL
    holds, while their pages may be of different age. One without a value is told by `behind`.
    """
    if None in (want["last_value"], found["last_value"]) or (want["last_value"], want["is_called"]) == (
        found["last_value"],
        found["is_called"],
    ):
        return True
    step = int(re.findall(r" by (-?\d+)", str(want["definition"]))[0])
    if how.still and not how.logical:
        reached = [(seen["last_value"] + seen["log_cnt"] * step, seen["is_called"]) for seen in (want, found)]
        return reached[0] == reached[1] or want["definition"].endswith(" cycle")  # which begins anew in between
    ahead = (found["last_value"] - want["last_value"]) / step
    return bool(ahead > 0 and (how.logical or ahead <= AHEAD))


def position(seen: Mapping[str, Any]) -> str:
    """Where a sequence stands, to a reader."""
    if seen["last_value"] is None:
        return "no value"
    return "%s%s" % (seen["last_value"], "" if seen["is_called"] else " (not given out)")


def behind(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """One that was behind in the original is the application's own doing."""
    was, now = sides("sequences", want, found)
    known = set() if how.alone else {name for name, seen in was.items() if seen["behind"]}
    wrong = [
        "%s stands at %s, and %s" % (n, position(s), s["behind"])
        for n, s in now.items()
        if s["behind"] and n not in known
    ]
    return wrong, len(now)


def indexes(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """A dump passes over an index that is invalid, but for that of a partitioned table."""
    a, b = sides("indexes", want, found)
    if how.alone:
        return ["%s is invalid" % name for name, seen in b.items() if not seen["valid"]], len(b)
    if how.logical:
        invalid = [name for name, seen in a.items() if not seen["valid"]]
        a, b = ({name: seen for name, seen in side.items() if name not in invalid} for side in (a, b))
    return differing(*defined(how, a, b)), len(a)


def constraints(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Since 18 a NOT NULL is a constraint with a name. What a partition has of its parent is named anew from a dump."""
    a, b = sides("constraints", want, found)
    if how.alone:
        return ["%s is not validated" % name for name, seen in b.items() if not seen["validated"]], len(b)
    a, b = ({name: seen for name, seen in side.items() if not derived(how, seen)} for side in (a, b))
    return differing(*defined(how, a, b)), len(a)


def derived(how: Manner, seen: Mapping[str, Any]) -> bool:
    """Whether a constraint is not looked for by its name."""
    definition = seen["definition"]
    if definition.startswith("NOT NULL"):
        return not how.same_major
    return how.logical and definition.startswith("FOREIGN KEY") and bool(seen["inherited"])


def defined(how: Manner, want: Mapping[str, Any], found: Mapping[str, Any]) -> "tuple[dict[str, Any], dict[str, Any]]":
    """Without the definitions of two major versions; what else is said of them stays."""
    keys = [] if how.same_major else ["definition"]
    return without(want, *keys), without(found, *keys)


def without(side: Mapping[str, Any], *keys: str) -> "dict[str, Any]":
    """What is said of each thing, but for these."""
    return {name: {k: v for k, v in about.items() if k not in keys} for name, about in side.items()}


def owners(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Of what is on both sides; what is missing is told by its kind. A dump leaves an extension to who restores it."""
    a, b = sides("owners", want, found)
    both = [name for name in a if name in b and not (how.logical and name.startswith("extension "))]
    return ["%s: %s became %s" % (name, a[name], b[name]) for name in both if a[name] != b[name]], len(both)


def grants(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """Those on an object that is not there are not told again."""
    a, b = sides("grants", want, found)
    gone = set(want["owners"]) - set(found["owners"])
    on_it = tuple(name + " " for name in gone) + tuple(name.replace(" ", " column ", 1) + "." for name in gone)
    a = {name: said for name, said in a.items() if not name.startswith(on_it)}
    if not how.same_major:
        a, b = known_to_all(a), known_to_all(b)
    return differing(a, b), len(a)


def known_to_all(grants: Mapping[str, str]) -> "dict[str, str]":
    """Without MAINTAIN, which came with 17 and is in everything that is granted or revoked whole."""
    kept = {name: re.sub(r"(, )?MAINTAIN( with grant option)?( by [^,]*)?", "", said) for name, said in grants.items()}
    return {name: said.lstrip(", ") for name, said in kept.items() if said}


def extensions(how: Manner, want: Census, found: Census) -> "tuple[list[str], int]":
    """A dump creates each in the version that the new server brings."""
    a, b = sides("extensions", want, found)
    return differing(*((dict.fromkeys(a), dict.fromkeys(b)) if how.logical else (a, b))), len(a)


def differing(want: Mapping[str, Any], found: Mapping[str, Any], unit: str = "") -> "list[str]":
    """What is missing, what was not there, and what became something else, by name."""
    said = missing(want, found, "is missing") + missing(found, want, "was not there")
    for name in sorted(set(want) & set(found)):
        a, b = want[name], found[name]
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            said += [
                "%s: %s %s became %s" % (name, k, a.get(k), b.get(k)) for k in sorted({*a, *b}) if a.get(k) != b.get(k)
            ]
        elif a != b:
            said.append("%s: %s%s became %s" % (name, a, unit, b))
    return said


def missing(want: Mapping[str, Any], found: Mapping[str, Any], words: str) -> "list[str]":
    """Names of one side that the other does not have."""
    return ["%s %s" % (name, words) for name in sorted(set(want) - set(found))]
