"""Incidents as a person reads them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pgrescue import incidents
from pgrescue.human import moment, span

NAMES = {
    "detection_s": "until it was detected",
    "acknowledgement_s": "until somebody looked after it",
    "decision_s": "until it was decided",
    "mitigation_s": "until clients were served again",
    "resolution_s": "until it was resolved",
}


def line(found: incidents.Incident) -> str:
    """One line for a list."""
    now = "resolved" if found.resolved else "served again" if found.mitigated else "open"
    return f"{found.id:<32} {now:<12} {found.says}"


def render(case: incidents.Case) -> Group:
    """All of it."""
    found = case.incident
    style = "bold green" if found.resolved else "bold red"
    head = Text(f"{found.id}  {found.says}", style=style)
    return Group(head, *_clocks(found), *_checklist(found), *_proposed(found), *_timeline(case))


def _clocks(found: incidents.Incident) -> Iterator[RenderableType]:
    for name, seconds in incidents.clocks(found).items():
        yield _row(NAMES[name], span(seconds))
    if found.acknowledged_by:
        yield _row("who looks after it", found.acknowledged_by)
    for who, role in found.people.items():
        yield _row(f"{role}", who)
    for run in found.runs:
        yield _row("recovery", run)


def _checklist(found: incidents.Incident) -> Iterator[RenderableType]:
    yield Text("DECISION", style="bold")
    for question, answer in incidents.checklist(found):
        sign = "[x]" if answer else "[ ]"
        yield Padding(Text(f"{sign} {question}: {answer or 'to be answered by a person'}"), (0, 0, 0, 2))


def _proposed(found: incidents.Incident) -> Iterator[RenderableType]:
    if found.proposed:
        yield Text("PROPOSED", style="bold")
    for number, way in enumerate(found.proposed, 1):
        yield Padding(Text(f"[{number}] {way['says']}  {way['command']}"), (0, 0, 0, 2))


def _timeline(case: incidents.Case) -> Iterator[RenderableType]:
    yield Text("TIMELINE (UTC)", style="bold")
    for event in case.events():
        at = moment(datetime.fromisoformat(event["wall"])).removesuffix(" UTC")
        who = event.get("host") or event["actor"]
        yield Padding(Text(f"{at}  {who}: {event.get('detail') or event['step']}"), (0, 0, 0, 2))


def _row(name: str, value: str) -> Padding:
    return Padding(Text(f"{name:<34} {value}"), (0, 0, 0, 2))
