"""What a report shows of a drill: its first line, its rules, its checklist and its findings."""

from __future__ import annotations

from dataclasses import dataclass

from pgrescue.drill import checklist, draw, rules, samples, samples_view
from pgrescue.drill.checklist import Item
from pgrescue.drill.record import Drill
from pgrescue.drill.rules import Judged
from pgrescue.drill.samples_view import HostRow
from pgrescue.evidence import findings
from pgrescue.evidence.settings import Settings
from pgrescue.findings import Finding
from pgrescue.human import span
from pgrescue.record import Record


@dataclass(frozen=True)
class DrillView:
    """A drill, ready for a page."""

    first: str
    objective: str
    expected: str
    must: str
    nice: str
    rules: tuple[Judged, ...]
    facts: tuple[tuple[str, str], ...]
    checklist: tuple[Item, ...]
    hosts: tuple[HostRow, ...]
    findings: tuple[Finding, ...]


def view(found: Record) -> DrillView | None:
    """The drill of a record; None where it is none, or was made before drills had rules."""
    said = found.drill
    if said is None:
        return None
    judged, facts = rules.judge(said, found.seen), _facts(said)
    items, hosts = _checklist(found, facts), _hosts(found, facts)
    return DrillView(
        first=rules.first_line(said, found.seen),
        objective=said.scenario.objective,
        expected=span(said.scenario.expected_rto_s),
        must=rules.count(judged, "must"),
        nice=rules.count(judged, "nice"),
        rules=tuple(judged),
        facts=tuple(facts),
        checklist=items,
        hosts=hosts,
        findings=tuple(findings.of(found, Settings())),
    )


def _facts(said: Drill) -> list[tuple[str, str]]:
    facts = []
    for name, steady in (("Steady state before", said.steady_before), ("Steady state after", said.steady_after)):
        facts.append((name, "not looked for" if steady is None else "held" if steady.held else "did not hold"))
    if said.stopped:
        facts.append(("Stopped", f"by {said.stopped.by}: {said.stopped.reason}"))
    if said.blind:
        facts.append(("Drawn blind", f"commitment {said.blind.commitment}"))
        opened = said.blind.opened
        kept = "which is what was committed to" if draw.holds(said.blind) else "WHICH IS NOT WHAT WAS COMMITTED TO"
        facts.append(("Opened", f"{opened.scenario} at {opened.at:%H:%M:%S} UTC, {kept}" if opened else "not opened"))
        if opened and opened.seed is not None:
            facts.append(("Seed", f"{opened.seed}: whoever knew it knew what would be drawn"))
        facts.append(("First correct action", span(said.first_correct_action_s)))
        facts.append(
            ("Found out", f"{span(said.found_out_s)}, {said.found_out}" if said.found_out else "nobody said so")
        )
        if said.other_actions:
            facts.append(("Begun before that", ", ".join(said.other_actions)))
    facts.append(("Next drill", f"{said.next.scenario} on {said.next.date}" if said.next else "none planned"))
    return facts


def _checklist(found: Record, facts: list[tuple[str, str]]) -> tuple[Item, ...]:
    """The checklist; one that cannot be read is a fact, and stops no report."""
    try:
        return checklist.read(found.directory)
    except ValueError as error:
        facts.append((checklist.FILE, f"cannot be read: {error}"))
        return ()


def _hosts(found: Record, facts: list[tuple[str, str]]) -> tuple[HostRow, ...]:
    """What the hosts did; samples that cannot be read are a fact, and stop no report."""
    try:
        return samples_view.rows(samples.read(found.directory), found.story.fault)
    except samples.SamplesError as error:
        facts.append(("Samples of the hosts", f"cannot be read: {error}"))
        return ()
