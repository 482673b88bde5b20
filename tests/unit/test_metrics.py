"""What is exported: by the table, measured by positions, and never older than it says."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from backups import Repositories, repositories_of
from exporting import Told, measured_once, parsed, program
from pgrescue import cli, close, record, runner
from pgrescue.core import collecting, series, witness_files
from pgrescue.core.measures import archived_lsn, of_server
from pgrescue.core.recovery_point import RecoveryPoint, Written
from pgrescue.metrics import textfile
from postgres import free_port, until
from run_fixture import Synthetic
from typer.testing import CliRunner

HOUSE = Path(__file__).resolve().parents[2]

# --- the table


def test_the_table_keeps_the_conventions():
    units = ("_seconds", "_bytes", "_segments", "_total")
    counted = {
        "success",
        "running",
        "primary",
        "reachable",
        "state",
        "cluster",
        "exporter",
        "open",
        "problems",
        "unusable",
    }
    counted |= {"streaming", "failures", "standbys", "inodes", "hosts"}
    names = [one.name for one in series.TABLE]
    assert len(set(names)) == len(names)
    for one in series.TABLE:
        assert one.name.endswith(units) or one.name.rpartition("_")[2] in counted, one.name
        assert not set(one.labels) & {"job", "le", "quantile", "__name__"}
        assert ("timestamp" in one.name) is one.help.startswith(("When ", "The newest commit", "The oldest moment"))


def test_what_is_not_in_the_table_is_not_exported():
    with pytest.raises(ValueError, match="not in the table"):
        series.sample("backup_age_seconds", 1, "shop")
    with pytest.raises(ValueError, match="with 2 labels"):
        series.sample("expected_cluster", 1, "shop", "more")
    assert series.sample("expected_cluster", None, "shop") == []


def test_the_documentation_has_the_table():
    rows = re.findall(
        r"^\| `(pgrescue_\w+)` \| (.*?) \| (.*?) \| (\w+) \|$", (HOUSE / "docs/metrics.md").read_text(), re.M
    )
    said = [(one.name, ", ".join(f"`{name}`" for name in one.labels), one.help, one.by) for one in series.TABLE]
    assert [(name, labels, text.replace("`", ""), by) for name, labels, text, by in rows] == [
        (name, labels, re.sub(r"[C]\((\w+)\)", r"\1", text), by) for name, labels, text, by in said
    ]


# --- the recovery point


def test_the_recovery_point_is_the_newest_look_whose_wal_is_archived():
    point = RecoveryPoint()
    for at, lsn in ((10, 100), (20, 200), (30, 300)):
        point.note(Written(at, lsn, str(at)), 1)
    assert point.newest(99) is None
    assert point.newest(250) == 20
    assert point.newest(250) == 20  # it grows only with the archive
    assert point.newest(300) == 30


def test_on_an_idle_primary_nothing_would_be_lost():
    point = RecoveryPoint()
    for at, lsn, snapshot in ((10, 100, "5:5:"), (20, 120, "5:5:"), (30, 120, "5:6:5"), (40, 130, "6:6:")):
        point.note(Written(at, lsn, snapshot), 1)
    assert point.newest(110) == 20  # WAL was written after it, and no transaction ended


def test_looks_of_another_timeline_say_nothing_and_their_number_is_bounded():
    point = RecoveryPoint()
    point.note(Written(1, 100, "a"), 1)
    point.note(Written(2, 500, "b"), 2)
    assert point.newest(200) is None
    for at in range(3, 20_000):
        point.note(Written(at, 1000 + at, str(at)), 2)
    assert len(point._looks) <= 4096
    assert point.newest(1000 + 19_999) == 19_999


def test_where_the_archive_ends_is_the_end_of_its_last_segment():
    catalog = {"candidates": [{"segment_bytes": 16 << 20}], "archive_end": {"segment": "0000000200000003000000FF"}}
    assert archived_lsn(catalog) == 4 << 32
    assert archived_lsn({"candidates": []}) is None


def test_two_standbys_that_share_a_name_are_one_series_the_worse_one():
    followers = [{"name": "db2", "state": "streaming", "lag_bytes": lag} for lag in (5, 9, None)]
    followers.append({"name": "db3", "state": "backup", "lag_bytes": 1})
    seen = {
        "role": "primary", "running": True, "checksum_failures": 0, "followers": followers, "disks": [],
        "archiver": {"archived_s": None, "failed_s": None},
    }  # fmt: skip
    found = {(one.name, one.labels): one.value for one in of_server("shop", "db1", seen)}
    lag = {labels: value for (name, labels), value in found.items() if name == "pgrescue_standby_lag_bytes"}
    assert lag == {("shop", "db1", "db2"): 9}
    assert found["pgrescue_standbys_streaming", ("shop", "db1")] == 3
    assert not [name for name, _ in found if "archiver" in name], "what never happened has no instant"


# --- a collector


def told(collector: collecting.Collector, now: float) -> dict[str, float]:
    return {one.name.removeprefix("pgrescue_"): one.value for one in collector.samples("shop", "db1", now)}


def test_a_value_that_is_old_or_failed_is_not_exported_and_its_collector_says_so(capsys):
    answers: list[Any] = [[series.sample("expected_cluster", 1, "shop")[0]], RuntimeError("gone"), SystemExit(1)]

    def measure() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    collector = collecting.Collector("server", 10, measure)
    assert told(collector, time.time()) == {"collector_success": 0}
    collector.once()
    now = time.time()
    assert told(collector, now)["expected_cluster"] == 1 and told(collector, now)["collector_success"] == 1
    assert "expected_cluster" not in told(collector, now + 31) and told(collector, now + 31)["collector_success"] == 0
    for _ in range(2):
        collector.once()
        assert set(told(collector, now)) == {"collector_success", "collector_last_run_timestamp_seconds"}
        assert told(collector, now)["collector_success"] == 0
    assert "server could not be measured: RuntimeError: gone" in capsys.readouterr().out


def test_what_was_read_of_the_witness_once_is_not_read_again(tmp_path):
    """A service whose application has no such page would have its journal of a week read every quarter of a minute."""

    def line(hour, minute, probe):
        return f'{{"event":"result","probe":"{probe}","ok":true,"end":"2026-12-01T{hour}:{minute}:00.000000Z"}}\n'

    for hour in ("08", "11", "12"):
        (tmp_path / f"20261201T{hour}.jsonl").write_text(line(hour, "10", "commit"))
    with (tmp_path / "20261201T08.jsonl").open("a") as oldest:
        oldest.write(line("08", "20", "health"))
    asked = witness_files.Successes(str(tmp_path))
    first = asked.until(datetime(2026, 12, 1, 12, 30, tzinfo=UTC))
    assert {probe: at.hour for probe, at in first.items()} == {"commit": 12, "health": 8}
    (tmp_path / "20261201T08.jsonl").write_text('this would be no journal"ok":true"videos"}\n')
    (tmp_path / "20261201T13.jsonl").write_text(line("13", "00", "commit"))
    later = asked.until(datetime(2026, 12, 1, 13, 1, tzinfo=UTC))
    assert {probe: at.hour for probe, at in later.items()} == {"commit": 13, "health": 8}


def test_a_collector_that_hangs_keeps_no_other_from_being_told():
    free = threading.Event()
    stop = threading.Event()
    hanging = collecting.Collector("repository", 0.05, lambda: free.wait() and [])
    well = collecting.Collector("server", 0.05, lambda: series.sample("expected_cluster", 1, "shop"))
    threads = [threading.Thread(target=one.run, args=(stop,)) for one in (hanging, well)]
    for thread in threads:
        thread.start()
    until(lambda: told(well, time.time()).get("expected_cluster"), 5, "the other one measures")
    assert told(hanging, time.time()) == {"collector_success": 0}
    stop.set()
    free.set()
    for thread in threads:
        thread.join()


# --- the exporter, on a real server and real repositories


@pytest.fixture(scope="module")
def made():
    with repositories_of() as repositories:
        yield repositories


def configured(made: Repositories, folder: Path, every_s: float = 60, **more: Any) -> Path:
    connection = {"version": made.server.version, "port": made.server.port, "socket_directory": str(made.server.folder)}
    journal = folder / "witness"
    journal.mkdir(exist_ok=True)
    end = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    line = {"event": "result", "probe": "commit", "ok": True, "end": end}
    (journal / f"{datetime.now(UTC):%Y%m%dT%H}.jsonl").write_text(json.dumps(line, separators=(",", ":")) + "\n")
    wanted = {
        "cluster": "shop", "host": "db1", "listen": {"address": "127.0.0.1", "port": free_port()},
        "collectors": {
            "server": {"every_s": every_s, "connection": connection, "in_use": str(made.server.data)},
            "repository": {
                "every_s": every_s, "stanza": "test", "endpoints": {"1": "", "2": ""}, "timeout_s": 15, "knock_s": 2,
            },
            "backup": {"every_s": every_s, "result": str(folder / "result.json")},
            "witness": {"every_s": every_s, "journal": str(journal)},
        },
    }  # fmt: skip
    wanted["collectors"]["repository"].update(more)
    path = folder / "metrics.json"
    path.write_text(json.dumps(wanted))
    return path


def environment(made: Repositories) -> dict[str, str]:
    return {**os.environ, "PGBACKREST_CONFIG": str(made.config), "PGUSER": "postgres"}


def once(made: Repositories, folder: Path, **more: Any) -> tuple[int, dict[str, Told], str]:
    return measured_once(folder, configured(made, folder, **more), environment(made))


def archived(made, tmp_path):
    """What is measured once all is archived: a server that rests writes now and then all the same, for its standbys."""

    def measured():
        made.archive()
        answer = once(made, tmp_path)
        return answer if "commits" in str(answer[1].get("recovery_point_timestamp_seconds")) else None

    return until(measured, 60, "all that was written is archived")


def test_the_exporter_measures_a_server_its_repositories_and_its_witness(made, tmp_path):
    code, found, text = once(made, tmp_path)
    assert code == 0, text
    assert found["server_running"] == {("shop", "db1"): 1} and found["server_primary"] == {("shop", "db1"): 1}
    assert found["repository_reachable"] == {("shop", "1"): 1, ("shop", "2"): 1}
    assert "recovery_point_timestamp_seconds" not in found, "there is no backup yet"
    label = made.backup(1)
    (tmp_path / "result.json").write_text(
        json.dumps({"repositories": {"1": {"state": "failed", "ended": "2026-11-27T02:00:00Z"}},
                    "attempts": {"1": {"passed": 29, "failed": 1}}})
    )  # fmt: skip
    code, found, text = archived(made, tmp_path)
    assert code == 0, text
    ended = found["backup_last_success_timestamp_seconds"]["shop", "pgbackrest", "1", "full"]
    assert time.time() - 60 < ended < time.time() and label
    assert found["backup_last_size_bytes"]["shop", "pgbackrest", "1", "full"] > 1_000_000
    assert found["recovery_window_start_timestamp_seconds"]["shop", "pgbackrest"] == ended
    ((how, point),) = found["recovery_point_timestamp_seconds"].items()
    assert how == ("shop", "pgbackrest", "commits") and point > time.time() - 30, "all that was written is archived"
    assert found["wal_gap_segments"] == {("shop",): 0}
    assert found["backup_attempts_total"]["shop", "pgbackrest", "1", "passed"] == 29
    assert found["backup_last_attempt_success"] == {("shop", "pgbackrest", "1"): 0}
    assert found["witness_last_success_timestamp_seconds"]["shop", "commit"] > time.time() - 60
    assert found["disk_free_bytes"] and found["checksum_failures"] == {("shop", "db1"): 0}
    assert {key[2] for key, value in found["collector_success"].items() if value} == {
        "server",
        "repository",
        "backup",
        "witness",
    }


def test_a_segment_that_is_missing_within_the_archive_is_counted(made, tmp_path):
    made.backup(1)
    for _ in range(3):
        made.archive()
    newest = [path.name[:24] for path in made.segments(1)][-2]
    gone = [path for repo in (1, 2) for path in made.segments(repo) if path.name.startswith(newest)]
    for path in gone:
        path.rename(path.with_suffix(".away"))
    try:
        assert once(made, tmp_path)[1]["wal_gap_segments"] == {("shop",): 1}
    finally:
        for path in gone:
            path.with_suffix(".away").rename(path)


def test_what_cannot_be_asked_is_told_and_the_rest_is_measured(made, tmp_path):
    code, found, text = once(made, tmp_path, endpoints={"1": "127.0.0.1:1", "2": "127.0.0.1:1"})
    assert code == 0 and found["repository_reachable"] == {("shop", "1"): 0, ("shop", "2"): 0}, text
    assert "recovery_point_timestamp_seconds" not in found
    code, found, text = once(made, tmp_path, stanza="test", timeout_s="no number")
    assert code == 1 and found["collector_success"]["shop", "db1", "repository"] == 0, text
    assert not [name for name in found if name.startswith(("repository", "recovery", "wal"))]
    made.server.stop()
    try:
        code, found, text = once(made, tmp_path)
        assert (
            found["server_running"] == {("shop", "db1"): 0} and "archiver_last_success_timestamp_seconds" not in found
        )
        assert found["recovery_point_timestamp_seconds"].keys() == {("shop", "pgbackrest", "archive")}, text
    finally:
        made.server.start()


def test_the_recovery_point_stands_while_the_archiver_is_stopped_and_follows_when_it_goes_on(made, tmp_path):
    path = configured(made, tmp_path, every_s=0.5)
    port = json.loads(path.read_text())["listen"]["port"]
    made.backup(1)
    with subprocess.Popen([sys.executable, str(program(tmp_path)), str(path)], env=environment(made)) as process:
        try:
            point = lambda: _point(port)  # noqa: E731
            until(lambda: _served(port), 60, "it serves")
            made.server.psql("SELECT pg_logical_emit_message(true, 'a', 'b')")
            made.archive()
            until(lambda: (point() or 0) > time.time() - 5, 30, "nothing was committed since the archive's end")
            ((archive,),) = made.server.psql("SHOW archive_command")
            made.server.psql("ALTER SYSTEM SET archive_command = 'false'")
            made.server.psql("SELECT pg_reload_conf()")
            made.server.psql("CREATE TABLE unarchived(n int)")
            stopped = time.time()
            stands = until(lambda: (now := point()) and time.time() - now > 8 and now, 60, "it stands still")
            assert 0 < stands <= stopped
            made.server.psql(f"ALTER SYSTEM SET archive_command = '{archive}'")
            made.server.psql("SELECT pg_reload_conf()")
            made.archive()
            until(lambda: (point() or 0) > stopped, 30, "it follows")
        finally:
            made.server.psql("DROP TABLE IF EXISTS unarchived")
            process.terminate()


def _served(port: int) -> dict[str, Told]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return parsed(answer.read().decode())
    except OSError:
        return {}


def _point(port: int) -> float | None:
    return _served(port).get("recovery_point_timestamp_seconds", {}).get(("shop", "pgbackrest", "commits"))


# --- the records


def test_the_records_are_exported_as_they_are(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    finished = close.finish(Synthetic().write(runs))
    monkeypatch.setattr(runner, "RUNS", runs)
    folder = tmp_path / "textfile"
    folder.mkdir()
    told = CliRunner().invoke(cli.app, ["metrics", "--textfile", str(folder)])
    assert told.exit_code == 0, told.output
    found = parsed((folder / textfile.RECORDS).read_text())
    labels = ("shop", finished.id, "unjudged", "complete_loss")
    measured = record.load(runs / finished.id).measurement
    assert found["run_rta_seconds"] == {labels: measured.rta_s}
    assert found["run_rpa_seconds"] == {labels: measured.rpa_s}
    assert {key[-1]: value for key, value in found["run_phase_seconds"].items()} == measured.phases
    assert found["run_objective_seconds"] == {(*labels, "rto"): 3600, (*labels, "rpo"): 86400}
    assert found["records_problems"] == {(): 0}
    assert [path.name for path in folder.iterdir()] == [textfile.RECORDS], "nothing half written stays"


def test_closing_a_run_exports_it_and_a_folder_that_is_missing_ends_no_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(textfile.FOLDER, str(tmp_path / "textfile"))
    directory = Synthetic().write(tmp_path / "runs")
    assert close.finish(directory).result
    assert "could not be written" in capsys.readouterr().err
    (tmp_path / "textfile").mkdir()
    close.finish(directory)
    assert "pgrescue_run_success" in (tmp_path / "textfile" / textfile.RECORDS).read_text()


def test_a_watch_exports_when_it_last_lived(tmp_path, monkeypatch):
    monkeypatch.setenv(textfile.FOLDER, str(tmp_path))
    textfile.write_watch({"service": "shop", "at": "2026-11-27T03:00:00.000000Z", "state": "well"})
    found = parsed((tmp_path / "pgrescue_watch_shop.prom").read_text())
    assert found["watch_last_run_timestamp_seconds"] == {("shop",): datetime(2026, 11, 27, 3, tzinfo=UTC).timestamp()}
    assert found["watch_state"] == {("shop", "well"): 1}


def test_the_units_run_the_command_as_who_keeps_the_records(monkeypatch):
    """However it was started, for `python -m pgrescue` is no program; what root has indexed nobody else could."""
    monkeypatch.setattr(sys, "argv", [str(HOUSE / "python/pgrescue/__main__.py"), "metrics"])
    said = CliRunner().invoke(cli.app, ["metrics", "--print-units"]).stdout
    program = Path(re.findall(r"^ExecStart=(\S+) metrics", said, re.MULTILINE)[0])
    assert (program.name, os.access(program, os.X_OK)) == ("pgrescue", True)
    assert f"User={getpass.getuser()}\n" in said


def test_without_records_the_command_says_so_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", tmp_path / "none")
    told = CliRunner().invoke(cli.app, ["metrics", "--textfile", str(tmp_path)])
    assert told.exit_code == 3 and "no run has left a record" in told.output
    assert list(tmp_path.iterdir()) == []
