"""`findings.json`: what a run shows that a person has to put right or to accept.

Derived anew at every close and never edited; what becomes of a finding is kept beside the runs. One cause is one
finding: what else shows it, a phase over its budget or a drill's rule, is its evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from pgrescue.evidence import deviations, drills
from pgrescue.evidence.drills import ANY, Said
from pgrescue.evidence.models import Leak
from pgrescue.evidence.settings import Settings
from pgrescue.findings import DUE_DAYS, Finding, Severity
from pgrescue.human import plural, span
from pgrescue.models import PHASES
from pgrescue.outcome import REFUSED
from pgrescue.record import Record

NOBODY = "unassigned"  # where neither the inventory nor the record names anybody


def of(record: Record, settings: Settings, leaks: Iterable[Leak] = (), unsealed: str = "") -> list[Finding]:
    """Every finding of a run, the severe ones first. `unsealed`: why its pack cannot be sealed."""
    owner = (record.drill.owner if record.drill else None) or settings.owner or record.run.operator or NOBODY
    opened = record.story.last or _stamp(record.run.id)
    found = {one.kind: one for one in _all(record, leaks)}
    if unsealed:
        found["seal"] = Said("seal", "high", f"The evidence is not sealed: {unsealed}")
    return [
        Finding(
            id=f"{record.run.id}/{cause.kind}",
            run=record.run.id,
            service=record.run.service,
            title=cause.title,
            severity=severity,
            owner=owner,
            due=(opened.astimezone(UTC) + timedelta(days=DUE_DAYS[severity])).date().isoformat(),
            opened=opened,
            evidence=[one.title for one in effects] or None,
        )
        for severity, cause, effects in _by_cause(found)
    ]


def _by_cause(found: Mapping[str, Said]) -> list[tuple[Severity, Said, list[Said]]]:
    """Each cause with what shows it, as severe as the most severe of them; the severe ones first."""
    groups: dict[str, list[Said]] = {}
    for one in found.values():
        groups.setdefault(_cause(one, found).kind, []).append(one)
    ordered = []
    for kind, members in groups.items():
        severity = min((one.severity for one in members), key=DUE_DAYS.__getitem__)
        ordered.append((severity, found[kind], [one for one in members if one.kind != kind]))
    return sorted(ordered, key=lambda group: DUE_DAYS[group[0]])


def _cause(one: Said, found: Mapping[str, Said]) -> Said:
    """What it is the effect of, as far back as that was found; itself where nothing was."""
    nearest = next((found[kind] for kind in one.shows if kind in found), None)
    if nearest is None and ANY in one.shows:
        nearest = next((other for other in found.values() if other.severity == "high" and ANY not in other.shows), None)
    return _cause(nearest, found) if nearest else one


def _stamp(run_id: str) -> datetime:
    """When a run without a timeline was begun, as its id says."""
    told = re.match(r"\d{8}T\d{6}Z", run_id)
    return datetime.strptime(f"{told[0]}+0000", "%Y%m%dT%H%M%SZ%z") if told else datetime.now(UTC)


def _slug(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", "-", str(text).lower()).strip("-")


def _all(record: Record, leaks: Iterable[Leak]) -> Iterator[Said]:
    yield from _of_the_data(record)
    if not _turned_away(record):
        yield from _of_the_objectives(record)
        yield from _of_the_steps(record)
    yield from drills.said(record)
    for place, one in enumerate(deviations.broken_glass(record), 1):
        yield Said(f"glass-{place}", "high", f"{one.by} went on without a second person at {one.what}: {one.why}")
    for one in deviations.overrides(record):
        yield Said(f"override-{_slug(one.what)}", "high", f"{one.what}: {one.why}")
    for leak in leaks:
        where = f"{leak.file}, line {leak.line}"
        told = f"A secret is in the record ({leak.kind}; {where}): change it where it is used"
        yield Said(f"secret-{_slug(where)}", "high", told)


def _turned_away(record: Record) -> bool:
    """Whether a guard refused before anything was begun: it did what it is for, and there was nothing to measure."""
    begun = {phase.name for phase in record.story.phases} - {"detect", "decide"}
    refused = bool(record.story.failures) and all(one.exit_code == REFUSED for one in record.story.failures)
    return refused and not begun and record.story.fault is None


def _of_the_data(record: Record) -> Iterator[Said]:
    for check in record.checks:
        if check.verdict != "passed":
            severity: Severity = "high" if check.tier == "must" else "medium"
            yield Said(f"check-{_slug(check.name)}", severity, f"Check '{check.name}' {check.verdict}")
    held = record.reconciliation
    if held and held.missing_before_recovery_point:
        count = plural(len(held.missing_before_recovery_point), "acknowledged commit")
        yield Said("lost-before-recovery-point", "high", f"{count} older than the recovery point did not come back")
    if held and held.missing_after_recovery_point:
        count = plural(len(held.missing_after_recovery_point), "acknowledged commit")
        yield Said("lost-after-recovery-point", "medium", f"{count} after the recovery point are not reconciled")
    if record.journal.broken:
        yield Said("timeline", "high", f"The timeline proves nothing: {record.journal.broken}")


def _of_the_objectives(record: Record) -> Iterator[Said]:
    promised, measured = record.run.objectives, record.measurement
    figures = (
        ("rto", "The recovery time", promised.rto_s, measured.rta_s, measured.verdicts.rto),
        ("rpo", "The recovery point", promised.rpo_s, measured.rpa_s, measured.verdicts.rpo),
    )
    for kind, words, wanted, took, verdict in figures:
        if verdict == "missed":
            yield Said(kind, "high", f"{words} was missed: {span(took)} of {span(wanted)}")
        elif wanted is not None and verdict is None and record.run.kind != "proof":
            yield Said(kind, "medium", f"{words} is promised ({span(wanted)}) and was not measured")
    for name, verdict in measured.verdicts.phases.items():
        if verdict == "missed":
            took, wanted = measured.phases.get(name), promised.phases.get(name)
            shows = ("rto",) if measured.verdicts.rto == "missed" else ()
            yield Said(f"phase-{name}", "medium", f"Phase {name} took {span(took)} of {span(wanted)}", shows)


def _of_the_steps(record: Record) -> Iterator[Said]:
    told = set()
    for event in record.story.failures:
        if event.detail and (event.host, event.detail) in told:
            continue  # a rescue says again what it rescued from
        told.add((event.host, event.detail))
        said = f": {event.detail}" if event.detail else ""
        severity: Severity = "medium" if event.phase == "protect" else "high"
        if event.exit_code == REFUSED and record.run.kind != "drill":
            severity = "low"
        on = f" on {event.host}" if event.host else ""
        kind = f"step-{_slug(f'{event.phase} {event.step} {event.host}')}"
        yield Said(kind, severity, f"'{event.step}' {event.status}{on}{said}")
    for one in deviations.skips(record):
        yield Said(f"skip-{_slug(one.what)}", "medium", f"'{one.what}' was left out by {one.by}: {one.why}")
    for phase in record.story.phases:
        if phase.status in ("interrupted", "running") and phase.name in PHASES:
            yield Said(f"unfinished-{phase.name}", "high", f"Phase {phase.name} was not finished")
