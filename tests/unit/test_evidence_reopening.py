"""Nothing is sealed on top of a record that was changed behind its seal; what goes on with a run says that it does."""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from drillings import drill, ended
from dumping import key_pair
from evidence_packs import PUBLIC, key_file, written
from modules import HOUSE
from pgrescue import cli, close, manifest, record, runner
from pgrescue.core import windows
from pgrescue.drill.record import FILE, Steady
from pgrescue.evidence import blocks, envelope, pack, reopening, seal
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify
from pgrescue.files import write_json
from pgrescue.ledger import index
from pgrescue.programme import past
from run_fixture import ZERO, Synthetic, complete_loss
from typer.testing import CliRunner

KEY = envelope.public_key(PUBLIC.encode())
COUNTS = "a copy, which counts for nothing"
STRANGER, STRANGERS = key_pair()


@pytest.fixture
def failed(tmp_path, monkeypatch):
    """A drill that its rules failed, closed and signed; the key is on this machine."""
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    monkeypatch.setenv("PGRESCUE_OPERATOR", "alice@bastion")
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key_file(tmp_path)))
    directory = written(tmp_path / "runs")
    said = drill(steady_after=Steady(held=False, at=ZERO))
    write_json(directory / FILE, said.dump())
    assert close.finish(directory).result == "failed"
    return directory


def ask(*arguments):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return done.exit_code, done.output.replace("\n", " ")


def contents(directory):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def edited(directory):
    """One word of the drill's record."""
    path = directory / FILE
    path.write_text(path.read_text().replace('"held": false', '"held": true'))


def remade(directory, key=None, *, sealed=True):
    """What whoever can write here makes anew."""
    names = [name for name in manifest.files(directory) if name != blocks.BLOCKS]
    write_json(directory / blocks.BLOCKS, blocks.of_files(directory, names).dump())
    manifest.write_manifest(directory)
    if sealed:
        seal.seal(directory, key, [])


ASKED = {
    "note": lambda run: ask("note", run.name, "all is well"),
    "sign-off": lambda run: ask("evidence", "sign-off", run, "--by", "Noor", "--reason", "Read."),
    "seal": lambda run: ask("evidence", "seal", run),
}


@pytest.mark.parametrize("behind", ["a file", "the manifest too", "an unsigned seal too", "a stranger's seal too"])
@pytest.mark.parametrize("asked", ["note", "sign-off", "seal"])
def test_nothing_is_signed_on_top_of_what_was_changed_behind_a_seal(failed, tmp_path, asked, behind):
    """The planted fault: a failed drill of which one word is edited must not be signed as passed."""
    edited(failed)
    if behind != "a file":
        stranger = None
        if behind == "a stranger's seal too":
            stranger = envelope.private_key(other_key(tmp_path))
        remade(failed, stranger, sealed="seal" in behind)
    before = contents(failed)
    code, said = ASKED[asked](failed)
    assert (code, "not as it was sealed" in said, "Nothing was changed" in said) == (4, True, True), said
    assert contents(failed) == before
    assert json.loads((failed / "run.json").read_text())["result"] == "failed"


def other_key(root):
    (root / "other").mkdir()
    return key_file(root / "other", STRANGER)


def test_another_s_seal_is_built_on_where_a_person_vouches_for_its_key(failed, tmp_path):
    seal.seal(failed, envelope.private_key(other_key(tmp_path)), [])
    (tmp_path / "other.pub").write_text(STRANGERS)
    assert ask("evidence", "seal", failed)[0] == 4
    code, said = ask("evidence", "seal", failed, "--key", tmp_path / "other.pub")
    assert (code, "seal-3.dsse.json is written, signed" in said) == (0, True), said
    assert verify(failed, [KEY]).holds


def test_a_run_that_goes_on_says_so_and_is_sealed_with_what_changed_between(failed):
    assert reopening.reopen(failed, "omar@laptop") == ""
    record.reopen(failed)
    write_json(failed / "checks.json", [])
    reopening.reopen(failed, "omar@laptop")  # the journal does it again
    close.finish(failed)
    found = verify(failed, [KEY])
    assert found.holds
    assert [str(one) for one in found.between] == [
        "between seal-1 and seal-2: checks.json, drill.json, run.json, timeline.jsonl changed"
    ]
    (noted,) = [one for one in record.load(failed).journal.events if one.step == reopening.STEP]
    assert (noted.actor, noted.status, noted.detail) == (
        "omar@laptop", "as sealed", "Reopened; it was as seal-1.dsse.json says.",
    )  # fmt: skip
    assert "between seal-1 and seal-2: checks.json" in ask("evidence", "verify", failed)[1]


def test_a_changed_run_may_go_on_and_is_not_sealed_any_more(failed):
    edited(failed)
    assert "drill.json: differs" in reopening.reopen(failed, "omar@laptop")
    record.reopen(failed)
    for _ in range(2):  # the command closes after the runbook did
        close.finish(failed)
    assert [path.name for path in seal.seals(failed)] == ["seal-1.dsse.json"]
    assert not verify(failed, [KEY]).holds
    (said,) = [one for one in json.loads((failed / "findings.json").read_text()) if one["id"].endswith("/seal")]
    assert "omar@laptop went on with it all the same" in said["title"]
    with pytest.raises(EvidenceError, match="not as it was sealed"):
        pack.seal_again(failed, Settings.of(failed), None)


@pytest.mark.parametrize("how", ["changed", "its manifest is gone"])
def test_a_close_refuses_what_nobody_reopened(failed, how):
    edited(failed)
    if how != "changed":
        (failed / manifest.MANIFEST).unlink()
    before = contents(failed)
    done = subprocess.run([sys.executable, "-m", "pgrescue.close", failed], capture_output=True, text=True, check=False)
    assert (done.returncode, "Nothing was changed" in done.stdout) == (4, True), done
    assert contents(failed) == before


def test_sign_offs_and_timestamps_that_wait_for_a_seal_are_no_difference(failed):
    pack.sign_off(failed, "Noor Haddad", "Read.")
    assert ask("note", failed.name, "The client was told.")[0] == 0
    found = verify(failed, [KEY])
    assert (found.holds, found.sign_offs[0].current) == (True, False)


def test_the_journal_reopens_a_closed_record_before_its_first_line(failed, tmp_path):
    tasks = [{"name": "Do it", "ansible.builtin.debug": {"msg": "done"}}]
    play = {"name": "Go on", "hosts": "localhost", "gather_facts": False, "vars": {"phase": "detect"}, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-c", "local"]
    environment = {**os.environ, "PGRESCUE_RUNS": str(failed.parent), "PYTHONPATH": str(HOUSE / "python")}
    environment.pop("PGRESCUE_RUN_DIR", None)
    done = subprocess.run(
        [*command, tmp_path / "play.yml", "-e", f"run_id={failed.name}"],
        cwd=HOUSE, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stdout + done.stderr
    events = record.load(failed).journal.events
    places = {one.step or one.event: place for place, one in enumerate(events)}
    assert places[reopening.STEP] < places["Do it"]
    close.finish(failed)
    assert verify(failed, [KEY]).holds


def test_a_drill_that_was_not_judged_is_not_sealed_as_passed_and_counts_for_nothing(tmp_path, monkeypatch):
    """The planted fault: `open` written into a drill's record leaves the result of its recovery, which passed."""
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    directory = Synthetic(timeline=complete_loss()).write(tmp_path / "runs")
    write_json(directory / FILE, drill(state="open").dump())
    assert close.finish(directory).result == "passed"
    assert seal.seals(directory) == []
    code, said = ask("evidence", "seal", directory)
    assert (code, "not judged" in said, seal.seals(directory)) == (4, True, [])
    index.refresh(runner.RUNS)
    with index.asking(runner.RUNS) as asked:
        assert [row["kind"] for row in asked.execute("SELECT kind FROM runs")] == ["unjudged"]
    assert past.runs(runner.RUNS) == []
    reopening.reopen(directory, "lena@ctl")
    write_json(directory / FILE, drill().dump())
    close.finish(directory)
    assert (verify(directory).holds, [one.passed for one in past.runs(runner.RUNS)]) == (True, [True])


def test_a_copy_of_a_drill_that_passed_counts_for_nothing_and_is_named(tmp_path, monkeypatch):
    """The planted fault: the folder of last quarter's drill, copied under this quarter's name."""
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    true = ended(runner.RUNS).directory
    copy = shutil.copytree(true, runner.RUNS / true.name.replace("20261124", "20270211"))
    assert [one.run for one in past.runs(runner.RUNS)] == [true.name]
    counts = f"run.json is of {true.name} and its folder is called {copy.name}: {COUNTS}"
    (named,) = past.unread(runner.RUNS)
    assert (true.name in named, copy.name in named) == (True, True)
    assert named in ask("programme")[1]
    index.refresh(runner.RUNS)
    with index.asking(runner.RUNS) as asked:
        assert [row["id"] for row in asked.execute("SELECT id FROM runs")] == [true.name]
        assert [row["says"] for row in asked.execute("SELECT says FROM problems")] == [counts]
    (problem,) = verify(copy).problems
    assert "its folder is called" in problem
    (tmp_path / "link").symlink_to(true)
    assert (verify(true).holds, verify(tmp_path / "link").holds) == (True, True)


def test_a_sign_off_says_who_typed_it(failed):
    assert ask("evidence", "sign-off", failed, "--by", "Noor Haddad", "--reason", "Read.")[0] == 0
    assert (
        "signoff-1.json: Noor Haddad, typed by alice@bastion, for this very record"
        in ask("evidence", "verify", failed)[1]
    )


def test_a_window_that_is_closed_early_leaves_a_record_that_holds(failed):
    reopening.reopen(failed, "lena@ctl")
    windows.write(str(failed), windows.opened(failed.name, ["a1"], 1e9, ["a1 is primary again"]))
    close.finish(failed)
    assert ask("commit", failed.name, "--reason", "a day without trouble")[0] == 0
    assert verify(failed, [KEY]).holds
