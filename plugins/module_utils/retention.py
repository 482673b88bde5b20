"""Which dumps may expire, and why: pure. What is held, proven or the last of its kind stays, whatever a policy says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Callable, Iterable, Mapping, Optional

from . import dumps as naming
from .guards import PRECONDITION, Stop

Backup = Mapping[str, Any]
DAY = timedelta(days=1)

PERIODS: "dict[str, Callable[[datetime], str]]" = {
    "day": lambda at: at.strftime("%Y-%m-%d"),
    "week": lambda at: "%d-W%02d" % at.isocalendar()[:2],
    "month": lambda at: at.strftime("%Y-%m"),
    "year": lambda at: at.strftime("%Y"),
}


def check_policy(policy: Mapping[str, Any]) -> None:
    """Refuse a policy that would keep nothing, or that says what we do not know."""
    rungs = policy.get("rungs") or []
    wrong = [r for r in rungs if r.get("every") not in PERIODS or not int(r.get("days") or 0) > 0]
    if not rungs or wrong or set(policy) - {"rungs", "proven"} or int(policy.get("proven", 1)) < 1:
        raise Stop(
            "The retention %r is not one: it needs rungs, each with every (%s) and days, and proven, at least 1. "
            "Nothing was changed." % (dict(policy), ", ".join(PERIODS)),
            PRECONDITION,
        )


def ladder(dumps: "Iterable[Backup]", policy: Mapping[str, Any], now: datetime) -> "dict[str, list[dict[str, str]]]":
    """Which dumps to keep and which may go, oldest first, each with the reason.

    A dump has `id`, `stores`, `proof` and `holds`, as a catalog lists it. On each rung of the policy the newest dump of every
    period that began within `days` stays. In its first day every dump stays: a day's newest is known when the day
    is over. One whose proof failed stands for no period and for no other, and while there is nothing else nothing goes.
    """
    check_policy(policy)
    newest_first = sorted(dumps, key=lambda d: str(d["id"]), reverse=True)
    usable = [dump for dump in newest_first if dump["proof"]["state"] != "failed"]
    reasons: "dict[str, str]" = {}

    def keep(dump: Backup, reason: str) -> None:
        reasons.setdefault(dump["id"], reason)

    for dump in newest_first:
        if dump["holds"]:
            keep(dump, "held: %s" % "; ".join(h.get("reason", "no reason given") for h in dump["holds"]))
    stores = sorted({store for dump in newest_first for store in dump["stores"]})
    for store in stores:
        keep(next(d for d in newest_first if store in d["stores"]), "the newest in %s" % store)
        for dump in [d for d in usable if store in d["stores"]][:1]:
            keep(dump, "the newest in %s that was not disproven" % store)
    for dump in [] if usable else newest_first:
        keep(dump, "no dump is better")
    proven = [d for d in newest_first if d["proof"]["state"] in naming.PROVEN]
    for dump in proven[: int(policy.get("proven", 1))]:
        keep(dump, "among the newest that are proven")
    for dump in newest_first:
        if now - naming.began(dump["id"]) < DAY:
            keep(dump, "less than a day old")
    for rung in policy["rungs"]:
        taken = set()
        for dump in usable:
            begun = naming.began(dump["id"])
            period = PERIODS[rung["every"]](begun)
            if period not in taken and now - begun <= timedelta(days=int(rung["days"])):
                keep(dump, "the newest of %s %s" % (rung["every"], period))
            taken.add(period)
    longest = max(int(rung["days"]) for rung in policy["rungs"])
    return {
        "keep": [{"id": d["id"], "reason": reasons[d["id"]]} for d in newest_first if d["id"] in reasons],
        "expire": [
            {"id": d["id"], "reason": _gone(d, now, longest)} for d in reversed(newest_first) if d["id"] not in reasons
        ],
    }


def _gone(dump: Backup, now: datetime, longest: int) -> str:
    age = (now - naming.began(dump["id"])).days
    if dump["proof"]["state"] == "failed":
        return "%d days old; its proof failed, so it stands for no period" % age
    if age >= longest:
        return "%d days old; nothing is kept beyond %d" % (age, longest)
    return "%d days old; a newer one stands for each period it is in" % age


def old_enough(begun: datetime, now: datetime, days: int) -> bool:
    """Whether what was begun then, and never finished, is sure to be nobody's work any more."""
    return now - begun > timedelta(days=days)


def held(holds: "Mapping[str, Optional[Mapping[str, Any]]]") -> None:
    """Refuse while anybody holds all dumps of the service."""
    said = [
        "%s: %s" % (store, hold.get("reason", "no reason given"))
        for store, hold in sorted(holds.items())
        if hold is not None
    ]
    if said:
        raise Stop(
            "The dumps of this service are held (%s). Nothing expires until %s is removed there. Nothing was changed."
            % ("; ".join(said), naming.HOLD)
        )
