"""What was tried: the runs of this machine, as far as the programme asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pgrescue import procedures, record
from pgrescue.drill.record import FILE, Drill, Verified
from pgrescue.models import Run

_NAMED = re.compile(r"\d{8}T\d{6}Z-")


@dataclass(frozen=True)
class Past:
    """One run that ended. `verified`: what it proved something of, where its drill noted that.

    `judged`: whether rules were there that could tell a drill that passed; none are where it was to fail.
    """

    run: str
    service: str
    kind: str
    procedure: str
    scenario: str | None
    at: datetime
    result: str
    operator: str | None
    postgresql: str | None = None
    verified: Verified | None = None
    judged: bool = False

    @property
    def passed(self) -> bool:
        """Whether it counts."""
        return self.result == "passed" and (self.kind != "drill" or self.judged)


def runs(root: Path, service: str | None = None) -> list[Past]:
    """Every run that ended, oldest first. A drill that was not judged has not ended.

    What cannot be read is passed over; `unread` names it.
    """
    return [one for one, _ in map(_read, _folders(root)) if one and service in (None, one.service)]


def unread(root: Path) -> list[str]:
    """Records that cannot be read, and why: what they would say counts for nothing."""
    return [f"{directory.name}/{said}" for directory in _folders(root) for said in _read(directory)[1]]


def _folders(root: Path) -> list[Path]:
    """Those that are named as runs are; a copy that somebody laid beside them is none."""
    return [directory for directory in record.all_runs(root) if _NAMED.match(directory.name)]


def _read(directory: Path) -> tuple[Past | None, list[str]]:
    problems: list[str] = []
    run = record.read_part(directory / "run.json", Run.model_validate, problems)
    drill = record.read_part(directory / FILE, Drill.model_validate, problems)
    if run is not None and (copied := record.misnamed(directory, run.id)):
        return None, [f"run.json: {copied.removeprefix('run.json is ')}"]
    if run is None or not run.result or (drill and drill.state != "ended"):
        return None, problems
    ended = Past(
        run=run.id,
        service=run.service,
        kind=run.kind,
        procedure=run.procedure,
        scenario=run.scenario or None,
        at=datetime.strptime(directory.name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        result=run.result,
        operator=run.operator,
        postgresql=run.versions.get("postgresql"),
        verified=drill.verified if drill else None,
        judged=drill is not None and drill.judged,
    )
    return ended, problems


def present(root: Path, service: str, procedure: str, past: Sequence[Past]) -> Verified:
    """What a drill of the procedure would prove something of now, as far as it is known."""
    versions = [one.postgresql for one in past if one.service == service and one.postgresql]
    return Verified(
        procedure_sha256=procedures.digest(procedure),
        postgresql=versions[-1] if versions else None,
        extensions=extensions(root, [one.run for one in reversed(past) if one.service == service]),
    )


def extensions(root: Path, newest_first: Iterable[str]) -> dict[str, str] | None:
    """The extensions and versions that the newest census of a run names, by database; None before there is one."""
    for run in newest_first:
        path = root / run / "census.json"
        if path.exists():
            census = json.loads(path.read_text(encoding="utf-8"))
            return {
                f"{database}.{name}": str(version)
                for database, said in census.get("databases", {}).items()
                for name, version in (said.get("extensions") or {}).items()
            }
    return None


def changes(then: Verified | None, now: Verified) -> list[str]:
    """What is not as it was when it was proven; what was not known then counts as nothing that was proven."""
    if then is None:
        return ["the drill noted nothing of what it proved"]
    found = []
    if then.procedure_sha256 != now.procedure_sha256:
        found.append("the playbook or its roles changed")
    if now.postgresql and then.postgresql != now.postgresql:
        found.append(f"PostgreSQL {then.postgresql or 'of an unknown version'} became {now.postgresql}")
    if now.extensions and then.extensions is None:
        found.append("which extensions it has was not known then: no census had been taken")
    elif now.extensions is not None and then.extensions != now.extensions:
        before = then.extensions or {}
        differing = sorted(name for name in {*before, *now.extensions} if before.get(name) != now.extensions.get(name))
        found.append(f"extensions changed: {', '.join(differing)}")
    return found
