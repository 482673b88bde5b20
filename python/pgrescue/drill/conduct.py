"""A drill: break a drill target for real at an instant nobody chose, recover it, put it back, judge it by its rules.

One of a planned procedure breaks nothing: it only begins at an instant that nobody chose. `blind` is the one of
which nobody knows the scenario.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from pgrescue import record, recovery, runner
from pgrescue.drill import checklist, close, halt, notice, ready
from pgrescue.drill.checklist import Item
from pgrescue.drill.play import CALLED_OFF, PRECONDITION, REFUSED, playbook, steady
from pgrescue.drill.record import FILE, Drill, Steady, Stopped
from pgrescue.drill.sampling import Sampling, sampling
from pgrescue.drill.scenario import Scenario
from pgrescue.evidence import reopening
from pgrescue.files import write_json
from pgrescue.outcome import RECOVERED
from pgrescue.programme.plan import Programme
from pgrescue.record import Record


@dataclass(frozen=True)
class Wish:
    """What a person asked for. `without`: items of the checklist to go on without, and why."""

    service: str
    inventory: str
    seed: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    acknowledged: tuple[str, ...] = ()


def now() -> datetime:
    """The present instant."""
    return datetime.now(UTC)


def run(what: Scenario, wish: Wish, programme: Programme, console: Console) -> int:
    """Check, inject the fault, recover, repair, judge. The exit code is the record's; 3 or 4 when nothing was begun."""
    items = prepared([what.procedure], f"A drill: {what.name}.", wish, programme, console)
    if items is None:
        return PRECONDITION
    request = recovery.Request(
        what.procedure, wish.service, wish.inventory,
        {"confirm": wish.service, "run_kind": "drill", "run_scenario": what.name, **what.variables, **wish.variables},
    )  # fmt: skip
    if not steady(what.steady_state, request, console):
        return PRECONDITION
    chance = random.Random(wish.seed)  # noqa: S311 - an instant, not a secret
    wait = chance.uniform(0, what.within_s)
    comes = "The fault comes" if what.fault else "It begins"
    console.print(f"Drill {what.name}: {what.says} {comes} in {wait:.1f} s.", soft_wrap=True, highlight=False)
    drill = Drill(scenario=what, steady_before=Steady(held=True, at=now()))
    watched = halt.Watched(runner.RUNS, wish.service, what.stop_when, halt.folder(runner.RUNS, wish.service))
    with (
        halt.going_on(watched.folder, what.name),
        sampling(items, request, wait, console) as sampled,
    ):
        if sampled is None:
            return PRECONDITION
        stopped = halt.wait(watched, now() + timedelta(seconds=wait))
        if stopped:
            return called_off(stopped, console)
        return _carry_out(what, drill, request, items, programme, watched, sampled, console)


def _carry_out(
    what: Scenario,
    drill: Drill,
    request: recovery.Request,
    items: Sequence[Item],
    programme: Programme,
    watched: halt.Watched,
    sampled: Sampling,
    console: Console,
) -> int:
    """From the fault on."""
    instant = f"{now():%Y-%m-%d %H:%M:%S.%f%z}"
    instants = dict.fromkeys(what.just_before, instant)
    request = replace(request, variables={**request.variables, **instants})
    kept = what.model_copy(update={"variables": {**what.variables, **instants}})  # for whoever goes on with it
    drill = drill.model_copy(update={"scenario": kept})
    run_id = recovery.new_id(request)
    run_dir = runner.RUNS / run_id
    if what.fault:
        played = playbook(what.fault, request, run_id, console, what.fault_variables)
        if played.code == REFUSED:
            return REFUSED
        if played.code:
            failed = drill.model_copy(update={"fault_failed": played.said or f"{what.fault} failed"})
            run_dir.mkdir(parents=True, exist_ok=True)
            sampled.keep(run_dir)
            return close.without_recovery(request, run_dir, failed, items, programme, console)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(run_dir / FILE, drill.dump())
    write_json(run_dir / checklist.FILE, [one.dump() for one in items])  # for whoever goes on with it
    with halt.Guard(watched, run_dir) as guard:
        code = recovery.execute(request, run_id, console)
    drill = drill.model_copy(update={"stopped": guard.stopped})
    if not (run_dir / "run.json").exists():
        return code
    reopening.reopen(run_dir, recovery.operator())  # what the drill adds comes after the recovery's own close
    sampled.keep(run_dir)
    return close.close(request, run_dir, drill, items, programme, code, console)


def interrupted(found: Record) -> bool:
    """Whether this is the record of a drill that was not put back yet; of a blind one its own command does that."""
    drill = found.drill
    return drill is not None and drill.blind is None and not drill.put_back


def resume(found: Record, inventory: str, more: Mapping[str, Any], programme: Programme, console: Console) -> int:
    """Go on with a drill that was interrupted: recover, where that is not over, put everything back, judge.

    Nothing samples or tapes it any more, and only a person stops it. Raises DrillGoesOnError beside another drill.
    """
    directory, run, drill = found.directory, found.run, found.drill
    if drill is None:
        raise ValueError(f"{run.id} is the record of no drill")
    what = drill.scenario
    known = {"confirm": run.service, "run_kind": "drill", "run_scenario": what.name, **what.variables, **more}
    items = [one for one in _checklist(directory) if one.phase == "before"]
    watched = halt.Watched(runner.RUNS, run.service, [halt.SOMEBODY], halt.folder(runner.RUNS, run.service))
    with halt.going_on(watched.folder, what.name):
        code = found.seen.outcome.exit_code
        if not recovery.over(found):
            with halt.Guard(watched, directory):
                code = recovery.resume(directory, inventory, known, console)
        now_found = record.load(directory)
        if now_found.drill is None or now_found.seen.outcome.exit_code not in RECOVERED:
            return code
        reopening.reopen(directory, recovery.operator())
        request = recovery.Request(run.procedure, run.service, inventory, known)
        return close.close(request, directory, now_found.drill, items, programme, code, console)


def _checklist(directory: Path) -> tuple[Item, ...]:
    """What was done before the drill; nothing where that cannot be read, which a finding says."""
    try:
        return checklist.read(directory)
    except ValueError:
        return ()


def called_off(stopped: Stopped, console: Console) -> int:
    """Say that a drill ended before anything was broken."""
    console.print(f"Stopped by {stopped.by}: {stopped.reason}. Nothing was broken.", soft_wrap=True, markup=False)
    return CALLED_OFF


def prepared(
    procedures: Sequence[str], says: str, wish: Wish, programme: Programme, console: Console
) -> list[Item] | None:
    """The checklist before the drill; None, said why, when an item is missing and nobody gave a reason.

    Those who take part are told what it `says`, where the programme names a channel for them.
    """
    context = ready.Context(
        programme=programme, service=wish.service, procedures=tuple(procedures), runs=runner.RUNS,
        inventory=Path(wish.inventory), who=recovery.operator(), now=now(), acknowledged=wish.acknowledged,
    )  # fmt: skip
    plan = context.plan
    if plan and "participants" not in {*wish.without, *plan.going_without}:
        said = notice.message(wish.service, says, context.who, context.now)
        context = context.model_copy(update={"told": notice.tell(plan.participants, said, wish.inventory)})
    items = ready.before(context, wish.without)
    if console.is_terminal and any(one.item == "participants" for one in ready.missing(items)):
        names = console.input("Who takes part, was told and acknowledged (names with commas): ").split(",")
        told = tuple(name.strip() for name in names if name.strip())
        context = context.model_copy(update={"acknowledged": (*wish.acknowledged, *told)})
        items = ready.before(context, wish.without)
    reasons = asked(ready.missing(items), console)
    if reasons:
        items = ready.before(context, {**wish.without, **reasons})
    left = ready.missing(items)
    for one in left:
        console.print(f"Not done: {one.text}: {one.said}", soft_wrap=True, markup=False, highlight=False)
    if left:
        console.print(
            f"The drill does not begin. Nothing was changed. Go on without: --without {left[0].item}=REASON",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        return None
    return items


def asked(items: Sequence[Item], console: Console) -> dict[str, str]:
    """Ask whoever sits here, item by item, for the reason to go on without it; none where nobody does."""
    reasons: dict[str, str] = {}
    if not console.is_terminal:
        return reasons
    for one in items:
        console.print(f"Not done: {one.text}: {one.said}", soft_wrap=True, markup=False, highlight=False)
        reason = console.input("  Go on without it, because (nothing stops the drill): ").strip()
        if not reason:
            break
        reasons[one.item] = reason
    return reasons
