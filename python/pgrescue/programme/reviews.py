"""When each runbook was last read by somebody, and in which state: `docs/runbooks/reviews.yml`."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pgrescue import runner


class Review(BaseModel):
    """Who read a runbook, when, and the digest of what they read; `next` is the day they want it read again."""

    model_config = ConfigDict(extra="forbid")
    reviewed: date
    by: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    next: date | None = None


def load(path: Path | None = None) -> dict[str, Review]:
    """Every review, by the runbook's name; none before there is one."""
    where = path or runner.ROOT / "docs" / "runbooks" / "reviews.yml"
    said = yaml.safe_load(where.read_text(encoding="utf-8")) if where.exists() else {}
    return TypeAdapter(dict[str, Review]).validate_python(said or {})


def problem(review: Review | None, digest: str, today: date, days: int) -> str | None:
    """Why a runbook counts as not reviewed; None when it does."""
    if review is None:
        return "nobody has reviewed it"
    if review.sha256 != digest:
        return f"it changed since {review.by} reviewed it on {review.reviewed}"
    until = review.next or review.reviewed + timedelta(days=days)
    return f"its review of {review.reviewed} was good until {until}" if until < today else None
