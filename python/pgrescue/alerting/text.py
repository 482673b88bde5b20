"""Text that somebody else wrote, made inert and cut to what a channel takes.

What is cut is cut before it is escaped, one character after the other, so that an escape is whole or is not there.
Lengths are counted in UTF-16 units: some vendors count those and others code points, of which there are never more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

from pgrescue.core.inert import inert

Escape = Callable[[str], str]
FACT_LIMIT = 500
_DISCORD_MARKUP = frozenset("\\`*_~|<>[]()#:")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
_LEFT_OUT = 24  # room for "… and 1,234 more"


def as_it_is(character: str) -> str:
    """Nothing to escape."""
    return character


def slack(character: str) -> str:
    """What Slack reads as the begin of a mention, a link or an entity, as an entity."""
    return _HTML[character] if character in "&<>" else character


def no_mention(character: str) -> str:
    """An @ that begins no mention; nothing else has a meaning."""
    return "@\u200b" if character == "@" else character


def discord(character: str) -> str:
    """Markdown after a backslash; an @ that begins no mention, whatever `allowed_mentions` says."""
    return "\\" + character if character in _DISCORD_MARKUP else no_mention(character)


def html(character: str) -> str:
    """As text of an HTML page, also within quotes."""
    return _HTML.get(character, character)


def ascii_only(character: str) -> str:
    """For a text message, which holds half as much as soon as one character is none of GSM's, as a backtick is not."""
    if character == "`":
        return "'"
    if character.isascii():
        return character
    nearest = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return "".join(letter for letter in nearest if " " <= letter <= "~") or "?"


def units(text: str) -> int:
    """How long a text is, in UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def fit(text: str, limit: int, escape: Escape = as_it_is, ellipsis: str = "…") -> str:
    """A text, inert, escaped and at most so long; an ellipsis says that it was longer."""
    kept: list[str] = []
    length = 0
    whole = 0  # how many pieces leave room for the ellipsis
    for character in inert(text):
        piece = escape(character)
        length += units(piece)
        if length > limit:
            return "".join(kept[:whole]) + ellipsis if limit >= units(ellipsis) else ""
        kept.append(piece)
        if length <= limit - units(ellipsis):
            whole = len(kept)
    return "".join(kept)


def fit_lines(lines: Sequence[str], limit: int, escape: Escape = as_it_is, bullet: str = "• ") -> str:
    """Facts, one a line, as many as there is room for; a long one is cut, and it is said how many were left out."""
    made = [bullet + fit(line, FACT_LIMIT, escape) for line in lines]
    return _as_many_as_fit(made, limit)


def fit_commands(commands: Sequence[str], limit: int, escape: Escape = as_it_is) -> str:
    """Commands, one a line. One that does not fit is left out: half a command is worse than none.

    Three backticks in a row would end the block of code that a chat shows them in.
    """
    inside = [re.sub("`{3,}", lambda fence: "'" * len(fence[0]), inert(command)) for command in commands]
    return _as_many_as_fit(["".join(map(escape, command)) for command in inside], limit)


def _as_many_as_fit(lines: list[str], limit: int) -> str:
    if units("\n".join(lines)) <= limit:
        return "\n".join(lines)
    kept: list[str] = []
    room = limit - _LEFT_OUT
    for line in lines:
        if units(line) + 1 <= room:
            kept.append(line)
            room -= units(line) + 1
    return "\n".join([*kept, f"… and {len(lines) - len(kept):,} more"])
