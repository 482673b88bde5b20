"""The monthly report's own fields, in the words and the order of its template."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pgrescue.human import span
from pgrescue.ledger.figures import Action, Figure, Section, none, number, parts, percent, quantity, share, words
from pgrescue.ledger.figures import interval as interval_of
from pgrescue.ledger.period import Period
from pgrescue.ledger.questions import Questions

_MINUTE, _HOUR, _GB = 60.0, 3600.0, 1e9
_ACTIONS = 10
# A drill of a repair that stops no client measures no outage: where it passed, it is no case for the recovery time.
_JUDGED = "kind = 'drill' AND result IN ('passed', 'failed') AND NOT (result = 'passed' AND {0}_verdict IS NULL)"
_IN = "service = :service AND started >= :since AND started < :until"


def sections(asked: Questions, period: Period) -> list[Section]:
    """The four sections with figures."""
    return [
        Section(title="RTO/RPO Status", figures=_status(asked, period)),
        Section(title="Backup Statistics", figures=_backups(asked, period)),
        Section(title="Incidents", figures=_incidents(asked, period)),
        Section(title="DR Drills", figures=_drills(asked, period)),
    ]


def kept(asked: Questions, period: Period, objective: str) -> tuple[int, int]:
    """How many drills kept `rto` or `rpo`, of how many that were held against it."""
    judged = _JUDGED.format(objective)
    row = asked.row(
        f"SELECT count(*) FILTER (WHERE result = 'passed' AND {objective}_verdict = 'met'), count(*) FROM runs"
        f" WHERE {_IN} AND {judged}",
        period,
    )
    return row[0], row[1]


def attempts(asked: Questions, period: Period) -> tuple[int, int]:
    """Good attempts to back up, of all; each retry counts as one."""
    row = asked.row(
        "SELECT count(*) FILTER (WHERE result = 'passed'), count(*) FROM attempts"
        " WHERE service = :service AND at >= :since AND at < :until",
        period,
    )
    return row[0], row[1]


def _status(asked: Questions, period: Period) -> list[Figure]:
    rto, rpo = asked.objective("rto_s", period), asked.objective("rpo_s", period)
    within = asked.within(period, rpo) if rpo is not None else (0, 0)
    return [
        _target("Target RTO", rto, _MINUTE, "minutes"),
        _target("Target RPO", rpo, _HOUR, "hours"),
        share("RTO Achievement", *kept(asked, period, "rto"), " of drills"),
        share("RPO Achievement", *within, " of backups within target"),
    ]


def _target(name: str, seconds: float | None, unit_s: float, unit: str) -> Figure:
    if seconds is None:
        return none(name)
    return Figure(name=name, text=f"< {number(seconds / unit_s)} {unit}", value=seconds / unit_s)


def _backups(asked: Questions, period: Period) -> list[Figure]:
    good, total = attempts(asked, period)
    newest = asked.one("SELECT max(at) FROM attempts WHERE service = :service AND at < :until", period)
    if newest is None:
        return [none(name) for name in _BACKUPS]
    until = f"{newest[:10]} {newest[11:16]} UTC"
    size = asked.one(_MEAN.format("size_bytes"), period)
    took = asked.one(_MEAN.format("duration_s"), period)
    rate = f" ({percent(good, total)}; {interval_of(good, total)})" if total else ""
    return [
        # what a host wrote and nobody collected yet is missing here: the newest says how far that goes
        Figure(name="Total Backups", text=f"{total:,} (newest attempt on record: {until})", value=total),
        Figure(name="Successful Backups", text=f"{good:,}{rate}", **(parts(good, total) if total else {"value": 0})),
        Figure(name="Failed Backups", text=f"{total - good:,}", value=total - good),
        quantity("Average Backup Size", size and size / _GB, "GB"),
        quantity("Average Backup Duration", took and took / _MINUTE, "minutes"),
    ]


_BACKUPS = (
    "Total Backups",
    "Successful Backups",
    "Failed Backups",
    "Average Backup Size",
    "Average Backup Duration",
)
_MEAN = "SELECT avg({}) FROM attempts WHERE service = :service AND result = 'passed' AND at >= :since AND at < :until"


def incidents(asked: Questions, period: Period) -> list[dict[str, Any]]:
    """The incidents of the period: what was seen, its cause, seconds until clients were back, and what was lost.

    Time and loss are those that a recovery of it measured at the client; else clients were away from when they were
    last served until the watch saw them served again.
    """
    found = []
    for row in asked.rows(_INCIDENTS, period):
        back = row["rta_s"]
        if back is None and row["started"] and row["mitigated"]:
            back = (datetime.fromisoformat(row["mitigated"]) - datetime.fromisoformat(row["started"])).total_seconds()
        found.append(
            {"id": row["id"], "says": row["says"], "cause": row["cause"], "rta_s": back, "rpa_s": row["rpa_s"]}
        )
    return found


_INCIDENTS = """
SELECT i.id, i.says, i.cause, i.started, i.mitigated, max(r.rta_s) AS rta_s, max(r.rpa_s) AS rpa_s
FROM incidents i LEFT JOIN incident_runs l USING (source) LEFT JOIN runs r ON r.id = l.run
WHERE i.service = :service AND i.kind = 'incident' AND i.happened >= :since AND i.happened < :until
GROUP BY i.source ORDER BY i.happened, i.id
"""
_CORRECTIVE = """run IN (
  SELECT l.run FROM incidents i JOIN incident_runs l USING (source)
  WHERE i.service = :service AND i.kind = 'incident' AND i.happened >= :since AND i.happened < :until
) ORDER BY due, id"""


def _incidents(asked: Questions, period: Period) -> list[Figure]:
    there = incidents(asked, period)
    actions = [f"{one['title']} ({one['state']})" for one in asked.findings(period, _CORRECTIVE)]
    causes = [one["cause"] for one in there if one["cause"]]
    seen = "; ".join(dict.fromkeys(one["says"].rstrip(".") for one in there))
    return [
        _total(asked, period, len(there)),
        _worst("Actual RTO Achieved", [one["rta_s"] for one in there], _MINUTE, "minutes"),
        _worst("Data Loss", [one["rpa_s"] for one in there], _HOUR, "hours"),
        words("Root Cause", "; ".join(causes)) if causes or not seen else none("Root Cause", f"what was seen: {seen}"),
        words("Corrective Actions", "; ".join(actions)),
    ]


_WITHOUT = f"""
SELECT id FROM runs WHERE {_IN} AND kind = 'incident' AND rta_s IS NOT NULL
  AND procedure NOT IN ('switchover', 'failback') AND id NOT IN (SELECT run FROM incident_runs) ORDER BY started, id
"""


def _total(asked: Questions, period: Period, count: int) -> Figure:
    """How many incidents. None is told from nobody looking; an outage that only a recovery knows of is named."""
    name = "Total Incidents"
    runs = asked.column(_WITHOUT, period)
    more = f"no incident was opened for {', '.join(runs)}" if runs else ""
    if not count and not asked.one(_LOOKED, period):
        return none(name, more or "nobody watched: no incident and no rehearsal is on record")
    return Figure(name=name, text=f"{count} ({more})" if more else str(count), value=count)


_LOOKED = """
SELECT 1 FROM incidents WHERE service = :service AND happened < :until
UNION ALL SELECT 1 FROM rehearsals WHERE service = :service AND at < :until LIMIT 1
"""


def _worst(name: str, seconds: list[float | None], unit_s: float, unit: str) -> Figure:
    known = [value for value in seconds if value is not None]
    if not known:
        return none(name)
    exact = span(max(known)) if unit_s > _MINUTE else ""  # hours say little of seconds
    of = f"the most of {len(known)}" if len(known) > 1 else ""
    missing = f"{len(seconds) - len(known)} not measured" if len(known) < len(seconds) else ""
    said = ", ".join(filter(None, [exact, of, missing]))
    return quantity(name, max(known) / unit_s, unit, f" ({said})" if said else "")


def _drills(asked: Questions, period: Period) -> list[Figure]:
    row = asked.row(_DRILLS, period)
    passed, judged, total = row["passed"], row["judged"], row["total"]
    others = [f"{row[name]} {name}" for name in ("open", "void", "aborted") if row[name]]
    unjudged = asked.one(f"SELECT count(*) FROM runs WHERE {_IN} AND kind = 'unjudged'", period)
    others += [f"beside {unjudged} that no rules judge"] if unjudged else []
    issues = sum(1 for _ in asked.findings(period, _OF_DRILLS))
    better = sum(1 for _ in asked.findings(period, _IMPROVED))
    rate = f" ({percent(passed, judged)}; {interval_of(passed, judged)})" if judged else ""
    known = findings_known(asked, period)
    told = f" (in {row['with_findings']} of {total} drills)" if row["with_findings"] < total else ""
    return [
        Figure(
            name="Drills Conducted",
            text=str(total) + (f" ({', '.join(others)})" if others else ""),
            value=total,
        ),
        Figure(name="Drills Passed", text=f"{passed}{rate}", **(parts(passed, judged) if judged else {"value": 0})),
        Figure(name="Issues Identified", text=f"{issues}{told}", value=issues)
        if row["with_findings"]
        else none("Issues Identified"),
        Figure(name="Improvements Made", text=str(better), value=better) if known else none("Improvements Made"),
    ]


# a drill that spans the end of a month opens its findings in the next: they are of the month in which it was begun
_OF_DRILLS = "kind = 'drill' AND started >= :since AND started < :until"
_IMPROVED = "kind = 'drill' AND state = 'done' AND changed >= :since AND changed < :until"
_DRILLS = f"""
SELECT count(*) AS total, count(*) FILTER (WHERE result = 'passed') AS passed,
  count(*) FILTER (WHERE result IN ('passed', 'failed')) AS judged, count(*) FILTER (WHERE result IS NULL) AS open,
  count(*) FILTER (WHERE result = 'void') AS void, count(*) FILTER (WHERE result = 'aborted') AS aborted,
  coalesce(sum(has_findings), 0) AS with_findings
FROM runs WHERE {_IN} AND kind = 'drill'
"""


def findings_known(asked: Questions, period: Period) -> bool:
    """Whether any run of the service before the period's end says what was found in it."""
    return bool(
        asked.one("SELECT 1 FROM runs WHERE service = :service AND started < :until AND has_findings LIMIT 1", period)
    )


def actions(asked: Questions, period: Period) -> list[Action]:
    """What is to be done next month: open findings, overdue ones first, then by weight and day; ten at most."""
    today = f"{period.until:%Y-%m-%d}"
    order = (
        "state = 'open' AND opened < :until ORDER BY (due IS NOT NULL AND due < :today) DESC,"
        " CASE severity WHEN 'high' THEN 0 WHEN 'medium' THEN 1 ELSE 2 END, due IS NULL, due, opened, id LIMIT :most"
    )
    return [
        Action(
            id=row["id"],
            title=row["title"],
            severity=row["severity"],
            owner=row["owner"],
            due=row["due"],
            overdue=bool(row["due"] and row["due"] < today),
        )
        for row in asked.findings(period, order, today=today, most=_ACTIONS)
    ]
