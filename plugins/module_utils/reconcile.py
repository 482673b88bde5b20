"""Acknowledged tokens against the rows of a recovered database: what was lost, and whether it was allowed to be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Iterable, Mapping, Sequence

from .ranges import Range, clip, size, subtract, to_ranges


@dataclass(frozen=True)
class Acknowledged:
    """What the witness journal says: every acknowledged token as ranges, and the last of them with their times."""

    ranges: "list[list[int]]"
    attempts: "dict[int, str]"  # token: when its commit was sent (RFC 3339), for the recent tokens
    acks: "dict[int, str]"  # token: when its commit was acknowledged


@dataclass(frozen=True)
class Reconciliation:
    """Token numbers, as ranges; the schema is docs/schema/reconciliation.schema.json."""

    floor: int
    acknowledged: int
    present_max: int
    missing_before_recovery_point: "list[int]"
    missing_after_recovery_point: "list[int]"

    def as_dict(self) -> "dict[str, Any]":
        return asdict(self)


def read_acknowledged(lines: Iterable[Mapping[str, Any]], recent: int = 20000) -> Acknowledged:
    """Fold journal lines of the witness (docs/contracts.md) into what it saw acknowledged."""
    tokens: "list[int]" = []
    attempts: "dict[int, str]" = {}
    acks: "dict[int, str]" = {}
    for line in lines:
        if line.get("probe") != "commit":
            continue
        if line["event"] == "attempt":
            attempts[line["token"]] = line["wall"]
        elif line["event"] == "result" and line["ok"]:
            tokens.append(line["token"])
            acks[line["token"]] = line["end"]
    newest = max(tokens, default=0) - recent
    return Acknowledged(
        to_ranges(tokens),
        {n: t for n, t in attempts.items() if n > newest},
        {n: t for n, t in acks.items() if n > newest},
    )


def reconcile(acknowledged: Acknowledged, present: Sequence[Range], floor: int) -> Reconciliation:
    """Which acknowledged tokens from `floor` on are missing among the `present` ones.

    A missing token counts as lost *before* the recovery point when it was acknowledged before the newest present
    token was even sent: its commit then came first, and recovery went past it. The witness keeps several commits in
    flight during an outage, so numbers alone do not tell the order.
    """
    top = max((last for _first, last in present), default=0)
    expected = clip(acknowledged.ranges, floor, 2**62)
    missing = subtract(expected, present)
    newest_sent = acknowledged.attempts.get(top, "")
    before: "list[int]" = []
    after: "list[int]" = []
    for first, last in missing:
        for token in range(first, last + 1):
            acked = acknowledged.acks.get(token, "")
            earlier = acked < newest_sent if acked and newest_sent else token < top
            (before if earlier else after).append(token)
    return Reconciliation(floor, size(expected), top, before, after)
