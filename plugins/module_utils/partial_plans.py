"""What a partial recovery binds itself to: a moment before the damage, a backup from before that, a clean host, tables. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Mapping, Sequence

from . import journal, lsn, plans
from .guards import PRECONDITION, Stop

LSN = re.compile(r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$")
NAMED = re.compile(r"^(name|xid):([A-Za-z0-9._-]+)$")
TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|[+-]\d\d(?::?\d\d)?)$")


def target(said: str) -> "dict[str, Any]":
    """The moment that was asked for: a time with its offset, an LSN, C(name:) a restore point or C(xid:) a transaction.

    A time, an LSN and a transaction mean the state before them.
    """
    if LSN.match(said):
        return {"type": "lsn", "value": said, "inclusive": False}
    named = NAMED.match(said)
    if named:
        return {"type": named[1], "value": named[2], "inclusive": named[1] == "name"}
    time = TIME.match(said)
    if time:
        offset = "+00" if time[3] == "Z" else time[3]
        return {"type": "time", "value": "%s %s%s" % (time[1], time[2], offset), "inclusive": False}
    raise Stop(
        "%s is no moment to recover to. Nothing was changed. Give the last good one: -e partial_to='2026-11-24 01:20:50+00', an LSN such "
        "as 0/5000060, name:POINT or xid:NUMBER." % (repr(said) if said else "Nothing"),
        PRECONDITION,
    )


def _moment(value: str) -> datetime:
    day, rest = value.split(" ")
    clock, sign, offset = re.split(r"([+-])", rest)
    hours, minutes = offset[:2], (offset[2:].strip(":") or "00")
    return datetime.fromisoformat("%sT%s%s%s:%s" % (day, _six(clock), sign, hours, minutes)).astimezone(timezone.utc)


def _six(clock: str) -> str:
    """A time of day with all digits of its fraction, or without one: older Pythons read no other."""
    whole, point, fraction = clock.partition(".")
    return whole + (point + fraction.ljust(6, "0") if point else "")


def before(candidates: "Sequence[Mapping[str, Any]]", wanted: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Backups that a recovery to the moment can begin with, in the order to try them.

    Where a named point or a transaction is, no backup says: the oldest comes first then, for replay never goes back.
    """
    if wanted["type"] in ("name", "xid"):
        return [dict(b) for b in reversed(candidates)]
    fit = []
    for backup in candidates:
        if wanted["type"] == "lsn":
            at = lsn.parse_lsn(wanted["value"])
            ended = lsn.parse_lsn(backup["lsn_stop"]) <= at
        else:
            stopped = datetime.strptime(backup["stopped"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
            ended = stopped < _moment(wanted["value"])
        fit += [dict(backup)] if ended else []
    if not fit:
        oldest = candidates[-1]["stopped"] if candidates else "none"
        said = "No backup was complete before %s %s; the oldest was at %s. Nothing was changed. Give a later moment."
        raise Stop(said % (wanted["type"], wanted["value"], oldest), PRECONDITION)
    return fit


def primary(states: Mapping[str, Any], catalog: Mapping[str, Any]) -> str:
    """The host whose tables lack rows: the one primary, of the database system that the backups are of."""
    there = [host for host, seen in states.items() if seen["role"] == "primary"]
    if len(there) != 1:
        raise Stop(
            "Rows are brought back into a running primary, and %s. Nothing was changed. When the whole service is lost: "
            "complete_loss.yml."
            % ("there is none" if not there else "there are %d: %s" % (len(there), ", ".join(there))),
            PRECONDITION if not there else 4,
        )
    found, wanted = states[there[0]]["system_identifier"], catalog["system_identifier"]
    if str(found) != str(wanted):
        said = "%s is of database system %s, the backups of %s. Nothing was changed."
        raise Stop(said % (there[0], found, wanted))
    return there[0]


def make(request: Mapping[str, Any], run: str) -> "dict[str, Any]":
    """The plan that answers `request`, the arguments of M(plan_partial_loss)."""
    catalog, tables = request["catalog"], [t.strip() for t in request["tables"] if t.strip()]
    if not tables:
        raise Stop(
            "No table was named. Nothing was changed. Say which lost rows: -e partial_tables=public.a,public.b",
            PRECONDITION,
        )
    wanted = target(request["to"])
    live = primary(request["states"], catalog)
    candidates = before(catalog["candidates"], wanted)
    database = request["database"] or request["service"]
    host = plans.choose_target(request["states"], request["hosts"], request["target"] or None, None)
    place = "%s/partial-%s" % (request["hosts"][host]["root"], request["service"])
    return {
        "schema_version": 1,
        "run": run,
        "made": journal.now(),
        "procedure": "partial_loss",
        "service": request["service"],
        "system_identifier": catalog["system_identifier"],
        "target_host": host,
        "target_address": request["hosts"][host]["address"],
        "data_directory": place,
        "postgres_version": request["postgres_version"],
        "target_timeline": catalog["timeline"],
        "candidates": candidates,
        "passed_over": catalog["passed_over"],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "recovery_target": wanted,
        "live_host": live,
        "database": database,
        "tables": tables,
        "changes": [
            "%s: a copy at %s that is removed again" % (host, place),
            "%s: a schema of the run's own in %s, with the copy's rows" % (live, database),
            "%s: rows of %s that are missing come back, once that is confirmed" % (live, ", ".join(tables)),
            "not looked for yet: whether %s had %s then; the copy says, and until then nothing is written to %s"
            % (database, ", ".join(tables), live),
        ],
        "undo": "playbooks/undo_merge.yml takes the merge back, unless what came back was changed since",
        "irreversible": ["sequences go forward"],
    }
