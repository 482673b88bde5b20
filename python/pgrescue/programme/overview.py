"""All that `pgrescue programme` says: gathered once, printed as JSON or for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from pgrescue.drill import scenario as scenarios
from pgrescue.findings import Finding
from pgrescue.human import plural
from pgrescue.programme import due, past
from pgrescue.programme.past import Past
from pgrescue.programme.plan import Programme


def gather(
    root: Path, programme: Programme, opened: Sequence[Finding], today: date, service: str | None = None
) -> dict[str, Any]:
    """What is done, due and overdue, how far the drills reach, and what must be proven again."""
    runs = past.runs(root, service)
    services = [name for name in programme.services if service in (None, name)]
    return {
        "schema_version": 1,
        "at": today.isoformat(),
        "duties": [_plain(duty) for duty in due.duties(programme, runs, today, service)],
        "next": [_next(programme, name, runs, today) for name in services],
        "coverage": {f"by_{key}": due.coverage(runs, key) for key in ("procedure", "service", "operator")},
        "verification": [one for name in services for one in verification(root, name, runs)],
        "findings": {
            "open": sum(one.state == "open" for one in opened),
            "overdue": sum(one.overdue(today) for one in opened),
        },
        "unread": past.unread(root),
    }


def verification(root: Path, service: str, runs: Sequence[Past]) -> list[dict[str, Any]]:
    """Every procedure that has a drill, and whether what its last passed drill proved is still what is there."""
    found = []
    for name in sorted({scenarios.load(one).procedure for one in scenarios.names()}):
        passed = [
            run
            for run in runs
            if run.passed and run.kind == "drill" and (run.service, run.procedure) == (service, name)
        ]
        said: dict[str, Any] = {"service": service, "procedure": name}
        if not passed:
            found.append({**said, "state": "never verified", "why": ["no drill of it has passed"]})
            continue
        why = past.changes(passed[-1].verified, past.present(root, service, name, runs))
        state = "needs verification" if why else "verified"
        found.append({**said, "state": state, "why": why, "run": passed[-1].run})
    return found


def wrong(said: dict[str, Any]) -> bool:
    """Whether something is overdue."""
    return any(duty["state"] == "overdue" for duty in said["duties"]) or said["findings"]["overdue"] > 0


def lines(said: dict[str, Any]) -> list[str]:
    """The same for people, in 80 columns."""
    told = []
    for duty in said["duties"]:
        scenario = f" ({duty['scenario']})" if "scenario" in duty else ""
        told.append(f"{duty['state'].upper():<8} {duty['service']}: {duty['name']}{scenario}, every {duty['every']}")
        when = f"done by {duty['run']}" if "run" in duty else f"by {duty['by']}"
        last = f"; the last that passed was on {duty['last_passed']}" if "last_passed" in duty else "; never passed"
        told.append(f"         {duty['period']}: {when}{last if 'run' not in duty else ''}")
        if duty["missed"]:
            told.append(f"         not kept in {', '.join(duty['missed'])}")
    for one in said["next"]:
        told.append(f"NEXT     {one['service']}: {one['scenario']} on {one['date']}" if "scenario" in one else
                    f"NEXT     {one['service']}: nothing rotates")  # fmt: skip
    for key, groups in said["coverage"].items():
        told.append(f"DRILLS {key.replace('_', ' ').upper()}")
        told += [
            f"  {name}: {facts['passed']} of {facts['ended']} passed"
            + (f", last on {facts['last_passed']}" if "last_passed" in facts else "")
            for name, facts in groups.items()
        ] or ["  none"]
    told.append("PROCEDURES")
    for one in said["verification"]:
        told.append(f"  {one['service']}: {one['procedure']}: {one['state']}")
        told += [f"    {why}" for why in one["why"]]
    told += [f"CANNOT BE READ, and counts for nothing: {one}" for one in said["unread"]]
    opened = said["findings"]
    told.append(
        f"FINDINGS {plural(opened['open'], 'finding')} open, {opened['overdue']} overdue: pgrescue findings list"
    )
    return told


def _plain(duty: due.Duty) -> dict[str, Any]:
    facts = {key: value for key, value in asdict(duty).items() if value is not None}
    return {
        **facts,
        "missed": list(duty.missed),
        **{k: facts[k].isoformat() for k in ("by", "last_passed") if k in facts},
    }


def _next(programme: Programme, service: str, runs: Sequence[Past], today: date) -> dict[str, str]:
    found = due.next_drill(programme, service, runs, today)
    return {"service": service, **({"scenario": found[0], "date": found[1].isoformat()} if found else {})}
