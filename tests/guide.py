"""The commands of docs/adopt.md, as the page has them: what a test or a scenario runs is what a newcomer types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs/adopt.md"


@dataclass(frozen=True)
class Block:
    """A fenced block; `where` is the file it is, or the hosts it is typed on, and empty for the controller."""

    kind: str
    where: tuple[str, ...]
    text: str


def blocks(instead: Mapping[str, str] | None = None) -> list[Block]:
    """The page's blocks, with what it has for an example replaced by what is there; longer words first.

    Raises LookupError for a word that the page has not: the page was changed, and whoever replaces it does not know.
    """
    text = PAGE.read_text(encoding="utf-8")
    for word in instead or {}:
        if word not in text:
            raise LookupError(f"docs/adopt.md has no {word}")
    found = re.findall(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ordered = sorted(instead or {}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)")
    return [
        Block(kind, tuple(at.split()), pattern.sub(lambda m: (instead or {})[m[0]], body)) for kind, at, body in found
    ]
