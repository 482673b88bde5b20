"""What a drill shows that a person has to put right or to accept, from its rules, its checklist and its timeline."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pgrescue.drill import checklist, rules
from pgrescue.drill.record import Drill
from pgrescue.findings import Severity
from pgrescue.record import Record

LONG_WAIT_S = 60.0  # for a person; longer is a finding
ANY = "*"  # of whatever else is severe


@dataclass(frozen=True)
class Said:
    """Something that a run shows: its kind, stable from close to close, how severe it is, and what it says.

    `shows` are kinds whose effect it is, the nearest first: where one of them was found too, it is evidence of that.
    """

    kind: str
    severity: Severity
    title: str
    shows: tuple[str, ...] = ()


_RULES = {
    "recovered": (ANY,),
    "validated": (ANY,),
    "nothing_lost": ("lost-before-recovery-point", "lost-after-recovery-point"),
    "nothing_lost_before_point": ("lost-before-recovery-point",),
    "steady_after": ("steady",),
    "rto_within": ("rto",),
    "rpo_within": ("rpo",),
}


def said(record: Record) -> Iterator[Said]:
    """Findings of a drill that has ended; none of any other run, or while the drill goes on.

    An item of the checklist that the programme lets every drill go on without is none.
    """
    drill = record.drill
    if drill is None or drill.state == "open":
        return
    if not rules.fails_as_meant(drill, record.seen):
        yield from _of_the_rules(record, drill)
    if drill.steady_after and not drill.steady_after.held:
        yield Said("steady", "high", "The steady state did not return")
    if record.story.resumed:
        times = "once" if record.story.resumed == 1 else f"{record.story.resumed} times"
        yield Said("resumed", "medium", f"The run had to be gone on with {times}")
    for place, wait in enumerate(record.story.waits, 1):
        if wait.duration.seconds > LONG_WAIT_S:
            told = f"People were waited for {wait.duration.seconds:.0f} s from {wait.start:%H:%M:%S} UTC"
            yield Said(f"wait-{place}", "low", told)
    for place, note in enumerate(record.story.notes, 1):
        if note in record.story.said and not checklist.tells_lessons(note.detail):
            yield Said(f"note-{place}", "low", f"Noted: {note.detail}")
    yield from _of_the_checklist(record)


def _of_the_rules(record: Record, drill: Drill) -> Iterator[Said]:
    outcome = record.outcome
    if outcome.result != "passed":
        shows: tuple[str, ...] = (ANY,) if outcome.result == "failed" else ()  # what is void has a reason of its own
        yield Said("drill", "high", f"The drill is {outcome.result}: {outcome.reason}", shows)
    for one in rules.judge(drill, record.seen):
        if one.verdict != "kept":
            rule, _, phase = one.rule.partition(" ")
            shows = (f"phase-{phase}",) if phase else _RULES.get(rule, ())
            kind = f"{one.tier}-{one.rule.replace(' ', '-')}"
            title = f"Rule not kept: {rules.words(one)}"
            yield Said(kind, "high" if one.tier == "must" else "low", title, shows)


def _of_the_checklist(record: Record) -> Iterator[Said]:
    try:
        items = checklist.read(record.directory)
    except ValueError as error:
        yield Said("checklist", "medium", f"{checklist.FILE} cannot be read: {error}")
        return
    for one in items:
        if one.phase != "after" and not one.done and not one.standing:
            yield Said(f"checklist-{one.item}", "low", f"Not done {one.phase}: {one.text}: {one.said}")
