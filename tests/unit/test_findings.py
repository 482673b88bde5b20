"""A finding is opened by a run, whose record is not edited; what becomes of it is appended and can be shown."""

import json
from datetime import date

import pytest
from pgrescue import cli, close, findings, runner
from pgrescue.manifest import verify_manifest
from run_fixture import Synthetic
from typer.testing import CliRunner


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    monkeypatch.setenv("PGRESCUE_OPERATOR", "omar@laptop")
    directory = Synthetic(objectives={"rto_s": 20}, lost=0).write(tmp_path)
    close.finish(directory)
    (tmp_path / "latest").symlink_to(directory.name)
    return directory


def ask(*arguments):
    answer = CliRunner().invoke(cli.app, ["findings", *arguments])
    return answer.exit_code, answer.output


def test_a_finding_has_an_owner_and_is_due_by_its_severity(opened, tmp_path):
    medium, high = findings.load(tmp_path)
    assert (high.owner, high.due, medium.due, high.state) == ("lena@ctl", "2026-12-08", "2026-12-24", "open")
    assert not high.overdue(date(2026, 12, 8))
    assert high.overdue(date(2026, 12, 9))


def test_what_becomes_of_a_finding_is_appended_and_the_sealed_record_stays(opened, tmp_path):
    first = findings.load(tmp_path)[0].id
    assert ask("done", first, "--reason", "three jobs in parallel")[0] == 0
    assert ask("reopen", first, "--reason", "it came back", "--owner", "omar", "--due", "2099-01-01")[0] == 0
    assert ask("accept", first, "--reason", "it is cheap enough")[0] == 0
    found = findings.load(tmp_path)[0]
    assert (found.state, found.owner, found.due, found.reason) == (
        "accepted",
        "omar",
        "2099-01-01",
        "it is cheap enough",
    )
    assert found.closed
    lines = [json.loads(line) for line in (tmp_path / "findings/shop.jsonl").read_text().splitlines()]
    assert [(line["state"], line["by"]) for line in lines] == [
        ("done", "omar@laptop"), ("open", "omar@laptop"), ("accepted", "omar@laptop"),
    ]  # fmt: skip
    assert verify_manifest(opened) == []


def test_the_list_ends_with_1_while_something_is_overdue(opened, tmp_path):
    first, second = (one.id for one in findings.load(tmp_path))
    ask("reopen", first, "--reason", "earlier", "--due", "2026-11-25")
    ask("reopen", second, "--reason", "later", "--due", "2099-01-01")
    code, said = ask("list", "--json")
    assert (code, [one["overdue"] for one in json.loads(said)]) == (1, [True, False])
    ask("done", first, "--reason", "seen to")
    code, said = ask("list")
    assert (code, "1 finding, 0 overdue" in said) == (0, True)
    assert "seen to" not in said
    assert len(json.loads(ask("list", "--all", "--json")[1])) == 2
    assert json.loads(ask("list", "--all", "--json", "-s", "orders")[1]) == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["done", "latest", "--reason", "x"], 3, "There is no finding"),
        (["done", "shop", "--reason", "x"], 3, "2 findings match"),
        (["done", "/rto"], 2, "say why"),
        (["reopen", "/rto", "--reason", "x"], 4, "is open already"),
        (["reopen", "/rto", "--reason", "x", "--due", "soon"], 2, "is no day"),
        (["reopen", "/rto", "--reason", "x", "--due", "20261130"], 2, "is no day"),
        (["reopen", "/rto", "--reason", "x", "--due", "2026-W48-1"], 2, "is no day"),
    ],
)
def test_what_cannot_be_done_to_a_finding_is_refused_and_changes_nothing(opened, tmp_path, arguments, code, words):
    ended, said = ask(*arguments)
    assert (ended, words in said, "Nothing was changed." in said) == (code, True, True), said
    assert not (tmp_path / "findings").exists()


def test_a_line_that_is_no_event_is_named(opened, tmp_path):
    (tmp_path / "findings").mkdir()
    (tmp_path / "findings/shop.jsonl").write_text('{"at": 1}\n')
    code, said = ask("list")
    assert (code, "shop.jsonl, line 1" in said) == (3, True)


def test_findings_that_cannot_be_read_are_named(opened):
    (opened / findings.FILE).write_text('[{"id": "x"}]')
    code, said = ask("list")
    assert (code, "findings.json" in said) == (3, True)
