"""The notes a restore leaves beside the data directory it fills: whose it is, and how far it got."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Mapping

from . import records
from .guards import PRECONDITION, Stop


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


def check_room(wanted: "Mapping[str, int]", reused: bool, what: str) -> None:
    """Refuse what would fill a disk. `wanted` maps folders to the bytes that go there; those on one disk share its room.

    With `reused` what the folders hold already is an earlier attempt's and counts as room.
    """
    disks: "dict[int, tuple[str, int, int]]" = {}
    for folder, size in wanted.items():
        above = folder
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        held = used_bytes(folder) if reused and above == folder else 0
        _first, needed, there = disks.get(os.stat(above).st_dev, (above, 0, 0))
        disks[os.stat(above).st_dev] = (_first, needed + size, there + held)
    for above, needed, held in disks.values():
        disk = os.statvfs(above)
        free = disk.f_bavail * disk.f_frsize + held
        if free < needed:
            raise Stop(
                "The disk of %s has room for %d MB; %s needs %d MB there. Nothing was changed."
                % (above, free >> 20, what, needed >> 20),
                PRECONDITION,
            )


def rewinding(place: str) -> str:
    """Where it is noted that pg_rewind is at work on a data directory, which no server may be started on meanwhile."""
    return place.rstrip("/") + ".rewinding.json"


def brought(place: str) -> str:
    """Where a dump is brought to that is restored into the server at a place; M(restore_dump) removes it only when all went well."""
    return place.rstrip("/") + ".dump"


def wal(place: str) -> str:
    """Where the WAL goes that is read, and handed bit by bit to the server at a place."""
    return place.rstrip("/") + ".wal"


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
