"""What the witness saw acknowledged, read from its journal on its host."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable

from . import ranges, reconcile, witness_files

TOKEN = re.compile(r'"token":(\d+)')


def read(journal: str, hours: float, recent: int) -> "dict[str, Any]":
    """Tokens as `ranges`, with `attempts` and the times (RFC 3339) of the last `recent` of them, but for losses that people accepted.

    Looks back `hours` from the newest commit, which may be long ago where the service is down.
    """
    now = datetime.now(timezone.utc)
    newest = witness_files.last_successes(journal, now, ["commit"]).get("commit", now)
    lines = witness_files.texts(journal, newest - timedelta(hours=hours), '"probe":"commit"')
    seen = asdict(fold(lines, recent))
    seen["ranges"] = ranges.subtract(seen["ranges"], witness_files.accepted_losses(journal))
    return seen


def fold(texts: Iterable[str], recent: int) -> reconcile.Acknowledged:
    """What `reconcile.read_acknowledged` makes of the same lines; only those whose times are wanted are parsed."""
    told = [(int(token.group(1)), text) for text in texts for token in [TOKEN.search(text)] if token]
    acked = [(token, text) for token, text in told if '"ok":true' in text]
    tokens = [token for token, _text in acked]
    newest = max(tokens, default=0) - recent
    parsed = [json.loads(text) for token, text in told if token > newest]
    late = reconcile.read_acknowledged(parsed, recent)
    return reconcile.Acknowledged(ranges.to_ranges(tokens), late.attempts, late.acks)
