"""Reading the times that records, stores and engines write: RFC 3339 in UTC, with or without a fraction."""

from __future__ import annotations

from datetime import datetime


def moment(text: str) -> datetime:
    """The instant that a time names."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.9 knows no Z


def epoch_s(text: str) -> float:
    """The same in epoch seconds."""
    return moment(text).timestamp()
