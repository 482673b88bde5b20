"""`pgrescue plan`: what a procedure would do now, from its own check mode. Acts on nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from pgrescue import consequences, procedures, recovery, runner
from pgrescue.core.journal import LOOKING
from pgrescue.human import span
from pgrescue.say import say

WRONG_USE, PRECONDITION = 2, 3
_NO_STEPS = ("Validating arguments against arg spec", "Go on when this phase is over")  # the runbooks' own bookkeeping
_MISSING = re.compile(r"missing required arguments: (\w+)")
LAB = "inventories/lab"  # is taken when nothing is said
_PLAY = re.compile(r"\s*play #\d+ \(.*?\): (?P<name>.*?)\s*TAGS:")
_TASK = re.compile(r"\s{6}(?:[\w.]+ : )?(?P<name>.+?)\s*TAGS:")


@dataclass(frozen=True)
class Phase:
    """One play: its steps, how long it took the last time, and how it is taken back; nothing where it only looks."""

    name: str
    phase: str | None
    steps: tuple[str, ...]
    takes_s: float | None
    undo: str | None


@dataclass(frozen=True)
class View:
    """Everything that is shown of a plan."""

    procedure: str
    service: str
    plan: Mapping[str, Any]
    phases: tuple[Phase, ...]
    skippable: Mapping[str, str]
    command: str = ""

    def dump(self) -> dict[str, Any]:
        """This as JSON values."""
        return {**asdict(self), "loss": consequences.loss(self.plan), "ways": list(consequences.ways(self.plan))}


class PlanError(Exception):
    """There is no plan; the message says why, the code is the command's."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


def look(request: recovery.Request) -> View:
    """Run the procedure in check mode and gather what it would do. Raises PlanError when it cannot be planned."""
    variables = {**request.variables, "service": request.service, "run_id": recovery.new_id(request)}
    more = {"PGRESCUE_OPERATOR": recovery.operator()}
    play = runner.start(f"playbooks/{request.procedure}.yml", request.inventory, variables, more, check=True)
    failed = play.wait()
    plan, said, code = play.answer("plan"), play.failures(), play.exit_code() if failed else 0
    output = "" if said else play.output()
    play.forget()
    if failed:
        missing = _MISSING.search(said[0]) if said else None
        if missing:
            raise PlanError(f"{request.procedure} needs to be told -e {missing[1]}=... Nothing was changed.", WRONG_USE)
        raise PlanError("\n".join(said) or output, code)
    if plan is None:
        raise PlanError(
            f"{request.procedure} asks nobody before it begins, so there is no plan to show. Nothing was changed.",
            PRECONDITION,
        )
    return View(
        request.procedure,
        request.service,
        plan,
        phases(listed(request), procedures.load(request.procedure), recovery.predicted(request.procedure) or {}),
        procedures.load(request.procedure).skippable,
        command(request, plan),
    )


def command(request: recovery.Request, plan: Mapping[str, Any]) -> str:
    """What is typed to do this: as it was asked for, and where another standby could be chosen by then, on this one."""
    pinned = {"recovery_on": str(plan["target_host"])} if plan.get("method") == "promote" else {}
    told = {**pinned, **request.variables}
    extra = "".join(f" -e {shlex.quote(_told(key, value))}" for key, value in told.items())
    inventory = "" if request.inventory.endswith(LAB) else f" -i {shlex.quote(request.inventory)}"
    return f"pgrescue recover {request.procedure} -s {request.service}{inventory}{extra}"


def _told(key: str, value: Any) -> str:
    return f"{key}={value}" if isinstance(value, str) else json.dumps({key: value})


def listed(request: recovery.Request) -> str:
    """What ansible-playbook lists of the procedure's plays and tasks."""
    command = ["ansible-playbook", f"playbooks/{request.procedure}.yml", "-i", request.inventory, "--list-tasks"]
    command += ["-e", json.dumps({"service": request.service})]
    # groups that the run makes for itself are empty yet
    env = {**os.environ, **runner.environment({"ANSIBLE_HOST_PATTERN_MISMATCH": "ignore", "ANSIBLE_NOCOLOR": "1"})}
    done = subprocess.run(command, cwd=runner.ROOT, env=env, capture_output=True, check=False, text=True)
    if done.returncode:
        raise PlanError(f"The steps cannot be listed: {done.stderr.strip()[-400:]}. Nothing was changed.", 5)
    return done.stdout


def phases(listing: str, procedure: procedures.Procedure, predicted: Mapping[str, float]) -> tuple[Phase, ...]:
    """The plays of a listing, each with the phase that its runbook gives it."""
    found: list[tuple[str, list[str]]] = []
    for line in listing.splitlines():
        play, task = _PLAY.match(line), _TASK.match(line)
        if play:
            found.append((play["name"], []))
        elif task and found and not task["name"].startswith(_NO_STEPS):
            found[-1][1].append(task["name"])
    told, phase_by_play = [], procedures.phases(procedure.name)
    for name, steps in found:
        phase = phase_by_play.get(name)
        undo = procedure.undo.get(phase or "")
        told.append(Phase(name, phase, tuple(steps), predicted.get(phase or ""), undo))
    return tuple(told)


def lines(view: View) -> list[str]:
    """The plan for people."""
    plan = view.plan
    said = [
        f"PLAN  {view.procedure.replace('_', ' ')} of {view.service}   system {plan.get('system_identifier')}",
        f"  target     {consequences.target(plan)}",
        *([f"  back to    {asked}"] if (asked := consequences.point(plan)) else []),
        f"  you lose   {consequences.loss(plan)}",
    ]
    for place, way in enumerate(consequences.ways(plan)):
        closed = f"; not taken: {way['closed']}" if way.get("closed") else ""
        name = "way" if place == 0 else "or"
        figures = "" if not plan.get("ways") else f"   {consequences.way_loss(way)}, {consequences.way_time(way)}"
        said.append(f"  {name:<9}  {consequences.way_name(way)}{figures}{closed}")
    said += [f"  changes    {change}" for change in plan.get("changes") or []]
    said += [f"  no undo    {change}" for change in plan.get("irreversible") or []]
    timed = set[str | None]()
    for phase in view.phases:
        takes = (
            f"   {span(phase.takes_s)} the last time" if phase.takes_s is not None and phase.phase not in timed else ""
        )
        timed.add(phase.phase)
        back = "" if phase.phase in LOOKING or phase.phase is None else f"   undo: {phase.undo or 'not known'}"
        said += ["", f"{phase.name}{takes}", *([f"  {back.strip()}"] if back else [])]
        said += [f"  - {step}" for step in phase.steps]
    if view.skippable:
        said += ["", "Steps that pgrescue skip may leave out:"]
        said += [f"  {step}: {missing}" for step, missing in view.skippable.items()]
    return [*said, "", f"Nothing was changed. To do this very thing: {view.command}"]


def show(view: View, as_json: bool, console: Console) -> None:
    """Print the plan."""
    if as_json:
        print(json.dumps(view.dump(), indent=2), file=console.file)
        return
    for line in lines(view):
        say(console, line)
