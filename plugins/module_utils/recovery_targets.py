"""The point to which replay goes: as a person names it, as PostgreSQL is told, and which backups lead there. Pure."""

from __future__ import annotations

import re
from datetime import timezone
from typing import Any, Mapping, Optional, Sequence

from .guards import PRECONDITION, Stop
from .lsn import parse_lsn
from .times import epoch_s, moment

LATEST = "latest"
SHAPES = {
    "lsn": re.compile(r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$"),
    "xid": re.compile(r"^[1-9][0-9]*$"),
    "name": re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
}
# What PostgreSQL calls each; one of them is set at most.
SETTINGS = {kind: "recovery_target_" + kind for kind in ("time", "xid", "lsn", "name")}
HELP = "Say -e recover_to=time:2026-11-24T01:20:50Z, xid:1234, lsn:16/B374D848, name:before_migration or latest."


def parse(text: str, exclusive: bool = False) -> "dict[str, Any]":
    """The target that a person named, as a plan holds it. `exclusive`: what begins at the target is left out."""
    if text == LATEST:
        return {"type": "default"}
    kind, _colon, value = text.partition(":")
    if kind == "time":
        value = instant(value)
    elif kind not in SHAPES or not SHAPES[kind].match(value):
        raise Stop("%r names no point to recover to. %s Nothing was changed." % (text, HELP), PRECONDITION)
    if kind == "name" and exclusive:
        raise Stop(
            "A named point has nothing at it to leave out: drop recover_exclusive. Nothing was changed.", PRECONDITION
        )
    return {"type": kind, "value": value, "inclusive": not exclusive}


def instant(text: str) -> str:
    """A time as PostgreSQL reads it in any time zone; without a zone of its own it would mean another instant elsewhere."""
    try:
        said = moment(text)
    except ValueError:
        raise Stop("%r is no time. %s Nothing was changed." % (text, HELP), PRECONDITION) from None
    if said.tzinfo is None:
        raise Stop(
            "%r does not say in which time zone: add Z for UTC. Nothing was changed." % text, PRECONDITION
        ) from None
    return said.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def in_words(target: Mapping[str, Any]) -> str:
    """A target to a reader."""
    if target["type"] == "default":
        return "the end of the archive"
    before = "" if target.get("inclusive", True) else "just before "
    return "%s%s %s" % (before, target["type"], target["value"])


def epoch_of(target: Mapping[str, Any]) -> float:
    """The instant of a target of type time, in epoch seconds."""
    return epoch_s(str(target["value"]).replace("+00", "+00:00"))


def fitting(
    candidates: "Sequence[Mapping[str, Any]]", target: Mapping[str, Any], before: Optional[str]
) -> "tuple[list[dict[str, Any]], list[dict[str, Any]]]":
    """The backups from which replay comes by the target, in the order to try them; and the others, each with the reason.

    Of a transaction and of a name it is not known when it was: the oldest backup comes first, from which more is replayed but
    the target is not missed. `before`: backups from after that instant may hold the damage.
    """
    found: "list[dict[str, Any]]" = []
    passed_over = []
    for backup in candidates:
        reason = None
        if before and epoch_s(backup["stopped"]) >= epoch_s(before):
            reason = "it was taken after %s, and may hold the damage" % before
        elif target["type"] == "time" and epoch_s(backup["stopped"]) >= epoch_of(target):
            reason = "it ended at %s, after the target" % backup["stopped"]
        elif target["type"] == "lsn" and parse_lsn(backup["lsn_stop"]) > parse_lsn(target["value"]):
            reason = "it is consistent from %s on, after the target" % backup["lsn_stop"]
        if reason:
            passed_over.append({"label": backup["label"], "repo": backup["repo"], "reason": reason})
        else:
            found.append(dict(backup))
    if target["type"] in ("xid", "name"):
        found.sort(key=lambda backup: (epoch_s(backup["stopped"]), backup["repo"]))
    return found, passed_over


def settings(target: Mapping[str, Any]) -> "dict[str, Optional[str]]":
    """What PostgreSQL is told of a target, None for what must not be set, and that it pauses there."""
    values: "dict[str, Optional[str]]" = dict.fromkeys(SETTINGS.values())
    values[SETTINGS[target["type"]]] = str(target["value"])
    values["recovery_target_inclusive"] = "on" if target.get("inclusive", True) else "off"
    values["recovery_target_action"] = "pause"
    return values


def check_ahead(target: Mapping[str, Any], standing: Mapping[str, Any]) -> None:
    """Refuse a target that the replay has passed already: it only ever goes forward.

    Whether a transaction or a name lies ahead is not known before the replay has come by it.
    """
    behind = target["type"] == "lsn" and parse_lsn(target["value"]) < parse_lsn(standing["lsn"])
    if target["type"] == "time" and standing["time"]:
        behind = epoch_of(target) < epoch_s(standing["time"])
    if behind:
        raise Stop(
            "The replay stands at %s (last transaction %s), beyond %s, and only goes forward. Nothing was changed. For an earlier "
            "point begin another run." % (standing["lsn"], standing["time"] or "unknown", in_words(target))
        )
