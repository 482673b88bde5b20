"""What the witness saw acknowledged, read from its journal on its host."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any

from . import ranges, reconcile, witness_files


def read(journal: str, hours: float, recent: int) -> "dict[str, Any]":
    """Tokens as `ranges`, with `attempts` and the times (RFC 3339) of the last `recent` of them, but for losses that people accepted.

    Looks back `hours` from the newest commit, which may be long ago where the service is down.
    """
    now = datetime.now(timezone.utc)
    newest = witness_files.last_successes(journal, now, ["commit"]).get("commit", now)
    lines = witness_files.lines(journal, newest - timedelta(hours=hours), '"commit"')
    seen = asdict(reconcile.read_acknowledged(lines, recent))
    seen["ranges"] = ranges.subtract(seen["ranges"], witness_files.accepted_losses(journal))
    return seen
