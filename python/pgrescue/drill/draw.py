"""What a blind drill draws, committed to before and opened afterwards: it can be shown not to have been chosen later.

The commitment is the SHA-256 of the canonical JSON of what was drawn and a salt of 32 random bytes. Until it is opened
the draw is in the memory of the drill alone.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from pgrescue.core import records
from pgrescue.drill.record import Draw, Opened

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """`2h`, `90m`, `30s` or `1h30m` as seconds. Raises ValueError."""
    if not re.fullmatch(r"(\d+[smhd])+", text):
        raise ValueError(f"{text!r} is no duration such as 2h, 90m or 1h30m")
    found = float(sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)([smhd])", text)))
    if not found:
        raise ValueError(f"{text!r} is no time at all")
    return found


def draw(service: str, candidates: Sequence[str], within_s: float, now: datetime, seed: int | None) -> Opened:
    """A scenario and an instant within the window, at random; the seed repeats them, the salt is never repeated."""
    # seeded it is a rehearsal; unseeded the operating system draws
    chance = random.Random(seed) if seed is not None else random.SystemRandom()  # noqa: S311
    return Opened(
        salt=secrets.token_hex(32),
        service=service,
        scenario=chance.choice(sorted(candidates)),
        at=now + timedelta(seconds=chance.uniform(0, within_s)),
        candidates=sorted(candidates),
        within_s=within_s,
        seed=seed,
    )


def commitment(drawn: Opened) -> str:
    """What can be shown before: a digest of the draw that nobody can turn back."""
    return records.digest(drawn.dump())


def holds(said: Draw) -> bool:
    """Whether what was opened is what was committed to."""
    return said.opened is not None and commitment(said.opened) == said.commitment
