"""What was done otherwise than the plan or the policy wants it, and the page that says so, `deviations.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pgrescue.human import moment
from pgrescue.markup import cell
from pgrescue.record import Record


@dataclass(frozen=True)
class Deviation:
    """One of them: what, by whom, why and when, each as far as the record says."""

    what: str
    by: str
    why: str
    when: datetime | None = None


def skips(record: Record) -> list[Deviation]:
    """Steps that were left out."""
    return [
        Deviation(event.step or "-", event.actor or "-", event.detail or "no reason given", event.wall)
        for event in record.journal.events
        if event.event == "decision" and event.status == "skipped"
    ]


def overrides(record: Record) -> list[Deviation]:
    """Hosts that were not proven to be fenced, and who went on all the same."""
    found = []
    for path in sorted(record.directory.glob("fence-*.json")):
        try:
            fence = json.loads(path.read_bytes())
        except ValueError:  # the manifest covers it; what it says is nobody's override
            continue
        if isinstance(fence, dict) and fence.get("overridden"):
            by = record.run.operator or "-"
            found.append(Deviation(f"{fence.get('host')} was not proven to be fenced", by, str(fence["overridden"])))
    return found


def broken_glass(record: Record) -> list[Deviation]:
    """Gates that were passed without the second person."""
    return [Deviation(f"gate {one.gate}", one.by, one.reason, one.at) for one in record.run.broke_glass]


def takeovers(record: Record) -> list[Deviation]:
    """Each time somebody else than before went on with the run."""
    found, before = [], None
    for event in record.journal.events:
        if event.event == "start" and event.phase is None and event.step is None:
            if before is not None and event.actor != before:
                found.append(Deviation("the run", event.actor or "-", f"{before} had it before", event.wall))
            before = event.actor
    return found


_CHAPTERS = (
    ("Steps left out", skips),
    ("Proofs overridden", overrides),
    ("Gates without the second person", broken_glass),
    ("Taken over", takeovers),
)


def page(record: Record) -> str:
    """The page, in Markdown; a chapter without an entry says `None.`"""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: Record) -> Iterator[str]:
    yield f"# Deviations of {record.run.id}"
    for title, list_ in _CHAPTERS:
        yield from ("", f"## {title}", "")
        found = list_(record)
        if not found:
            yield "None."
            continue
        yield from ("| what | by | why | when |", "|---|---|---|---|")
        for one in found:
            when = moment(one.when) if one.when else "-"
            yield f"| {cell(one.what)} | {cell(one.by)} | {cell(one.why)} | {when} |"
