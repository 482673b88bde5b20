"""Ask a person at a gate where a run waits: show what the plan means, take the service's name, write it down.

The run itself only looks for the record; who is not asked here answers with `pgrescue approve`, `-e confirm` or AWX.
"""

from __future__ import annotations

import socket
import sys
import termios
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from pgrescue import consequences, journal
from pgrescue.core import approvals, records, times
from pgrescue.models import Run
from pgrescue.say import say
from pgrescue.story import Story, fold

UNDO = "nothing of the damaged side is deleted; pgrescue abort says what is left to do"
PATIENCE_S = 300.0  # how long a run waits for the people that a command asks


def can_ask(console: Console) -> bool:
    """Whether somebody sits at this terminal."""
    return sys.stdin.isatty() and console.is_terminal


def variables(confirm: str | None, console: Console) -> dict[str, Any]:
    """What a procedure is started with: the name that was given, or time to ask for it where somebody sits."""
    if confirm is not None:
        return {"confirm": confirm}
    return {"run_gate_wait_s": PATIENCE_S} if can_ask(console) else {}


def wanted(run_dir: Path, operator: str, since: datetime) -> dict[str, Any] | None:
    """The gate at which the run waits for its operator, since this attempt; None when it does not."""
    story = fold(journal.read(run_dir / "timeline.jsonl").events)
    facts = story.facts.get("gate", {})
    if not story.waiting or story.waits[-1].start < since or "operator" not in facts.get("lacking", []):
        return None
    return None if _answered(run_dir, operator, str(facts["gate"]), story) else facts


def _answered(run_dir: Path, operator: str, gate: str, story: Story) -> bool:
    since = story.waits[-1].start.timestamp()
    found, _wrong = approvals.read(str(run_dir))
    return any(
        approvals.person(one["by"]) == approvals.person(operator)
        and one["gate"] == gate
        and times.epoch_s(one["given"]) >= since
        for one in found
    )


def answer(
    run_dir: Path, facts: dict[str, Any], operator: str, console: Console, answers: TextIO | None = None
) -> bool:
    """Ask for the service's name and write down what was said; whether it was yes. Whatever else is typed is no."""
    service = records.read_json(str(run_dir / "plan.json"))["service"]
    typed = name_typed(run_dir, str(facts["gate"]), console, answers)
    policy = {"second_person": False, "expires_s": facts["expires_s"], "plan_expires_s": facts["expires_s"]}
    gate = approvals.at(str(run_dir), str(facts["gate"]), operator, policy)
    yes = bool(typed == service)
    reason = "typed the service's name" if yes else f"{typed!r} was typed" if typed else "nothing was typed"
    verdict = approvals.APPROVED if yes else approvals.DENIED
    approvals.write(str(run_dir), approvals.record(gate, operator, "terminal", reason, verdict))
    if not yes:
        console.print(f"Not confirmed: {reason}. The run stops here.", markup=False, highlight=False)
    return yes


def gives_up(run: Run, console: Console, answers: TextIO | None = None) -> bool:
    """Ask whether a run is to be given up, by its service's name; anything else is no."""
    said = f"Give up {run.id}, {run.procedure.replace('_', ' ')} of {run.service}? It may leave clients out."
    console.print(said, markup=False, highlight=False)
    return _typed(run.service, console, answers or sys.stdin) == run.service


def name_typed(run_dir: Path, name: str, console: Console, answers: TextIO | None = None) -> str:
    """Show what the plan means and ask for the service's name; what was typed, nothing at the end of the input."""
    answers = answers or sys.stdin
    plan = records.read_json(str(run_dir / "plan.json"))
    run = records.read_json(str(run_dir / "run.json"))
    for line in question(plan, run, name, _shown(run_dir, name)):
        say(console, line)
    typed = _typed(plan["service"], console, answers, ", 'why' for more")
    if typed == "why":
        for line in detail(plan):
            say(console, line)
        typed = _typed(plan["service"], console, answers, ", 'why' for more")
    return typed


def _shown(run_dir: Path, name: str) -> list[str]:
    """What the run wants people to see at this gate besides its plan."""
    facts = fold(journal.read(run_dir / "timeline.jsonl").events).facts.get("gate", {})
    return list(facts.get("shows", [])) if facts.get("gate") == name else []


def question(plan: dict[str, Any], run: dict[str, Any], gate: str, shows: Sequence[str] = ()) -> list[str]:
    """What a person must know before they type, in lines."""
    kind = str(run.get("kind", "run")).upper()
    return [
        f"GATE {gate}  {kind}  {plan['procedure'].replace('_', ' ')} of {plan['service']}, from {socket.gethostname()}",
        f"  system:    {plan.get('system_identifier') or 'not known'}   target: {consequences.target(plan)}",
        *_listed("found:", list(shows)),
        *_listed("will:", plan.get("changes") or []),
        *_listed("back to:", [asked] if (asked := consequences.point(plan)) else []),
        f"  you lose:  {consequences.loss(plan)}",
        *_listed("cannot be undone:", plan.get("irreversible") or []),
        f"  undo:      {plan.get('undo') or UNDO}",
    ]


def _listed(name: str, items: list[str]) -> list[str]:
    if len(name) > 9:  # noqa: PLR2004 - the column of the names
        return [f"  {name}", *(f"             {item}" for item in items)] if items else []
    return [f"  {name if place == 0 else '':<9}  {item}" for place, item in enumerate(items)]


def detail(plan: dict[str, Any]) -> list[str]:
    """More of the plan, for who asks why."""
    return [
        f"  plan {records.digest(plan)[:12]} of {plan['run']}",
        *(f"  way: {line}" for line in consequences.way_lines(plan)),
        *(f"  repository {name} does not answer: {said}" for name, said in (plan.get("unreachable") or {}).items()),
    ]


def _typed(service: str, console: Console, answers: TextIO, more: str = "") -> str:
    """What is typed from now on: keys pressed earlier were meant for something else."""
    if answers.isatty():
        termios.tcflush(answers.fileno(), termios.TCIFLUSH)
    asked = f"Type the service's name ({service}) to go on{more}; anything else stops."
    console.print(asked, markup=False, highlight=False)
    console.file.flush()
    return answers.readline().strip()
