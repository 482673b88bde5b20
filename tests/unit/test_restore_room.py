"""Whether a restore fits: each tablespace counts on the disk it goes to. With a real backup and two real disks."""

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from backups import repositories_of
from modules import module, refused
from pgrescue.core import places, repository
from postgres import programs

VERSION = int(programs().parent.name)
SPARE = 256 << 20


@pytest.fixture(scope="module")
def backed_up():
    """A backup of a cluster whose tablespace is on another disk, where nothing is any more."""
    elsewhere = Path(tempfile.mkdtemp(prefix="pgrescue-test-", dir="/dev/shm"))
    try:
        with repositories_of() as made:
            shutil.chown(elsewhere, made.server.user)
            assert elsewhere.stat().st_dev != made.server.folder.stat().st_dev
            made.server.psql(f"CREATE TABLESPACE elsewhere LOCATION '{elsewhere}'")
            made.server.psql("CREATE TABLE t TABLESPACE elsewhere AS SELECT generate_series(1, 200000) AS i")
            label = made.backup(1)
            made.server.stop()
            for folder in elsewhere.iterdir():
                shutil.rmtree(folder)
            yield made, elsewhere, made.run("--repo=1", "repo-get", f"backup/test/{label}/backup.manifest")
    finally:
        shutil.rmtree(elsewhere)


@pytest.fixture
def restore(backed_up, tmp_path, monkeypatch):
    """Restore to disks that have so many bytes left."""
    made, elsewhere, _ = backed_up
    monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
    offered = module("backup_catalog")(stanza="test")["catalog"]

    def call(here, there, **more):
        left = {tmp_path.stat().st_dev: here, elsewhere.stat().st_dev: there}
        room = lambda at: SimpleNamespace(f_bavail=left[Path(at).stat().st_dev], f_frsize=1)  # noqa: E731
        monkeypatch.setattr(os, "statvfs", room)
        given = {key: offered[key] for key in ("system_identifier", "candidates")}
        place = str(tmp_path / "new")
        return module("restore_backup")(stanza="test", place=place, run="run-1", version=VERSION, **given, **more)

    return call, offered["candidates"][0]["size_bytes"]


def test_a_manifest_tells_each_tablespace(backed_up):
    _, elsewhere, manifest = backed_up
    (found,) = repository.tablespaces(manifest)
    assert (found["name"], found["path"]) == ("elsewhere", str(elsewhere))
    assert 200_000 * 30 < found["bytes"] < 200_000 * 50
    assert repository.tablespaces("") == []


def test_a_tablespace_counts_on_its_own_disk_and_nowhere_else(restore, backed_up, tmp_path):
    call, size = restore
    _, elsewhere, manifest = backed_up
    there = repository.tablespaces(manifest)[0]["bytes"]
    here = size - there + SPARE
    assert refused(call(here - 1, there), 3, f"The disk of {tmp_path} has room", "Nothing was changed")
    assert refused(call(here, there - 1), 3, f"The disk of {elsewhere} has room", "Nothing was changed")
    assert refused(call(size + SPARE - 1, 0, apart=True), 3, f"The disk of {tmp_path}")  # beside the place then
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "new").exists()
    assert call(here, there)["changed"]
    assert len(list(elsewhere.iterdir())) == 1


def test_what_an_earlier_attempt_left_counts_as_room(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=0, f_frsize=1))
    (tmp_path / "left").write_bytes(b"x" * 65536)
    places.check_room({str(tmp_path): 65536}, True, "backup b")
    with pytest.raises(repository.Stop, match="backup b needs"):
        places.check_room({str(tmp_path): 65536}, False, "backup b")


def test_a_damaged_list_of_files_leaves_its_second_copy(restore, backed_up):
    made = backed_up[0]
    call, size = restore
    listed = next((made.folder / "repo1/backup/test").glob("*F/backup.manifest"))
    aside = listed.rename(listed.with_suffix(".away"))
    try:
        assert refused(call(size + SPARE, 0), 3, "The disk of /dev/shm")
    finally:
        aside.rename(listed)
