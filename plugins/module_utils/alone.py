"""What may be done to a service without asking anybody: by action, on what, how often and when. Pure; off where nothing is said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Optional, Sequence

from .guards import PRECONDITION, Stop

ACTIONS = {"restart": ("stopped", "hung")}  # what each may be done about; nothing that gives up a commit is among them
KEYS = ("states", "at_most", "within_s", "windows", "followed")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOW = re.compile(r"^(?:(?P<days>[a-z,]+) )?(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d)$")


def check(policy: "Mapping[str, Any]") -> None:
    """Refuse a policy that says something else than it may."""
    for action, said in policy.items():
        if not isinstance(said, Mapping):
            raise Stop("service_alone.%s says nothing that could be meant. Nothing was changed." % action, PRECONDITION)
        if action not in ACTIONS:
            raise Stop(
                "service_alone knows no %s; it knows %s. Nothing was changed." % (action, ", ".join(ACTIONS)),
                PRECONDITION,
            )
        unknown = sorted(set(said) - set(KEYS))
        if unknown:
            raise Stop(
                "service_alone.%s has %s, which is not known. Nothing was changed." % (action, ", ".join(unknown)),
                PRECONDITION,
            )
        others = sorted(set(said.get("states", ACTIONS[action])) - set(ACTIONS[action]))
        if others:
            raise Stop(
                "A %s helps nothing that is %s. Nothing was changed." % (action, ", ".join(others)), PRECONDITION
            )
        for window in said.get("windows", []):
            parsed(str(window))


def parsed(window: str) -> "tuple[tuple[int, ...], int, int]":
    """Weekdays (0 is Monday) and minutes of the day, from and to, UTC, of a window such as `sat,sun 22:00-06:00`."""
    found = WINDOW.match(window)
    if not found:
        raise Stop("%r is no window such as 'mon,tue 22:00-06:00'. Nothing was changed." % window, PRECONDITION)
    days = (found["days"] or ",".join(DAYS)).split(",")
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in (found["begin"], found["end"])]
    if set(days) - set(DAYS) or any(
        minute > 24 * 60 or int(text[3:]) > 59 for minute, text in zip(minutes, (found["begin"], found["end"]))
    ):
        raise Stop("%r is no window such as 'mon,tue 22:00-06:00'. Nothing was changed." % window, PRECONDITION)
    return tuple(DAYS.index(day) for day in days), minutes[0], minutes[1]


def inside(window: str, now_s: float) -> bool:
    """Whether an instant lies in a window; one that ends before it begins goes on past midnight."""
    days, begin, end = parsed(window)
    now = datetime.fromtimestamp(now_s, timezone.utc)
    minute, today = now.hour * 60 + now.minute, now.weekday()
    if begin <= end:
        return today in days and begin <= minute < end
    return (today in days and minute >= begin) or ((today - 1) % 7 in days and minute < end)


def why_not(
    policy: "Mapping[str, Any]",
    action: str,
    situation: "Mapping[str, Any]",
    past: "Sequence[Mapping[str, Any]]",
    now_s: float,
) -> Optional[str]:
    """Why an action is not taken alone; None when it is. `past`: what was done before, each with `action` and `at_s`."""
    check(policy)
    said = policy.get(action)
    if said is None:
        return "service_alone does not have it"
    if situation["state"] not in said.get("states", ACTIONS[action]):
        return "the service is %s, and it is for %s" % (
            situation["state"],
            ", ".join(said.get("states", ACTIONS[action])),
        )
    windows = said.get("windows", [])
    if windows and not any(inside(str(window), now_s) for window in windows):
        return "it is outside of %s (UTC)" % ", ".join(windows)
    if said.get("followed") and not situation.get("followed"):
        return "no standby follows, and one is wanted"
    within_s, at_most = float(said.get("within_s", 86400)), int(said.get("at_most", 1))
    recent = [one for one in past if one["action"] == action and now_s - float(one["at_s"]) < within_s]
    if len(recent) >= at_most:
        return "it was done %d times within %.0f s already; a person must look" % (len(recent), within_s)
    return None
