"""Modules that list and restore backups, with a real pgBackRest and a real server."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from backups import flipped, repositories_of
from modules import collection, module, refused
from postgres import PostgresServer, programs, until

VERSION = int(programs().parent.name)


@pytest.fixture(scope="module")
def repositories():
    with repositories_of() as made:
        made.server.psql(
            "CREATE TABLE things AS SELECT g AS id, repeat(md5(g::text), 20) AS text FROM generate_series(1, 20000) g"
        )
        made.backup(2)
        made.backup(1)
        made.server.psql("INSERT INTO things VALUES (0, 'after the backup')")
        made.archive()
        yield made


@pytest.fixture(autouse=True)
def configured(repositories, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))
    monkeypatch.setenv("PGUSER", "postgres")


def catalog(**more):
    return module("backup_catalog")(stanza="test", **more)


def restore(tmp_path, place="new", run="run-1", **more):
    offered = catalog()["catalog"]
    given = {
        "stanza": "test",
        "place": str(tmp_path / place),
        "run": run,
        "system_identifier": offered["system_identifier"],
        "candidates": offered["candidates"],
        "version": VERSION,
        "timeout_s": 5,
    }
    return module("restore_backup")(**{**given, **more})


def digest(folder):
    """What a folder holds, bytes and all."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return sha256(b"".join(str(p).encode() + p.read_bytes() for p in files)).hexdigest()


def test_backups_are_listed_newest_first_with_what_the_archive_reaches(repositories):
    found = catalog()["catalog"]
    assert [b["repo"] for b in found["candidates"]] == [1, 2]
    assert (found["passed_over"], found["unreachable"], found["timeline"]) == ([], {}, 1)
    newest = repositories.segments(1)[-1].name[:24]
    assert found["archive_end"]["segment"] == newest
    identifier = repositories.server.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    assert found["system_identifier"] == identifier


def test_a_repository_that_does_not_answer_is_named_and_the_other_one_used(repositories):
    hidden = repositories.folder / "repo1/backup/test/backup.info"
    away = [(p, p.with_suffix(".away")) for p in (hidden, hidden.with_suffix(".info.copy"))]
    for path, aside in away:
        path.rename(aside)
    try:
        found = catalog()["catalog"]
        assert [b["repo"] for b in found["candidates"]] == [2]
        assert list(found["unreachable"]) == ["1"]
    finally:
        for path, aside in away:
            aside.rename(path)


def test_nothing_to_restore_is_a_precondition(repositories, monkeypatch, tmp_path):
    config = repositories.config.read_text()
    for n in (1, 2):
        config = config.replace(f"repo{n}-path={repositories.folder}/repo{n}", f"repo{n}-path={tmp_path}/{n}")
        (tmp_path / str(n)).mkdir()
    (tmp_path / "empty.conf").write_text(config)
    monkeypatch.setenv("PGBACKREST_CONFIG", str(tmp_path / "empty.conf"))
    assert refused(catalog(), 3, "No repository offers a backup of test")
    nothing = catalog(required=False)["catalog"]
    assert nothing["candidates"] == [] and "No repository offers a backup of test" in nothing["problem"]
    assert nothing["empty"]
    silent = catalog(required=False, endpoints={"1": "127.0.0.1:1", "2": ""})["catalog"]
    assert "No repository offers a backup of test" in silent["problem"] and not silent["empty"]


def test_a_missing_segment_passes_over_the_backup_that_needs_it(repositories):
    needed = {b["wal_start"] for b in catalog()["catalog"]["candidates"] if b["repo"] == 1}
    gone = [p for n in (1, 2) for p in repositories.segments(n) if p.name[:24] in needed]
    for path in gone:
        path.rename(path.with_suffix(".away"))
    try:
        found = catalog()["catalog"]
        assert [b["repo"] for b in found["candidates"]] == [2]
        assert "is not complete in the archive" in found["passed_over"][0]["reason"]
    finally:
        for path in gone:
            path.with_suffix(".away").rename(path)


def test_a_restore_goes_to_a_new_place_once_and_follows_the_link(repositories, tmp_path):
    link = tmp_path / "current"
    answer = restore(tmp_path, link=str(link))
    assert (answer["changed"], answer["passed_over"]) == (True, [])
    assert answer["backup"]["label"] == repositories.labels(1)[-1]
    assert link.resolve() == tmp_path / "new"
    assert (tmp_path / "new/PG_VERSION").read_text().strip() == str(VERSION)
    again = restore(tmp_path, link=str(link))
    assert (again["changed"], again["backup"]["label"]) == (False, answer["backup"]["label"])
    assert refused(restore(tmp_path, run="run-2"), 4, "belongs to run run-1", "Nothing was changed")


def test_a_restore_killed_half_way_goes_on_with_the_same_run(repositories, tmp_path):
    restore(tmp_path)
    records = collection("plugins.module_utils.records")
    marker = str(tmp_path / "new.pgrescue.json")
    records.write_json(marker, {"run": "run-1", "state": "restoring"})  # as the kill leaves it
    largest = max((p for p in (tmp_path / "new/base").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    whole = largest.read_bytes()
    largest.write_bytes(whole[: len(whole) // 2])
    answer = restore(tmp_path)
    assert answer["changed"]
    assert largest.read_bytes() == whole


def test_a_restore_over_an_older_copy_fetches_what_differs_and_leaves_the_copy_as_it_is(repositories, tmp_path):
    restore(tmp_path, place="old")
    old, link = tmp_path / "old", tmp_path / "current"
    link.symlink_to(old)
    by_size = sorted((p for p in (old / "base").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    damaged = by_size[-2]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:8192] + bytes(len(whole) - 8192))  # its size is no sign
    (old / "postmaster.pid").write_text("999999999\n")  # it was killed
    stray = "pg_wal/0000000100000000000000FE"  # WAL that no archive vouches for
    (old / stray).write_bytes(bytes(16))
    before = digest(old)
    with flipped(repositories.files(1, repositories.labels(1)[-1])[0]):  # of the largest, which the copy has as it was
        answer = restore(tmp_path, run="run-2", warm_from=str(old), link=str(link))
    assert (answer["changed"], answer["passed_over"]) == (True, [])
    assert (tmp_path / "new" / damaged.relative_to(old)).read_bytes() == whole
    assert digest(old) == before
    assert link.resolve() == tmp_path / "new"
    assert not (tmp_path / "new" / stray).exists()
    assert not (tmp_path / "new/postmaster.pid").exists()


def test_an_older_copy_with_tablespaces_is_refused_before_anything_is_made(repositories, tmp_path):
    restore(tmp_path, place="old")
    (tmp_path / "old/pg_tblspc/16400").symlink_to(tmp_path)
    for check in (True, False):
        answer = restore(tmp_path, run="run-2", warm_from=str(tmp_path / "old"), check=check)
        assert refused(answer, 4, "tablespaces", "recovery_method=restore", "Nothing was changed")
    assert not (tmp_path / "new").exists()


def test_what_a_server_still_works_on_is_not_taken_for_a_copy_that_was_left(repositories, tmp_path):
    running = str(repositories.server.data)
    link = tmp_path / "current"
    link.symlink_to(running)
    assert refused(
        restore(tmp_path, warm_from=running, link=str(link)), 4, "Stop and keep it first", "Nothing was changed"
    )


def test_a_restore_that_was_never_started_is_told_from_a_stopped_server(repositories, tmp_path, monkeypatch):
    monkeypatch.setattr(collection("plugins.module_utils.postgres"), "CONFIG", str(tmp_path / "config-%s"))
    (tmp_path / f"config-{VERSION}").mkdir()
    (tmp_path / f"config-{VERSION}/postgresql.conf").write_text(f"data_directory = '{tmp_path}/current'\n")
    restore(tmp_path, run="standby of db1", link=str(tmp_path / "current"), type="standby")

    def seen():
        return module("cluster_state")(version=VERSION, port=1, socket_directory=str(tmp_path))["state"]

    assert (seen()["role"], seen()["unstarted"]) == (
        "stopped",
        {"run": "standby of db1", "place": str(tmp_path / "new")},
    )
    (tmp_path / "new/postmaster.opts").touch()  # as a server leaves it
    assert (seen()["role"], seen()["unstarted"]) == ("stopped", {})


def test_check_mode_names_the_backup_and_makes_nothing(repositories, tmp_path):
    answer = restore(tmp_path, check=True)
    assert (answer["changed"], answer["backup"]["label"]) == (True, repositories.labels(1)[-1])
    assert list(tmp_path.iterdir()) == []


def foreign_files(place, _):
    place.mkdir()
    (place / "precious.txt").write_text("somebody's")


def another_system(place, _):
    with PostgresServer() as other:
        other.stop()
        shutil.copytree(other.data, place)


def the_same_system(place, server):
    shutil.copytree(server.data, place, ignore=shutil.ignore_patterns("postmaster.pid", "pg_wal"))


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (foreign_files, "it holds files"),
        (another_system, "another system than"),
        (the_same_system, "it holds the cluster of system"),
    ],
)
def test_a_place_that_holds_anything_is_refused_and_not_touched(repositories, tmp_path, fill, words):
    fill(tmp_path / "new", repositories.server)
    before = digest(tmp_path)
    assert refused(restore(tmp_path), 4, "is not empty", words, "Nothing was changed")
    assert digest(tmp_path) == before


def test_the_running_primary_is_refused_as_a_place_and_as_what_the_link_points_at(repositories, tmp_path):
    server = repositories.server
    control = (server.data / "global/pg_control").read_bytes()
    assert refused(restore(tmp_path, place=str(server.data)), 4, "A server runs", "Nothing was changed")
    link = tmp_path / "current"
    link.symlink_to(server.data)
    assert refused(restore(tmp_path, link=str(link)), 4, "A server runs", "Nothing was changed")
    assert link.resolve() == server.data
    assert not (tmp_path / "new").exists()
    assert (server.data / "global/pg_control").read_bytes() == control
    assert server.psql("SELECT count(*) FROM things")[0][0] == 20001


def test_a_backup_of_another_system_is_refused(repositories, tmp_path):
    assert refused(restore(tmp_path, system_identifier="7"), 4, "belongs to system", "the plan to 7")


def test_one_wrong_byte_passes_the_backup_over_and_says_so(repositories, tmp_path):
    stored = repositories.files(1, repositories.labels(1)[-1])[0]
    with flipped(stored):
        answer = restore(tmp_path)
        assert answer["backup"]["repo"] == 2
        assert answer["passed_over"][0]["label"] == repositories.labels(1)[-1]
        assert "passed over" in answer["journal"][0]["detail"]


def test_when_no_backup_verifies_the_run_stops_and_nothing_is_put_in_use(repositories, tmp_path):
    stored = [repositories.files(n, repositories.labels(n)[-1])[0] for n in (1, 2)]
    with flipped(stored[0]), flipped(stored[1]):
        link = tmp_path / "current"
        assert refused(restore(tmp_path, link=str(link)), 5, "No backup could be restored", "must not be started")
        assert not link.exists()
    assert restore(tmp_path)["changed"]  # the cause is gone; the same run goes on


def test_a_repository_that_goes_away_is_passed_over_with_all_its_backups(repositories, tmp_path):
    repositories.backup(1, "incr")
    newest = repositories.labels(1)
    try:
        offered = catalog()["catalog"]["candidates"]
        assert [b["repo"] for b in offered] == [1, 1, 2]
        aside = repositories.folder / "away"
        (repositories.folder / "repo1").rename(aside)
        try:
            identifier = offered[0]["system_identifier"]
            ask = {"stanza": "test", "place": str(tmp_path / "new"), "run": "run-1", "system_identifier": identifier}
            answer = module("restore_backup")(**ask, candidates=offered, version=VERSION, timeout_s=2)
        finally:
            aside.rename(repositories.folder / "repo1")
        assert answer["backup"]["repo"] == 2
        assert [b["label"] for b in answer["passed_over"]] == newest[::-1]
    finally:
        repositories.run("--repo=1", f"--set={newest[-1]}", "expire")


def test_a_repeated_attempt_takes_no_second_backup_and_none_is_expired(repositories):
    take = {"stanza": "test", "repositories": [1], "timeout_s": 5}
    before = repositories.labels(1)
    assert not module("take_backup")(after_timeline=0, **take)["changed"]  # timeline 1 came after it
    assert repositories.labels(1) == before
    config = repositories.config.read_text()
    repositories.config.write_text(config.replace("repo1-retention-full=9", "repo1-retention-full=1"))
    try:
        assert module("take_backup")(after_timeline=1, **take)["changed"]
        assert repositories.labels(1)[: len(before)] == before
        assert len(repositories.labels(1)) == len(before) + 1
    finally:
        repositories.config.write_text(config)
        repositories.run("--repo=1", f"--set={repositories.labels(1)[-1]}", "expire")


def test_a_backup_waits_longer_for_its_wal_while_another_repository_is_silent(repositories):
    """Every segment is tried at the silent one first, here for as long as the archiver sleeps."""
    take = {"stanza": "test", "timeout_s": 5, "archive_timeout_s": 1}
    server, before = repositories.server, repositories.labels(1)
    quick = server.psql("SHOW archive_command")[0][0]
    slow = f"sleep 5; {quick}"
    server.psql(f"ALTER SYSTEM SET archive_command = $${slow}$$")
    server.psql("SELECT pg_reload_conf()")
    try:
        assert refused(module("take_backup")(repositories=[1], **take), 5, "was not archived")
        answer = module("take_backup")(repositories=[1], endpoints={"2": "127.0.0.1:1"}, **take)
        assert answer["taken"] == [1]
    finally:
        server.psql(f"ALTER SYSTEM SET archive_command = $${quick}$$")
        server.psql("SELECT pg_reload_conf()")
        for label in set(repositories.labels(1)) - set(before):
            repositories.run("--repo=1", f"--set={label}", "expire")


def test_a_backup_is_taken_to_every_repository_that_can_be_written(repositories, tmp_path, capfd):
    kept = tmp_path / "jobs/test-attempts.jsonl"
    take = {"stanza": "test", "type": "incr", "timeout_s": 5, "attempts_file": str(kept)}
    assert module("take_backup")(check=True, repositories=[1, 2], **take)["changed"]
    before = [repositories.labels(n) for n in (1, 2)]
    info = repositories.folder / "repo1/backup/test/backup.info"
    broken = [info, info.with_suffix(".info.copy")]
    for path in broken:
        path.rename(path.with_suffix(".away"))
    try:
        assert refused(module("take_backup")(repositories=[1], require="any", **take), 5, "Repository 1 took no backup")
        nowhere = {**take, "attempts_file": str(kept / "below_a_file")}
        said = module("take_backup")(repositories=[1], **nowhere)
        # a process that has loaded the controller's part of Ansible prints its warnings itself
        assert "was not written down" in str(said.get("warnings")) + capfd.readouterr().err
        answer = module("take_backup")(repositories=[1, 2], require="any", **take)
        assert (answer["taken"], list(answer["failed_repositories"])) == ([2], ["1"])
        assert "Repository 1 took no backup" in answer["journal"][0]["detail"]
    finally:
        for path in broken:
            path.with_suffix(".away").rename(path)
    assert [repositories.labels(n) for n in (1, 2)] == [before[0], [*before[1], repositories.labels(2)[-1]]]
    said = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(one["repository"], one["kind"], one["result"]) for one in said] == [
        ("1", "incr", "failed"), ("1", "incr", "failed"), ("2", "incr", "passed"),
    ]  # fmt: skip
    assert said[2]["size_bytes"] > said[2]["stored_bytes"] > 0 and "unable to" in said[0]["reason"]
    repositories.run("--repo=2", f"--set={repositories.labels(2)[-1]}", "expire")


def test_a_restore_that_a_killed_controller_left_running_is_waited_for(repositories, tmp_path):
    lock = tmp_path / "new.pgrescue.lock"
    left = subprocess.Popen(
        ["flock", str(lock), "sh", "-c", "echo begun; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert left.stdout.readline() == b"begun\n"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(restore, tmp_path)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=2)
        assert not (tmp_path / "new").exists()
        left.communicate(b"\n")
        assert waiting.result(timeout=20)["changed"]


@pytest.mark.parametrize("worker", ["pgbackrest", "cp"])
def test_what_fills_the_place_holds_it_for_as_long_as_it_works(repositories, tmp_path, monkeypatch, worker):
    """The module is killed; what it started goes on, and nobody else writes to the place meanwhile."""
    restore(tmp_path, place="old")
    slow = tmp_path / "bin"
    slow.mkdir()
    (slow / worker).write_text(f"#!/bin/sh\necho $$ > {tmp_path}/begun; exec sleep 600\n")
    (slow / worker).chmod(0o755)
    offered = catalog()["catalog"]
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    ask = {"stanza": "test", "run": "run-1", "system_identifier": offered["system_identifier"], "version": VERSION}
    ask |= {"place": str(tmp_path / "new"), "candidates": offered["candidates"], "patience_s": 1}
    ask |= {"warm_from": str(tmp_path / "old")} if worker == "cp" else {}
    program = "import sys, json; sys.path.insert(0, sys.argv[1]); from modules import module; "
    program += "module('restore_backup')(**json.loads(sys.argv[2]))"
    here = str(Path(__file__).parents[1])
    killed = subprocess.Popen([sys.executable, "-c", program, here, json.dumps(ask)])
    until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text(), 20, "the engine has begun")
    killed.kill()
    killed.wait()
    try:
        assert refused(module("restore_backup")(**ask), 5, "Another restore still works on", "Nothing was changed")
    finally:
        os.kill(int((tmp_path / "begun").read_text()), signal.SIGKILL)


@contextlib.contextmanager
def watched(monkeypatch, script, problem):
    """An engine whose store has this problem, watched meanwhile; how often it was asked, and what was said."""
    pgbackrest, asked, said = collection("plugins.module_utils.pgbackrest"), [], []
    monkeypatch.setattr(pgbackrest.network, "tls_problem", lambda *_: asked.append(1) or problem)
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as engine:
        pgbackrest.ended_when_silent("store", said, pause_s=0.05)(engine)
        try:
            yield engine, asked, said
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine.pid, signal.SIGKILL)


def test_an_engine_whose_store_fell_silent_is_ended_with_its_workers(monkeypatch):
    with watched(monkeypatch, "(while sleep 0.01; do echo; done) & wait", "timed out") as (engine, _asked, said):
        engine.communicate(timeout=20)  # which waits for the worker too, for it holds the output
        assert said == ["the store stopped answering: timed out"]


@pytest.mark.parametrize(
    ("script", "problem"), [("cat /dev/zero >/dev/null & wait", "timed out"), ("sleep 1000", None)]
)
def test_an_engine_that_still_receives_or_whose_store_answers_goes_on(monkeypatch, script, problem):
    with watched(monkeypatch, script, problem) as (engine, asked, said):
        until(lambda: len(asked) > 8, 20, "the store was asked often enough")
        assert (engine.poll(), said) == (None, [])
