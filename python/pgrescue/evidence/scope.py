"""`scope.json`: what a run was about and with what it was carried out, as far as its record and its controller know."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from platform import python_version
from typing import Any

from pgrescue.evidence.models import Database, Excluded, Runbooks, Scope, Sealing
from pgrescue.evidence.settings import Settings, earlier
from pgrescue.record import Record

_ROOT = Path(__file__).resolve().parents[3]


def of(record: Record, settings: Settings) -> Scope:
    """The scope of a run.

    What is asked of this machine (commit, tools, inventory) is asked once an attempt: a note that is added a week later
    does not come from the runbooks of a week later.
    """
    run, plan = record.run, record.plan
    attempts = record.story.resumed + (record.story.started is not None)
    before = earlier(record.directory)
    kept = before if before and before.attempts == attempts else None
    return Scope(
        run=run.id,
        service=run.service,
        system_identifier=run.system_identifier or (plan.system_identifier if plan else None),
        timeline=plan.target_timeline if plan else None,
        postgres_version=next((v for k, v in run.versions.items() if k.lower() == "postgresql"), None),
        databases=_databases(record) or None,
        data_bytes=record.measurement.data_bytes,
        hosts=_hosts(record),
        regions=_regions(record) or None,
        plan_digest=run.plan_digest,
        runbooks=kept.runbooks if kept else _runbooks(),
        tools=kept.tools if kept else {**run.versions, "Python": python_version()},
        configuration_sha256=kept.configuration_sha256 if kept else _configuration(settings.inventory),
        sealing=_sealing(settings, before),
        attempts=attempts,
        excluded=list(_excluded(record)),
    )


def _sealing(settings: Settings, before: Scope | None) -> Sealing | None:
    """What this close was told, and what an earlier one was where this was told nothing."""
    told = {"key_file": settings.key_file, "secrets_file": settings.secrets_file}
    said = {name: os.path.abspath(path) for name, path in told.items() if path}  # noqa: PTH100 - links stay
    said |= {"owner": settings.owner} if settings.owner else {}
    whole = {**(before.sealing.dump() if before and before.sealing else {}), **said}
    return Sealing(**whole) if whole else None


def _runbooks() -> Runbooks | None:
    """The commit of the runbooks; None where they are no clone, or git does not answer."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    if not (_ROOT / ".git").exists():
        return None
    try:
        return Runbooks(commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return None


def _configuration(inventory: Path | None) -> str | None:
    """One digest of every file of an inventory, by name and content; of what is encrypted, as it is stored."""
    if inventory is None or not inventory.exists():
        return None
    paths = [inventory] if inventory.is_file() else sorted(p for p in inventory.rglob("*") if p.is_file())
    whole = sha256()
    for path in paths:
        named = path.name if path == inventory else path.relative_to(inventory).as_posix()
        whole.update(f"{sha256(path.read_bytes()).hexdigest()}  {named}\n".encode())
    return whole.hexdigest()


def _hosts(record: Record) -> list[str]:
    """Hosts on which the run did something, and those that its plan names."""
    plan = record.plan
    named = {event.host for event in record.journal.events if event.host}
    named |= (
        {*(plan.fence or []), *(host for host in (plan.target_host, plan.left, plan.live_host) if host)}
        if plan
        else set()
    )
    return sorted(named - {"-", "localhost"})


def _regions(record: Record) -> list[str]:
    """Only the regions that were lost are in a plan."""
    return sorted(record.plan.lost_regions or []) if record.plan else []


def _databases(record: Record) -> list[Database]:
    census = _json(record.directory / "census.json")
    named: dict[str, Any] = census.get("databases", {}) if isinstance(census, dict) else {}
    if record.plan and record.plan.database:
        named = {record.plan.database: {}, **named}
    return [Database(name=name) for name in sorted(named)]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _excluded(record: Record) -> Iterator[Excluded]:
    plan = record.plan
    for backup in plan.passed_over if plan else []:
        repository = f" of repository {backup.repo}" if backup.repo else ""
        yield Excluded(what=f"backup {backup.label}{repository}", why=backup.reason)
    for repository, said in sorted((plan.unreachable if plan else {}).items()):
        yield Excluded(what=f"repository {repository}", why=said)
    for event in record.journal.events:
        if event.event == "decision" and event.status == "skipped":
            yield Excluded(what=f"step {event.step}", why=event.detail or "no reason given")
    for check in record.checks:
        if check.verdict == "truncated":
            yield Excluded(what=f"the rest of check '{check.name}'", why="its answer was cut off")
    census = _json(record.directory / "census.json")
    for database, counted in sorted(census.get("databases", {}).items()) if isinstance(census, dict) else []:
        for table in counted.get("skipped", []):
            yield Excluded(what=f"table {table} of {database}", why="a check of its own had named its damage")
