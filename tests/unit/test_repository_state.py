"""What each repository holds, by itself: a real pgBackRest, and its archive broken on purpose."""

import time

import pytest
from backups import repositories_of
from modules import module
from pgrescue.core.lint import findings


@pytest.fixture(scope="module")
def repositories():
    with repositories_of() as made:
        made.backup(1)
        made.backup(1, "incr")
        for _ in range(4):
            made.archive()
        yield made


@pytest.fixture(autouse=True)
def configured(repositories, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))
    monkeypatch.setenv("PGUSER", "postgres")


def seen(*numbers, **more):
    return module("repository_state")(stanza="test", repositories=list(numbers or (1, 2)), **more)["repositories"]


def found(**more):
    """What the linter says of the repositories alone."""
    facts = {"now_s": time.time() + 600, "repositories": seen(), **more}
    wanted = {"wal-gap", "no-backup", "repository-silent", "hold-forgotten", "unencrypted", "repository-unproven"}
    return [(one["id"], one["where"]) for one in findings({}, facts) if one["id"] in wanted]


def test_each_repository_is_told_apart(repositories):
    one, two = seen()
    assert [b["type"] for b in one["backups"]] == ["full", "incr"]
    assert (two["backups"], two["problem"], one["gaps"], one["holds"]) == ([], None, [], [])
    full = one["backups"][0]
    assert full["label"] == repositories.labels(1)[0]
    assert full["size_bytes"] > full["stored_bytes"] > 0
    assert full["stopped_s"] >= full["started_s"]
    assert one["newest_segment"] == repositories.segments(1)[-1].name[:24]
    identifier = repositories.server.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    assert one["system_identifier"] == identifier
    assert set(found()) == {
        ("no-backup", "repository 2"),
        ("repository-unproven", "repository 1"),
        ("unencrypted", "repository 1"),
        ("unencrypted", "repository 2"),
    }


def test_a_segment_that_is_missing_in_one_repository_is_found_there(repositories):
    stored = repositories.segments(1)
    gone, after = stored[-2], stored[-1]
    gone.rename(gone.with_suffix(".away"))
    try:
        one, two = seen()
        assert [(gap["after"], gap["until"]) for gap in one["gaps"]] == [(stored[-3].name[:24], after.name[:24])]
        assert two["gaps"] == []
        assert ("wal-gap", "repository 1") in found()
    finally:
        gone.with_suffix(".away").rename(gone)


def test_a_repository_that_is_gone_is_an_observation(repositories, monkeypatch, tmp_path):
    config = repositories.config.read_text().replace(f"repo2-path={repositories.folder}/repo2", "repo2-path=/dev/null")
    (tmp_path / "broken.conf").write_text(config)
    monkeypatch.setenv("PGBACKREST_CONFIG", str(tmp_path / "broken.conf"))
    one, two = seen()
    assert one["problem"] is None
    assert two["problem"]
    assert ("repository-silent", "repository 2") in found()
    assert seen(1, endpoints={"1": "127.0.0.1:1"})[0]["problem"].startswith("127.0.0.1:1")


def test_a_hold_and_a_proof_are_seen(repositories):
    hold = {"stanza": "test", "endpoints": {"1": ""}, "run": "run-1"}
    module("retention_hold")(**hold)
    label = repositories.labels(1)[0]
    repositories.run("--repo=1", f"--set={label}", "--annotation=pgrescue-proof=validated", "annotate")
    try:
        one = seen(1)[0]
        assert [held["run"] for held in one["holds"]] == ["run-1"]
        assert time.time() - one["holds"][0]["since_s"] < 60
        assert {b["label"]: b["proof"] for b in one["backups"]}[label] == "validated"
        assert ("repository-unproven", "repository 1") not in found()
        assert ("hold-forgotten", "repository 1") not in found()
        assert ("hold-forgotten", "repository 1") in found(now_s=time.time() + 90_000)
    finally:
        module("retention_hold")(**hold, state="absent")
    assert seen(1)[0]["holds"] == []
