"""What a proof decides and judges, and a copy that must stay alone, with a real pgBackRest and a real server."""

import ast
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from backups import Repositories, flip, repositories_of
from faults import caught
from modules import as_user, collection, module, refused
from postgres import PostgresServer, programs, until
from shops import VERSIONS

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


def failed(name, observed="x", tier="must"):
    return {"name": name, "tier": tier, "verdict": "failed", "expected": "y", "observed": observed}


@pytest.mark.parametrize(
    ("check", "disproves"),
    [
        (failed("every page can be read"), True),
        (failed("every table has the rows the census counted"), True),
        (failed("every grant is there"), True),
        (failed("replay ended at its target"), True),
        (failed("everything could be read", "shop of the copy: t: could not read block"), True),
        (failed("everything could be read", "shop of the original: t: permission denied"), False),
        (failed("every order has a customer"), False),  # what the business knows may be wrong itself
        (failed("all checks were made within 3600 s"), False),
        (failed("the archive gained nothing from the copy"), False),  # a failover in that moment
        (failed("the copy can connect to nothing"), False),
        (failed("text sorts by the same version of its collations"), False),  # this host's libraries
        (failed("every page can be read", tier="should"), False),
        ({**failed("every page can be read"), "verdict": "truncated"}, False),
    ],
)
def test_only_a_check_about_content_disproves_a_backup(check, disproves, tmp_path):
    sound = {"name": "every table is sound", "tier": "must", "verdict": "passed", "expected": "y", "observed": "x"}
    (tmp_path / "run").mkdir()
    checks = [sound, check]
    answer = module("record_validation")(run_dir=str(tmp_path / "run"), checks=checks)
    assert answer.get("disproves", False) == disproves


@pytest.mark.parametrize(
    ("said", "disproves"),
    [
        ("PANIC:  could not locate a valid checkpoint record", True),
        ("FATAL:  recovery ended before configured recovery target was reached", True),
        ("startup process (PID 5) was terminated by signal 11: Segmentation fault", True),
        ('FATAL:  could not write to file "base/1": No space left on device', False),
        ("startup process (PID 5) was terminated by signal 9: Killed", False),
        (
            "ERROR: [049]: unable to connect / FATAL:  recovery ended before configured recovery target was reached",
            False,
        ),
        ('FATAL:  invalid value for parameter "shared_buffers"', False),
    ],
)
def test_a_server_that_ends_speaks_of_the_backup_only_when_it_says_so(said, disproves):
    assert postgres.blames_content(said) == disproves


def test_a_server_that_cannot_go_on_disproves_and_one_without_room_does_not(monkeypatch):
    taking = collection("plugins.module_utils.census_taking")
    monkeypatch.setenv("PGUSER", "postgres")
    with PostgresServer() as server:
        at = {"version": VERSION, "port": server.port, "socket_directory": str(server.folder)}
        for error, disproves in (
            (psycopg.errors.DataCorrupted("invalid page in block 7"), True),
            (psycopg.OperationalError("server closed the connection unexpectedly"), True),
            (psycopg.errors.DiskFull("could not extend file: No space left on device"), False),
            (psycopg.errors.QueryCanceled("canceling statement due to statement timeout"), False),
        ):

            def ends(*_arguments, error=error):
                raise error

            monkeypatch.setattr(taking, "take_copy", ends)
            answer = module("prove_copy")(kind="physical", **at)
            assert refused(answer, 5, "could not be proven")
            assert answer.get("disproves", False) == disproves, error


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
        caught("nothing to compare with", checks)


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

    def prove(cut_off=True):
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
                *([("scratch_server", {**at, "run": "r", "state": "offline"})] if cut_off else []),
                ("copy_isolation", {**reached, "plan": {**plan, "recovery_target": {"type": "default"}}}),
            ):
                answer = module(name)(**arguments)
                assert not answer.get("failed"), answer
            return answer

        try:
            return as_user(server.user, call)["checks"]
        finally:
            as_user(server.user, lambda: module("scratch_server")(**at, run="r", state="absent"))

    try:
        yield made, prove
    finally:
        server.remove()


def test_a_copy_runs_no_command_of_the_backup_and_replays_all_of_its_own_repository(recovered):
    made, prove = recovered
    assert {check["verdict"] for check in prove()} == {"passed"}
    caught("copy with a way out", prove(cut_off=False))
    assert not (made.server.folder / "was_run").exists()
    path = made.segments(1)[-2]
    flip(path)  # repository 2 still has it whole
    failed = [check["name"] for check in prove() if check["verdict"] == "failed"]
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


@pytest.fixture
def empty(monkeypatch):
    """An empty server for a dump, made by the module; a call of a module as the user that owns it, and where it is."""
    monkeypatch.setenv("PGUSER", "postgres")
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = tempfile.mkdtemp(prefix="pgrescue-test-")
    shutil.chown(folder, user)
    place = f"{folder}/copy"
    at = {"place": place, "run": "r", "version": VERSION, "settings": {"shared_buffers": "16MB"}}
    here = {"version": VERSION, "socket_directory": place + ".socket"}

    def call(name, **arguments):
        answer = as_user(user, lambda: module(name)(**arguments))
        assert not answer.get("failed"), answer
        return answer

    assert call("scratch_server", **at, state="created")["changed"]
    try:
        yield call, at, here
    finally:
        call("scratch_server", **at, state="absent")
        shutil.rmtree(folder)


def test_an_empty_server_is_cut_off_from_the_beginning(empty):
    call, at, here = empty
    checks = call("copy_isolation", **here)["checks"]
    assert len(checks) == 5
    assert {check["name"]: check["observed"] for check in checks if check["verdict"] != "passed"} == {}
    assert call("scratch_server", **at, state="offline")["changed"]
    assert {check["verdict"] for check in call("copy_isolation", **here)["checks"]} == {"passed"}


def test_one_that_is_kept_starts_as_any_other_and_is_never_removed(empty):
    call, at, _here = empty
    place = Path(at["place"])

    def keep(token):
        settings = {"archive_command": "", "port": "6543"}
        asked = {**at, "settings": settings, "state": "released", "token": token}
        return as_user(place.owner(), lambda: module("scratch_server")(**asked))

    first = call("scratch_server", **at, state="created")["token"]
    with psycopg.connect(f"host={place}.socket user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE TABLE half_loaded ()")
    made = call("scratch_server", **at, state="created")  # gone on with after a kill
    assert made["changed"] and made["token"] != first
    with psycopg.connect(f"host={place}.socket user=postgres dbname=postgres") as connection:
        assert connection.execute("SELECT to_regclass('half_loaded')").fetchone() == (None,)
    assert refused(keep(first), 4, "Another server was made")  # by the controller that was thought dead
    assert not call("scratch_server", **at, state="absent", token=first)["changed"]  # nor does that one remove it
    note = {"dump": "20261124T012050Z", "checks": []}
    assert call("scratch_server", **at, state="loaded", token=made["token"], note=note)["changed"]
    found = call("scratch_server", **at, state="created")  # gone on with after it was loaded
    assert (found["changed"], found["loaded"], found["token"], found["note"]) == (False, True, made["token"], note)
    assert call("scratch_server", **at, state="released", token="", check=True)["changed"]
    assert postgres.is_alive(str(place))

    os.kill(int((place / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    until(lambda: not postgres.is_alive(str(place)), 20, "it is dead")
    assert refused(keep(made["token"]), 5, "did not end well (in production)")

    assert keep(call("scratch_server", **at, state="created")["token"])["released"]
    beside = [place.name, place.name + ".pgrescue.json", place.name + ".pgrescue.lock"]
    assert sorted(p.name for p in place.parent.iterdir()) == beside
    assert not (place / "postmaster.opts").exists()
    assert "port = '6543'" in (place / "postgresql.auto.conf").read_text()
    assert (call("scratch_server", **at, state="created")["changed"], keep("")["released"]) == (False, True)
    assert keep("")["note"] == {}
    for state in ("absent", "offline", "started"):
        asked = {**at, "state": state}
        answer = as_user(place.owner(), lambda asked=asked: module("scratch_server")(**asked))
        assert refused(answer, 4, "in use since")
    assert (place / "PG_VERSION").exists()
    place.with_name(place.name + ".pgrescue.json").write_text('{"run": "r", "state": "created"}')  # so that it can go


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_was_not_cut_off_is_told_from_one_that_was(version, monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    offline, ways_out = (collection(f"plugins.module_utils.{name}") for name in ("offline", "ways_out"))
    with PostgresServer(version=version) as server:
        server.psql(
            "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE division_by_zero; END'"
        )
        server.psql("ALTER SYSTEM SET listen_addresses = ''")  # from its next start
        server.psql("CREATE EVENT TRIGGER no_more ON ddl_command_start EXECUTE FUNCTION forbid()")
        local = f"host={server.folder} port={server.port} dbname=postgres user=postgres"

        def open_ways():
            with psycopg.connect(local, autocommit=True) as connection:
                return ways_out.found(connection)

        assert open_ways() == ["it connected to an address", "it connected to another server's socket"]
        server.stop()
        offline.call(server.start)
        until(lambda: collection("plugins.module_utils.postgres").is_ready(str(server.data)), 20, "it is ready")
        assert open_ways() == []
        with psycopg.connect(local, autocommit=True) as connection:
            assert connection.execute("SELECT count(*) FROM pg_subscription").fetchone() == (0,)


def test_what_cannot_be_tried_is_not_taken_for_cut_off(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    ways_out = collection("plugins.module_utils.ways_out")
    with PostgresServer() as server, server.standby_of() as standby, standby.start().connect() as connection:
        assert ["it could not be tried" in said for said in ways_out.found(connection)] == [True, True]


def test_a_copy_that_still_replays_is_not_cut_off(tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/recovery.signal").touch()
    (tmp_path / "copy.pgrescue.json").write_text('{"run": "r"}')
    asked = {"place": str(tmp_path / "copy"), "run": "r", "state": "offline", "version": VERSION}
    assert refused(module("scratch_server")(**asked), 3, "still replays", "Nothing was changed")
    assert module("scratch_server")(check=True, **asked)["changed"]


def test_nothing_is_started_where_it_cannot_be_cut_off(monkeypatch):
    offline = collection("plugins.module_utils.offline")
    started = []
    monkeypatch.setattr(offline, "LIBRARY", "libnowhere.so")
    with pytest.raises(Stop, match=r"cannot be cut off.*Nothing was started"):
        offline.call(lambda: started.append(True))
    monkeypatch.undo()
    monkeypatch.setattr(offline, "REFUSED", (("no_such_call", 1, None),))
    with pytest.raises(Stop, match=r"cannot be cut off.*Nothing was started"):
        offline.call(lambda: started.append(True))
    assert started == []


def test_only_what_is_started_offline_is_offline():
    offline = collection("plugins.module_utils.offline")
    program = """
import socket, sys
def tried(family, address):
    try:
        socket.socket(family).connect(address)
    except OSError as error:
        return error.strerror
ways = (socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_INET6, ("::1", 1)), (socket.AF_UNIX, sys.argv[2])
print([tried(*way) for way in ways])
"""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as neighbour,
    ):
        neighbour.bind(f"{folder}/socket")
        neighbour.listen()
        asked = [sys.executable, "-c", program, str(listener.getsockname()[1]), f"{folder}/socket"]

        def ran():
            return ast.literal_eval(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

        family = "Address family not supported by protocol"
        assert offline.call(ran) == [family, family, "Network is unreachable"]
        assert (ran()[0], ran()[2]) == (None, None)
