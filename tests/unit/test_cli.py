"""What the command answers about runs that are there, without starting a playbook."""

import dataclasses
import os
import subprocess
import sys

import pytest
import typer
from pgrescue import cli, close, gate, panels, record, recovery, runner
from pgrescue.core import controllers, records
from run_fixture import Synthetic, failed_restore
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "RUNS", tmp_path)

    def start(playbook, *_arguments, **_more):
        raise AssertionError(f"{playbook} was started")

    monkeypatch.setattr(runner, "start", start)


def ended(tmp_path, **parts):
    directory = Synthetic(**parts).write(tmp_path)
    close.finish(directory)
    return directory


def ask(*arguments):
    answer = CliRunner().invoke(cli.app, list(map(str, arguments)))
    return answer.exit_code, answer.output


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_every_command_stands_in_one_panel_of_the_help():
    there = set(typer.main.get_command(cli.app).commands)
    assert sorted(panels.ORDER) == sorted(there), "each command once"
    code, said = ask("--help")
    assert code == 0
    places = [said.index(name) for name in panels.PANELS]
    assert places == sorted(places)


def test_a_run_is_given_up_by_its_services_name_and_without_a_terminal_by_its_id(tmp_path, monkeypatch):
    directory = Synthetic(timeline=failed_restore()).write(tmp_path)
    run = records.read_json(str(directory / "run.json"))
    still = {k: v for k, v in run.items() if k not in ("result", "exit_code")}
    records.write_json(str(directory / "run.json"), {**still, "procedure": "complete_loss"})
    before, closed = contents(directory), []
    monkeypatch.setattr(recovery, "close", lambda request, run_id, kept_out: closed.append(run_id))
    code, said = ask("abort", "--yes")
    assert (code, "Nobody is here to ask which run" in said) == (2, True)
    monkeypatch.setattr(gate, "can_ask", lambda console: True)
    for typed in ("y\n", "\n", ""):
        answer = CliRunner().invoke(cli.app, ["abort", directory.name], input=typed)
        assert (answer.exit_code, "may leave clients out" in " ".join(answer.output.split())) == (4, True)
    assert (contents(directory), closed) == (before, [])
    assert CliRunner().invoke(cli.app, ["abort", directory.name], input="shop\n").exit_code == 8
    assert closed == [directory.name]


def test_a_run_that_ended_cannot_be_given_up(tmp_path):
    directory = ended(tmp_path)
    before = contents(directory)
    code, said = ask("abort", directory.name)
    assert (code, "has ended (passed)" in said) == (4, True)
    assert contents(directory) == before


def test_a_run_that_ended_is_not_gone_on_with(tmp_path, monkeypatch):
    directory = ended(tmp_path)
    loaded = record.load(directory)
    protect = next(iter(loaded.story.phases))
    monkeypatch.setattr(type(loaded.story), "phase", lambda *_: protect)  # as one that ended well
    before = contents(directory)
    code, said = ask("resume", directory.name)
    assert (code, "nothing to go on with" in said) == (0, True)
    assert contents(directory) == before


@pytest.mark.parametrize(("procedure", "over"), [("partial_loss", True), ("complete_loss", False)])
def test_a_run_is_over_without_protection_where_its_runbook_protects_nothing(tmp_path, procedure, over):
    found = record.load(ended(tmp_path))
    run = found.run.model_copy(update={"procedure": procedure})
    assert recovery.over(dataclasses.replace(found, run=run)) is over


def test_a_run_that_is_being_worked_on_is_left_alone(tmp_path):
    directory = Synthetic(timeline=failed_restore()).write(tmp_path)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        controllers.note(str(directory), other.pid)
        before = contents(directory)
        for verb in ("resume", "abort"):
            code, said = ask(verb, directory.name)
            assert (code, f"Process {other.pid} is at work" in said) == (4, True)
        assert contents(directory) == before
        assert recovery.refused(directory)
    finally:
        other.communicate(b"\n")
    assert not recovery.refused(directory)


def test_a_record_that_was_changed_is_reported_as_such(tmp_path):
    directory = ended(tmp_path)
    assert ask("report", directory.name)[0] == 0
    assert ask("evidence", "verify", directory.name)[0] == 0
    (directory / "checks.json").write_text("[]")
    for command in (("report",), ("evidence", "verify")):
        code, said = ask(*command, directory.name)
        assert (code, "checks.json: differs" in said) == (1, True)


def test_an_open_run_says_how_to_go_on_and_proves_nothing(tmp_path):
    directory = Synthetic(timeline=failed_restore()).write(tmp_path)
    run = records.read_json(str(directory / "run.json"))
    records.write_json(str(directory / "run.json"), {k: v for k, v in run.items() if k not in ("result", "exit_code")})
    assert f"pgrescue resume {directory.name}" in ask("report", directory.name)[1]
    code, said = ask("evidence", "verify", directory)
    assert (code, "still open" in said) == (3, True)


@pytest.mark.parametrize(
    "wrong", [["recover", "no_such_runbook"], ["recover", "complete_loss", "-i", "/nowhere"], ["drill", "nothing"]]
)
def test_wrong_use_is_one_sentence(wrong):
    code, said = ask(*wrong)
    assert (code, len(said.strip().splitlines())) == (2, 1)
    assert os.linesep not in said.strip()
