"""An old primary that comes back does not start; on real servers and a real repository."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from backups import left_by_its_primary, repositories_of
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import collection, module
from postgres import PostgresServer, free_port, programs, until

HOUSE = Path(__file__).parents[2]
VERSION = int(programs().parent.name)
TASKS = HOUSE / "roles/postgres/tasks/guard_start.yml"

guard = collection("plugins.module_utils.start_guard")


def host(name, **said):
    return guard.Heard(name, guard.HOST, **{"answered": True, **said})


def store(number, **said):
    return guard.Heard(f"repository {number}", guard.REPOSITORY, **{"answered": True, **said})


SILENT = {"answered": False}


@pytest.mark.parametrize(
    ("heard", "start"),
    [
        ([host("db2", timeline=2), store(1, timeline=1), store(2, timeline=1)], False),  # a standby of a new primary
        ([host("db2", timeline=1, primary=True), store(1, timeline=1)], False),
        ([host("db2", **SILENT), store(1, timeline=2), store(2, **SILENT)], False),
        ([host("db2", succeeded=True), store(1, timeline=1), store(2, timeline=1)], False),  # made for a dump, perhaps
        ([host("db2", **SILENT), store(1, timeline=1, succeeded=True), store(2, timeline=1)], False),
        ([host("db2", timeline=1), store(1, **SILENT)], True),
        ([host("db2", **SILENT), store(1, timeline=1), store(2, timeline=1)], True),
        ([host("db2", **SILENT), store(1, timeline=1), store(2, **SILENT)], None),  # its own side of a cut
        ([host("db2"), host("db3"), store(1, **SILENT)], None),  # hosts that boot after a power cut know nothing yet
        ([host("db2"), host("db3"), store(1, timeline=1), store(2, **SILENT)], True),
        ([host("db2", **SILENT)], None),
        ([], True),
    ],
)
def test_it_starts_only_where_a_newer_primary_would_have_been_heard_of(heard, start):
    unsure = start is None
    assert guard.decide(1, heard, "refuse").start == bool(start)
    assert guard.decide(1, heard, "start").start == (start is not False)
    assert guard.decide(1, heard, "refuse").sure != unsure


kinds = st.sampled_from([guard.HOST, guard.REPOSITORY])
voices = st.builds(
    guard.Heard,
    st.just("x"),
    kinds,
    st.booleans(),
    st.one_of(st.none(), st.integers(1, 5)),
    st.booleans(),
    st.just(""),
    st.booleans(),
)


@settings(deadline=None)
@given(st.integers(1, 5), st.lists(voices, max_size=6), st.sampled_from(["refuse", "start"]))
def test_it_never_starts_below_a_newer_timeline_and_never_alone_by_silence(own, heard, unsure):
    verdict = guard.decide(own, heard, unsure)
    if any(one.answered and ((one.timeline or 0) > own or one.succeeded) for one in heard):
        assert not verdict.start
    if heard and not any(one.answered for one in heard):
        assert verdict.start == (unsure == "start")


# -- the program -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failed_over():
    """A repository, the old primary on timeline 1, and the new one on timeline 2, whose history file is archived."""
    with repositories_of() as made, left_by_its_primary(made) as new:
        yield made, made.server, new


@pytest.fixture
def ask(failed_over):
    """Run the installed program for the old primary; what it said, and whether it let it start."""
    return installed(*failed_over[:2])


def installed(made, old):
    """The program beside the repositories of a server."""
    core = made.folder / "guard/pgrescue_core"
    core.mkdir(parents=True, exist_ok=True)
    names = next(t["vars"]["postgres_core"] for t in yaml.safe_load(TASKS.read_text()) if "vars" in t)
    for name in names:
        shutil.copy(HOUSE / f"plugins/module_utils/{name}", core)
    program = shutil.copy(HOUSE / "roles/postgres/files/pgrescue_may_start.py", core.parent)

    def run(hosts, repositories=("", ""), **more):
        wanted = {
            "version": VERSION, "data_directory": str(old.data), "stanza": "test", "repositories": list(repositories),
            "hosts": hosts, "unsure": "refuse", "wait_s": 0, "anyway": str(made.folder / "anyway"), **more,
        }  # fmt: skip
        (made.folder / "guard.json").write_text(json.dumps(wanted))
        env = {"PATH": "/usr/sbin:/usr/bin:/bin", "PGBACKREST_CONFIG": str(made.config)}
        command = [*made.own(), "/usr/bin/python3", str(program), str(made.folder / "guard.json")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr, done.returncode == 0

    return run


def reach(server):
    return {"host": "127.0.0.1", "port": str(server.port), "user": "postgres", "sslmode": "disable"}


def nobody():
    return {"host": "127.0.0.1", "port": str(free_port()), "user": "postgres"}


def test_an_old_primary_that_comes_back_does_not_start(failed_over, ask):
    _, old, new = failed_over
    dead = ("127.0.0.1:1", "127.0.0.1:1")  # stores that do not answer
    # before anybody was promoted
    said, may = ask({"db2": reach(new)})
    assert may, said
    said, may = ask({"db2": reach(new)}, dead)
    assert may, said
    assert not ask({"db2": nobody()}, dead)[1]  # a host that is up and knows nothing
    said, may = ask({"db2": nobody()}, ("", "127.0.0.1:1"))
    assert may, said
    new.psql("SELECT pg_promote()")
    said, may = ask({"db2": reach(new)}, dead)
    assert not may
    assert "db2 is on timeline 2" in said
    assert "rejoin.yml" in said
    # the new primary cannot be reached, and has archived no segment yet, only the history file
    until(lambda: "00000002.history" in archived(failed_over), 20, "the history file is archived")
    said, may = ask({"db2": nobody()})
    assert not may
    assert "repository 1 is on timeline 2" in said
    said, may = ask({"db2": nobody()}, ("", "127.0.0.1:1"))
    assert not may, said
    # nobody at all
    for unsure, starts in (("refuse", False), ("start", True)):
        said, may = ask({"db2": {**nobody(), "hostaddr": "192.0.2.1"}}, dead, unsure=unsure)
        assert may == starts, said
    assert "start-anyway" in ask({"db2": {**nobody(), "hostaddr": "192.0.2.1"}}, dead)[0]
    # a person's word counts where nothing is known, and not against what is
    anyway = failed_over[0].folder / "anyway"
    anyway.touch()
    assert ask({"db2": {**nobody(), "hostaddr": "192.0.2.1"}}, dead)[1]
    assert not ask({"db2": reach(new)}, dead)[1]
    anyway.unlink()
    # as a standby it may
    for name in ("standby.signal", "recovery.signal"):
        (old.data / name).touch()
        assert ask({"db2": reach(new)})[1]
        (old.data / name).unlink()
    note = Path(f"{old.data}.rewinding.json")
    note.write_text("{}")
    assert "pg_rewind did not come to its end" in ask({"db2": reach(new)})[0]
    note.unlink()


def archived(failed_over):
    return [path.name for path in (failed_over[0].folder / "repo1/archive/test").rglob("*.history")]


def test_the_new_primary_starts_again_right_after_its_promotion(failed_over, ask):
    """Before its first checkpoint its control file names the old timeline."""
    _, _, new = failed_over
    if new.psql("SELECT pg_is_in_recovery()")[0][0]:
        new.psql("SELECT pg_promote()")
    new.kill9()
    said, may = ask({"db1": nobody()}, data_directory=str(new.data))
    assert may, said
    assert "timeline 2" in said
    new.start()


def test_a_host_that_answers_nothing_useful_is_no_voice(ask):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1])
        stranger = {"host": "127.0.0.1", "port": port, "user": "postgres"}
        said, may = ask({"db2": stranger}, ("127.0.0.1:1",))
    assert not may
    assert "db2:" in said


def test_another_database_in_its_place_wants_a_person(ask):
    with PostgresServer() as other:
        said, may = ask({"db2": reach(other)}, ("127.0.0.1:1",))
        assert not may
        assert "is a primary of another database system" in said


def test_systemd_understands_what_is_laid_down(tmp_path):
    lays_down = next(t["vars"] for t in yaml.safe_load(TASKS.read_text()) if "vars" in t)
    (unit,) = [one["text"] for one in lays_down["postgres_guard"] if one["path"].startswith("/etc/systemd/")]
    text = unit.replace("{{ service_name }}", "shop").replace(
        "{{ postgres_guard_program }}", lays_down["postgres_guard_program"]
    )
    folder = tmp_path / "postgresql@17-main.service.d"
    folder.mkdir()
    (folder / "pgrescue-start.conf").write_text(text)
    unit = "[Service]\nType=forking\nExecStart=/bin/true\n"
    (tmp_path / "postgresql@.service").write_text(unit)
    env = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    command = ["systemd-analyze", "verify", "postgresql@17-main.service"]
    checked = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "pgrescue" not in checked.stderr, checked.stderr


def test_an_old_primary_does_not_start_beside_a_cluster_that_was_made_for_a_dump(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with repositories_of() as made, PostgresServer(settings={"archive_mode": "on"}) as other:
        ask = installed(made, made.server)
        said, may = ask({"db9": nobody()})
        assert may, said
        said, may = ask({"db9": reach(other)})  # the repositories do not know yet
        assert not may
        assert "db9 is a primary of another database system" in said
        made.archive_of(other)
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config_of(other)))
        made.own()
        at = {"version": VERSION, "port": other.port, "socket_directory": str(other.folder)}
        assert module("stanza")(stanza="test", adopt=True, **at)["changed"]
        made.own()
        said, may = ask({"db9": nobody()})
        assert not may
        assert "repository 1 goes on with another database system" in said
        anyway = made.folder / "anyway"
        anyway.touch()  # a person's word
        said, may = ask({"db9": nobody()})
        assert may, said
        anyway.unlink()
        said, may = ask({"db1": nobody()}, data_directory=str(other.data))
        assert may, said
