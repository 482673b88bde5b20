"""Attempts to back up: `runs/attempts/<service>.jsonl`, one line an attempt, only ever appended to.

Hosts write their own down and playbooks copy what is new (`core.attempts`); the ledger counts. An attempt that failed
is written as well, and each retry is an attempt of its own.
"""

from __future__ import annotations

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
