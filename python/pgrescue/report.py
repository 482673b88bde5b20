"""Render a record as one self-contained page and as Markdown.

Both are pure functions of the record: the same record gives the same bytes. What was not measured
says so. Nothing in the page is fetched from anywhere.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pgrescue import advice, consequences, drawing, human, markup, report_view, verdict
from pgrescue.drill import view as drill_view
from pgrescue.record import Record

DEFINITIONS = (
    (
        "Recovery time",
        "from the end of the last success before the outage to the end of the first of two consecutive "
        "successes after it, over all four probes (a commit through the application's endpoint, health, "
        "products, videos). Trouble that begins again before clients were let back in counts on.",
    ),
    (
        "Recovery point",
        "every commit that a client was told had succeeded is held against the rows that came back. The "
        "loss in seconds runs from the newest surviving one to the last one before the outage; of rows that were "
        "brought back from a copy, from the instant of the copy to the fault.",
    ),
    (
        "Detection",
        "from the fault, or the last success where no fault is known, to the declaration. In a drill that is not blind "
        'nobody detects anything: there it is called "Declared after".',
    ),
    ("Waiting for people", "from a question that the run asked to the approval that answered it."),
    ("Phases", "time in which the phase was worked on, by the controller's monotonic clock."),
)


def html(record: Record) -> str:
    """The report as one HTML page."""
    return _render("report.html.j2", record, escape=True)


def markdown(record: Record) -> str:
    """The report as Markdown."""
    return _render("report.md.j2", record, escape=False)


def _render(template: str, record: Record, *, escape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("pgrescue"),
        autoescape=escape,  # noqa: S701 - off for Markdown only, whose cells are escaped by `cell`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        hms=human.hms,
        span=human.span,
        moment=human.moment,
        time_of_day=human.time_of_day,
        size=human.size,
        ranges=human.ranges,
        value=report_view.value,
        cell=markup.cell,
    )
    return environment.get_template(template).render(_context(record))


def _context(record: Record) -> dict[str, Any]:
    return {
        "run": record.run,
        "measured": record.measurement,
        "story": record.story,
        "plan": record.plan,
        "held": record.reconciliation,
        "checks": record.checks,
        "check_summary": report_view.check_summary(record.checks),
        "problems": record.problems,
        "drill": drill_view.view(record),
        "detection": "Detection" if _detects(record) else "Declared after",
        "reason": record.outcome.reason if record.run.result else "",
        "broken_glass": verdict.broken_glass(record),
        "skipped": [e for e in record.journal.events if e.event == "decision" and e.status == "skipped"],
        "headline": verdict.headline(record),
        "time_words": verdict.time_words(record),
        "loss_words": verdict.loss_words(record),
        "subject_words": verdict.subject_words(record),
        "check_words": verdict.check_words(record),
        "restore_s": record.measurement.phases.get("restore"),
        "verdict_line": verdict.verdict_line(record),
        "tone": _tone(record),
        "zero": report_view.zero(record),
        "moments": report_view.moments(record),
        "drawings": report_view.drawings(record),
        "phases": report_view.phases(record),
        "ways": consequences.way_lines(record.plan.dump()) if record.plan and record.plan.ways else [],
        "prediction": consequences.prediction(record.plan.dump(), record.measurement.rta_s) if record.plan else None,
        "decisions": [e for e in record.journal.events if e.event in ("decision", "approval")],
        "next_steps": advice.next_steps(record),
        "definitions": DEFINITIONS,
        "meter": drawing.meter,
        "events": len(record.journal.events),
    }


def _detects(record: Record) -> bool:
    """Whether somebody had to find out: not in a drill that declares its own fault."""
    return record.run.kind != "drill" or (record.drill is not None and record.drill.blind is not None)


def _tone(record: Record) -> str:
    """The page's one colour: good, bad, or plain for what proves neither."""
    if record.run.result == "passed":
        return "good"
    return "plain" if record.run.result in (None, "void", "aborted") else "bad"
