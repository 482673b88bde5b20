"""What a proof decides and judges, and a copy that must stay alone, with a real pgBackRest and a real server."""

import shutil
import signal
import subprocess

import pytest
from backups import Repositories, flip, repositories_of
from faults import caught
from modules import as_user, collection, module, refused
from postgres import PostgresServer, programs

VERSION = int(programs().parent.name)
proofs = collection("plugins.module_utils.proofs")
postgres = collection("plugins.module_utils.postgres")
Stop = collection("plugins.module_utils.guards").Stop


def offered(label, last):
    names = {"wal_stop": f"{last:024X}", "reaches": f"{last + 1:024X}"}
    return {"label": label, "repo": 1, "segment_bytes": 1 << 24, **names}


def test_the_newest_backup_that_can_be_recovered_to_the_census_is_proven():
    both = [offered("newer", (1 << 64) + 9), offered("older", (1 << 64) + 3)]
    assert proofs.choose(both, "newest", 1, 0, "0/A000060")[0]["label"] == "newer"
    assert proofs.choose(both, "newest", 1, 0, "0/9000060")[0]["label"] == "older"
    with pytest.raises(Stop, match="No backup was complete"):
        proofs.choose(both, "newest", 1, 0, "0/3000060")


def test_a_process_number_that_another_server_has_now_is_not_taken_for_ours(tmp_path):
    with PostgresServer() as server:
        assert postgres.is_alive(str(server.data))
        shutil.copy(server.data / "postmaster.pid", tmp_path)  # as a reboot leaves it
        assert not postgres.is_alive(str(tmp_path))


def test_settings_of_a_role_or_a_database_fail_no_proof(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with PostgresServer() as server:
        server.psql("CREATE TABLE t AS SELECT generate_series(1, 300000) AS i")
        server.psql("ALTER ROLE postgres SET statement_timeout = '5ms'")
        server.psql("ALTER DATABASE postgres SET default_transaction_read_only = on")
        at = {"version": VERSION, "port": server.port, "socket_directory": str(server.folder)}
        checks = module("prove_copy")(kind="physical", **at)["checks"]
        assert {c["name"]: c["observed"] for c in checks if c["verdict"] != "passed"} == {}


def test_a_database_that_does_not_answer_is_a_failed_check_also_when_it_is_the_only_one():
    proof = collection("plugins.module_utils.copy_checks").Proof()
    with pytest.raises(OSError), proof.timed("every database answers"):
        raise OSError
    assert proof.checks("every database answers")[0]["verdict"] == "passed"  # which has no problem noted here


@pytest.mark.parametrize("held_by", ["copy.pgrescue.lock", "copy.dump/shop.lock"])
def test_evicting_ends_a_restore_that_is_under_way(tmp_path, held_by):
    place, lock = tmp_path / "copy", tmp_path / held_by
    place.mkdir()
    (tmp_path / "copy.dump/shop").mkdir(parents=True)
    (tmp_path / "copy.dump/shop/1.dat").touch()
    (tmp_path / "copy.pgrescue.json").write_text('{"run": "proof", "state": "restoring"}')
    lock.touch()
    with lock.open() as held:
        engine = subprocess.Popen(["sleep", "60"], pass_fds=[held.fileno()])
    scratch = {"place": str(place), "run": "recovery", "state": "absent", "version": VERSION}
    assert refused(module("scratch_server")(**scratch), 4, "belongs to run proof")
    assert engine.poll() is None
    assert module("scratch_server")(**scratch, evict=True)["changed"]
    assert engine.wait(5) == -signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def recovered(monkeypatch):
    """Restore the backup of repository 1 as prove.yml does without a standby; what the isolation checks say."""
    monkeypatch.setenv("PGUSER", "postgres")
    server = PostgresServer()
    made = Repositories(server)
    monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
    server.psql(f"ALTER SYSTEM SET recovery_end_command = 'touch {server.folder}/was_run'")
    server.psql("CREATE TABLE t (i int)")
    made.backup(1)
    for _ in range(3):
        server.psql("INSERT INTO t VALUES (1)")
        made.archive()
    root = server.folder / "proofs"
    root.mkdir()
    made.own()
    shutil.chown(root, server.user)
    place = str(root / "copy")
    at = {"place": place, "version": VERSION}
    reached = {"version": VERSION, "socket_directory": place + ".socket"}

    def prove():
        catalog = module("backup_catalog")(stanza="test")["catalog"]
        plan = {"system_identifier": catalog["system_identifier"], "candidates": catalog["candidates"]}

        def call():
            for name, arguments in (
                (
                    "restore_backup",
                    {**at, **plan, "stanza": "test", "run": "r", "archive": False, "apart": True, "alone": True},
                ),
                ("scratch_server", {**at, "run": "r", "state": "started", "settings": {"shared_buffers": "16MB"}}),
                ("await_server", {**reached, "place": place, "until": "writable", "deadline_s": 60}),
                ("copy_isolation", {**reached, "plan": {**plan, "recovery_target": {"type": "default"}}}),
            ):
                answer = module(name)(**arguments)
                assert not answer.get("failed"), answer
            return answer

        try:
            return {c["name"]: c["verdict"] for c in as_user(server.user, call)["checks"]}
        finally:
            as_user(server.user, lambda: module("scratch_server")(**at, run="r", state="absent"))

    try:
        yield made, prove
    finally:
        server.remove()


def test_a_copy_runs_no_command_of_the_backup_and_replays_all_of_its_own_repository(recovered):
    made, prove = recovered
    assert set(prove().values()) == {"passed"}
    assert not (made.server.folder / "was_run").exists()
    path = made.segments(1)[-2]
    flip(path)  # repository 2 still has it whole
    failed = [name for name, verdict in prove().items() if verdict == "failed"]
    assert failed == ["replay ended at its target"]


def test_an_archive_that_is_not_known_passes_no_check(monkeypatch, tmp_path):
    down = "127.0.0.1:1"
    with repositories_of() as made:
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        monkeypatch.setenv("PGUSER", "postgres")
        made.archive()

        def gain(one="", two="", **more):
            return module("archive_gain")(stanza="test", endpoints={"1": one, "2": two}, **more)

        before = {"before": gain()["listing"], "timeline": 1}
        assert before["before"] == {"1": ["timeline 1"], "2": ["timeline 1"]}
        assert [c["verdict"] for c in gain(**before)["checks"]] == ["passed", "passed"]
        caught("one archive not known afterwards", gain(two=down, **before)["checks"])
        none = gain(one=down, two=down, **before)
        assert none["checks"][0]["observed"].startswith("not known")
        assert sorted(none["silent_repositories"]) == ["1", "2"]
        caught("archive not known afterwards", none["checks"][:1])
        assert {c["tier"] for c in none["checks"] if c["verdict"] == "failed"} == {"must", "should"}
        assert gain(one=down, before={"1": ["timeline 1"]}, timeline=1)["checks"][0]["verdict"] == "failed"
        assert refused(gain(one=down, two=down), 3, "No archive can be listed")
        (next((made.folder / "repo1/archive/test").glob("*-1")) / "00000002.history").touch()
        caught("archive gained a timeline", gain(two=down, **{**before, "before": {"1": ["timeline 1"]}})["checks"])
        # an engine that cannot read a repository knows nothing of it either
        broken = made.config.read_text().replace(f"repo1-path={made.folder}/repo1", "repo1-path=/dev/null")
        (tmp_path / "broken.conf").write_text(broken.replace(f"repo2-path={made.folder}/repo2", "repo2-path=/dev/null"))
        monkeypatch.setenv("PGBACKREST_CONFIG", str(tmp_path / "broken.conf"))
        assert gain(**before)["checks"][0]["verdict"] == "failed"
