"""Which backup is due, and which may go: pure folds over the backups of one repository.

A backup is a mapping as `repository.candidates` gives it: label, type, stopped, timeline, proof, error.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Mapping, Sequence

from .times import moment


def _usable(backup: "Mapping[str, Any]") -> bool:
    """Whether a recovery may begin with it: no page was damaged, and no proof of it failed."""
    return not backup["error"] and backup.get("proof") != "failed"


def _root(backup: "Mapping[str, Any]") -> str:
    """The full backup that one is built on; the label of a diff or incr begins with that of its full one."""
    return str(backup["label"])[:16]


def _newest(backups: "Sequence[Mapping[str, Any]]", *types: str) -> "Mapping[str, Any] | None":
    return max((b for b in backups if b["type"] in types), key=lambda b: str(b["stopped"]), default=None)


def due(
    backups: "Sequence[Mapping[str, Any]]", timeline: int, now: datetime, full_days: float, diff_days: float
) -> "tuple[str, str]":
    """The type of the backup to take now, and why.

    After a promotion only a full one may be built upon: PostgreSQL and its engines have left changed blocks out of incremental
    backups across timelines.
    """
    full = _newest(backups, "full")
    built = _newest([b for b in backups if _usable(b)], "full", "diff")
    if full is None or built is None:
        return "full", "there is no full backup that can be used"
    # an engine builds on the newest there are, whatever they are worth
    family = [b for b in backups if _root(b) == _root(full)]
    if not _usable(full) or any(b.get("proof") == "failed" for b in family):
        return "full", "the newest full one, or one built on it, is damaged or did not pass its proof"
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
    `proven_copies` proven ones (or what was built on them) stay. One with damaged pages, or whose proof failed, is never recovered
    from: it stands for nothing, and while there is no other nothing goes.
    """
    fulls = sorted((b for b in backups if b["type"] == "full"), key=lambda b: str(b["stopped"]), reverse=True)
    usable = [(place, b) for place, b in enumerate(fulls, 1) if _usable(b)]
    if not usable:
        return max(len(fulls), 1)
    since = now - timedelta(days=days)
    young = sum(moment(b["stopped"]) > since for _place, b in usable)
    # the window begins in the past of its oldest instant: the full backup before it is what that is recovered from
    needed = min(max(young + 1, copies), len(usable))
    for_window_and_copies = usable[needed - 1][0]
    proven = [b for b in backups if b.get("proof") == "validated"]
    newest_proven = sorted(proven, key=lambda b: str(b["stopped"]), reverse=True)[:proven_copies]
    roots = [_root(b) for b in newest_proven]
    for_proof = max([place for place, b in enumerate(fulls, 1) if str(b["label"]) in roots], default=0)
    return max(for_window_and_copies, for_proof)
