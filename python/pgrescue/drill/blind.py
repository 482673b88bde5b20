"""A blind drill: what is broken, and when, is drawn at random and shown when it is over. People recover, not pgrescue.

The draw is committed to before the window opens. Until it is opened it is in this process's memory alone: where the
process ends before the drill does, what was drawn cannot be shown any more and the drill proves nothing.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from pgrescue import record, recovery, runner
from pgrescue.core import journal
from pgrescue.drill import close, draw, halt, scenario
from pgrescue.drill.checklist import Item
from pgrescue.drill.conduct import Wish, called_off, prepared
from pgrescue.drill.halt import Watched
from pgrescue.drill.play import CALLED_OFF, PRECONDITION, REFUSED, playbook, steady
from pgrescue.drill.record import FILE, Draw, Drill, Opened, Steady, Stopped
from pgrescue.drill.sampling import Sampling, sampling
from pgrescue.drill.scenario import Scenario
from pgrescue.evidence import reopening
from pgrescue.files import write_json
from pgrescue.manifest import write_manifest
from pgrescue.outcome import RECOVERED
from pgrescue.programme.plan import Programme
from pgrescue.record import Record

DRAW = "draw.json"
BEFORE = timedelta(minutes=1)  # of the fault, from which on samples are kept


def candidates() -> list[Scenario]:
    """The scenarios that can be drawn: those that break something that people can find out."""
    return [one for one in map(scenario.load, scenario.names()) if one.fault and one.blind]


def run(wish: Wish, within_s: float, programme: Programme, console: Console) -> int:
    """Draw, commit, wait, break, wait for people, open. Exit codes as of a drill; 8 when it was stopped."""
    drawn_from = {one.name: one for one in candidates()}
    procedures = sorted({one.procedure for one in drawn_from.values()})
    says = f"A drill comes within {within_s:.0f} s. What it is, nobody knows."
    items = prepared(procedures, says, wish, programme, console)
    if items is None:
        return PRECONDITION
    request = recovery.Request("blind", wish.service, wish.inventory, dict(wish.variables))
    if not all(steady(path, request, console) for path in sorted({one.steady_state for one in drawn_from.values()})):
        return PRECONDITION
    began = datetime.now(UTC)
    drawn = draw.draw(wish.service, list(drawn_from), within_s, began, wish.seed)
    what, name = drawn_from[drawn.scenario], f"{began:%Y%m%dT%H%M%SZ}-{wish.service}"
    said = Draw(drill=name, commitment=draw.commitment(drawn), committed=began)
    # conditions of all, for which of them it looks at would tell what was drawn
    conditions = sorted({condition for one in drawn_from.values() for condition in one.stop_when})
    watched = Watched(runner.RUNS, wish.service, conditions, halt.folder(runner.RUNS, wish.service))
    with (
        halt.going_on(watched.folder, name),
        sampling(items, request, within_s, console) as sampled,
    ):
        if sampled is None:
            return PRECONDITION
        folder = _commit(said)
        console.print(f"One of {', '.join(drawn_from)} comes within {within_s:.0f} s.", soft_wrap=True, highlight=False)
        console.print(f"What was drawn is committed to; keep this: {said.commitment}", soft_wrap=True, highlight=False)
        try:
            stopped = halt.wait(watched, drawn.at)
        except KeyboardInterrupt:
            stopped = _interrupted()
        if stopped:
            _open(folder, said, drawn, stopped)
            _show(drawn, console)
            return called_off(stopped, console)
        return _strike(what, wish, items, programme, (folder, said, drawn), watched, sampled, console)


def _strike(
    what: Scenario,
    wish: Wish,
    items: list[Item],
    programme: Programme,
    committed: tuple[Path, Draw, Opened],
    watched: Watched,
    sampled: Sampling,
    console: Console,
) -> int:
    folder, said, drawn = committed
    request = recovery.Request(what.procedure, wish.service, wish.inventory, {**what.variables, **wish.variables})
    assert what.fault is not None  # only such are drawn
    # the fault writes its instant into the drill's own timeline, for there is no run yet
    played = playbook(
        what.fault, request, said.drill, console, what.fault_variables, {"PGRESCUE_RUNS": str(folder.parent)}
    )
    struck = fault(folder)
    state = Drill(scenario=what, steady_before=Steady(held=True, at=said.committed), fault=struck, blind=said)
    if played.code or struck is None:
        opened = _open(folder, said, drawn, None)
        _show(drawn, console)
        if played.code == REFUSED:
            return REFUSED
        failed = state.model_copy(update={"blind": opened, "fault_failed": played.said or "no fault was written down"})
        run_dir = runner.RUNS / recovery.new_id(request)
        run_dir.mkdir(parents=True, exist_ok=True)
        sampled.keep(run_dir, drawn.at - BEFORE)
        return close.without_recovery(request, run_dir, failed, items, programme, console)
    console.print(
        "Waiting for people. They say what is wrong by pgrescue drill --found-out WORDS, and recover as ever.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    try:
        ended, stopped = await_people(wish.service, struck, watched)
    except KeyboardInterrupt:
        ended, stopped = None, _interrupted()
    opened = _open(folder, said, drawn, stopped)
    _show(drawn, console)
    state = state.model_copy(
        update={"blind": opened, "stopped": stopped, **actions(what, wish.service, struck, watched)}
    )
    if ended is None:
        assert stopped is not None
        console.print(f"Stopped by {stopped.by}: {stopped.reason}. {what.says} The service is as people left it.",
                      soft_wrap=True, markup=False, highlight=False)  # fmt: skip
        console.print(f"What is there: pgrescue triage -s {wish.service}", highlight=False)
        return CALLED_OFF
    reopening.reopen(ended.directory, recovery.operator())
    _adopt(ended, state)
    sampled.keep(ended.directory, struck - BEFORE)
    return close.close(request, ended.directory, state, items, programme, ended.run.exit_code or 0, console)


def await_people(service: str, struck: datetime, watched: Watched) -> tuple[Record | None, Stopped | None]:
    """The first run begun after the fault that brought the service back, or what stopped the drill before."""
    pause = threading.Event()
    while True:
        for found in begun(service, struck):
            if found.run.exit_code in RECOVERED and not recovery.busy(found.directory):
                return found, None
        stopped = halt.breach(watched, datetime.now(UTC))
        if stopped:
            return None, stopped
        pause.wait(halt.EVERY_S)


def begun(service: str, struck: datetime) -> list[Record]:
    """Runs of the service that people began after the fault, oldest first; proofs are none."""
    # an id has whole seconds
    there = [d for d in record.all_runs(runner.RUNS) if d.name[:16] >= f"{struck:%Y%m%dT%H%M%SZ}"]
    found = [record.load(directory) for directory in there]
    return [one for one in found if one.run.service == service and one.run.kind != "proof" and _after(one, struck)]


def _after(one: Record, struck: datetime) -> bool:
    return one.story.started is not None and one.story.started >= struck


def actions(what: Scenario, service: str, struck: datetime, watched: Watched) -> dict[str, Any]:
    """How long people took: to say what is wrong, and to begin what is right; what else they began before that."""
    others: list[str] = []
    facts: dict[str, Any] = {}
    for one in begun(service, struck):
        if one.run.procedure in what.answers and one.story.started:
            facts["first_correct_action_s"] = (one.story.started - struck).total_seconds()
            break
        others.append(one.run.id)
    said = halt.told(watched.folder, halt.FOUND_OUT)
    if said and said.at >= struck:
        facts |= {"found_out_s": (said.at - struck).total_seconds(), "found_out": f"{said.by}: {said.reason}"}
    return {**facts, "other_actions": others}


def fault(folder: Path) -> datetime | None:
    """When the fault was injected, as the drill's own timeline has it."""
    faults = [e["wall"] for e in journal.events(str(folder / "timeline.jsonl")) if e["event"] == "fault"]
    return datetime.fromisoformat(faults[0]) if faults else None


def _commit(said: Draw) -> Path:
    """Write the commitment down, before anything can come of it."""
    folder = runner.RUNS / halt.FOLDER / said.drill
    folder.mkdir(parents=True)
    write_json(folder / DRAW, said.dump())
    with journal.Journal(str(folder / "timeline.jsonl"), recovery.operator()) as timeline:
        timeline.write("decision", step="drawn", status="committed", detail=said.commitment)
    return folder


def _open(folder: Path, said: Draw, drawn: Opened, stopped: Stopped | None) -> Draw:
    """Show what was drawn, and seal the drill's own record."""
    opened = said.model_copy(update={"opened": drawn})
    with journal.Journal(str(folder / "timeline.jsonl"), recovery.operator()) as timeline:
        if stopped:
            timeline.write("decision", step="stopped", status="stopped", detail=f"{stopped.by}: {stopped.reason}")
        timeline.write("decision", step="drawn", status="opened", detail=json.dumps(drawn.dump()))
    write_json(folder / DRAW, opened.dump())
    write_manifest(folder)
    return opened


def _interrupted() -> Stopped:
    return Stopped(by=recovery.operator(), at=datetime.now(UTC), reason="interrupted where it ran")


def _show(drawn: Opened, console: Console) -> None:
    console.print(f"Drawn was {drawn.scenario}, at {drawn.at:%H:%M:%S} UTC.", soft_wrap=True, highlight=False)


def _adopt(ended: Record, state: Drill) -> None:
    """Let the run that people began be the drill's: it was no incident."""
    write_json(ended.directory / FILE, state.dump())
    run = ended.run.model_copy(update={"kind": "drill", "scenario": state.scenario.name})
    write_json(ended.directory / "run.json", run.dump())
