"""`lessons.md`: the page that people fill in after a run, begun with where its time went."""

from __future__ import annotations

from collections.abc import Iterator

from pgrescue.human import moment, span
from pgrescue.markup import cell
from pgrescue.record import Record

SLOWEST = 10
_ASKED = (
    "What would have made the slowest step faster?",
    "Which wait for a person could be shorter, or gone?",
    "What was unclear to whoever was at work?",
    "What is changed now, by whom, until when? (Findings are in findings.json.)",
)


def page(record: Record) -> str:
    """The page, in Markdown."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: Record) -> Iterator[str]:
    yield from (f"# Lessons of {record.run.id}", "", "## The slowest steps", "")
    timed = sorted(
        ((step.seconds, step) for step in record.story.steps if step.seconds is not None), key=lambda t: -t[0]
    )
    if timed:
        yield from ("| step | phase | took |", "|---|---|---|")
        yield from (f"| {cell(step.name)} | {step.phase or '-'} | {span(s)} |" for s, step in timed[:SLOWEST])
    else:
        yield "No step was timed."
    yield from ("", "## Waiting for people", "")
    yield from [f"- {moment(wait.start)}: {span(wait.duration.seconds)}" for wait in record.story.waits] or [
        "Nobody was waited for."
    ]
    yield from ("", "## Gone on with", "")
    yield f"{record.story.resumed} times." if record.story.resumed else "The run went through at once."
    yield from ("", "## Noted by people", "")
    yield from [f"- {moment(n.wall)}, {cell(n.actor)}: {cell(n.detail)}" for n in record.story.said] or ["Nothing."]
    for question in _ASKED:
        yield from ("", f"## {question}", "")
