"""Where a run stands when it stops: the safe state it reached, what it changed so far, and at most three ways on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgrescue import consequences, procedures
from pgrescue.core.journal import LOOKING
from pgrescue.core.windows import OPEN, read, state
from pgrescue.human import span
from pgrescue.models import PHASES
from pgrescue.record import Record

MOST = 3
_STATES = (  # the last that the timeline shows is the one that was reached
    ("service_healthy", "served", "clients are served by the recovered database"),
    ("application_resumed", "clients back", "the application is back on the recovered database, not watched yet"),
    ("endpoint_switched", "name switched", "the name points at the recovered database, the application is stopped"),
    ("validated", "validated", "the recovered database passed its checks; no client reaches it yet"),
    ("writable", "recovered, not checked", "the recovered database is up and unchecked; no client reaches it"),
    ("restored", "restored, not started", "the data is in its new place and nothing was started on it"),
    ("traffic_stopped", "traffic stopped", "nobody writes to an old copy, and no client is served"),
)  # fmt: skip
_UNTOUCHED = ("untouched", "nothing of the service was changed")
_BEGUN = ("being prepared", "stopping the application and fencing had begun, and no client may be served")


@dataclass(frozen=True)
class Choice:
    """A way on: what to type, what it loses and how long it takes, in words."""

    name: str
    command: str
    loses: str
    takes: str


@dataclass(frozen=True)
class SafeState:
    """The state that was reached, what was changed on the way there, how it is taken back, and the choices."""

    name: str
    says: str
    changed: tuple[str, ...]
    undo: tuple[str, ...]
    choices: tuple[Choice, ...]

    def dump(self) -> dict[str, Any]:
        """This as JSON values."""
        return asdict(self)


def reached(record: Record, predicted: Mapping[str, float] | None, *, given_up: bool = False) -> SafeState:
    """What the record shows; nothing counts as reached that it does not show."""
    begun = record.story.begun
    name, says = _UNTOUCHED
    if begun:
        found = (entry[1:] for entry in _STATES if entry[0] in record.story.milestones)
        name, says = next(found, _BEGUN)
    procedure = procedures.load(record.run.procedure)
    undo = [f"{phase}: {procedure.undo[phase]}" for phase in reversed(begun) if phase in procedure.undo]
    choices = _choices(record, procedure, predicted, given_up)
    return SafeState(name, says, tuple(_changed(record)), tuple(undo), tuple(choices[:MOST]))


def _changed(record: Record) -> list[str]:
    """Steps that changed something of the service, each with its hosts, in order and once."""
    found: dict[str, list[str]] = {}
    for step in record.story.steps:
        hosts = [host.host for host in step.hosts if host.status == "changed"]
        if hosts and step.phase not in (None, *LOOKING):
            found.setdefault(step.name, []).extend(host for host in hosts if host not in found.get(step.name, []))
    return [f"{name} ({', '.join(hosts)})" for name, hosts in found.items()]


def _choices(
    record: Record, procedure: procedures.Procedure, predicted: Mapping[str, float] | None, given_up: bool
) -> list[Choice]:
    run = record.run
    plan = record.plan.model_dump(mode="json") if record.plan else {}
    begin = f"pgrescue recover {run.procedure} -s {run.service}"
    loses = consequences.loss(plan) if plan else "not known before it is planned"
    if given_up and run.procedure in procedures.MOVES and _left_in_between(record):
        choices = _from_between(run.service, loses)
    elif given_up:
        choices = [Choice("try again", begin, loses, _takes(predicted, None)), *_other_way(plan, begin)]
    else:
        rest = _takes(predicted, _left(record, predicted))
        choices = [
            Choice("try again", f"pgrescue resume {run.id}", loses, rest),
            *_other_way(plan, f"pgrescue abort {run.id} && {begin}"),
        ]
    window = read(str(record.directory))
    if procedure.rollback and window and state(window) == OPEN:
        loses = "what was written since; " + "; ".join(window["rollback"])
        choices.append(Choice("roll back", f"pgrescue rollback {run.id}", loses, f"possible until {window['closes']}"))
    elif not given_up:
        choices.append(Choice("give up", f"pgrescue abort {run.id}", "nothing more", "at once; nothing is taken back"))
    return choices


def _left_in_between(record: Record) -> bool:
    """Whether the old primary may be fenced and nobody was promoted, so that there is none to hand over again."""
    return bool(record.story.begun) and "writable" not in record.story.milestones


def _from_between(service: str, loses: str) -> list[Choice]:
    return [
        Choice(
            "go back",
            f"pgrescue recover restart -s {service}",
            "nothing",
            "starts the old primary again, and the application",
        ),
        Choice("go on", f"pgrescue recover failover -s {service}", loses, "promotes a standby"),
    ]


def _other_way(plan: Mapping[str, Any], begin: str) -> list[Choice]:
    """The next way that the plan found open; not the backups of one restore, which it tries in turn by itself."""
    others: Sequence[Mapping[str, Any]] = [way for way in (plan.get("ways") or [])[1:] if not way.get("closed")]
    return [
        Choice(
            consequences.way_name(way),
            f"{begin} -e recovery_method={way['method']}"
            + (f" -e recovery_on={way['host']}" if way.get("host") else ""),
            consequences.way_loss(way),
            consequences.way_time(way),
        )
        for way in others[:1]
    ]


def _left(record: Record, predicted: Mapping[str, float] | None) -> list[str]:
    """Phases that have not ended well."""
    done = [phase.name for phase in record.story.phases if phase.status in ("ok", "changed")]
    return [name for name in (predicted or {}) if name in PHASES and name not in done]


def _takes(predicted: Mapping[str, float] | None, phases: list[str] | None) -> str:
    if not predicted:
        return "time not known: no such run has passed yet"
    seconds = sum(predicted[name] for name in (phases if phases is not None else predicted) if name in PHASES)
    return f"{span(seconds)}, as in the last run that passed"


def lines(found: SafeState) -> list[str]:
    """The same for people, one thing a line."""
    said = [f"SAFE STATE  {found.name}: {found.says}."]
    said += [f"  changed  {change}" for change in found.changed] or ["  changed  nothing"]
    said += [f"  undo     {step}" for step in found.undo]
    for number, choice in enumerate(found.choices, 1):
        said += [f"  [{number}] {choice.name}: {choice.command}", f"      loses {choice.loses}; {choice.takes}"]
    return said


def as_json(found: SafeState) -> str:
    """The same for programs."""
    return json.dumps(found.dump(), indent=2)
