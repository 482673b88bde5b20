"""What the witness saw acknowledged, read from its journal on its host."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable, Optional

from . import ranges, reconcile, witness_files

MARGIN = timedelta(minutes=5)  # so that something is there to be found
LINES_A_TOKEN = 6  # at most: an attempt, a result, and those that failed between
TOKEN = re.compile(r'"token":(\d+)')


def read(journal: str, hours: float, recent: int, since: Optional[datetime] = None) -> "dict[str, Any]":
    """Tokens as `ranges`, with `attempts` and the times (RFC 3339) of the last `recent` of them, but for losses that people accepted.

    Looks back `hours` from the newest commit, which may be long ago where the service is down, or to shortly before `since`.
    """
    if since:
        start = since - MARGIN
    else:
        now = datetime.now(timezone.utc)
        start = witness_files.last_successes(journal, now, ["commit"]).get("commit", now) - timedelta(hours=hours)
    lines = witness_files.texts(journal, start, '"probe":"commit"')
    seen = asdict(fold(lines, recent))
    seen["ranges"] = ranges.subtract(seen["ranges"], witness_files.accepted_losses(journal))
    return seen


def fold(texts: Iterable[str], recent: int) -> reconcile.Acknowledged:
    """What `reconcile.read_acknowledged` makes of the same lines; only those whose times are wanted are parsed."""
    tokens: "list[int]" = []
    told: "deque[tuple[int, str]]" = deque(maxlen=LINES_A_TOKEN * recent)  # a day is a third of a gigabyte
    for text in texts:
        token = TOKEN.search(text)
        if token:
            told.append((int(token.group(1)), text))
            tokens += [int(token.group(1))] if '"ok":true' in text else []
    newest = max(tokens, default=0) - recent
    parsed = [json.loads(text) for token, text in told if token > newest]
    late = reconcile.read_acknowledged(parsed, recent)
    return reconcile.Acknowledged(ranges.to_ranges(tokens), late.attempts, late.acks)
