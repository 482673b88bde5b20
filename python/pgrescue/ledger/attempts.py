"""Attempts to back up: `runs/attempts/<service>.jsonl`, one line an attempt, only ever appended to.

Whoever takes a backup, or hears of one that a host took by itself, writes here; the ledger counts. An attempt that
failed is written as well, and each retry is an attempt of its own.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from pgrescue.models import Instant, Model, Seconds

FOLDER = "attempts"


class Attempt(Model):
    """One line. `at` is when the attempt ended, which for a good backup is the newest moment it can bring back."""

    at: Instant
    repository: str | SkipJsonSchema[None] = None
    kind: str | SkipJsonSchema[None] = None  # full, diff, incr or dump, as the engine calls it
    result: Literal["passed", "failed"]
    duration_s: Seconds | SkipJsonSchema[None] = None
    size_bytes: int | SkipJsonSchema[None] = Field(None, ge=0)  # of what a restore of it brings back
    stored_bytes: int | SkipJsonSchema[None] = Field(None, ge=0)  # what it added to the repository
    reason: str | SkipJsonSchema[None] = None  # why it failed


def append(runs: Path, service: str, attempt: Attempt) -> None:
    """Write one attempt down, durably; several processes may do so at once.

    A line that a crash left unfinished stays as it is and is named by the ledger; this one begins on a line of its own.
    """
    path = runs / FOLDER / f"{service}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(attempt.dump(), ensure_ascii=False).encode() + b"\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            line = b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
