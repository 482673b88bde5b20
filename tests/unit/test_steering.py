"""The verbs that steer a run, on records that are there; nothing is started."""

import json
import subprocess
import sys
import time

import jsonschema
import pytest
import yaml
from modules import HOUSE, module, refused
from pgrescue import (
    advice,
    cli,
    close,
    gate,
    options,
    plan_view,
    procedures,
    record,
    recovery,
    runner,
    safe_state,
    schemas,
)
from pgrescue.core import controllers, guards, journal, records, steering, windows
from pgrescue.evidence import reopening
from run_fixture import Synthetic, Timeline, complete_loss, failed_restore
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    monkeypatch.setenv("PGRESCUE_OPERATOR", "alice@bastion")
    monkeypatch.delenv("PGRESCUE_RUN_DIR", raising=False)

    def start(playbook, *_arguments, **_more):
        raise AssertionError(f"{playbook} was started")

    monkeypatch.setattr(runner, "start", start)


def ask(*arguments):
    answer = CliRunner().invoke(cli.app, list(map(str, arguments)))
    return answer.exit_code, answer.output


def opened(tmp_path, timeline=None):
    """A run that is still open."""
    directory = Synthetic(timeline=timeline or failed_restore()).write(tmp_path)
    run = records.read_json(str(directory / "run.json"))
    still = {k: v for k, v in run.items() if k not in ("result", "exit_code")}
    records.write_json(str(directory / "run.json"), {**still, "procedure": "complete_loss"})
    return directory


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def at_work():
    """A process that is taken for the controller of a run."""
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield lambda directory: controllers.note(str(directory), other.pid)
    other.communicate(b"\n")


def test_a_pause_is_asked_for_where_the_run_is_going(tmp_path, at_work):
    directory = opened(tmp_path)
    before = contents(directory)
    code, said = ask("pause", directory.name)
    assert (code, "No process on this machine is at work" in said) == (3, True)
    assert contents(directory) == before
    at_work(directory)
    code, said = ask("pause", directory.name, "--reason", "the client calls back")
    assert (code, f"pgrescue resume {directory.name}" in said) == (0, True)
    jsonschema.validate(records.read_json(str(directory / steering.PAUSE)), schemas.schema("pause"))
    answer = module("check_pause")(run_dir=str(directory))
    assert refused(answer, 9, "alice@bastion paused the run: the client calls back", "pgrescue resume")


def test_a_pause_from_before_this_attempt_is_fulfilled(tmp_path):
    directory = opened(tmp_path)
    wish = {"by": "a", "reason": "", "at": journal.now()}
    records.write_json(str(directory / steering.PAUSE), wish)
    assert steering.pause(str(directory))
    time.sleep(0.001)  # two instants
    journal.Journal(str(directory / "timeline.jsonl"), "a").write("start")
    assert not steering.pause(str(directory))
    assert not module("check_pause")(run_dir=str(directory)).get("failed")


@pytest.mark.parametrize("step", ["fence", "validate", "approval", "plan", "Restore the backup", ""])
def test_only_what_the_runbook_declares_is_left_out(tmp_path, step):
    directory = opened(tmp_path)
    before = contents(directory)
    code, said = ask("skip", directory.name, step, "--reason", "no time")
    assert (code, "only full_backup, standbys" in said) == (4, True)
    assert contents(directory) == before


def test_no_step_is_left_out_without_a_reason_or_in_a_run_that_is_over(tmp_path):
    directory = opened(tmp_path)
    code, said = ask("skip", directory.name, "standbys")
    assert (code, "for a reason" in said, (directory / steering.SKIPS).exists()) == (4, True, False)
    close.finish(directory, "aborted")
    code, said = ask("skip", directory.name, "standbys", "--reason", "no host")
    assert (code, "has ended (aborted)" in said) == (4, True)


def test_a_step_that_was_left_out_is_a_deviation_of_the_report(tmp_path):
    directory = opened(tmp_path, complete_loss())
    code, said = ask("skip", directory.name, "standbys", "--reason", "no host is free")
    assert (code, "has no standby until" in said) == (0, True)
    assert "left out already" in ask("skip", directory.name, "standbys", "--reason", "again")[1]
    assert [one["step"] for one in steering.skips(str(directory))] == ["standbys"]
    jsonschema.validate(steering.skips(str(directory)), schemas.schema("skips"))
    close.finish(directory)
    for name in ("report.md", "report.html"):
        page = (directory / name).read_text()
        assert "Deviations" in page
        assert "alice@bastion left out standbys: no host is free" in page.replace("\\", "")
    assert record.verify_manifest(directory) == []


def test_every_step_that_may_be_left_out_is_asked_for_by_its_runbook():
    """A name that nothing asks for would be left out in words only."""
    for path in (runner.ROOT / "playbooks").glob("*.meta.yml"):
        name = path.name.removesuffix(".meta.yml")
        texts = [path.with_name(f"{name}.yml"), *(runner.ROOT / "roles").glob("*/tasks/*.yml")]
        text = "\n".join(one.read_text() for one in texts)
        for step in procedures.load(name).skippable:
            assert f"'{step}' | pgrescue.runbooks.is_skipped" in text, f"{name}: {step}"


def test_a_note_is_kept_in_the_timeline_also_of_a_run_that_was_closed(tmp_path, at_work):
    directory = opened(tmp_path)
    at_work(directory)
    assert ask("note", directory.name, "the client was told")[0] == 0
    assert ask("note", directory.name, " ")[0] == 2
    close.finish(directory)
    assert ask("note", directory.name, "and <agreed>")[0] == 0
    found = record.load(directory)
    assert [(e.actor, e.detail) for e in found.story.notes][-2:] == [
        ("alice@bastion", "the client was told"),
        ("alice@bastion", "and <agreed>"),
    ]
    assert (found.journal.broken, record.verify_manifest(directory)) == (None, [])


def test_many_writers_do_not_break_the_chain(tmp_path):
    path = tmp_path / "timeline.jsonl"
    code = (
        "import sys; from pgrescue.core.journal import Journal; j = Journal(sys.argv[1], sys.argv[2])\n"
        "for n in range(40): j.write('note', detail=str(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "b", "c")]
    assert [one.wait(60) for one in writers] == [0, 0, 0]
    found = record.journals.read(path)
    assert (len(found.events), found.broken) == (120, None)


def window(directory, **changes):
    made = windows.opened(directory.name, ["a1"], 600, ["a1 is primary again"])
    windows.write(str(directory), {**made, **changes})


def test_a_run_without_a_way_back_says_so(tmp_path):
    directory = opened(tmp_path)
    before = contents(directory)
    code, said = ask("rollback", directory.name)
    assert (code, "no rollback of complete_loss" in said, "Nothing was changed" in said) == (3, True, True)
    assert contents(directory) == before


def test_a_partial_loss_names_the_command_that_takes_it_back(tmp_path):
    directory = opened(tmp_path)
    run = records.read_json(str(directory / "run.json"))
    ended = {"procedure": "partial_loss", "result": "passed", "exit_code": 0}
    records.write_json(str(directory / "run.json"), {**run, **ended})
    command = "ansible-playbook playbooks/undo_merge.yml -i {} -e service=shop -e undo_run={} -e confirm=shop"
    code, said = ask("rollback", directory.name)
    assert (code, command.format("inventories/lab", run["id"]) in said) == (3, True), said
    for told, named in (({}, "INVENTORY"), ({"inventory": "inventories/prod"}, "inventories/prod")):
        records.write_json(str(directory / "run.json"), {**run, **ended, **told})
        steps = [one.command for one in advice.next_steps(record.load(directory))]
        assert command.format(named, run["id"]) in steps


def test_a_way_back_is_open_as_long_as_its_window(tmp_path, monkeypatch):
    directory = opened(tmp_path)
    monkeypatch.setattr(procedures, "load", lambda name: procedures.Procedure(name, rollback="rollback"))
    code, said = ask("rollback", directory.name)
    assert (code, "opened no commit window" in said) == (3, True)
    window(directory, closes="2026-11-24T01:00:00Z")
    code, said = ask("rollback", directory.name)
    assert (code, "closed at 2026-11-24T01:00:00Z" in said) == (4, True)
    window(directory)
    started = []
    monkeypatch.setattr(recovery, "execute", lambda request, run_id, _console: started.append((request, run_id)) or 0)
    assert ask("rollback", directory.name, "--confirm", "shop")[0] == 0
    [(request, run_id)] = started
    assert (request.procedure, request.variables) == ("rollback", {"rollback_run": directory.name, "confirm": "shop"})
    assert run_id.endswith("-shop-rollback")
    state = safe_state.reached(record.load(directory), None)
    assert [choice.name for choice in state.choices] == ["try again", "roll back"]


def test_a_commit_closes_the_window_early_and_is_told(tmp_path):
    directory = opened(tmp_path)
    assert ask("commit", directory.name)[0] == 3
    window(directory)
    code, said = ask("commit", directory.name, "--reason", "a day without trouble")
    assert (code, "a1 may be used again" in said) == (0, True)
    assert windows.state(windows.read(str(directory))) == windows.CLOSED
    assert "closed already" in ask("commit", directory.name)[1]
    decided = [e for e in record.load(directory).journal.events if e.step == "commit_window"]
    assert [(e.status, e.detail) for e in decided] == [("closed", "a day without trouble")]


def test_the_window_by_its_module(tmp_path):
    def call(**more):
        return module("commit_window")(run_dir=str(tmp_path), **more)

    assert call() == {**call(), "window": {}, "open": False, "changed": False}
    assert refused(call(wanted="open"), 3, "opened no commit window")
    assert refused(call(state="closed"), 3, "opened no commit window")
    assert call(state="open", lasts_s=600, old_side=["a1"], check=True)["changed"]
    assert list(tmp_path.iterdir()) == []
    first = call(state="open", lasts_s=600, old_side=["a1"])
    assert (first["open"], first["journal"][0]["status"]) == (True, "open")
    again = call(state="open", lasts_s=9000)
    assert (again["changed"], again["window"], again["journal"]) == (False, first["window"], [])  # never made longer
    assert refused(call(wanted="closed"), 4, "a1 stays fenced", "pgrescue commit")
    assert not call(wanted="open").get("failed")
    assert not call(state="closed", by="alice", reason="fine")["open"]
    assert not call(state="closed")["changed"]
    assert refused(call(wanted="open"), 4, "Nothing was changed", "switchover")


def test_a_window_closes_by_itself():
    made = windows.opened("run-1", ["a1"], 600, [])
    closes = record.datetime.fromisoformat(made["closes"]).timestamp()
    assert windows.state(made, closes - 1) == windows.OPEN
    assert windows.state(made, closes) == windows.CLOSED
    with pytest.raises(guards.Stop):
        windows.check(made, windows.OPEN, closes)


def stopped(after):
    """The drill that went well, cut off after the first line that holds these words."""
    whole, cut = complete_loss(), Timeline()
    until = next(place for place, line in enumerate(whole.lines) if after.encode() in line)
    cut.lines = whole.lines[: until + 1]
    return cut


@pytest.mark.parametrize(
    ("after", "state"),
    [
        ('"declared"', "untouched"),
        ("Stop application traffic", "being prepared"),
        ('"traffic_stopped"', "traffic stopped"),
        ('"restored"', "restored, not started"),
        ('"writable"', "recovered, not checked"),
        ('"validated"', "validated"),
        ('"endpoint_switched"', "name switched"),
        ('"application_resumed"', "clients back"),
    ],
)
def test_the_safe_state_is_the_last_one_that_the_timeline_shows(tmp_path, after, state):
    found = safe_state.reached(record.load(opened(tmp_path, stopped(after))), None)
    assert found.name == state
    assert bool(found.changed) == (state not in ("untouched", "being prepared"))


def test_what_was_changed_and_the_choices_are_told(tmp_path):
    directory = opened(tmp_path, stopped('"writable"'))
    predicted = {"detect": 1, "decide": 2, "prepare": 3, "restore": 40, "validate": 5, "resume": 6, "protect": 99}
    found = safe_state.reached(record.load(directory), predicted)
    assert "Restore the backup into a new data directory (x1)" in found.changed
    assert [line.partition(":")[0] for line in found.undo] == ["restore", "prepare"]
    again, give_up = found.choices
    assert (again.command, again.takes) == (f"pgrescue resume {directory.name}", "51 s, as in the last run that passed")
    assert "no archived segment holds" in again.loses
    assert give_up.command == f"pgrescue abort {directory.name}"
    said = "\n".join(safe_state.lines(found))
    assert "SAFE STATE  recovered, not checked: " in said


def test_another_way_is_offered_where_the_plan_found_one(tmp_path):
    directory = opened(tmp_path, stopped('"traffic_stopped"'))
    plan = records.read_json(str(directory / "plan.json"))
    ways = [
        {"method": "promote", "host": "a2", "loses_s": 3, "takes_s": 45},
        {"method": "promote", "host": "a3", "closed": "it is behind"},
        {"method": "restore", "backup": "20261124-010000F", "repository": 2, "loses_s": 27, "takes_s": 1100},
    ]
    records.write_json(str(directory / "plan.json"), {**plan, "ways": ways})
    found = safe_state.reached(record.load(directory), None)
    again, other, _give_up = found.choices
    given_up = f"pgrescue abort {directory.name} && pgrescue recover complete_loss -s shop -e recovery_method=restore"
    assert other.command == given_up, "the run holds the service until it is given up"
    assert (again.loses, other.name) == ("at most 3 s", "restore 20261124-010000F from repository 2")
    assert (other.loses, other.takes) == ("at most 27 s", "18 min 20 s")


def test_a_phase_that_somebody_paused_before_it_did_anything_has_not_begun(tmp_path):
    timeline = stopped('"declared"')
    timeline.event(9, "start", "prepare")
    for step in journal.GATES:
        timeline.event(9, "start", "prepare", step)
        timeline.event(9.1, "end", "prepare", step, status="failed", host="a1")
    directory = opened(tmp_path, timeline)
    found = safe_state.reached(record.load(directory), None)
    assert (found.name, found.undo) == ("untouched", ())
    run = records.read_json(str(directory / "run.json"))
    records.write_json(str(directory / "run.json"), {**run, "procedure": "switchover"})
    given_up = safe_state.reached(record.load(directory), None, given_up=True)
    assert given_up.choices[0].command == "pgrescue recover switchover -s shop", "nothing was fenced"


def test_the_steps_before_a_phase_are_those_that_the_runbooks_begin_with():
    tasks = yaml.safe_load((HOUSE / "roles/recovery/tasks/prepare.yml").read_text())
    names = [task["name"] for task in tasks]
    assert journal.GATES[0] == names[0]
    assert journal.GATES[1] in (HOUSE / "roles/run/tasks/check_held.yml").read_text()


def test_who_gives_up_a_switchover_that_promoted_nobody_may_go_back_or_on(tmp_path):
    directory = opened(tmp_path, stopped('"traffic_stopped"'))
    run = records.read_json(str(directory / "run.json"))
    records.write_json(str(directory / "run.json"), {**run, "procedure": "switchover"})
    back, on = safe_state.reached(record.load(directory), None, given_up=True).choices
    assert (back.command, back.loses) == ("pgrescue recover restart -s shop", "nothing")
    assert on.command == "pgrescue recover failover -s shop"


def test_giving_up_says_where_the_service_stands(tmp_path, monkeypatch):
    directory = opened(tmp_path, stopped('"writable"'))
    closed = []
    monkeypatch.setattr(recovery, "close", lambda request, run_id, kept_out: closed.append(run_id))
    code, said = ask("abort", directory.name)
    assert (code, closed) == (8, [directory.name])
    for words in ("SAFE STATE", "Restore the backup into a new data directory (x1)", "pgrescue recover complete_loss"):
        assert words in said
    reopening.reopen(directory, "alice@bastion")
    records.write_json(str(directory / "run.json"), {**records.read_json(str(directory / "run.json")), "exit_code": 5})
    code, said = ask("abort", directory.name, "--json")
    assert (code, json.loads(said)["name"]) == (8, "recovered, not checked")


RESTORE = "4/7 Restore to a new place where that is the way, while it is proven that nobody writes any more"
LISTING = f"""
playbook: playbooks/complete_loss.yml

  play #1 (shop:&postgres): 1/7 Detect what is lost and what is left\tTAGS: []
    tasks:
      pgrescue.runbooks.run : Open the run's record\tTAGS: []

  play #4 (recovery_target:recovery_clients): {RESTORE}\tTAGS: []
    tasks:
      Validating arguments against arg spec 'fetch' - Restore\tTAGS: []
      Fetch the backup\tTAGS: []
      Prove that nobody writes\tTAGS: []

  play #9 (shop:&witness): Measure, report and mirror\tTAGS: []
    tasks:
      pgrescue.runbooks.run : Measure, and write the report\tTAGS: []
"""


def test_a_plan_shows_its_steps_and_what_each_phase_costs_and_how_it_is_taken_back():
    known = procedures.Procedure("complete_loss", undo={"restore": "remove it"}, skippable={"standbys": "no standby"})
    detect, restore, close = plan_view.phases(LISTING, known, {"restore": 12.5})
    assert (detect.phase, detect.steps, detect.undo) == ("detect", ("Open the run's record",), None)
    assert (restore.name, restore.takes_s, restore.undo) == (
        RESTORE, 12.5, "remove it",
    )  # fmt: skip
    assert restore.steps == ("Fetch the backup", "Prove that nobody writes")
    assert (close.phase, close.takes_s) == (None, None)
    plan = {"system_identifier": "7", "target_host": "x1", "changes": ["a new directory"], "irreversible": ["commits"]}
    view = plan_view.View("complete_loss", "shop", plan, (detect, restore, close), known.skippable)
    said = "\n".join(plan_view.lines(view))
    for words in ("12.5 s the last time", "undo: remove it", "no undo    commits", "standbys: no standby"):
        assert words in said
    assert json.loads(json.dumps(view.dump()))["phases"][1]["undo"] == "remove it"


def test_the_plan_of_a_partial_loss_names_its_moment_and_loses_nothing():
    point = {"type": "lsn", "value": "0/5000060", "inclusive": False}
    end = {"segment": "000000010000000000000003", "time": "2026-11-24T01:20:50Z"}
    plan = {"procedure": "partial_loss", "recovery_target": point, "archive_end": end}
    said = "\n".join(plan_view.lines(plan_view.View("partial_loss", "shop", plan, (), {})))
    assert "back to    lsn 0/5000060, without what came at it" in said
    assert "you lose   nothing" in said
    assert "no archived segment" not in said
    assert "back to:   lsn 0/5000060" in "\n".join(gate.question({**plan, "service": "shop"}, {}, "merge"))


def test_a_variable_is_a_pair_or_a_json_object():
    given = options.variables(["a=b=c", '{"service_gates": {"second_person": true}, "n": 1}', "empty="])
    assert given == {"a": "b=c", "service_gates": {"second_person": True}, "n": 1, "empty": ""}
    request = recovery.Request("failover", "shop", "inventories/lab", given)
    assert """-e '{"service_gates": {"second_person": true}}'""" in plan_view.command(request, {})
    for wrong in ("nothing", "=x", "{broken"):
        assert ask("plan", "failover", "-e", wrong)[0] == 2


def test_what_a_procedure_must_be_told_is_asked_for_before_anything_is_looked_at():
    for verb in ("plan", "recover"):
        code, said = ask(verb, "partial_loss", "-e", "partial_to=0/5")  # a playbook that is started fails this test
        assert (code, "partial_loss needs to be told -e partial_tables=... (" in said) == (2, True), said


def test_a_procedure_without_a_runbook_has_no_plan():
    for verb in ("plan", "recover"):
        code, said = ask(verb, "no_such_runbook")
        assert (code, "Nothing was changed" in said) == (2, True)
        assert all(name in said for name in ("complete_loss", "failover", "partial_loss", "switchover", "corruption"))
        assert "region_failure" in ask(verb, "--help")[1]


def test_an_approval_is_refused_before_anything_is_started(tmp_path):
    directory = opened(tmp_path)
    code, said = ask("approve", directory.name)
    assert (code, "needs a reason" in said) == (4, True)
    code, said = ask("approve", directory.name, "--reason", "seen", "-i", "/nowhere")
    assert (code, "There is no inventory /nowhere" in said) == (2, True)
    code, said = ask("approve", directory.name, "--reason", "seen")
    assert (code, "Nobody is here to ask: --confirm shop" in said) == (4, True)
    code, said = ask("approve", directory.name, "--reason", "seen", "--confirm", "yes")
    assert (code, "'yes' was typed" in said) == (4, True)
    (directory / "plan.json").unlink()
    code, said = ask("approve", directory.name, "--reason", "seen", "--confirm", "shop")
    assert (code, "has no plan yet" in said) == (4, True)
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**run, "result": "passed", "exit_code": 0}))
    code, said = ask("approve", directory.name, "--reason", "seen")
    assert (code, "has ended (passed)" in said) == (4, True)


def test_nothing_is_recovered_that_nobody_named():
    code, said = ask("recover")
    assert (code, "Missing argument" in said) == (2, True)


def test_every_undo_is_of_a_phase_that_there_is():
    for path in (runner.ROOT / "playbooks").glob("*.meta.yml"):
        known = procedures.load(path.name.removesuffix(".meta.yml"))
        assert set(known.undo) <= {"prepare", "restore", "validate", "resume", "protect"}, path.name
