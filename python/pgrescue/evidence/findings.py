"""`findings.json`: what a run shows that a person has to put right or to accept.

Derived anew at every close and never edited; what becomes of a finding is kept beside the runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from pgrescue.evidence import deviations, drills
from pgrescue.evidence.drills import Said
from pgrescue.evidence.models import Leak
from pgrescue.evidence.settings import Settings
from pgrescue.findings import DUE_DAYS, Finding, Severity
from pgrescue.human import plural, span
from pgrescue.models import PHASES
from pgrescue.record import Record

NOBODY = "unassigned"  # where neither the inventory nor the record names anybody


def of(record: Record, settings: Settings, leaks: Iterable[Leak] = (), unsealed: str = "") -> list[Finding]:
    """Every finding of a run, the severe ones first. `unsealed`: why its pack cannot be sealed."""
    owner = (record.drill.owner if record.drill else None) or settings.owner or record.run.operator or NOBODY
    opened = record.story.last or _stamp(record.run.id)
    found = {kind: (severity, title) for kind, severity, title in _all(record, leaks)}
    if unsealed:
        found["seal"] = ("high", f"The evidence is not sealed: {unsealed}")
    ordered = sorted(found.items(), key=lambda one: DUE_DAYS[one[1][0]])
    return [
        Finding(
            id=f"{record.run.id}/{kind}",
            run=record.run.id,
            service=record.run.service,
            title=title,
            severity=severity,
            owner=owner,
            due=(opened.astimezone(UTC) + timedelta(days=DUE_DAYS[severity])).date().isoformat(),
            opened=opened,
        )
        for kind, (severity, title) in ordered
    ]


def _stamp(run_id: str) -> datetime:
    """When a run without a timeline was begun, as its id says."""
    told = re.match(r"\d{8}T\d{6}Z", run_id)
    return datetime.strptime(f"{told[0]}+0000", "%Y%m%dT%H%M%SZ%z") if told else datetime.now(UTC)


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")


def _all(record: Record, leaks: Iterable[Leak]) -> Iterator[Said]:
    yield from _of_the_data(record)
    yield from _of_the_objectives(record)
    yield from _of_the_steps(record)
    yield from drills.said(record)
    for place, one in enumerate(deviations.broken_glass(record), 1):
        yield f"glass-{place}", "high", f"{one.by} went on without a second person at {one.what}: {one.why}"
    for one in deviations.overrides(record):
        yield f"override-{_slug(one.what)}", "high", f"{one.what}: {one.why}"
    for leak in leaks:
        where = f"{leak.file}, line {leak.line}"
        yield (
            f"secret-{_slug(where)}",
            "high",
            f"A secret is in the record ({leak.kind}; {where}): change it where it is used",
        )


def _of_the_data(record: Record) -> Iterator[Said]:
    for check in record.checks:
        if check.verdict != "passed":
            must = check.tier == "must"
            yield f"check-{_slug(check.name)}", "high" if must else "medium", f"Check '{check.name}' {check.verdict}"
    held = record.reconciliation
    if held and held.missing_before_recovery_point:
        count = plural(len(held.missing_before_recovery_point), "acknowledged commit")
        yield "lost-before-recovery-point", "high", f"{count} older than the recovery point did not come back"
    if held and held.missing_after_recovery_point:
        count = plural(len(held.missing_after_recovery_point), "acknowledged commit")
        yield "lost-after-recovery-point", "medium", f"{count} after the recovery point are not reconciled"
    if record.journal.broken:
        yield "timeline", "high", f"The timeline proves nothing: {record.journal.broken}"


def _of_the_objectives(record: Record) -> Iterator[Said]:
    promised, measured = record.run.objectives, record.measurement
    figures = (
        ("rto", "The recovery time", promised.rto_s, measured.rta_s, measured.verdicts.rto),
        ("rpo", "The recovery point", promised.rpo_s, measured.rpa_s, measured.verdicts.rpo),
    )
    for kind, words, wanted, took, verdict in figures:
        if verdict == "missed":
            yield kind, "high", f"{words} was missed: {span(took)} of {span(wanted)}"
        elif wanted is not None and verdict is None and record.run.kind != "proof":
            yield kind, "medium", f"{words} is promised ({span(wanted)}) and was not measured"
    for name, verdict in measured.verdicts.phases.items():
        if verdict == "missed":
            took, wanted = measured.phases.get(name), promised.phases.get(name)
            yield f"phase-{name}", "medium", f"Phase {name} took {span(took)} of {span(wanted)}"


def _of_the_steps(record: Record) -> Iterator[Said]:
    for event in record.story.failures:
        said = f": {event.detail}" if event.detail else ""
        severity: Severity = "medium" if event.phase == "protect" else "high"
        on = f" on {event.host}" if event.host else ""
        yield (
            f"step-{_slug(f'{event.phase} {event.step} {event.host}')}",
            severity,
            f"'{event.step}' {event.status}{on}{said}",
        )
    for one in deviations.skips(record):
        yield f"skip-{_slug(one.what)}", "medium", f"'{one.what}' was left out by {one.by}: {one.why}"
    for phase in record.story.phases:
        if phase.status in ("interrupted", "running") and phase.name in PHASES:
            yield f"unfinished-{phase.name}", "high", f"Phase {phase.name} was not finished"
