"""The commit window of a run: how long the old side is kept fenced after traffic moved, and the way back stays open."""

from __future__ import annotations

import os
import time
from typing import Any, Iterable, Mapping, Optional

from . import journal, records, times
from .guards import Stop

FILE = "window.json"
OPEN, CLOSED = "open", "closed"


def opened(run: str, old_side: Iterable[str], lasts_s: float, rollback: Iterable[str]) -> "dict[str, Any]":
    """A window that opens now."""
    begins = journal.now()
    return {
        "schema_version": 1,
        "run": run,
        "opened": begins,
        "closes": journal.stamp(times.epoch_s(begins) + lasts_s),
        "old_side": list(old_side),
        "rollback": list(rollback),
    }


def closed(window: Mapping[str, Any], by: str, reason: str) -> "dict[str, Any]":
    """The window, closed before its time."""
    return {**window, "closed": journal.now(), "closed_by": by, "reason": reason}


def state(window: Mapping[str, Any], now_s: Optional[float] = None) -> str:
    """Whether a window is open or closed now."""
    now_s = time.time() if now_s is None else now_s
    return CLOSED if "closed" in window or now_s >= times.epoch_s(window["closes"]) else OPEN


def _when(window: Mapping[str, Any]) -> str:
    """When a window closed, and why where somebody closed it."""
    if "closed" not in window:
        return str(window["closes"])
    return "%(closed)s by %(closed_by)s (%(reason)s)" % window


def check(window: Mapping[str, Any], wanted: str, now_s: Optional[float] = None) -> None:
    """Refuse what needs the window to be open, or closed, while it is not."""
    if state(window, now_s) == wanted:
        return
    old = ", ".join(window["old_side"]) or "the old side"
    if wanted == OPEN:
        raise Stop(
            "The commit window of run %s closed at %s, and %s may not be as it was left. Nothing was changed. A way back is a new "
            "switchover." % (window["run"], _when(window), old)
        )
    raise Stop(
        "The commit window of run %s is open until %s: %s stays fenced, for it is the way back. Nothing was changed. Close it: "
        "pgrescue commit %s" % (window["run"], window["closes"], old, window["run"])
    )


def read(run_dir: str) -> "Optional[dict[str, Any]]":
    """The window of a run; None when it opened none."""
    path = os.path.join(run_dir, FILE)
    found: "Optional[dict[str, Any]]" = records.read_json(path) if os.path.exists(path) else None
    return found


def write(run_dir: str, window: Mapping[str, Any]) -> bool:
    """Keep the window with the run; False when it was kept so already."""
    return records.write_json(os.path.join(run_dir, FILE), window)
