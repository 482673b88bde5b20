"""A drill from its checklist to its sealed record, and one that nobody knows the scenario of; the lab is played."""

import json
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import StringIO

import pytest
from drillings import sar
from pgrescue import cli, close, findings, incidents, record, recovery, runner
from pgrescue.core import journal
from pgrescue.drill import blind, checklist, conduct, draw, halt, play, ready, samples, sampling, scenario
from pgrescue.drill import close as drill_close
from pgrescue.drill.play import Played
from pgrescue.drill.record import Draw
from pgrescue.drill.tape import Tape
from pgrescue.evidence import envelope, reopening
from pgrescue.evidence.verify import verify
from pgrescue.manifest import verify_manifest
from pgrescue.models import Run
from pgrescue.programme import plan as plans
from rich.console import Console
from run_fixture import Synthetic, Witness, complete_loss, failed_restore
from typer.testing import CliRunner

FAULT = "lab/faults/destroy_hosts.yml"
SAMPLING = sampling.PLAYBOOK
NOW = datetime(2026, 12, 2, 9, tzinfo=UTC)


@dataclass
class Lab:
    """Plays the lab's playbooks and the recovery: what fails, what was run, what the recovery leaves."""

    fails: dict = field(default_factory=dict)
    played: list = field(default_factory=list)
    parts: dict = field(default_factory=dict)
    during: object = None
    samples: dict = field(default_factory=dict)  # how each host is sampled

    def playbook(self, path, request, run_id, console, more=None, environment=None):
        self.played.append(path)
        code = self.fails.get(path, 0)
        if "faults/" in path and not code and environment:
            folder = blind.Path(environment["PGRESCUE_RUNS"]) / run_id
            with journal.Journal(str(folder / "timeline.jsonl"), "ada") as timeline:
                timeline.write("fault", step="Break it", boot_id="x")
            if self.during:
                self.during()
        results = {"samples": self.samples} if path == sampling.PLAYBOOK else {}
        return code if isinstance(code, Played) else Played(code, "it said so" if code else "", results)

    def execute(self, request, run_id, console):
        shutil.rmtree(runner.RUNS / "made", ignore_errors=True)
        made = Synthetic(**self.parts).write(runner.RUNS / "made")
        there = runner.RUNS / run_id
        there.mkdir(exist_ok=True)
        for path in made.iterdir():
            path.rename(there / path.name)
        run = json.loads((there / "run.json").read_text())
        run |= {"id": run_id, "procedure": request.procedure}
        (there / "run.json").write_text(json.dumps(run))
        close.finish(there)
        return record.load(there).run.exit_code


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    """Two seconds of this machine, as a host streams them."""
    path = tmp_path_factory.mktemp("sar") / "db1.sar"
    with path.open("wb") as out:
        subprocess.run(["sh", "-c", sar(2)], stdout=out, check=True)
    return path


@pytest.fixture
def lab(tmp_path, monkeypatch, stream):
    played = Lab(samples={"db1": ["sh", "-c", f"cat {stream}; exec sleep 60"]})
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    for module in (conduct, blind, sampling, drill_close, play):
        monkeypatch.setattr(module, "playbook", played.playbook)
    monkeypatch.setattr(recovery, "execute", played.execute)
    monkeypatch.setattr(halt, "EVERY_S", 0.01)
    return played


def console():
    return Console(file=Tape(StringIO()), width=200, record=True, force_terminal=False)


def wish(tmp_path, **more):
    return conduct.Wish("shop", str(tmp_path), seed=1, **more)


def run(tmp_path, out, name="complete_loss", **more):
    what = scenario.load(name).model_copy(update={"within_s": 0.001})
    return conduct.run(what, wish(tmp_path, **more), plans.load(), out)


def newest(tmp_path):
    return record.load(record.all_runs(tmp_path)[-1])


def test_a_drill_leaves_its_scenario_rules_checklist_findings_lessons_and_next_in_a_whole_record(lab, tmp_path):
    code = run(tmp_path, out := console())
    found = newest(tmp_path)
    assert code == 0, out.export_text()
    assert lab.played == [
        "lab/steady_state.yml", SAMPLING, FAULT, "lab/replace_hosts.yml", "playbooks/protect.yml",
        "lab/steady_state.yml", "playbooks/mirror_run.yml",
    ]  # fmt: skip
    assert found.drill and found.drill.state == "ended" and found.drill.steady_after.held
    assert found.drill.verified and found.drill.next
    items = [checklist.Item.model_validate(one) for one in json.loads((found.directory / "checklist.json").read_text())]
    assert {one.phase for one in items} == {"before", "during", "after"}
    assert all(one.done or one.reason for one in items if one.phase == "before")
    assert "The slowest steps" in (found.directory / "lessons.md").read_text()
    assert "Replay the archive" in (found.directory / "lessons.md").read_text()
    opened = findings.load(tmp_path)
    assert {one.id.partition("/")[2]: one.title for one in opened} == {
        "check-settings": "Check 'settings' failed",
        "lost-after-recovery-point": "14 acknowledged commits after the recovery point are not reconciled",
        "note-1": "Noted: Second cache node was slow to reconnect.",
    }
    assert {one.owner for one in opened} == {plans.load().services["shop"].owner}
    assert next(one.said for one in items if one.item == "findings") == "3 findings"
    assert all(one.title in (found.directory / "report.md").read_text() for one in opened)
    assert verify_manifest(found.directory) == []


def test_a_drill_ends_sealed_as_it_is_once_it_has_ended_and_changing_that_shows(lab, tmp_path):
    run(tmp_path, console())
    there = newest(tmp_path).directory
    (only,) = there.glob("seal-*")  # none before it was judged
    stated = envelope.read(only.read_bytes()).statement.digests["drill.json"]
    assert stated == sha256((there / "drill.json").read_bytes()).hexdigest()
    assert verify(there).holds
    (there / "drill.json").write_text((there / "drill.json").read_text().replace('"ended"', '"open" '))
    assert [one.path for one in verify(there).changed] == ["drill.json"]


def test_findings_of_a_drill_are_the_same_whenever_its_record_is_closed(lab, tmp_path, monkeypatch):
    run(tmp_path, console())
    there, before = newest(tmp_path).directory, findings.load(tmp_path)
    monkeypatch.setenv("PGRESCUE_EVIDENCE_OWNER", "somebody else")
    close.finish(there)
    assert findings.load(tmp_path) == before


def test_a_drill_that_goes_on_has_no_findings_of_its_rules_yet(lab, tmp_path):
    lab.fails["lab/replace_hosts.yml"] = 5
    run(tmp_path, console())
    there = newest(tmp_path).directory
    assert {"drill", "steady"} & {one.id.partition("/")[2] for one in findings.load(tmp_path)}
    said = json.loads((there / "drill.json").read_text())
    reopening.reopen(there, "lena@ctl")
    (there / "drill.json").write_text(json.dumps({**said, "state": "open"}))
    close.finish(there)
    assert {one.id.partition("/")[2] for one in findings.load(tmp_path)} == {
        "check-settings", "lost-after-recovery-point",
    }  # fmt: skip


def test_a_checklist_that_cannot_be_read_is_a_finding_and_stops_no_close(lab, tmp_path):
    run(tmp_path, console())
    there = newest(tmp_path).directory
    reopening.reopen(there, "lena@ctl")
    (there / "checklist.json").write_text("[{}]")
    close.finish(there)
    (found,) = [one for one in findings.load(tmp_path) if one.id.endswith("/checklist")]
    assert "cannot be read" in found.title
    assert "cannot be read" in (there / "report.md").read_text()


def test_a_fault_that_took_no_effect_makes_the_drill_void_and_everything_is_put_back(lab, tmp_path):
    lab.fails[FAULT] = 5
    code = run(tmp_path, console())
    found = newest(tmp_path)
    assert (code, found.run.result) == (9, "void")
    assert "The fault did not take effect: it said so" in found.outcome.reason
    assert "playbooks/protect.yml" in lab.played
    assert verify(found.directory).holds


class KilledError(Exception):
    """What a kill is here: nothing after it is done."""


PUT_BACK = ["lab/replace_hosts.yml", "playbooks/protect.yml", "lab/steady_state.yml", "playbooks/mirror_run.yml"]


def resumed(there):
    return CliRunner().invoke(cli.app, ["resume", there.name], catch_exceptions=False)


def protected():
    """A recovery that is over, protection included."""
    timeline = complete_loss()
    timeline.phase("protect", 31, 33, [("Take a backup", 1.5, "changed")])
    timeline.event(33.1, "end", status="ok", exit_code=0)
    return {"timeline": timeline}


def killed_within(lab, tmp_path, monkeypatch, name="complete_loss"):
    """The record of a drill whose controller died while it recovered."""

    def dies(request, run_id, _console):
        began = Run(id=run_id, kind="drill", procedure=request.procedure, service="shop", scenario=name)
        (runner.RUNS / run_id / "run.json").write_text(json.dumps(began.dump()))
        raise KilledError

    with monkeypatch.context() as until_then:
        until_then.setattr(recovery, "execute", dies)
        with pytest.raises(KilledError):
            run(tmp_path, console(), name)
    lab.played.clear()
    lab.parts = protected()
    return newest(tmp_path).directory


def test_whoever_goes_on_with_a_drill_whose_controller_died_puts_everything_back_and_has_it_judged(
    lab, tmp_path, monkeypatch
):
    there = killed_within(lab, tmp_path, monkeypatch)
    assert record.load(there).drill.state == "open"
    told = resumed(there)
    assert (told.exit_code, lab.played) == (0, PUT_BACK), told.output
    assert "DRILL complete_loss PASSED" in told.output.replace("\n", " ")
    found = record.load(there)
    assert (found.drill.state, found.drill.cleaned_up, found.drill.steady_after.held) == ("ended", True, True)
    assert {one.phase for one in checklist.read(there)} == {"before", "during", "after"}
    assert verify(there).holds
    assert (resumed(there).exit_code, lab.played) == (0, PUT_BACK), "it has ended"


def test_a_drill_that_does_not_recover_goes_on_and_nothing_is_put_back(lab, tmp_path, monkeypatch):
    there = killed_within(lab, tmp_path, monkeypatch)
    with monkeypatch.context() as until_then:
        until_then.setattr(recovery, "resume", lambda *_: 5)
        assert resumed(there).exit_code == 5
    assert (lab.played, record.load(there).drill.state) == ([], "open")
    assert (resumed(there).exit_code, lab.played) == (0, PUT_BACK)


def test_a_drill_that_died_while_it_was_put_back_is_not_recovered_again(lab, tmp_path, monkeypatch):
    def dies(path, *_arguments, **_more):
        raise KilledError(path)

    lab.parts = protected()
    with monkeypatch.context() as until_then:
        until_then.setattr(drill_close, "playbook", dies)
        with pytest.raises(KilledError):
            run(tmp_path, console())
    there = newest(tmp_path).directory
    lab.played.clear()
    monkeypatch.setattr(recovery, "execute", lambda *_: pytest.fail("it has recovered"))
    assert (resumed(there).exit_code, lab.played) == (0, PUT_BACK)
    assert verify(there).holds


def test_a_drill_that_proves_nothing_is_put_back_and_that_is_its_end(lab, tmp_path):
    lab.parts = {"witness": Witness().outage(up=0), "lost": 0, **protected()}
    assert run(tmp_path, console()) == 9
    there = newest(tmp_path).directory
    assert lab.played[-4:] == PUT_BACK and record.load(there).drill.put_back
    lab.played.clear()
    assert (resumed(there).exit_code, lab.played) == (0, []), "nothing is left to go on with"
    assert verify(there).holds


def test_what_could_not_be_put_back_is_tried_again(lab, tmp_path):
    lab.parts, lab.fails["lab/replace_hosts.yml"] = protected(), 5
    assert run(tmp_path, console()) == 5
    lab.fails.clear()
    lab.played.clear()
    assert (resumed(newest(tmp_path).directory).exit_code, lab.played) == (0, PUT_BACK)


def test_one_that_was_stopped_and_died_is_not_judged_as_if_nobody_had(lab, tmp_path, monkeypatch):
    there = killed_within(lab, tmp_path, monkeypatch)
    watched = halt.Watched(tmp_path, "shop", [halt.SOMEBODY], tmp_path / "drills/shop")
    with halt.going_on(watched.folder, "x"), halt.Guard(watched, there) as guard:
        halt.tell(watched.folder, halt.STOP, "ada", "a real alarm")
        guard._thread.join(10)
    told = resumed(there)
    assert (told.exit_code, lab.played) == (9, PUT_BACK), told.output
    assert record.load(there).run.result == "void"


def test_nobody_goes_on_with_a_drill_beside_the_controller_that_puts_it_back(lab, tmp_path, monkeypatch):
    there = killed_within(lab, tmp_path, monkeypatch)
    with halt.going_on(halt.folder(tmp_path, "shop"), "complete_loss"):
        told = resumed(there)
    assert (told.exit_code, lab.played) == (4, [])
    assert "Another drill of shop goes on. Nothing was changed." in told.output.replace("\n", " ")


def test_the_recovery_is_gone_on_with_as_the_scenario_wants_it(lab, tmp_path, monkeypatch):
    there = killed_within(lab, tmp_path, monkeypatch, name="partial_loss")
    known = []
    monkeypatch.setattr(recovery, "resume", lambda _directory, _inventory, more, _console: known.append(more) or 5)
    assert resumed(there).exit_code == 5
    wanted = scenario.load("partial_loss").variables
    assert known[0].items() >= {**wanted, "confirm": "shop", "run_kind": "drill"}.items()
    assert known[0]["partial_to"].startswith("20"), "the instant before the fault"


def test_paperwork_that_cannot_be_read_keeps_nothing_from_being_put_back_unsaid(lab, tmp_path, monkeypatch):
    there = killed_within(lab, tmp_path, monkeypatch)
    (there / "checklist.json").write_text("[{}]")
    resumed(there)
    assert lab.played == PUT_BACK
    lab.played.clear()
    (there / "drill.json").write_text("{")
    told = resumed(there)
    assert (told.exit_code, lab.played) == (3, [])
    assert "what the drill broke is not put back by this" in told.output.replace("\n", " ")


def test_a_drill_that_failed_goes_on_as_one_that_died(lab, tmp_path, monkeypatch):
    lab.parts = {"timeline": failed_restore()}
    assert run(tmp_path, console()) == 5
    there, went = newest(tmp_path).directory, []
    assert record.load(there).drill.state == "ended"
    monkeypatch.setattr(conduct, "resume", lambda found, *_: went.append(found.directory) or 0)
    assert (resumed(there).exit_code, went) == (0, [there])


def test_what_has_no_repair_is_not_said_to_be_put_back_where_its_fault_failed(lab, tmp_path):
    lab.fails[FAULT] = 5
    bare = scenario.load("complete_loss").model_copy(update={"within_s": 0.001, "repair": []})
    assert conduct.run(bare, wish(tmp_path), plans.load(), out := console()) == 9
    found = newest(tmp_path)
    assert (found.drill.cleaned_up, found.drill.steady_after.held) == (None, True)
    assert "Nothing puts back" in out.export_text() and "whole again" not in out.export_text()


def test_a_fault_that_is_refused_ends_with_4_and_leaves_no_run(lab, tmp_path):
    lab.fails[FAULT] = 4
    assert run(tmp_path, console()) == 4
    assert record.all_runs(tmp_path) == []
    assert lab.played == ["lab/steady_state.yml", SAMPLING, FAULT]


def test_a_drill_whose_witness_saw_nothing_ends_void(lab, tmp_path):
    lab.parts = {"witness": Witness().outage(up=0), "lost": 0}
    assert run(tmp_path, console()) == 9
    assert newest(tmp_path).run.result == "void"


def test_a_service_that_is_not_steady_afterwards_fails_the_drill(lab, tmp_path, monkeypatch):
    def playbook(path, *arguments, **more):
        if path == "lab/replace_hosts.yml":
            lab.fails["lab/steady_state.yml"] = 5
        return lab.playbook(path, *arguments, **more)

    monkeypatch.setattr("pgrescue.drill.close.playbook", playbook)
    assert run(tmp_path, console()) == 7
    assert any(one.title == "The steady state did not return" for one in findings.load(tmp_path))


def test_what_cannot_be_put_back_ends_with_5(lab, tmp_path):
    lab.fails["playbooks/protect.yml"] = 5
    assert run(tmp_path, console()) == 5


def test_a_service_that_is_not_steady_is_not_broken(lab, tmp_path):
    lab.fails["lab/steady_state.yml"] = 5
    assert run(tmp_path, console()) == 3
    assert lab.played == ["lab/steady_state.yml"]


def test_a_drill_goes_on_without_an_item_only_for_a_reason_that_it_keeps(lab, tmp_path, monkeypatch):
    strict = plans.load()
    strict.services["shop"].going_without.clear()
    monkeypatch.setattr(plans, "load", lambda: strict)
    out = console()
    assert run(tmp_path, out) == 3
    said = out.export_text()
    assert "Not done: everybody who takes part was told" in said
    assert "Nothing was changed. Go on without: --without " in said
    assert lab.played == []
    reasons = dict.fromkeys(ready.BEFORE, "because we try it")
    assert run(tmp_path, console(), without=reasons) == 0
    items = json.loads((newest(tmp_path).directory / "checklist.json").read_text())
    assert {one["reason"] for one in items if not one["done"] and one["phase"] != "after"} == {"because we try it"}
    assert any("Not done before" in one.title for one in findings.load(tmp_path))
    assert any(one.title.startswith("Not done during: every host is sampled") for one in findings.load(tmp_path))
    assert SAMPLING not in lab.played


def test_what_the_terminal_showed_and_what_the_hosts_did_is_part_of_the_sealed_record(lab, tmp_path, stream):
    lab.samples["db2"] = ["sh", "-c", f"cat {stream}; echo Connection to db2 closed. >&2"]
    assert run(tmp_path, console()) == 0
    there = newest(tmp_path).directory
    header, *events = [json.loads(line) for line in (there / "terminal.cast").read_text().splitlines()]
    assert header["title"] == there.name
    assert "Drill complete_loss: the primary" in "".join(text for _, _, text in events)
    well, gone = samples.read(there)
    assert (well.ended, gone.ended) == (None, "Connection to db2 closed.")
    assert well.samples == gone.samples
    assert "terminal.cast" in (there / "mapping.csv").read_text()
    assert "samples-db1.json" in (there / "mapping.csv").read_text()
    items = {one.item: one for one in checklist.read(there)}
    assert items["recording"].done
    assert items["samples"].said.startswith("2 hosts; ")
    assert verify(there).holds


def test_a_host_that_cannot_be_sampled_is_not_broken(lab, tmp_path):
    lab.samples = {"db1": ["sh", "-c", "echo no sar >&2; exit 127"]}
    out = console()
    assert run(tmp_path, out) == 3
    assert lab.played == ["lab/steady_state.yml", SAMPLING]
    assert "db1 is not sampled: no sar. Nothing was broken." in out.export_text()


def test_a_reason_for_what_is_no_item_is_refused(lab, tmp_path):
    with pytest.raises(ValueError, match="no item weather"):
        run(tmp_path, console(), without={"weather": "rain"})


def test_a_real_breach_elsewhere_stops_the_drill_before_anything_is_broken(lab, tmp_path):
    incidents.begin(tmp_path, "orders", "watch", {"state": "stopped", "says": "orders is down", "level": "page"}, None)
    out = console()
    assert run(tmp_path, out) == 8
    assert FAULT not in lab.played
    assert "orders is down. Nothing was broken." in out.export_text().replace("\n", " ")


def test_a_breach_while_it_recovers_pauses_the_run_in_a_safe_state(lab, tmp_path):
    watched = halt.Watched(tmp_path, "shop", ["somebody_stops"], tmp_path / "drills/shop")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with halt.going_on(watched.folder, "x"), halt.Guard(watched, run_dir) as guard:
        halt.tell(watched.folder, halt.STOP, "ada", "a real alarm")
        guard._thread.join(10)
    assert guard.stopped and guard.stopped.reason == "a real alarm"
    assert json.loads((run_dir / "pause.json").read_text())["reason"] == "a real alarm"


def test_the_word_of_a_watch_counts_while_it_is_fresh_for_other_services_and_for_what_pages(tmp_path):
    watched = halt.Watched(tmp_path, "shop", ["another_service_is_ill"], tmp_path / "drills/shop")
    (tmp_path / "watch").mkdir()

    def beat(service, state, at=NOW):
        (tmp_path / f"watch/{service}.json").write_text(
            json.dumps({"at": at.isoformat(), "state": state, "says": state})
        )

    for service, state, at in (
        ("shop", "stopped", NOW),
        ("orders", "well", NOW),
        ("orders", "stale", NOW),
        ("orders", "stopped", NOW - timedelta(minutes=1)),
    ):
        beat(service, state, at)
        assert halt.breach(watched, NOW) is None, (service, state)
    beat("orders", "stopped")
    assert "orders: stopped" in halt.breach(watched, NOW).reason
    (tmp_path / "watch/orders.json").write_text("{")
    assert "cannot be read" in halt.breach(watched, NOW).reason


@pytest.mark.parametrize("path", ["incidents/20261124T012050Z-orders/incident.json", "drills/shop/stop.json"])
def test_what_cannot_be_looked_at_stops_the_drill_and_not_its_guard(tmp_path, path):
    conditions = ["another_service_is_ill", "incident_elsewhere", "somebody_stops"]
    watched = halt.Watched(tmp_path, "shop", conditions, tmp_path / "drills/shop")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    assert halt.breach(watched, NOW) is None
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("{")
    with halt.Guard(watched, run_dir) as guard:
        guard._thread.join(10)
    assert guard.stopped and "cannot be" in guard.stopped.reason
    assert "cannot be" in json.loads((run_dir / "pause.json").read_text())["reason"]


def test_two_drills_of_a_service_do_not_go_on_at_once(tmp_path):
    folder = halt.folder(tmp_path, "shop")
    with (
        halt.going_on(folder, "one"),
        pytest.raises(halt.DrillGoesOnError, match="Nothing was changed"),
        halt.going_on(folder, "two"),
    ):
        raise AssertionError("both went on")
    with pytest.raises(halt.NoDrillError):
        halt.tell(folder, halt.FOUND_OUT, "ada", "the disk")


def test_a_draw_can_be_repeated_by_its_seed_and_its_commitment_cannot_be_guessed_from_it():
    first, again = (draw.draw("shop", ["a", "b", "c"], 7200, NOW, 7) for _ in range(2))
    assert (first.scenario, first.at) == (again.scenario, again.at)
    assert NOW <= first.at <= NOW + timedelta(hours=2)
    assert draw.commitment(first) != draw.commitment(again), "the seed alone would give it away"


@pytest.mark.parametrize("changed", [{"scenario": "b"}, {"at": NOW}, {"salt": "0" * 64}, {"within_s": 1.0}])
def test_a_draw_that_was_chosen_later_is_not_what_was_committed_to(changed):
    drawn = draw.draw("shop", ["a"], 7200, NOW, None)
    said = Draw(drill="x", commitment=draw.commitment(drawn), committed=NOW)
    assert not draw.holds(said)
    assert draw.holds(said.model_copy(update={"opened": drawn}))
    assert not draw.holds(said.model_copy(update={"opened": drawn.model_copy(update=changed)}))


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("30s", 30), ("1d", 86400)]
)
def test_a_window_is_said_as_people_say_it(text, seconds):
    assert draw.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "two hours", "0s", "-1h", "2h "])
def test_a_window_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is no"):
        draw.seconds(text)


def people(lab, tmp_path, *procedures, words=None):
    """People who say what is wrong, and begin these procedures in turn; the last brings the service back."""

    def act():
        folder = halt.folder(tmp_path, "shop")
        if words:
            halt.tell(folder, halt.FOUND_OUT, "ada", words)
        for number, procedure in enumerate(procedures):
            begins = datetime.now(UTC) + timedelta(seconds=2 + 10 * number)
            synthetic = Synthetic(kind="incident", objectives={})
            made = synthetic.write(tmp_path / f"made{number}")
            there = tmp_path / f"{begins:%Y%m%dT%H%M%SZ}-shop-{procedure}"
            made.rename(there)
            lines = [json.loads(line) for line in (there / "timeline.jsonl").read_text().splitlines()]
            shift = begins - datetime.fromisoformat(lines[0]["wall"])
            for name in ("timeline.jsonl", "witness.jsonl"):
                moved = [shifted(json.loads(line), shift) for line in (there / name).read_text().splitlines()]
                moved = [line for line in moved if line["event"] != "fault"]
                (there / name).write_text("".join(f"{line}\n" for line in chained(moved)))
            run = json.loads((there / "run.json").read_text())
            (there / "run.json").write_text(json.dumps({**run, "id": there.name, "procedure": procedure}))
            if number == len(procedures) - 1:
                close.finish(there)

    lab.during = act


def shifted(line, shift):
    moved = {k: (datetime.fromisoformat(line[k]) + shift).isoformat() for k in ("wall", "start", "end") if k in line}
    return {**line, **moved}


def chained(lines):
    before = "0" * 64
    for line in lines:
        text = json.dumps({**line, "prev": before} if "prev" in line else line)
        before = sha256(text.encode()).hexdigest()
        yield text


def run_blind(tmp_path, out, within_s=0.001):
    return blind.run(wish(tmp_path), within_s, plans.load(), out)


def drawn_by_seed(tmp_path):
    names = [one.name for one in blind.candidates()]
    return scenario.load(draw.draw("shop", names, 1, NOW, 1).scenario)


def test_a_blind_drill_shows_nothing_before_people_have_recovered_and_then_proves_its_draw(lab, tmp_path):
    what = drawn_by_seed(tmp_path)
    out, shown = console(), []
    people(lab, tmp_path, "switchover", what.procedure, words="a host is gone")
    act = lab.during
    lab.during = lambda: (shown.append(out.export_text(clear=False)), act())
    run_blind(tmp_path, out)
    (before,), after = shown, out.export_text()
    commitment = json.loads(next(tmp_path.glob("drills/2*/draw.json")).read_text())["commitment"]
    assert commitment in before
    assert "Drawn was" not in before
    assert f"Drawn was {what.name}" in after
    found = newest(tmp_path)
    assert (found.run.kind, found.run.scenario, found.run.procedure) == ("drill", what.name, what.procedure)
    assert found.drill.blind.opened and draw.holds(found.drill.blind)
    assert found.drill.first_correct_action_s == pytest.approx(12, abs=1.5)
    assert [run.rpartition("-")[2] for run in found.drill.other_actions] == ["switchover"]
    assert found.drill.found_out and "a host is gone" in found.drill.found_out
    report = (found.directory / "report.md").read_text()
    assert "which is what was committed to" in report
    assert verify(found.directory).holds
    (folder,) = tmp_path.glob("drills/2*")
    assert verify_manifest(folder) == []
    steps = [(e["event"], e["step"], e["status"]) for e in journal.events(str(folder / "timeline.jsonl"))]
    assert steps[0] == ("decision", "drawn", "committed")
    assert steps[-1] == ("decision", "drawn", "opened")


def test_a_blind_drill_does_not_begin_the_recovery_itself(lab, tmp_path):
    what = drawn_by_seed(tmp_path)
    people(lab, tmp_path, what.procedure)
    before = len(record.all_runs(tmp_path))
    run_blind(tmp_path, console())
    assert len(record.all_runs(tmp_path)) == before + 1, "only what people began"


def test_a_blind_drill_that_is_stopped_shows_what_was_drawn(lab, tmp_path):
    folder = halt.folder(tmp_path, "shop")
    lab.during = lambda: halt.tell(folder, halt.STOP, "ada", "nobody finds it")
    out = console()
    assert run_blind(tmp_path, out) == 8
    assert f"Drawn was {drawn_by_seed(tmp_path).name}" in out.export_text()
    assert json.loads(next(tmp_path.glob("drills/2*/draw.json")).read_text())["opened"]


def test_a_blind_drill_that_is_stopped_in_its_window_breaks_nothing(lab, tmp_path):
    folder, out = halt.folder(tmp_path, "shop"), console()

    def stop():
        pause = threading.Event()
        while not (folder / halt.GOING_ON).exists():
            pause.wait(0.01)
        halt.tell(folder, halt.STOP, "ada", "not today")

    person = threading.Thread(target=stop)
    person.start()
    assert run_blind(tmp_path, out, within_s=3600.0) == 8
    person.join()
    assert not any("faults/" in path for path in lab.played)
    assert "not today. Nothing was broken." in out.export_text().replace("\n", " ")


@pytest.mark.parametrize("when", ["wait", "await_people"])
def test_a_blind_drill_that_is_interrupted_shows_what_was_drawn_too(lab, tmp_path, monkeypatch, when):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(halt if when == "wait" else blind, when, interrupted)
    out = console()
    assert run_blind(tmp_path, out) == 8
    assert f"Drawn was {drawn_by_seed(tmp_path).name}" in out.export_text()
    (folder,) = tmp_path.glob("drills/2*")
    assert json.loads((folder / "draw.json").read_text())["opened"]
    assert verify_manifest(folder) == []


def test_a_run_from_before_the_fault_is_no_answer_to_it(lab, tmp_path):
    directory = Synthetic(kind="incident").write(tmp_path)
    close.finish(directory)
    struck = record.load(directory).story.started + timedelta(seconds=0.5)
    assert blind.begun("shop", struck) == []
    assert len(blind.begun("shop", struck - timedelta(seconds=1))) == 1
    assert blind.begun("orders", struck - timedelta(seconds=1)) == []


def test_what_is_drawn_blind_can_be_found_out_and_is_more_than_one_thing():
    names = {one.name for one in blind.candidates()}
    assert len(names) >= 3
    assert names.isdisjoint({"switchover", "failback", "corrupt_index", "impossible_promise"})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["failover", "--blind"], 2, "leave the name out"),
        (["--blind", "--within", "soon"], 2, "is no duration"),
        (["--found-out", "the disk"], 3, "No drill of shop goes on here"),
        (["--stop", "enough"], 3, "No drill of shop goes on here"),
        (["--stop", " "], 2, "Say it in words"),
        (["nothing"], 2, "there are complete_loss"),
        (["failover", "--without", "weather=rain"], 2, "no item weather"),
    ],
)
def test_what_the_command_cannot_do_is_refused_and_changes_nothing(lab, tmp_path, arguments, code, words):
    answer = CliRunner().invoke(cli.app, ["drill", *arguments])
    assert (answer.exit_code, words in answer.output, "Nothing was changed." in answer.output) == (code, True, True)
    assert lab.played == []


def test_people_reach_a_drill_by_the_command(lab, tmp_path):
    folder = halt.folder(tmp_path, "shop")
    with halt.going_on(folder, "x"):
        assert CliRunner().invoke(cli.app, ["drill", "--found-out", "the disk of db1"]).exit_code == 0
        assert CliRunner().invoke(cli.app, ["drill", "--stop", "that is enough"]).exit_code == 0
        assert halt.told(folder, halt.FOUND_OUT).reason == "the disk of db1"
        assert halt.told(folder, halt.STOP).reason == "that is enough"
