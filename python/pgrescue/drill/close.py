"""End a drill: put everything back, see whether it is steady, plan the next one, judge and keep it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from pgrescue import record, recovery, runner
from pgrescue.close import finish
from pgrescue.drill import checklist, rules, tape
from pgrescue.drill.checklist import Item
from pgrescue.drill.play import STEP_FAILED, VOID, playbook
from pgrescue.drill.record import FILE, Drill, Next, Steady
from pgrescue.evidence import findings
from pgrescue.evidence.settings import Settings
from pgrescue.files import write_json
from pgrescue.models import Run
from pgrescue.outcome import RECOVERED
from pgrescue.programme import due, past
from pgrescue.programme.plan import Programme
from pgrescue.record import Record


def without_recovery(
    request: recovery.Request, run_dir: Path, said: Drill, items: Sequence[Item], programme: Programme, console: Console
) -> int:
    """Keep the record of a drill whose fault did not take effect: void. What it may have changed is put back."""
    run_dir.mkdir(parents=True, exist_ok=True)
    run = Run(
        id=run_dir.name, kind="drill", procedure=request.procedure, service=request.service,
        scenario=said.scenario.name, operator=recovery.operator(),
    )  # fmt: skip
    write_json(run_dir / "run.json", run.dump())
    return close(request, run_dir, said, items, programme, VOID, console)


def close(
    request: recovery.Request,
    run_dir: Path,
    said: Drill,
    items: Sequence[Item],
    programme: Programme,
    code: int,
    console: Console,
) -> int:
    """Put back, judge and keep. The exit code is that of the record; 5 when what was broken could not be put back."""
    # by how the recovery itself ended: a drill that proves nothing is put back as well
    back = record.load(run_dir).seen.outcome.exit_code in RECOVERED or said.fault_failed is not None
    if back:
        said = _put_back(request, run_dir, said, console)
    tape.keep(console, run_dir)
    done = _end(run_dir, said, items, programme)
    console.print(rules.first_line(done.drill or said, done.seen), soft_wrap=True, highlight=False, markup=False)
    mirrored = playbook("playbooks/mirror_run.yml", request, run_dir.name, console).code == 0
    if not mirrored:
        console.print("The record with the drill's rules is on this machine alone.", soft_wrap=True)
    if back and said.cleaned_up is False:
        return STEP_FAILED
    return done.run.exit_code if done.run.exit_code is not None else code


def _put_back(request: recovery.Request, run_dir: Path, said: Drill, console: Console) -> Drill:
    """Run the repair, then look for the steady state again."""
    console.print("Putting everything back as it was, and looking whether it is ...", highlight=False)
    left = said.fault_failed is not None and not said.scenario.repair
    whole = all(playbook(path, request, run_dir.name, console).code == 0 for path in said.scenario.repair)
    steady = whole and playbook(said.scenario.steady_state, request, run_dir.name, console).code == 0
    if left:
        console.print("Nothing puts back what its fault may have left: the drill has no repair.", highlight=False)
    elif whole:
        console.print("It is whole again, its roles perhaps on other hosts: pgrescue lab status", highlight=False)
    cleaned_up = None if left else whole
    return said.model_copy(update={"cleaned_up": cleaned_up, "steady_after": Steady(held=steady, at=datetime.now(UTC))})


def _end(run_dir: Path, said: Drill, items: Sequence[Item], programme: Programme) -> Record:
    """Write all that the drill adds to the record, close the record anew, and seal it as it is then."""
    now, who = datetime.now(UTC), recovery.operator()
    found = record.load(run_dir)
    known = past.runs(runner.RUNS, found.run.service)
    following = due.next_drill(programme, found.run.service, known, now.date())
    plan = programme.services.get(found.run.service)
    unseen = plan.going_without.get(checklist.NOTES) if plan else None
    said = said.model_copy(
        update={
            "state": "ended",
            "owner": plan.owner if plan else found.run.operator or who,
            "verified": past.present(runner.RUNS, found.run.service, found.run.procedure, known),
            "next": Next(scenario=following[0], date=following[1].isoformat()) if following else None,
        }
    )
    write_json(run_dir / FILE, said.dump())
    kept = [*items, *checklist.during(found.story, run_dir, items, who, now, unseen)]
    write_json(run_dir / checklist.FILE, [one.dump() for one in kept])
    found = record.load(run_dir)
    opened, planned = len(findings.of(found, Settings())), f"{following[0]} on {following[1]}" if following else ""
    kept += checklist.after(found, opened, planned, who, now)
    write_json(run_dir / checklist.FILE, [one.dump() for one in kept])
    finish(run_dir)
    return record.load(run_dir)
