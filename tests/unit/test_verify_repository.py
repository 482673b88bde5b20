"""Every wrong byte in a repository is found by a named check, with a real pgBackRest."""

import pytest
from backups import flipped, repositories_of
from faults import caught
from modules import collection, module

LISTS = ["backup.info", "backup.info.copy", "archive.info", "archive.info.copy"]


@pytest.fixture(scope="module")
def repositories():
    with repositories_of() as made:
        made.server.psql(
            "CREATE TABLE things AS SELECT g AS id, repeat(md5(g::text), 20) AS t FROM generate_series(1, 9000) g"
        )
        made.backup(1)
        made.server.psql("INSERT INTO things VALUES (0, 'after the backup')")
        made.backup(1, "incr")
        made.archive()
        yield made


@pytest.fixture(autouse=True)
def configured(repositories, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))


def verify(**more):
    return module("verify_repository")(**{"stanza": "test", "endpoints": {"1": ""}, "timeout_s": 5, **more})["checks"]


def stored(repositories):
    """Every file of the repository that a recovery reads."""
    files = [p for p in (repositories.folder / "repo1").rglob("*") if p.is_file()]
    return [p for p in files if "backup.history" not in p.parts and p.suffix != ".backup"]


def test_a_whole_repository_passes(repositories):
    checks = verify()
    assert [c["name"] for c in checks if c["verdict"] == "failed"] == []
    assert len(checks) == 6


def test_a_wrong_byte_in_any_kind_of_file_is_found(repositories):
    found = stored(repositories)
    lists = [p for p in found if p.name in LISTS or p.name.startswith("backup.manifest")]
    data = [p for p in found if "pg_data" in p.parts][:: max(1, len(found) // 6)]
    assert len(lists) == 8
    for path in [*lists, *data]:
        kind = "byte flipped in a list of the engine" if path in lists else "byte flipped in a backed-up file"
        with flipped(path):
            caught(kind, verify())


def test_a_wrong_byte_in_wal_is_found(repositories):
    with flipped(repositories.segments(1)[1]):
        caught("byte flipped in archived WAL", verify())


def test_a_missing_segment_is_found(repositories):
    path = repositories.segments(1)[-2]
    away = path.rename(path.parent.parent / "away")
    try:
        failed = [c for c in verify() if c["verdict"] == "failed"]
        assert failed[-1]["name"] == "WAL in repository 1 has no gap"
        caught("missing WAL segment", failed[-1:])
    finally:
        away.rename(path)


def test_a_gap_between_two_backups_is_found():
    judge = collection("plugins.module_utils.repository_checks").judge_wal
    segment = "0000000100000000000000{:02X}".format
    backups = [
        {
            "label": label,
            "stopped": label,
            "wal_start": segment(first),
            "wal_stop": segment(first + 1),
            "segment_bytes": 1 << 24,
        }
        for label, first in (("older", 1), ("newer", 8))
    ]
    assert judge(1, backups, map(segment, range(1, 11)))[0]["verdict"] == "passed"
    found = judge(1, backups, [segment(n) for n in range(1, 11) if n != 4])[0]
    assert found["verdict"] == "failed"
    assert segment(3) in found["observed"]


def test_a_silent_store_is_a_failed_check_and_not_an_error(repositories):
    caught("store that does not answer", verify(endpoints={"1": "127.0.0.1:1"}))


def test_no_backup_is_a_failed_check():
    judge = collection("plugins.module_utils.repository_checks").judge_wal
    caught("no backup", judge(1, [], []))


def test_a_backup_of_an_unusual_size_is_pointed_out():
    judge = collection("plugins.module_utils.repository_checks").judge_size
    fulls = [{"type": "full", "stopped": f"2026-11-{day:02}T02:00:00Z", "size_bytes": 1000} for day in (1, 2, 3)]
    assert judge(1, fulls[:2]) == []
    assert judge(1, fulls)[0]["verdict"] == "passed"
    fulls[-1]["size_bytes"] = 600
    assert (judge(1, fulls)[0]["verdict"], judge(1, fulls)[0]["tier"]) == ("failed", "should")
