"""After a failover the old primary comes back, archives and takes a backup: nothing of it may be recovered from."""

import json
import shutil
import subprocess
from pathlib import Path

import backups
import pytest
from faults import caught
from modules import as_user, module
from pgrescue.core import lsn, repository, timelines
from postgres import PostgresServer, programs

VERSION = int(programs().parent.name)
HISTORY = '1\t0/5000100\tno recovery target specified\n\n2\t1/6000000\tat restore point "x"\n'
SIZE = 16 << 20


def named(timeline, *numbers):
    return [f"{timeline:08X}{0:08X}{number:08X}" for number in numbers]


def test_a_history_file_tells_where_each_timeline_was_left():
    assert timelines.forks(HISTORY) == {1: 0x5000100, 2: 0x106000000}
    assert timelines.forks("") == timelines.forks("not a history file") == {}


@pytest.mark.parametrize(
    ("timeline", "position", "missed"),
    [
        (1, 0x5000100, None),
        (1, 0x5000101, "was left at 0/5000100"),
        (2, 0x105FFFFFF, None),
        (3, 0x7000000, "does not come from timeline 3"),
        (4, 1 << 40, None),
        (5, 1, None),
    ],
)
def test_what_lies_beyond_a_fork_is_missed(timeline, position, missed):
    said = timelines.Line(4, timelines.forks(HISTORY)).misses(timeline, position)
    assert (said is None) if missed is None else (missed in said)
    assert timelines.Line(4, {}).misses(timeline, position) is None  # nothing is known


def test_segments_beyond_a_fork_are_not_read_and_the_one_with_the_fork_is_the_newer_timelines():
    line = timelines.Line(2, {1: 0x5000100})
    assert line.segments(named(1, 3, 4, 5, 6) + named(2, 5, 6), SIZE) == named(1, 3, 4) + named(2, 5, 6)
    at_its_end = timelines.Line(2, {1: 0x5000000})
    assert at_its_end.segments(named(1, 4, 5), SIZE) == named(1, 4)
    assert timelines.Line(3, {1: 0x5000100}).segments(named(2, 5), SIZE) == []


@pytest.mark.parametrize("size", [1 << power for power in range(20, 31)])
def test_the_segment_size_is_told_by_any_position_and_its_name(size):
    for number in (1, 2, 0xFFFFFFFF // size):
        position = number * size + 0x100
        assert lsn.segment_size([(position, f"{1:08X}{position >> 32:08X}{number:08X}")]) == size
    assert lsn.segment_size([]) == SIZE


@pytest.fixture(scope="module")
def failed_over():
    with backups.failed_over() as there:
        yield there


@pytest.fixture(autouse=True)
def configured(request, monkeypatch):
    if "failed_over" in request.fixturenames:
        made = request.getfixturevalue("failed_over")[0]
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        monkeypatch.setenv("PGUSER", "postgres")


def catalog():
    return module("backup_catalog")(stanza="test")["catalog"]


def verify():
    return module("verify_repository")(stanza="test", endpoints={"1": ""}, timeout_s=5)["checks"]


def test_the_backup_of_the_old_primary_is_passed_over_and_its_wal_extends_nothing(failed_over):
    made, _, good, bad = failed_over
    found = catalog()
    assert [b["label"] for b in found["candidates"]] == [good]
    assert [b["label"] for b in found["passed_over"]] == [bad]
    assert "timeline 1 was left at" in found["passed_over"][0]["reason"]
    newest = made.of_timeline(2)[-1].name[:24]
    assert (found["archive_end"]["segment"], found["candidates"][0]["reaches"]) == (newest, newest)


def test_verification_and_the_linter_are_told_of_it(failed_over):
    _, _, good, bad = failed_over
    caught("backup of an old primary that came back", verify())
    seen = module("repository_state")(stanza="test", repositories=[1])["repositories"][0]
    assert ([b["label"] for b in seen["backups"]], seen["gaps"]) == ([good], [])
    assert [b["label"] for b in seen["passed_over"]] == [bad]


def test_a_segment_of_the_old_primary_does_not_stand_for_the_one_after_the_fork(failed_over):
    made, _, _, bad = failed_over
    first = made.of_timeline(2)[0]
    assert [p for p in made.of_timeline(1) if p.name[8:24] == first.name[8:24]], (
        "the old primary has one of that number"
    )
    aside = first.rename(first.parent.parent / "away")
    try:
        caught("first segment of a timeline missing", [c for c in verify() if bad not in c["observed"]])
    finally:
        aside.rename(first)


def recovered(made, label, root):
    """What a copy of a backup holds that was recovered to the newest timeline, or what its server gave up with."""
    shutil.chown(root, made.server.user)
    place = str(root / "copy")
    at, socket = {"place": place, "version": VERSION, "run": "r"}, place + ".socket"
    found = repository.candidates(json.loads(made.run("--output=json", "info")))
    chosen = [b for b in found if b["label"] == label]
    restore = {
        "stanza": "test",
        "candidates": chosen,
        "system_identifier": chosen[0]["system_identifier"],
        "timeline": 2,
    }
    ready = {"version": VERSION, "socket_directory": socket, "place": place, "until": "writable", "deadline_s": 30}

    def call():
        assert module("restore_backup")(**at, **restore, archive=False)["changed"]
        settings = {"shared_buffers": "16MB"}
        answers = [module("scratch_server")(**at, state="started", settings=settings), module("await_server")(**ready)]
        if any(answer.get("failed") for answer in answers):
            fatal = [line for line in Path(place + ".log").read_text().splitlines() if "FATAL" in line]
            return {"ended": fatal[-1]}
        ask = ["psql", "-h", socket, "-U", "postgres", "-Atc", "SELECT DISTINCT said FROM things"]
        return {"rows": subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines()}

    try:
        return as_user(made.server.user, call)
    finally:
        as_user(made.server.user, lambda: module("scratch_server")(**at, state="absent"))


def test_the_backup_that_is_offered_recovers_and_the_one_passed_over_does_not(failed_over):
    made, _, good, bad = failed_over
    root = made.server.folder / "copies"
    root.mkdir()
    made.own()
    assert recovered(made, good, root) == {"rows": ["after the failover"]}
    assert set(recovered(made, bad, root)) == {"ended"}


def test_a_history_file_that_says_nothing_stops_the_decision_and_that_of_another_repository_serves(failed_over):
    made = failed_over[0]
    files = sorted((made.folder).glob("repo?/archive/test/*/00000002.history"))
    whole = [path.read_bytes() for path in files]
    try:
        files[0].write_bytes(b"")
        assert catalog()["timeline"] == 2
        files[1].write_bytes(b"")
        answer = module("backup_catalog")(stanza="test")
        assert (answer["exit_code"], "is not a history file" in answer["msg"]) == (3, True)
    finally:
        for path, content in zip(files, whole, strict=True):
            path.write_bytes(content)


def test_segments_of_another_size_are_followed_across_4_gb(monkeypatch):
    server = PostgresServer(initdb=("-k", "--wal-segsize=1"))
    server.run("pg_resetwal", "-l", "000000010000000000000FFD", server.data)
    with backups.repositories_of(server) as made:
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        made.backup(1)
        while made.segments(1)[-1].name[:24] < "000000010000000100000002":
            made.archive()
        found = catalog()
        newest = made.segments(1)[-1].name[:24]
        assert (found["candidates"][0]["segment_bytes"], found["archive_end"]["segment"]) == (1 << 20, newest)
        assert found["candidates"][0]["wal_start"] < "000000010000000100000000"
        assert [check["name"] for check in verify() if check["verdict"] == "failed"] == []
        assert module("repository_state")(stanza="test", repositories=[1])["repositories"][0]["gaps"] == []
