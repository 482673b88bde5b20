"""Print a sentence: wrapped at words where somebody reads it at a terminal, in one line where it is piped."""

from __future__ import annotations

from rich.console import Console


def say(console: Console, sentence: str, style: str | None = None) -> None:
    """Print it as it is: nothing in it is markup, and what is piped is cut by nobody."""
    console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)
