"""An old primary that a rollback promotes archives on, though the archive has its last segment from another server."""

import re
import shutil

import pytest
from backups import left_by_its_primary, repositories_of
from modules import as_user, module
from postgres import until

FAILS = "SELECT 1 FROM pg_stat_archiver WHERE last_failed_wal LIKE '%.partial'"


def recycle(segment):
    """Let the unused end of a segment hold what an older one left there, as one that PostgreSQL uses again does."""
    with segment.open("r+b") as file:
        file.seek(-8192, 2)
        if not file.read(8192).strip(b"\0"):
            file.seek(-8192, 2)
            file.write(b"old!" * 2048)


def archived(made, timeline):
    return [path for path in made.of_timeline(timeline) if ".partial" not in path.name]


@pytest.fixture
def taken_back(monkeypatch):
    """A failover, and the old primary promoted again, whose last segment holds old bytes beyond its end."""
    monkeypatch.setenv("PGUSER", "postgres")
    with repositories_of() as made, left_by_its_primary(made) as new:
        old = made.server
        new.psql("SELECT pg_promote()")
        until(lambda: any(".partial" in path.name for path in made.of_timeline(1)), 30, "the partial one is archived")
        new.stop()
        for segment in (old.data / "pg_wal").iterdir():
            if re.fullmatch("[0-9A-F]{24}", segment.name):
                recycle(segment)
        (old.data / "standby.signal").touch()
        with (old.data / "postgresql.auto.conf").open("a") as settings:
            fetch = f'pgbackrest --config={made.config} --stanza=test archive-get %f "%p"'
            settings.write(f"recovery_target_timeline = 'current'\nrestore_command = '{fetch}'\n")
        old.start()
        old.psql("SELECT pg_promote()")
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        made.own()
        yield made, old


def test_archiving_goes_on_past_a_segment_that_the_archive_has_from_another_server(taken_back, monkeypatch):
    made, old = taken_back
    link = old.data.with_name("where-it-is-as-well")  # as a place and the link to it, by which the engine knows it
    link.symlink_to(old.data)
    spool = old.data.with_name("spool")
    spool.mkdir()
    shutil.chown(spool, old.user, old.user)
    for name, value in {"ARCHIVE_ASYNC": "y", "SPOOL_PATH": str(spool)}.items():
        monkeypatch.setenv(f"PGBACKREST_{name}", value)  # asynchronously, the engine looks at all that waits
    until(lambda: old.psql(FAILS), 60, "the archiver stands at the partial segment")
    (named,) = old.psql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0]
    timeline = int(named[:8], 16)
    old.psql("CREATE TABLE after_it (); SELECT pg_switch_wal()")
    asked = {"stanza": "test", "data_directory": str(link)}
    assert not archived(made, timeline)

    would = as_user(old.user, lambda: module("partial_segment")(check=True, **asked))
    assert would["changed"] and len(would["passed_over"]) == 1
    done = as_user(old.user, lambda: module("partial_segment")(**asked))
    assert done["passed_over"] == would["passed_over"], done
    assert "another server wrote it" in done["journal"][0]["detail"]
    assert (old.data / "pg_wal" / done["passed_over"][0]).exists()  # nothing is deleted
    old.psql("SELECT pg_switch_wal()")
    until(lambda: archived(made, timeline), 90, "what comes after is archived")
    again = as_user(old.user, lambda: module("partial_segment")(**asked))
    assert not again["changed"] and again["passed_over"] == []


def test_a_partial_segment_that_the_archive_takes_is_left_to_the_archiver(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with repositories_of() as made:
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        server = made.server
        (current,) = server.psql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0]
        segment = server.data / "pg_wal" / f"{current}.partial"
        ready = server.data / "pg_wal/archive_status" / f"{current}.partial.ready"
        shutil.copyfile(segment.with_suffix(""), segment)
        ready.touch()
        made.own()
        for path in (segment, ready):
            shutil.chown(path, server.user, server.user)
        asked = {"stanza": "test", "data_directory": str(server.data)}
        done = as_user(server.user, lambda: module("partial_segment")(**asked))
        assert not done["changed"] and done["passed_over"] == []


def test_while_a_repository_is_silent_nothing_is_asked_and_that_is_noted(tmp_path):
    status = tmp_path / "pg_wal/archive_status"
    status.mkdir(parents=True)
    (status / "000000010000000000000005.partial.ready").touch()
    asked = {"stanza": "test", "data_directory": str(tmp_path), "endpoints": {"1": "127.0.0.1:1", "2": ""}}
    found = module("partial_segment")(**asked)
    assert not found["changed"] and found["passed_over"] == []
    assert "is not known while repository 1 is silent" in found["journal"][0]["detail"]


def test_an_engine_that_cannot_say_leaves_it_to_the_archiver_and_that_is_noted(tmp_path, monkeypatch):
    status = tmp_path / "pg_wal/archive_status"
    status.mkdir(parents=True)
    (status / "000000010000000000000005.partial.ready").touch()
    monkeypatch.setenv("PGBACKREST_CONFIG", str(tmp_path / "none.conf"))
    found = module("partial_segment")(stanza="test", data_directory=str(tmp_path))
    assert not found["changed"] and found["passed_over"] == []
    assert "is not known: the engine ended with " in found["journal"][0]["detail"]
