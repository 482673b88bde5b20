"""Text of people and machines made safe for Markdown."""

from __future__ import annotations


def cell(text: object) -> str:
    """Text made safe for a cell of a Markdown table."""
    escaped = str("" if text is None else text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return escaped.replace("`", "\\`").replace("\r", " ").replace("\n", " ")
