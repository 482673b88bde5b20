"""End a drill: put everything back, see whether it is steady, open findings, plan the next one, judge and keep it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from pgrescue import drill_checklist, drill_record, drill_rules, findings, record, recovery, runner
from pgrescue.drill_checklist import Item
from pgrescue.drill_play import RECOVERED, STEP_FAILED, VOID, playbook
from pgrescue.drill_record import Drill, Next, Steady
from pgrescue.files import write_json, write_text
from pgrescue.findings import Severity
from pgrescue.models import Run
from pgrescue.programme import due, past
from pgrescue.programme.plan import Programme
from pgrescue.record import Record

LONG_WAIT_S = 60.0  # for a person; longer is a finding


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
    back = code in RECOVERED or said.fault_failed is not None
    if back:
        said = _put_back(request, run_dir, said, console)
    done = _end(run_dir, said, items, programme)
    console.print(drill_rules.first_line(done.drill or said, done.seen), soft_wrap=True, highlight=False, markup=False)
    mirrored = playbook("playbooks/mirror_run.yml", request, run_dir.name, console).code == 0
    if not mirrored:
        console.print("The record with the drill's rules is on this machine alone.", soft_wrap=True)
    if back and said.cleaned_up is False:
        return STEP_FAILED
    return done.run.exit_code if done.run.exit_code is not None else code


def _put_back(request: recovery.Request, run_dir: Path, said: Drill, console: Console) -> Drill:
    """Run the repair, then look for the steady state again."""
    console.print("Putting everything back as it was, and looking whether it is ...", highlight=False)
    whole = all(playbook(path, request, run_dir.name, console).code == 0 for path in said.scenario.repair)
    steady = whole and playbook(said.scenario.steady_state, request, run_dir.name, console).code == 0
    if whole:
        console.print("It is whole again, its roles perhaps on other hosts: pgrescue lab status", highlight=False)
    return said.model_copy(update={"cleaned_up": whole, "steady_after": Steady(held=steady, at=datetime.now(UTC))})


def _end(run_dir: Path, said: Drill, items: Sequence[Item], programme: Programme) -> Record:
    """Write all that the drill adds to the record, and the record's reports and manifest anew."""
    now, who = datetime.now(UTC), recovery.operator()
    found = record.load(run_dir)
    known = past.runs(runner.RUNS, found.run.service)
    following = due.next_drill(programme, found.run.service, known, now.date())
    said = said.model_copy(
        update={
            "state": "ended",
            "verified": past.present(runner.RUNS, found.run.service, found.run.procedure, known),
            "next": Next(scenario=following[0], date=following[1].isoformat()) if following else None,
        }
    )
    write_json(run_dir / drill_record.FILE, said.dump())
    found = record.load(run_dir)
    plan = programme.services.get(found.run.service)
    standing = list(plan.going_without.values()) if plan else []
    owner = plan.owner if plan else found.run.operator or who
    opened = findings.of_run(found.run.id, found.run.service, owner, titles(found, said, items, standing), now)
    write_json(run_dir / findings.FILE, [one.dump() for one in opened])
    whole = [
        *items,
        *drill_checklist.during(found.story, who, now),
        *drill_checklist.after(found, len(opened), f"{following[0]} on {following[1]}" if following else "", who, now),
    ]
    write_json(run_dir / drill_checklist.FILE, [one.dump() for one in whole])
    write_text(run_dir / drill_checklist.LESSONS, drill_checklist.lessons(found))
    record.finish(run_dir)
    return record.load(run_dir)


def titles(
    found: Record, said: Drill, items: Sequence[Item], standing: Sequence[str] = ()
) -> list[tuple[Severity, str]]:
    """What is worth a finding: rules that were not kept, failures and retries, what was left out, waits, notes.

    An item that the programme lets every drill go on without, for one of the `standing` reasons, is none.
    """
    outcome, judged = found.outcome, drill_rules.judge(said, found.seen)
    told: list[tuple[Severity, str]] = []
    if outcome.result != "passed" and said.scenario.fails_on_purpose is None:
        told.append(("high", f"The drill is {outcome.result}: {outcome.reason}"))
    severity: dict[str, Severity] = {"must": "high", "nice": "low"}
    told += [
        (severity[one.tier], f"Rule not kept: {drill_rules.words(one)}")
        for one in judged
        if one.verdict != "kept" and said.scenario.fails_on_purpose is None
    ]
    told += [("medium", f"Step {e.step} {e.status}: {e.detail or 'it said nothing'}") for e in found.story.failures]
    if found.story.resumed:
        told.append(("medium", f"The run had to be gone on with {found.story.resumed} times"))
    skips = [e for e in found.journal.events if e.event == "decision" and e.status == "skipped"]
    told += [("medium", f"Left out: {e.step}: {e.detail}") for e in skips]
    waits = [w for w in found.story.waits if w.duration.seconds > LONG_WAIT_S]
    told += [("low", f"People were waited for {w.duration.seconds:.0f} s from {w.start:%H:%M:%S} UTC") for w in waits]
    told += [("low", f"Noted: {note.detail}") for note in found.story.notes if note.detail and note.step is None]
    bare = [one for one in items if not one.done and one.reason not in standing]
    told += [("low", f"Not done before: {one.text}: {one.said}") for one in bare]
    if said.steady_after and not said.steady_after.held:
        told.append(("high", "The steady state did not return"))
    return told
