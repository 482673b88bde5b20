"""The last good moment is found under load, on real servers; a restore to it has what one transaction later is gone."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
import typing_extensions
import yaml
from backups import flipped, repositories_of
from modules import HOUSE, as_user, collection, module, refused
from postgres import PostgresServer, until

CLIENTS = HOUSE / ".cache" / "clients"
NEWER = 17  # beside the installed one: the newest version whose pg_waldump the tests have
TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, amount int NOT NULL);
CREATE TABLE prices (id int PRIMARY KEY, cents int NOT NULL);
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY, worker int);
CREATE TABLE events (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
INSERT INTO orders SELECT g, g FROM generate_series(1, 500) g;
INSERT INTO prices SELECT g, 100 FROM generate_series(1, 500) g;
INSERT INTO customers SELECT g, 'c' FROM generate_series(1, 50) g;
INSERT INTO events SELECT g, g % 10 FROM generate_series(1, 100) g;
"""


def fill(server):
    server.psql(TABLES)
    server.psql("CREATE DATABASE sidecar")
    with psycopg.connect(server.dsn, dbname="sidecar", autocommit=True) as connection:
        connection.execute("CREATE TABLE things (id int); INSERT INTO things VALUES (1)")


class Load:
    """Clients that commit all the time, in every table that the damage is done to."""

    def __init__(self, server):
        self.server, self.over, self.committed = server, threading.Event(), [0, 0]
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(2)]

    def work(self, number):
        with self.server.connect() as connection:
            while not self.over.is_set():
                key = 10_000 + 10_000 * number + self.committed[number]
                connection.execute("INSERT INTO orders VALUES (%s, 1)", (key,))
                connection.execute("DELETE FROM orders WHERE id = %s", (key,))
                connection.execute("UPDATE prices SET cents = cents WHERE id = %s", (1 + key % 300,))
                connection.execute("INSERT INTO ledger (worker) VALUES (%s)", (number,))
                connection.execute("SELECT pg_sleep(0.02)")  # what a client does between two requests
                self.committed[number] += 1

    def goes_on(self, more=10):
        """Wait until every client has committed some more."""
        wanted = [n + more for n in self.committed]
        until(lambda: all(n >= w for n, w in zip(self.committed, wanted, strict=True)), 20, "the load goes on")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


DAMAGE = {
    "rows_gone": "DELETE FROM orders WHERE id BETWEEN 100 AND 199",
    "one_row_gone": "DELETE FROM orders WHERE id = 42",
    "bad_update": "UPDATE prices SET cents = 0 WHERE id > 300",
    "one_bad_update": "UPDATE prices SET cents = -1 WHERE id = 450",
    "truncated": "TRUNCATE events",
    "table_dropped": "DROP TABLE customers",
}


def do_damage(server):
    """Each damage in a transaction of its own, with clients at work before, meanwhile and afterwards; their numbers."""
    done = {}
    with Load(server) as load:
        load.goes_on()
        server.psql("SELECT pg_create_restore_point('before_the_clean_up')")
        for name, statement in DAMAGE.items():
            load.goes_on()
            with server.connect() as connection, connection.transaction():
                done[name] = connection.execute("SELECT txid_current()").fetchone()[0]
                connection.execute("INSERT INTO ledger (worker) VALUES (99)")
                with connection.transaction():  # in a subtransaction
                    connection.execute(statement)
                load.goes_on(1)
        server.psql("DROP DATABASE sidecar")
        load.goes_on()
    return done


class Scene:
    """A server whose tables were damaged, its backup and its WAL, and how it is searched."""

    endpoints: ClassVar = {"1": "", "2": ""}

    def __init__(self, server):
        self.server, self.found = server, {}
        self.root = server.folder / "moments"
        self.root.mkdir()
        self.place = str(self.root / "copy")
        self.programs = str(server.programs)
        self.at = {"place": self.place, "version": server.version}
        self.reached = {"version": server.version, "socket_directory": self.place + ".socket"}
        shutil.chown(self.root, server.user)

    def restore(self, **more):
        """Bring the oldest backup to the place; what it is."""
        catalog = module("backup_catalog")(stanza="test")["catalog"]
        answer = module("restore_backup")(
            **self.at,
            stanza="test",
            run="r",
            system_identifier=catalog["system_identifier"],
            candidates=catalog["candidates"][-1:],
            archive=False,
            apart=True,
            **{"type": "standby", **more},
        )
        assert not answer.get("failed"), answer
        return answer["backup"]

    def scratch(self, state, **settings):
        answer = module("scratch_server")(
            **self.at, run="r", state=state, programs=self.programs, settings={"shared_buffers": "16MB", **settings}
        )
        assert not answer.get("failed"), answer

    def prepare(self, **between):
        """Bring a copy and its WAL, and start it, as roles/moment does; the refusal if there is one."""
        self.scratch("absent")
        wal = module("read_wal")(
            **self.at, stanza="test", backup=self.restore(), programs=self.programs, endpoints=self.endpoints, **between
        )
        if wal.get("failed"):
            return wal
        self.scratch("started", **settings(self.place))
        answer = module("await_server")(**self.reached, place=self.place, until="following", deadline_s=60)
        assert not answer.get("failed"), answer
        self.scratch("offline", **settings(self.place))
        isolation = module("copy_isolation")(**self.reached)["checks"]
        assert [check for check in isolation if check["verdict"] != "passed"] == []
        return {}

    def ask(self, table, damage, **more):
        return module("find_moment")(
            **self.reached, place=self.place, table=table, damage=damage, deadline_s=120, **more
        )

    def searches(self, call):
        """What is answered by a call that runs as the server's user; nothing is left of the copy."""
        try:
            return as_user(self.server.user, call)
        finally:
            as_user(self.server.user, lambda: self.scratch("absent") or {})

    def search(self, table, damage, since=None, until=None, **more):
        """What is found, or how the search ended."""

        def call():
            answer, passes = {"between": []}, 0
            while "between" in answer and passes < 5:
                passes += 1
                answer = self.prepare(since=since, until=until) or self.ask(
                    table, damage, between=answer["between"], **more
                )
            return {**answer, "passes": passes}

        return self.searches(call)


def settings(place):
    """As roles/moment/defaults has them."""
    return {
        "restore_command": f"ln -f {place}.wal/feed/%f %p || cp {place}.wal/feed/%f %p",
        "max_standby_archive_delay": "-1",
        "recovery_min_apply_delay": "0",
        "wal_retrieve_retry_interval": "10ms",
        "recovery_target_timeline": "1",
    }


class PlainScene(Scene):
    """The same without pgBackRest, which may be too old for this version: a copy of the data, and a folder of WAL."""

    def __init__(self, server):
        super().__init__(server)
        self.archive, self.base = server.folder / "archive", server.folder / "base"
        self.archive.mkdir()
        shutil.chown(self.archive, server.user)

    def back_up(self):
        self.server.run("pg_basebackup", "-D", self.base, "-d", self.server.dsn, "-c", "fast", "-X", "none")
        (label,) = self.archive.glob("*.backup")
        stop = re.search(r"STOP WAL LOCATION: (\S+) \(file", label.read_text())[1]
        self.backup = {"label": "base", "wal_start": label.name[:24], "lsn_stop": stop, "segment_bytes": 1 << 24}

    def restore(self, **_):
        shutil.copytree(self.base, self.place)
        Path(self.place, "standby.signal").touch()
        Path(self.place + ".pgrescue.json").write_text('{"run": "r", "state": "restored"}')
        return self.backup

    def search(self, *asked, **more):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(collection("plugins.modules.read_wal"), "fetch", self.fetch)
            return super().search(*asked, **more)

    def fetch(self, _module, folder):
        """In the place of the module's own, which asks pgBackRest."""
        folder = Path(folder)
        folder.mkdir()
        names = sorted(
            p.name for p in self.archive.glob("0*") if len(p.name) == 24 and p.name >= self.backup["wal_start"]
        )
        for name in names:
            shutil.copy(self.archive / name, folder)
        return names, None


@pytest.fixture(scope="module", autouse=True)
def as_postgres():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", "postgres")
        yield patch


@pytest.fixture(scope="module")
def scene(as_postgres):
    """PostgreSQL as installed, with a real pgBackRest."""
    server = PostgresServer(settings={"track_commit_timestamp": "on"})
    with repositories_of(server) as made:
        as_postgres.setenv("PGBACKREST_CONFIG", str(made.config))
        fill(server)
        made.backup(1)
        found = Scene(server)
        found.made, found.damage = made, do_damage(server)
        made.archive()
        made.own()
        yield found


@pytest.fixture(scope="module")
def newer_scene():
    """A newer PostgreSQL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("postgres.FETCHED", CLIENTS)
        server = PostgresServer(version=NEWER)
    try:
        found = PlainScene(server)
        with (server.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_mode = on\narchive_command = 'cp %p {found.archive}/%f'\n")
        server.start()
        fill(server)
        found.back_up()
        found.damage = do_damage(server)
        server.psql("SELECT pg_switch_wal()")
        last = server.psql("SELECT pg_walfile_name(pg_current_wal_lsn() - 1)")[0][0]
        until((found.archive / last).exists, 20, "the last segment is archived")
        yield found
    finally:
        server.remove()


CASES = {
    "rows_gone": ("orders", "rows_gone", {}),
    "one_row_gone": ("public.orders", "rows_gone", {"condition": "id = 42"}),
    "bad_update": ("postgres.public.prices", "bad_update", {}),
    "one_bad_update": ("prices", "bad_update", {"condition": "id = 450"}),
    "truncated": ("events", "rows_gone", {"expect": "count(*) >= 100"}),
    "table_dropped": ("customers", "table_dropped", {}),
}


def found(scene, case):
    """What is found of a damage; searched for once."""
    if case not in scene.found:
        table, damage, more = CASES[case]
        answer = scene.search(table, damage, **more)
        assert not answer.get("failed"), answer
        scene.found[case] = answer["moment"]
    return scene.found[case]


@pytest.mark.parametrize("case", CASES)
def test_exactly_the_transaction_is_named(scene, case):
    moment = found(scene, case)
    assert moment["damaging"]["xid"] == scene.damage[case]
    # what else was seen of it: the transaction also wrote one row elsewhere
    assert moment["damaging"]["changes"]["public.ledger"]["inserted"] == 1
    assert list(Path(scene.root).iterdir()) == []


def test_a_table_whose_database_was_dropped_is_found(scene):
    answer = scene.search("things", "table_dropped")
    assert not answer.get("failed"), answer
    moment = answer["moment"]
    assert (moment["database"], moment["damaging"]["changed_definition"]) == ("sidecar", True)
    told = [one["answer"] for one in moment["answers"]]
    assert "true" in told
    assert told[-1] == "gone"


def counts(scene, question, **target):
    """What a restore to a target answers."""

    def call():
        scene.restore(**target)
        scene.scratch("started")
        answer = module("await_server")(**scene.reached, place=scene.place, until="writable", deadline_s=60)
        assert not answer.get("failed"), answer
        with psycopg.connect(host=scene.place + ".socket", dbname="postgres", user="postgres") as connection:
            return {"said": connection.execute(question).fetchone()}

    return scene.searches(call)["said"]


LEFT = {
    "rows_gone": ("count(*) FROM orders WHERE id BETWEEN 100 AND 199", 100, 0),
    "bad_update": ("count(*) FROM prices WHERE cents = 100", 500, 300),
    "table_dropped": ("count(*) FROM pg_class WHERE relname = 'customers'", 1, 0),
}


@pytest.mark.parametrize("case", LEFT)
def test_a_restore_to_the_target_has_what_one_transaction_later_is_gone(scene, case):
    moment = found(scene, case)
    target = moment["targets"][0]["recovery_target"]
    what, before, after = LEFT[case]
    asked = f"SELECT (SELECT {what}), (SELECT xid::text FROM pg_last_committed_xact())"
    at = {"type": target["type"], "target": target["value"]}
    # the server itself says which transaction was the last one before
    assert counts(scene, asked, **at, inclusive=False) == [before, str(moment["good"]["xid"])]
    assert counts(scene, asked, **at, inclusive=True) == [after, str(scene.damage[case])]


def test_what_is_kept_and_lost_adds_up_and_the_named_point_before_it_is_offered(scene):
    moment = found(scene, "rows_gone")
    just, named, end = moment["targets"]
    assert (named["name"], end["lost"]["transactions"]) == ("restore point before_the_clean_up", 0)
    total = end["kept"]["transactions"]
    assert all(t["kept"]["transactions"] + t["lost"]["transactions"] == total for t in moment["targets"])
    assert named["kept"]["transactions"] < just["kept"]["transactions"] < total == moment["searched"]["transactions"]
    assert just["lost"]["tables"]["public.orders"]["deleted"] >= 100
    assert just["lost"]["emptied"] == ["public.customers", "public.events_1"]
    assert just["lost"]["seconds"] > 0


@pytest.mark.parametrize("case", ["one_row_gone", "truncated"])
def test_a_search_that_is_narrowed_down_in_several_passes_finds_the_same(scene, case):
    table, damage, more = CASES[case]
    answer = scene.search(table, damage, limit=20, **more)
    assert answer["moment"]["damaging"]["xid"] == scene.damage[case]
    assert answer["passes"] > 1


@pytest.mark.parametrize("case", ["rows_gone", "one_bad_update", "truncated", "table_dropped"])
def test_a_newer_version_says_the_same(newer_scene, case):
    moment = found(newer_scene, case)
    assert moment["damaging"]["xid"] == newer_scene.damage[case]


REFUSED = [
    (
        "orders",
        {"expect": "count(*) > 1000000"},
        "already at the beginning of the search. Look earlier: say moment_since",
    ),
    ("nothing", {}, "is nowhere. Look earlier with moment_since"),
    ("orders", {"expect": "no_column = 1"}, "What is asked cannot be"),
    ("orders", {"expect": "count(*) >"}, "could not be asked: syntax error"),
    ("or ders", {}, "names no table"),
]


def test_what_cannot_be_asked_or_was_so_before_is_said_at_the_first_halt(scene):
    def call():
        failed = scene.prepare()
        assert not failed, failed
        return {"said": [scene.ask(table, "rows_gone", **more) for table, more, _words in REFUSED]}

    for (_table, _more, words), answer in zip(REFUSED, scene.searches(call)["said"], strict=True):
        assert refused(answer, 3, words, "Nothing was changed")


@pytest.mark.parametrize(
    ("table", "damage", "more", "words"),
    [
        ("orders", "rows_gone", {"expect": "count(*) > 0"}, "never came to be so in what was searched"),
        ("orders", "rows_gone", {"condition": "id = 7"}, "lost no row in what was searched"),
        ("prices", "bad_update", {"condition": "id = 999"}, "did not change in what was searched"),
        ("orders", "rows_gone", {"since": "2099-01-01T00:00:00Z"}, "No transaction committed in the time"),
    ],
)
def test_what_never_came_is_said(scene, table, damage, more, words):
    assert refused(scene.search(table, damage, **more), 3, words, "Nothing was changed")


def test_a_window_that_ends_before_the_damage_does_not_have_it(scene):
    early = found(scene, "rows_gone")["good"]["time"]
    assert refused(scene.search("customers", "table_dropped", until=early), 3, "never came to be so")


def test_wal_that_is_missing_in_the_archive_is_said(scene):
    for _ in range(2):
        scene.server.psql("INSERT INTO ledger (worker) VALUES (100)")
        scene.made.archive()
    gone = [scene.made.segments(n)[-2] for n in (1, 2)]
    after = scene.made.segments(1)[-1].name[:24]
    for path in gone:
        path.rename(path.with_suffix(".away"))
    try:
        answer = scene.search("orders", "rows_gone", expect="count(*) > 0")
        assert refused(answer, 3, "never came to be so", "WAL is missing", f"before {after}", "moment_since")
    finally:
        for path in gone:
            path.with_suffix(".away").rename(path)


def test_wal_with_a_wrong_byte_is_refused(scene):
    with flipped(scene.made.segments(1)[-1]), flipped(scene.made.segments(2)[-1]):
        assert refused(scene.search("orders", "rows_gone"), 5, "cannot be fetched")


@pytest.fixture
def plays(scene, tmp_path):
    """Runs the third and the fourth play of last_good_moment.yml for a plan that is made here; exit code and output."""
    run_dir, libraries = tmp_path / "runs/a-run", scene.root / "libraries"
    run_dir.mkdir(parents=True)
    (run_dir / "run.json").write_text(json.dumps({"inventory": "inventories/prod"}))
    libraries.mkdir()
    for source in (Path(psycopg.__file__).parent, Path(typing_extensions.__file__)):
        (shutil.copytree if source.is_dir() else shutil.copy)(source, libraries / source.name)
    # the server's user may not be able to read our Python: the system's, with the driver that needs nothing compiled
    python = libraries / "python"
    config = f"PGBACKREST_CONFIG={scene.made.config}"
    python.write_text(
        f'#!/bin/sh\nexec env {config} PYTHONPATH={libraries} PSYCOPG_IMPL=python /usr/bin/python3 "$@"\n'
    )
    python.chmod(0o755)
    catalog = module("backup_catalog")(stanza="test")["catalog"]
    where = {"region": "here", "address": "127.0.0.1", "root": str(scene.root)}
    seen = {"role": "spare", "ready": True}
    asked = {"run_dir": str(run_dir), "service": "test", "catalog": catalog, "postgres_version": scene.server.version}
    plan = module("plan_moment")(**asked, states={"localhost": seen}, hosts={"localhost": where})
    assert not plan.get("failed"), plan
    steps = yaml.safe_load((HOUSE / "playbooks/last_good_moment.yml").read_text())[2:4]
    for play in steps:
        play["hosts"] = "localhost"
    (tmp_path / "runbook.yml").write_text(yaml.safe_dump(steps))
    said = {
        "service_name": "test",
        "service": "test",
        "postgres_version": scene.server.version,
        "pgbackrest_endpoints": scene.endpoints,
        "objectives": {"phases": {"restore": 120}},
        "ansible_connection": "local",
        "ansible_become_method": "su",
        "ansible_python_interpreter": str(python),
    }
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": said}}}))

    def run(*more):
        command = [
            Path(sys.executable).parent / "ansible-playbook",
            tmp_path / "runbook.yml",
            "-i",
            tmp_path / "hosts.yml",
        ]
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
            "PGRESCUE_RUNS": str(tmp_path / "runs"),
        }
        done = subprocess.run(
            [*command, "-e", "run_id=a-run", *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    yield run, run_dir
    shutil.rmtree(libraries)


def test_the_runbook_goes_from_pass_to_pass_writes_down_what_it_found_and_leaves_nothing(scene, plays):
    run, run_dir = plays
    code, said = run(
        *("-e", "moment_table=orders", "-e", "moment_damage=rows_gone", "-e", '{"moment_condition": "id = 42"}')
    )
    assert code == 0, said
    moment = json.loads((run_dir / "moment.json").read_text())
    assert moment["damaging"]["xid"] == scene.damage["one_row_gone"]
    assert said.count("Search from transaction to transaction") > 1
    page = (run_dir / "moment.txt").read_text()
    assert f"-e partial_to={moment['damaging']['lsn']}\n" in page
    assert "1 before, 0 after" in page
    checks = json.loads((run_dir / "checks.json").read_text())
    assert {check["verdict"] for check in checks} == {"passed"}
    assert [path.name for path in scene.root.iterdir()] == ["libraries"]


def test_the_runbook_ends_with_the_refusals_exit_code_and_leaves_nothing(scene, plays):
    run, run_dir = plays
    code, said = run("-e", "moment_table=nothing", "-e", "moment_damage=rows_gone")
    assert code == 2, said
    timeline = [json.loads(line) for line in (run_dir / "timeline.jsonl").read_text().splitlines()]
    assert 3 in [event.get("exit_code") for event in timeline]
    assert not (run_dir / "moment.json").exists()
    assert [path.name for path in scene.root.iterdir()] == ["libraries"]
