"""What a drill printed on its terminal, with times: an asciicast, as asciinema and its web player read it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import TextIO

from rich.console import Console

from pgrescue.evidence import leaks
from pgrescue.files import write_text

FILE = "terminal.cast"
VERSION = 2  # of the format


class Tape(StringIO):
    """A file for a console: all that is printed goes through, and is kept. What a person types is not."""

    def __init__(self, through: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._through, self._clock = through, clock
        self._began, self._at = clock(), datetime.now(UTC)
        self._printed: list[tuple[float, str]] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]  # nobody sets it
        """The terminal's: what it cannot show is not printed to it."""
        return self._through.encoding

    def isatty(self) -> bool:
        """Whether a person sits there."""
        return self._through.isatty()

    def flush(self) -> None:
        """Let it be seen."""
        self._through.flush()

    def write(self, text: str) -> int:
        """Print, and keep."""
        self._printed.append((self._clock() - self._began, text))
        return self._through.write(text)

    def cast(self, title: str, width: int, height: int) -> str:
        """The asciicast: a header, then `[seconds, "o", text]` a line. What looks like a secret is masked."""
        size = {"width": width, "height": height}
        header = {"version": VERSION, **size, "timestamp": int(self._at.timestamp()), "title": title}
        # a terminal that is written to makes a line's end of a newline; a player does not
        events = [[round(at, 3), "o", leaks.mask(said).replace("\n", "\r\n")] for at, said in self._printed]
        lines = [header, *events]
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def keep(console: Console, directory: Path) -> None:
    """Write what the console printed until now into a record; nothing where it is not taped."""
    if isinstance(console.file, Tape):
        write_text(directory / FILE, console.file.cast(directory.name, console.width, console.height))
