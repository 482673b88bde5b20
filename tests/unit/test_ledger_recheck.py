"""The month says what the records say, whatever somebody wrote into the index, and with which keys those are signed."""

import json
import sqlite3
from datetime import UTC, datetime

import pytest
from drillings import ended
from evidence_packs import PUBLIC, key_file
from pgrescue import close
from pgrescue.evidence import envelope
from pgrescue.ledger import index, monthly, render
from run_fixture import Synthetic, Timeline, failed_restore

NOW = datetime(2026, 11, 30, tzinfo=UTC)
KEY = envelope.public_key(PUBLIC.encode())


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key_file(tmp_path)))
    monkeypatch.setattr(index, "_YOUNG_NS", 0)
    ended(tmp_path / "runs", timeline=failed_restore())
    index.refresh(tmp_path / "runs")
    return tmp_path / "runs"


def another(runs, name):
    """A run that is not closed yet."""
    directory = Synthetic().write(runs.parent / "other").rename(runs / name)
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**run, "id": name}))
    return directory


def month(runs, *keys):
    index.refresh(runs)
    return monthly.report(runs, "shop", "2026-11", NOW, keys)[0]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE runs SET result = 'passed', exit_code = 0", "result passed, not failed"),
        ("UPDATE runs SET started = '2025-01-01T00:00:00Z'", "started 2025-01-01T00:00:00Z, not 2026"),
        ("UPDATE runs SET service = 'books'", "service books, not shop"),
        ("UPDATE checks SET verdict = 'x'", "checks"),
        ("DELETE FROM runs", "runs"),
    ],
)  # fmt: skip
def test_what_was_written_into_the_index_is_named_and_made_anew(runs, statement, said):
    before = month(runs)
    with sqlite3.connect(runs / index.NAME) as ledger:
        ledger.execute(statement)
    found = month(runs)
    assert any(said in one for one in found.problems), found.problems
    assert found.sections == before.sections
    assert month(runs).problems == before.problems == []


def test_what_was_refused_before_it_changed_anything_is_no_recovery_that_failed(runs):
    refused, late = Timeline(), Timeline()
    for timeline in (refused, late):
        timeline.start(0)
        timeline.phase("detect", 1, 2, [])
    late.phase("prepare", 3, 4, [("Fence the old primary", 0.5, "changed")])
    for number, timeline in enumerate((refused, refused, late)):
        timeline.step("decide", "Go on only when people want it", 4, 5, "failed", exit_code=4)
        timeline.event(5, "end", status="failed", exit_code=4)
        made = Synthetic(timeline=timeline, checks=None, witness=None, kind="incident").write(
            runs.parent / f"x{number}"
        )
        run = json.loads((made / "run.json").read_text()) | {"id": f"20261125T0{number}2044Z-shop-switchover"}
        (made / "run.json").write_text(json.dumps(run))
        close.finish(made.rename(runs / run["id"]))
    figures = {figure.name: figure for section in month(runs).review for figure in section.figures}
    # the drill that failed, and the one that was refused with the service fenced
    assert (figures["Recovery success rate"].count, figures["Recovery success rate"].of) == (0, 2)


def test_a_record_that_is_being_closed_meanwhile_is_not_said_to_be_told_wrong(runs):
    index.refresh(runs)
    next(runs.glob("2*/findings.json")).unlink()  # touched after the index was brought up to date
    said = monthly.report(runs, "shop", "2026-11", NOW, ())[0].problems
    assert not [one for one in said if "the index said otherwise" in one]


def test_what_many_records_have_in_common_is_said_once():
    said = [f"run-{one}: seal-{one}.dsse.json: no key that was given signed it" for one in range(1, 6)]
    other = "run-6: timeline.jsonl: differs"
    assert render.gathered([*said[:3], other]) == [*said[:3], other]
    assert render.gathered([*said, other]) == [
        "5 records: seal.dsse.json: no key that was given signed it: run-1, run-2, run-3 and 2 more",
        other,
    ]


def test_rows_of_no_record_are_taken_away(runs):
    with sqlite3.connect(runs / index.NAME) as ledger:
        ledger.execute("CREATE TEMP TABLE one AS SELECT * FROM runs")
        ledger.execute("UPDATE one SET source = 1000, id = 'x', result = 'passed'")
        ledger.execute("INSERT INTO runs SELECT * FROM one")
    assert any("1 rows of runs were of no record" in one for one in month(runs).problems)
    assert month(runs).problems == []


def test_the_month_says_how_many_are_sealed_and_signed_and_with_which_keys(runs, tmp_path, monkeypatch):
    by = KEY.keyid[:16]
    assert month(runs, KEY).evidence.text == f"1 of 1 run as its manifest says; 1 sealed, 1 signed (key {by}: 1)"
    monkeypatch.delenv("PGRESCUE_EVIDENCE_KEY")
    directory = another(runs, "20261125T012044Z-shop-complete_loss")
    close.finish(directory)
    found = month(runs, KEY)
    assert found.evidence.text.endswith(f"2 sealed, 1 signed (key {by}: 1)")
    assert found.altered == [f"{directory.name}: seal-1.dsse.json: no key that was given signed it"]
    (directory / "manifest.sha256").unlink()
    found = month(runs)
    assert (found.evidence.of, found.altered) == (1, [f"{directory.name}: it has a result (passed) and no manifest"])


def test_a_seal_of_another_manifest_is_named(runs):
    (directory,) = runs.glob("2026*")
    listed = (directory / "manifest.sha256").read_text().splitlines(keepends=True)
    (directory / listed[0].split("  ")[1].strip()).unlink()
    (directory / "manifest.sha256").write_text("".join(listed[1:]))
    assert f"{directory.name}: seal-1.dsse.json is of another manifest" in month(runs).altered
    assert json.loads((directory / "run.json").read_text())["result"] == "failed"


def test_a_folder_without_a_run_is_no_run_and_a_record_that_lost_its_run_is_named(runs):
    by_hand = runs / "20261126T012044Z-shop-rejoin"
    by_hand.mkdir()
    (by_hand / "timeline.jsonl").write_text("")
    assert month(runs).problems == []
    (directory,) = runs.glob("20261124*")
    (directory / "run.json").unlink()
    another(runs, "20261127T012044Z-shop-complete_loss")
    assert f"{directory.name}: run.json: there is none" in month(runs).problems
