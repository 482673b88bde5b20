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
    "detection_s": "last served, until it was detected",
    "acknowledgement_s": "detected, until somebody looked after it",
    "decision_s": "looked after, until it was decided",
    "mitigation_s": "last served, until served again",
    "resolution_s": "detected, until it was resolved",
}
LABELS = {"decision": "decided", "approval": "approved"}


def line(found: incidents.Incident) -> str:
    """One line for a list."""
    return f"{found.id:<32} {standing(found):<12} {found.says}"


def standing(found: incidents.Incident) -> str:
    """How far it has come."""
    return "resolved" if found.resolved else "served again" if found.mitigated else "open"


def render(case: incidents.Case) -> Group:
    """All of it."""
    found = case.incident
    style = "bold green" if found.resolved else "bold red"
    head = Text(f"{found.id}  {standing(found)}: {found.says}", style=style)
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
    proposed = [] if found.resolved else found.proposed  # nobody shall do it any more
    if proposed:
        yield Text("PROPOSED", style="bold")
    for number, way in enumerate(proposed, 1):
        yield Padding(Text(f"[{number}] {way['says']}  {way['command']}"), (0, 0, 0, 2))


def _timeline(case: incidents.Case) -> Iterator[RenderableType]:
    yield Text("TIMELINE (UTC)", style="bold")
    by: dict[tuple[str, ...], dict[str, None]] = {}  # who said it, in their order
    told: dict[tuple[str, ...], list[datetime]] = {}  # what is said again in the same words is said once, with a count
    for event in case.events():
        label = f"{LABELS[event['event']]}: " if event["event"] in LABELS else ""
        said = label + str(event.get("detail") or event["step"])
        # one of its own: a milestone is reached anew, a note of a host repeats what it saw
        key: tuple[str, ...] = (said,) if event["event"] == "note" and event.get("host") else (said, str(event["seq"]))
        told.setdefault(key, []).append(datetime.fromisoformat(event["wall"]))
        by.setdefault(key, {})[event.get("host") or event["actor"]] = None
    for key, at in told.items():
        count = f"  ({len(at)} times, until {moment(at[-1]).removesuffix(' UTC')})" if len(at) > 1 else ""
        who = ", ".join(by[key])
        yield Padding(Text(f"{moment(at[0]).removesuffix(' UTC')}  {who}: {key[0]}{count}"), (0, 0, 0, 2))


def _row(name: str, value: str) -> Padding:
    return Padding(Text(f"{name:<42} {value}"), (0, 0, 0, 2))
