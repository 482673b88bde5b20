"""Which backup is due, and which may go: pure folds over the backups of one repository.

A backup is a mapping as `repository.candidates` gives it: label, type, stopped, timeline, proof, error.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Mapping, Sequence

from .times import moment


def _newest(backups: "Sequence[Mapping[str, Any]]", types: Sequence[str]) -> "Mapping[str, Any] | None":
    fit = [b for b in backups if b["type"] in types and not b["error"]]
    return max(fit, key=lambda b: str(b["stopped"]), default=None)


def due(
    backups: "Sequence[Mapping[str, Any]]", timeline: int, now: datetime, full_days: float, diff_days: float
) -> "tuple[str, str]":
    """The type of the backup to take now, and why.

    After a promotion only a full one may be built upon: PostgreSQL and its engines have left changed blocks out of incremental
    backups across timelines.
    """
    full, built = _newest(backups, ["full"]), _newest(backups, ["full", "diff"])
    if full is None or built is None:
        return "full", "there is no full backup"
    if int(full["timeline"]) != timeline:
        return "full", "the newest full one is of timeline %s, the server is on %d" % (full["timeline"], timeline)
    # an hour of grace: a schedule that began a minute earlier than last time must not skip its day
    grace = timedelta(hours=1)
    if now - moment(full["stopped"]) >= timedelta(days=full_days) - grace:
        return "full", "the newest full one was taken at %s" % full["stopped"]
    if now - moment(built["stopped"]) >= timedelta(days=diff_days) - grace:
        return "diff", "the newest full or differential one was taken at %s" % built["stopped"]
    return "incr", "the newest full or differential one was taken at %s" % built["stopped"]


def fulls_to_keep(
    backups: "Sequence[Mapping[str, Any]]", now: datetime, days: float, copies: int, proven_copies: int
) -> int:
    """How many full backups, counted from the newest, must stay.

    All that are needed to recover to any instant of the last `days` days, at least `copies`, and enough that the newest
    `proven_copies` proven ones (or what was built on them) stay. One with damaged pages is never recovered from: it stands
    for nothing, and while there is no other nothing goes.
    """
    fulls = sorted((b for b in backups if b["type"] == "full"), key=lambda b: str(b["stopped"]), reverse=True)
    usable = [(place, b) for place, b in enumerate(fulls, 1) if not b["error"]]
    if not usable:
        return max(len(fulls), 1)
    since = now - timedelta(days=days)
    young = sum(moment(b["stopped"]) > since for _place, b in usable)
    # the window begins in the past of its oldest instant: the full backup before it is what that is recovered from
    needed = min(max(young + 1, copies), len(usable))
    for_window_and_copies = usable[needed - 1][0]
    proven = [b for b in backups if b.get("proof") == "validated"]
    newest_proven = sorted(proven, key=lambda b: str(b["stopped"]), reverse=True)[:proven_copies]
    roots = [
        str(b["label"])[:16] for b in newest_proven
    ]  # the label of a diff or incr begins with that of its full one
    for_proof = max([place for place, b in enumerate(fulls, 1) if str(b["label"]) in roots], default=0)
    return max(for_window_and_copies, for_proof)
