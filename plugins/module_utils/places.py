"""The notes a restore leaves beside the data directory it fills: whose it is, and how far it got."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from . import records


def marker_path(place: str) -> str:
    """Where a run notes that a place is its own; beside the place, for the engine wants it empty."""
    return place.rstrip("/") + ".pgrescue.json"


def marker(place: str) -> "dict[str, Any]":
    """What was noted of a place; empty when no restore has begun there."""
    path = marker_path(place)
    return records.read_json(path) if os.path.exists(path) else {}


def tablespaces(place: str) -> str:
    """Where the tablespaces of a copy go that must stay apart from the original, whose paths they would take otherwise."""
    return place.rstrip("/") + ".tablespaces"


def brought(place: str) -> str:
    """Where a dump is brought to that is restored into the server at a place; M(restore_dump) removes it only when all went well."""
    return place.rstrip("/") + ".dump"


def unstarted(place: str) -> "dict[str, str]":
    """The run and the place of a restore that is whole and was never started; empty for anything else."""
    noted = marker(place)
    started = os.path.exists(os.path.join(place, "postmaster.opts"))  # no backup holds one
    return {"run": str(noted["run"]), "place": place} if noted.get("state") == "restored" and not started else {}


def used_bytes(place: str) -> int:
    """What the files below a place take on its disk."""
    total = 0
    for folder, _folders, names in os.walk(place):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a server may be at work
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
