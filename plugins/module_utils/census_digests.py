"""What a census keeps instead of a text that somebody may have written a secret into: its digest. Pure.

Names stay, and what is said beside such a text, so that a difference has both. A digest hides what cannot be guessed; what is short can
be found by trying. A text that is a digest already stays one, so that a census from before can be compared with a new one.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Callable, Mapping

DIGEST = re.compile(r"sha256:[0-9a-f]{16}")
# objects whose text may hold a literal of somebody's
WRITTEN = ("rule ", "statistics object ", "text search dictionary ")


def digest(said: "str | None") -> str:
    """A short name for a long text."""
    return hashlib.sha256((said or "").encode()).hexdigest()[:16]


def hidden(text: str) -> str:
    """The digest of a text, which says that it is one."""
    return text if DIGEST.fullmatch(text) else "sha256:" + digest(text)


def of_census(census: Mapping[str, Any]) -> "dict[str, Any]":
    """A census without such texts."""
    databases = {name: of_database(about) for name, about in census["databases"].items()}
    return {**census, "cluster": of_cluster(census["cluster"]), "databases": databases}


def of_cluster(found: Mapping[str, Any]) -> "dict[str, Any]":
    """What is of no one database."""
    return {**found, "settings": {name: settings(said) for name, said in found["settings"].items()}}


def of_database(found: Mapping[str, Any]) -> "dict[str, Any]":
    """Everything of one database."""
    foreign = tuple(name + "." for name, said in found["relations"].items() if said.startswith("foreign table"))
    changed: "dict[str, Callable[[str, Any], Any]]" = {
        "relations": lambda _name, said: relation(said),
        "columns": lambda name, said: hidden(said) if name.startswith(foreign) else from_word(said, "default"),
        "indexes": lambda _name, said: {**said, "definition": with_literal(said["definition"])},
        "constraints": lambda _name, said: {**said, "definition": constraint(said["definition"])},
        "triggers": lambda _name, said: trigger(said),
        "policies": lambda _name, said: from_word(said, "using|with check"),
        "types": lambda _name, said: from_word(said, "default") if said.startswith("domain") else said,
        "objects": lambda name, said: hidden(said) if name.startswith(WRITTEN) else said,
        "publications": lambda _name, said: with_literal(said),
        "settings": lambda _name, said: settings(said),
    }
    without = {
        aspect: {name: said if said is None else hide(name, said) for name, said in found[aspect].items()}
        for aspect, hide in changed.items()
    }
    return {**found, **without}


def from_word(said: str, words: str) -> str:
    """With all that follows the first of the words hidden: an expression has no end that could be told."""
    parts = re.split(r" (%s) " % words, said, maxsplit=1)
    return "%s %s %s" % (parts[0], parts[1], hidden(parts[2])) if len(parts) > 1 else said


def with_literal(said: str) -> str:
    """Hidden when it holds a literal."""
    return hidden(said) if "'" in said else said


def relation(said: str) -> str:
    """The options of a foreign table, such as a program to run, are not known here."""
    kind, _semicolon, more = said.partition("; ")
    return "%s; %s" % (kind, hidden(more)) if kind == "foreign table" and more else with_literal(said)


def constraint(said: str) -> str:
    """The expression of a CHECK; other constraints have none, but for what excludes rows."""
    kind, _space, expression = said.partition(" ")
    return "%s %s" % (kind, hidden(expression)) if kind in ("CHECK", "EXCLUDE") else said


def trigger(said: str) -> str:
    """Its arguments and its condition, but not whether it is enabled."""
    enabled, definition = re.fullmatch(r"((?:disabled: |always: |replica: )?)(.*)", said, flags=re.DOTALL).groups()  # type: ignore[union-attr]
    return str(enabled + hidden(definition))


def settings(said: str) -> str:
    """The values of settings, one after the other; their names stay."""
    each = (one.partition("=") for one in re.split(r"; (?=[\w.]+=)", said))
    return "; ".join("%s=%s" % (name, hidden(value)) for name, _equals, value in each)
