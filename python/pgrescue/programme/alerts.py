"""Tell people, once for each obligation and period, that a test did not happen, and once that it was caught up with.

`runs/programme/alerts.json` holds what was told and is not over. What no channel took is not in it, and is told again
the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from pgrescue.alerting import delivery
from pgrescue.alerting.delivery import Threads
from pgrescue.alerting.message import Kind, Message
from pgrescue.alerting.policy import Policy
from pgrescue.files import write_json
from pgrescue.findings import Finding
from pgrescue.models import SCHEMA_VERSION, Instant, Model
from pgrescue.programme.due import Duty

FOLDER, FILE = "programme", "alerts.json"


class AlertsError(Exception):
    """Nobody can be told; the message says why, and what to do."""


@dataclass(frozen=True)
class Late:
    """One thing that is overdue. The key is of the obligation (`about`) and the period that went by without it."""

    key: str
    service: str
    about: str
    title: str
    lines: tuple[str, ...]
    commands: tuple[str, ...]


class Told(Model):
    """One alert that is not over: what it is about, what it said, and when it was told."""

    service: str
    about: str
    title: str
    at: Instant


class State(Model):
    """The file: alerts by their key, and where each channel goes on."""

    schema_version: int = SCHEMA_VERSION
    told: dict[str, Told] = Field(default_factory=dict)
    threads: Threads = Field(default_factory=dict)


@dataclass
class Came:
    """What came of it, in sentences; `failed` are those that nobody took."""

    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def late(duties: Sequence[Duty], findings: Sequence[Finding], today: date) -> list[Late]:
    """All that is overdue: obligations that a period went by without, and findings past their day."""
    found = []
    for duty in (one for one in duties if one.state == "overdue"):
        drill = f"pgrescue drill {duty.scenario or ''}".strip()
        again = drill if duty.kind == "drill" else "pgrescue prove"
        last = f"It last passed on {duty.last_passed}." if duty.last_passed else "It never passed."
        found.append(
            Late(
                f"programme:{duty.service}:{duty.name}:{duty.missed[-1]}",
                duty.service,
                duty.name,
                f"{duty.name} did not happen in {duty.missed[-1]}",
                (f"Promised every {duty.every}: {duty.says}.", last, f"Not kept in: {', '.join(duty.missed)}."),
                (f"{again} -s {duty.service}", f"pgrescue programme -s {duty.service}"),
            )
        )
    for one in (one for one in findings if one.overdue(today)):
        lines = (one.title, f"It was due on {one.due}. Owner: {one.owner}.")
        done = f'pgrescue findings done {one.id} --reason "..."'
        found.append(
            Late(
                f"finding:{one.service}:{one.id}",
                one.service,
                one.id,
                f"A finding is overdue: {one.id}",
                lines,
                (done,),
            )
        )
    return found


def tell(
    runs: Path,
    services: Sequence[str],
    overdue: Sequence[Late],
    policy_of: Callable[[str], Policy],
    now: datetime,
) -> Came:
    """Tell what is new, and that what was told is over. `policy_of` is asked of services that there is news of.

    Raises AlertsError, and sends nothing, when what was told before cannot be read or a service names no channel.
    """
    state = read(runs)
    still = {(one.service, one.about) for one in overdue}
    new = [one for one in overdue if one.key not in state.told]
    told = {key: one for key, one in state.told.items() if one.service in services}
    over = {key: one for key, one in told.items() if (one.service, one.about) not in still}
    news = {one.service for one in new} | {one.service for one in over.values()}
    policies = {name: _policy(name, policy_of) for name in sorted(news)}
    came = Came()
    for key, was in over.items():
        message = _message(key, "resolved", was.service, f"Over: {was.title}", (), (), now)
        if _sent(message, policies[was.service], state, came):
            del state.told[key]
            write(runs, state)
    for one in new:
        message = _message(one.key, "opened", one.service, one.title, one.lines, one.commands, now)
        if _sent(message, policies[one.service], state, came):
            state.told[one.key] = Told(service=one.service, about=one.about, title=one.title, at=now)
            write(runs, state)
    return came


def read(runs: Path) -> State:
    """What was told. Raises AlertsError when it cannot be read: all of it would be told again."""
    path = runs / FOLDER / FILE
    try:
        return State.model_validate_json(path.read_bytes()) if path.exists() else State()
    except ValidationError as error:
        raise AlertsError(
            f"{path} cannot be read, so it is not known what was told. Nobody was told. Look at it, or remove it."
        ) from error


def write(runs: Path, state: State) -> None:
    """Keep what was told."""
    (runs / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(runs / FOLDER / FILE, state.dump())


def _policy(service: str, policy_of: Callable[[str], Policy]) -> Policy:
    policy = policy_of(service)
    if not policy.tickets:
        raise AlertsError(
            f"{service} names no channel for what wakes nobody. Nobody was told. "
            "Name one in the inventory: service_alerts.tickets (docs/alerting.md)"
        )
    return policy


def _message(
    key: str, kind: Kind, service: str, title: str, lines: tuple[str, ...], commands: tuple[str, ...], now: datetime
) -> Message:
    return Message(key, kind, "warning", service, title, lines, commands, now)


def _sent(message: Message, policy: Policy, state: State, came: Came) -> bool:
    sent = delivery.deliver(message, policy.tickets, policy, state.threads)
    if sent.delivered:
        came.said.append(f"Told through {', '.join(sent.channels)}: {message.service}: {message.title}")
    else:
        came.failed.append(f"Nobody was told: {message.service}: {message.title}: {'; '.join(sent.reasons)}")
    return sent.delivered
