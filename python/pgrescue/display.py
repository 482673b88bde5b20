"""Show a run while it is going: a live screen on a terminal, one plain line per event elsewhere.

The display only reads `timeline.jsonl`; losing it never stops a run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from pgrescue.event_line import line
from pgrescue.models import Event, Objectives, Plan, Run
from pgrescue.screen import Screen, render
from pgrescue.story import fold


class Tail:
    """Reads whole lines as they are appended; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._offset = 0

    def read(self) -> list[Event]:
        """The events of the lines finished since the last call; what is no event is passed over."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        fresh = []
        for raw in whole.splitlines():
            try:
                fresh.append(Event.model_validate_json(raw))
            except ValidationError:
                continue
        self.events += fresh
        return fresh


def follow(
    run_dir: Path,
    done: Callable[[], bool],
    objectives: Objectives | None = None,
    console: Console | None = None,
    *,
    predicted: Mapping[str, float] | None = None,
    poll_s: float = 0.25,
) -> None:
    """Show the run in this directory until `done()`; then show what is left and return.

    `objectives` default to those of `run.json`. `predicted` gives the seconds each phase is expected
    to take; without it no time of arrival is shown. Neither the directory nor its files need exist yet.
    """
    console = console or Console()
    tail = Tail(run_dir / "timeline.jsonl")
    if not console.is_terminal:
        _follow_plainly(tail, done, console, poll_s)
        return

    def screen() -> Screen:
        run = _read(run_dir / "run.json", Run.model_validate)
        promised = objectives or (run.objectives if run else Objectives())
        plan = _read(run_dir / "plan.json", Plan.model_validate)
        now = datetime.now(UTC)
        return Screen(run_dir.name, run, plan, promised, predicted, fold(tail.events), tuple(tail.events), now)

    def picture() -> Text:
        return render(screen(), console.width, ascii_only=console.options.ascii_only)

    with Live(console=console, auto_refresh=False, transient=False, vertical_overflow="crop") as live:
        finished = False
        while not finished:
            finished = done()
            tail.read()
            live.update(picture(), refresh=True)
            if not finished:
                time.sleep(poll_s)  # a picture is drawn so often, whatever happens


def _follow_plainly(tail: Tail, done: Callable[[], bool], console: Console, poll_s: float) -> None:
    shown = 0
    finished = False
    while not finished:
        finished = done()
        tail.read()
        # A step is timed by its start, so a line is told from the story up to and including its event.
        for place in range(shown, len(tail.events)):
            said = line(tail.events[place], fold(tail.events[: place + 1]))
            console.print(escape(said), soft_wrap=True, highlight=False)
        shown = len(tail.events)
        if not finished:
            time.sleep(poll_s)  # the journal is a file that grows: it is looked at so often


def _read[T](path: Path, validate: Callable[[Any], T]) -> T | None:
    """The record in this file, or None while it is absent or unreadable: a display never stops a run."""
    try:
        return validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
