"""Text that somebody else wrote, without what a terminal, a header or a reader's eye obeys. Pure."""

from __future__ import annotations

import unicodedata


def inert(text: str) -> str:
    """One line that cannot steer a terminal, a header or the direction of writing.

    Breaks become a space; control and format characters (which include overrides of the direction) and what is no
    character are dropped; a lone surrogate becomes U+FFFD.
    """
    return "".join(map(_inert, text)).strip()


def _inert(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if character in "\t\n\v\f\r\x85" or category.startswith("Z"):
        return " "
    if category == "Cs":
        return "\ufffd"
    return "" if category.startswith("C") else character
