"""What a drill shows that a person has to put right or to accept, from its rules, its checklist and its timeline."""

from __future__ import annotations

from collections.abc import Iterator

from pgrescue import drill_checklist, drill_record, drill_rules
from pgrescue.findings import Severity
from pgrescue.record import Record

LONG_WAIT_S = 60.0  # for a person; longer is a finding
Said = tuple[str, Severity, str]  # what kind of finding, stable from close to close; severity; title


def said(record: Record) -> Iterator[Said]:
    """Findings of a drill that has ended; none of any other run, or while the drill goes on.

    An item of the checklist that the programme lets every drill go on without is none.
    """
    drill = record.drill
    if drill is None or drill.state == "open":
        return
    if not drill_rules.fails_as_meant(drill, record.seen):
        yield from _of_the_rules(record, drill)
    if drill.steady_after and not drill.steady_after.held:
        yield "steady", "high", "The steady state did not return"
    if record.story.resumed:
        yield "resumed", "medium", f"The run had to be gone on with {record.story.resumed} times"
    for place, wait in enumerate(record.story.waits, 1):
        if wait.duration.seconds > LONG_WAIT_S:
            told = f"People were waited for {wait.duration.seconds:.0f} s from {wait.start:%H:%M:%S} UTC"
            yield f"wait-{place}", "low", told
    for place, note in enumerate(record.story.notes, 1):
        if note.detail and note.step is None:
            yield f"note-{place}", "low", f"Noted: {note.detail}"
    yield from _of_the_checklist(record)


def _of_the_rules(record: Record, drill: drill_record.Drill) -> Iterator[Said]:
    outcome = record.outcome
    if outcome.result != "passed":
        yield "drill", "high", f"The drill is {outcome.result}: {outcome.reason}"
    for one in drill_rules.judge(drill, record.seen):
        if one.verdict != "kept":
            kind = f"{one.tier}-{one.rule.replace(' ', '-')}"
            yield kind, "high" if one.tier == "must" else "low", f"Rule not kept: {drill_rules.words(one)}"


def _of_the_checklist(record: Record) -> Iterator[Said]:
    try:
        items = drill_checklist.read(record.directory)
    except ValueError as error:
        yield "checklist", "medium", f"{drill_checklist.FILE} cannot be read: {error}"
        return
    for one in items:
        if one.phase != "after" and not one.done and not one.standing:
            yield f"checklist-{one.item}", "low", f"Not done {one.phase}: {one.text}: {one.said}"
