"""The index of all records: that it holds what they say, no more and no less, whatever happens around it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pgrescue import close, incidents, record
from pgrescue.core import attempts
from pgrescue.ledger import index, reading
from run_fixture import Synthetic
from year import Year

OLD_S = 1_700_000_000  # so that nothing looks as if it were touched just now


@pytest.fixture(scope="module")
def a_year(tmp_path_factory):
    return Year().write(tmp_path_factory.mktemp("year"))


@pytest.fixture
def runs(a_year, tmp_path):
    return settle(Path(shutil.copytree(a_year, tmp_path / "runs")))


def settle(runs):
    """As if all this had been written long ago."""
    for path in [*runs.rglob("*")]:
        if path.name != index.NAME:
            os.utime(path, (OLD_S, OLD_S))
    return runs


def content(runs):
    """All that the ledger holds, whatever numbers it gave to its sources."""
    tables = [name for name in contents_of(runs, "SELECT name FROM sqlite_schema WHERE type = 'table'") if name]
    found = {}
    for (table,) in tables:
        if table == "sources":
            query = "SELECT path, kind, mark, settled FROM sources"
        else:
            with index.asking(runs) as ledger:
                columns = [column[0] for column in ledger.execute(f"SELECT * FROM {table} LIMIT 0").description[1:]]
            query = (
                f"SELECT path, {', '.join(f't.{c}' for c in columns)} FROM {table} t JOIN sources s ON s.id = t.source"
            )
        found[table] = sorted(map(repr, contents_of(runs, query)))
    return found


def contents_of(runs, query):
    with index.asking(runs) as ledger:
        return [tuple(row) for row in ledger.execute(query)]


def test_an_incident_is_read_as_it_is_really_written(tmp_path):
    """With every key that one can have: the ledger takes those that it has a column for."""
    found = {"state": "declared", "says": "prices are wrong", "facts": [{"by": "lena@ctl", "says": "prices are wrong"}]}
    case, _new = incidents.begin(tmp_path, "shop", "lena@ctl", found, datetime(2026, 11, 24, 1, 20, tzinfo=UTC))
    incidents.acknowledge(case, "lena@ctl")
    incidents.decide(case, "lena@ctl", "wait")
    incidents.belongs(case, "lena@ctl", "20261124T012050Z-shop-complete_loss")
    incidents.mitigate(case, "lena@ctl")
    incidents.resolve(case, "lena@ctl", "the list is right again", "an import of last year's list")
    said = case.incident.dump()
    assert set(said) == set(incidents.Incident.model_fields), "the test has every key"
    index.refresh(tmp_path)
    assert contents_of(tmp_path, "SELECT * FROM problems") == []
    assert contents_of(tmp_path, "SELECT cause, decision FROM incidents") == [("an import of last year's list", "wait")]
    incidents.explain(case, "omar@laptop", "a wrong file name")
    index.refresh(tmp_path)
    assert contents_of(tmp_path, "SELECT cause FROM incidents") == [("a wrong file name",)]


def test_a_second_refresh_reads_nothing(runs):
    assert index.refresh(runs).read > 90
    assert index.refresh(runs) == index.Refreshed(0, 0)


def attempted(runs, at, result="passed", service="shop", **more):
    attempts.append(str(runs / "attempts" / f"{service}.jsonl"), [{"at": at, "result": result, **more}])


def changed(runs):
    """Everything that can happen to records: new, gone, reopened, finished, appended to, resolved."""
    drill = Synthetic().write(runs)
    folders = sorted(p for p in runs.glob("2026*") if p != drill)
    shutil.rmtree(folders[0])
    record.reopen(folders[1])
    (folders[2] / "manifest.sha256").unlink()
    attempted(runs, "2026-11-30T05:00:00Z", "failed", reason="a full disk")
    attempted(runs, "2026-11-30T05:00:00Z", service="books")
    with (runs / "findings/shop.jsonl").open("a") as lines:
        lines.write('{"at": "2026-11-30T06:00:00Z", "by": "lena@ctl", "id": "F-000-0", "state": "open"}\n')
    incident = next(runs.glob("incidents/*/incident.json"))
    incident.write_text(json.dumps({**json.loads(incident.read_text()), "cause": "a rat"}))
    next(runs.glob("rehearsals/*.json")).unlink()
    return drill


def test_a_refresh_holds_what_a_rebuild_would(runs):
    index.refresh(runs)
    before = content(runs)
    drill = changed(runs)
    done = index.refresh(runs)
    assert done.gone == 2
    assert 7 <= done.read <= 8, "the others were not read again"
    refreshed = content(runs)
    index.refresh(runs, rebuild=True)
    assert content(runs) == refreshed != before
    close.finish(drill)
    index.refresh(runs)
    assert contents_of(runs, f"SELECT result FROM runs WHERE id = '{drill.name}'") == [("passed",)]


def test_a_refresh_that_trusted_too_young_a_mark_would_miss_a_change(runs, monkeypatch):
    """The planted fault: two writes in one tick of the file system's clock."""
    folder = next(runs.glob("2026*"))

    def results(trusting):
        if trusting:
            monkeypatch.setattr(index, "_YOUNG_NS", 0)
        index.refresh(runs, rebuild=True)
        now = folder.stat().st_mtime_ns
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "operator": f"trusting={trusting}"}))
        os.utime(folder, ns=(now, now))
        index.refresh(runs)
        return contents_of(runs, f"SELECT operator FROM runs WHERE id = '{folder.name}'")

    os.utime(folder)
    assert results(trusting=False) == [("trusting=False",)]
    assert results(trusting=True) != [("trusting=True",)]


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        ("run.json", "{", "run.json: "),
        ("run.json", '{"id": "x", "kind": "party"}', "run.json: kind"),
        ("run.json", None, "run.json: there is none"),
        ("checks.json", "[1]", "checks.json: "),
        ("timeline.jsonl", '{"seq": 0}\n{"seq": 1}\n', "timeline.jsonl, line 1"),
        ("findings.json", '[{"id": 1}]', "findings.json: "),
        ("measurement.json", "\xff\xfe", "measurement.json: "),
    ],
)
def test_a_corrupt_record_is_named_and_the_others_are_there(runs, name, broken, said):
    folder = sorted(runs.glob("2026*"))[3]
    before = len(sorted(runs.glob("202*")))
    if broken is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(broken, encoding="latin-1")
    index.refresh(runs)
    problems = contents_of(runs, "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source")
    assert [path for path, _ in problems] == [folder.name]
    assert problems[0][1].startswith(said)
    (known,) = contents_of(runs, "SELECT count(*) FROM runs")[0]
    assert known == before - (name == "run.json")


def plant(runs, name):
    """What no writer of ours leaves behind; the path that must be named, and what is said of it."""
    folder = sorted(runs.glob("2026*"))[3]
    if name == "a folder where a file should be":
        (folder / "timeline.jsonl").unlink()
        (folder / "timeline.jsonl").mkdir()
        return folder.name, "it cannot be read: "
    if name == "a number that no database holds":
        measured = json.loads((folder / "measurement.json").read_text())
        (folder / "measurement.json").write_text(json.dumps({**measured, "data_bytes": 10**30}))
        return folder.name, "it cannot be read: "
    if name == "half a character":
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "operator": "\ud800"}))
        return folder.name, "it cannot be read: "
    if name == "a run that never began":
        (runs / "odd").mkdir()
        run = {"id": "odd", "kind": "drill", "procedure": "failover", "service": "shop"}
        (runs / "odd/run.json").write_text(json.dumps(run))
        return "odd", "timeline.jsonl: nothing says when the run began"
    (runs / "incidents/20261111T111111Z-shop").mkdir()
    return "incidents/20261111T111111Z-shop/incident.json", "incident.json: there is none"


@pytest.mark.parametrize(
    "name",
    [
        "a folder where a file should be",
        "a number that no database holds",
        "half a character",
        "a run that never began",
        "an incident without its file",
    ],
)
def test_what_nobody_writes_is_named_and_the_others_are_there(runs, name):
    path, said = plant(runs, name)
    for _ in range(2):
        index.refresh(runs)
        problems = contents_of(runs, "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source")
        assert [(where, says[: len(said)]) for where, says in problems] == [(path, said)]
    assert contents_of(runs, "SELECT count(*) > 90 FROM runs") == [(1,)]


@pytest.mark.parametrize("kind", ["attempts", "findings"])
def test_a_line_that_a_crash_tore_is_named_and_the_next_is_kept(runs, kind):
    path = runs / kind / "shop.jsonl"
    table = {"attempts": "attempts", "findings": "finding_events"}[kind]
    with path.open("a") as lines:
        lines.write('{"at": "2026-11-30T0')
    index.refresh(runs)
    (before,) = contents_of(runs, f"SELECT count(*) FROM {table}")[0]
    if kind == "attempts":
        attempted(runs, "2026-11-30T07:00:00Z")
        index.refresh(runs)
        assert contents_of(runs, f"SELECT count(*) FROM {table}") == [(before + 1,)]
    said = contents_of(runs, "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source")
    assert [(path, says[:5]) for path, says in said] == [(f"{kind}/shop.jsonl", "line ")]


REFRESH = (
    "import sys; from pathlib import Path; from pgrescue.ledger import index; print(index.refresh(Path(sys.argv[1])))"
)


def test_processes_that_refresh_at_once_agree(runs):
    """Four begin with no index at all, while somebody appends."""
    processes = [
        subprocess.Popen([sys.executable, "-c", REFRESH, str(runs)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(4)
    ]
    for n in range(20):
        attempted(runs, f"2026-11-30T07:00:{n:02d}Z")
    said = [process.communicate()[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    index.refresh(runs)
    found = content(runs)
    index.refresh(runs, rebuild=True)
    assert content(runs) == found


def test_appends_of_several_processes_all_arrive_whole(tmp_path):
    write = (
        "import sys; from pgrescue.core import attempts\n"
        "for n in range(25): attempts.append(sys.argv[1] + '/attempts/shop.jsonl', "
        "[attempts.failed(sys.argv[2] * 3000)])"
    )
    processes = [subprocess.Popen([sys.executable, "-c", write, str(tmp_path), letter]) for letter in "abc"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    lines = (tmp_path / "attempts/shop.jsonl").read_text().splitlines()
    assert sorted({json.loads(line)["reason"] for line in lines}) == ["a" * 3000, "b" * 3000, "c" * 3000]
    assert len(lines) == 75


def test_a_refresh_that_is_killed_leaves_the_index_as_it_was(runs, monkeypatch):
    index.refresh(runs)
    before = content(runs)
    attempted(runs, "2026-11-30T07:00:00Z")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(reading, "read", die)
        with pytest.raises(KeyboardInterrupt):
            index.refresh(runs)
    assert content(runs) == before
    assert index.refresh(runs).read == 1


@pytest.mark.parametrize("spoilt", [b"no database" * 400, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_an_index_that_is_spoilt_is_made_again(runs, spoilt):
    index.refresh(runs)
    before = content(runs)
    (runs / index.NAME).write_bytes(spoilt)
    index.refresh(runs)
    assert content(runs) == before


def test_an_index_of_another_version_is_made_again(runs):
    with sqlite3.connect(runs / index.NAME) as other:
        other.execute("CREATE TABLE runs (only_this)")
        other.execute("PRAGMA user_version = 99")
    other.close()
    index.refresh(runs)
    assert len(contents_of(runs, "SELECT id FROM runs")) > 90


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM runs",
        "UPDATE runs SET result = 'passed'",
        "DROP TABLE runs",
        "ATTACH 'other.db' AS other",
        "PRAGMA user_version = 7",
        "VACUUM INTO 'copy.db'",
        "SELECT 1; DELETE FROM runs",
        "COMMIT; DELETE FROM runs",
    ],
)
def test_asking_changes_nothing(runs, statement, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index.refresh(runs)
    before = (runs / index.NAME).read_bytes()
    with pytest.raises(index.LedgerError, match="Nothing was changed"), index.asking(runs) as ledger:
        ledger.execute(statement)
    assert (runs / index.NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / index.NAME).mkdir()
    with pytest.raises(index.LedgerError, match="unable to open"):
        index.refresh(tmp_path)
    with pytest.raises(index.LedgerError, match="no run has left a record"):
        index.refresh(tmp_path / "nowhere")
