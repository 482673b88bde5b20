"""What PostgreSQL asks of an archive command, held against the engine that protect.yml configures.

The long run of the last test is tests/campaigns/archive_contract.py.
"""

import shutil
import subprocess
from contextlib import contextmanager

import archive_torture as torture
import pytest
from backups import repositories_of
from postgres import until


@pytest.fixture(scope="module")
def made():
    with repositories_of(torture.server()) as made:
        torture.asynchronous(made)
        yield made


def push(made, path):
    """Archive a file as PostgreSQL would; the exit code."""
    command = [*made.own(), "pgbackrest", f"--config={made.config}", "--stanza=test", "--no-archive-async"]
    return subprocess.run([*command, "archive-push", str(path)], cwd=made.server.data, check=False).returncode


@pytest.fixture
def segment(made):
    """A copy of a segment that is in both repositories."""
    torture.generate(made, 3)
    torture.drained(made)
    name = made.segments(1)[-2].name[:24]
    original = made.server.data / "pg_wal" / name
    copy = made.server.data / "pg_wal" / f"copy-of-{name}"
    made.run("archive-get", name, str(copy))
    yield original, copy
    copy.unlink()


def test_the_same_name_with_the_same_content_is_accepted(made, segment):
    original, copy = segment
    before = {p: p.read_bytes() for p in made.segments(1)}
    shutil.copy(copy, original)
    assert push(made, original) == 0
    assert {p: p.read_bytes() for p in made.segments(1)} == before


def test_the_same_name_with_other_content_is_refused_and_the_first_one_kept(made, segment):
    original, copy = segment
    before = {p: p.read_bytes() for p in made.segments(1)}
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    original.write_bytes(content)
    try:
        code = push(made, original)
        assert 0 < code <= 125  # beyond that PostgreSQL restarts its archiver and counts no failure
        assert {p: p.read_bytes() for p in made.segments(1)} == before
    finally:
        shutil.copy(copy, original)


@contextmanager
def small_disk(made, megabytes):
    """The first repository on a disk of that size, which others may fill."""
    repo = made.folder / "repo1"
    aside = repo.rename(made.folder / "repo1.aside")
    repo.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(repo)], check=True)
    try:
        shutil.copytree(aside, repo, dirs_exist_ok=True)
        made.own()
        yield repo
    finally:
        shutil.rmtree(aside)
        shutil.copytree(repo, aside)
        subprocess.run(["umount", str(repo)], check=True)
        repo.rmdir()
        aside.rename(repo)
        made.own()


def test_a_full_disk_loses_nothing(made):
    used = sum(p.stat().st_size for p in (made.folder / "repo1").rglob("*") if p.is_file()) >> 20
    with small_disk(made, used + 8) as repo:
        ballast = repo / "ballast"
        with ballast.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space left"):
            while True:
                out.write(bytes(4096))
        torture.generate(made, 10)
        until(lambda: torture.waiting(made) >= 5, 30, "segments wait for room")
        failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
        until(lambda: made.server.psql(failed)[0][0], 60, "the server notices that archiving fails")
        ballast.unlink()
        torture.drained(made)
    assert (torture.gaps(made, 1), torture.gaps(made, 2)) == ([], [])


def test_archivers_killed_at_random_leave_no_gap(made):
    before = len(made.segments(1))
    killer = torture.Killer(made, seed=1)
    killer.start()
    rounds = 0
    while rounds < 5 or not killer.killed:  # a quick machine archives all of five before the first one is hit
        torture.generate(made, 10)
        torture.keeps_up(made, 3)
        rounds += 1
        assert rounds < 50, "no archiver was ever hit"
    killer.over.set()
    killer.join()
    torture.drained(made)
    assert len(made.segments(1)) >= before + 50
    assert (torture.gaps(made, 1), torture.gaps(made, 2)) == ([], [])
    said = made.run("--repo=1", "--log-level-console=info", "verify")
    assert "invalid" not in said
