"""A restore pauses before the damage, can be looked at and moved on, and is promoted only where somebody approved."""

import json
import shutil

import pytest
from backups import repositories_of
from modules import as_user, collection, module, refused
from postgres import PostgresServer, free_port, until

targets = collection("plugins.module_utils.recovery_targets")


def copied(source, place, user):
    """A copy of a data directory, the user's own."""
    shutil.copytree(source, place)
    for path in (place, *place.rglob("*")):
        shutil.chown(path, user, user)


class Engine:
    """Backups by pgBackRest, whose version in Debian 12 knows servers up to 15."""

    version = 15

    def __init__(self, server):
        self.made = repositories_of(server)
        self.repositories = self.made.__enter__()
        self.config = str(self.repositories.config)
        self.archive = self.repositories.archive

    def backup(self):
        self.repositories.backup(1)

    def restore(self, copy, target):
        catalog = module("backup_catalog")(stanza="test")["catalog"]
        fits, _ = targets.fitting(catalog["candidates"], target, None)
        self.repositories.own()
        answer = as_user(
            copy.user,
            lambda: module("restore_backup")(
                stanza="test", place=str(copy.data), run="run-1", candidates=fits, version=copy.version,
                system_identifier=catalog["system_identifier"], timeline=catalog["timeline"], type=target["type"],
                target=target["value"], inclusive=target["inclusive"], action="pause",
                recovery_options={"archive_command": ""},
            ),
        )  # fmt: skip
        assert answer.get("changed"), answer

    def remove(self):
        self.made.__exit__(None, None, None)


class Files:
    """A copy of the files and an archive that is a folder, for a newer server; the same settings of the target."""

    version, config = 17, "/dev/null"

    def __init__(self, server):
        self.server, self.folder = server, server.folder / "archive"
        self.folder.mkdir()
        shutil.chown(self.folder, server.user, server.user)
        with (server.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"archive_mode = 'on'\narchive_command = 'cp %p {self.folder}/%f'\n")
        server.start()

    def backup(self):
        self.server.stop()
        copied(self.server.data, self.server.folder / "base", self.server.user)
        self.server.start()

    def archive(self):
        self.server.psql("SELECT pg_switch_wal()")
        until(
            lambda: self.server.psql(
                "SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) FROM pg_stat_archiver"
            )[0][0],
            20,
            "the archive has it",
        )

    def restore(self, copy, target):
        copied(self.server.folder / "base", copy.data, copy.user)
        signal = copy.data / "recovery.signal"
        signal.touch()
        shutil.chown(signal, copy.user, copy.user)
        values = {**targets.settings(target), "archive_command": "", "restore_command": f"cp {self.folder}/%f %p"}
        with (copy.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in values.items() if value is not None)

    def remove(self):
        self.server.remove()


class Damaged:
    """A server whose rows were deleted by mistake after 50 good ones, and what names the instant before."""

    def __init__(self, engine):
        self.server = server = PostgresServer(version=engine.version)
        self.engine = engine(server)
        server.psql("CREATE TABLE things (id int, at timestamptz DEFAULT clock_timestamp())")
        self.engine.backup()
        server.psql("INSERT INTO things SELECT generate_series(1, 50)")
        server.psql("SELECT pg_create_restore_point('before_it')")
        ((self.lsn,),) = server.psql("SELECT pg_current_wal_insert_lsn()::text")
        ((self.time,),) = server.psql(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        )
        deleted = server.psql("DELETE FROM things WHERE id > 7 RETURNING pg_current_xact_id()::text")
        self.xid = deleted[0][0]
        server.psql("INSERT INTO things VALUES (100)")
        ((self.later,),) = server.psql("SELECT pg_current_wal_insert_lsn()::text")
        server.psql("INSERT INTO things VALUES (101)")
        self.engine.archive()

    def target(self, kind):
        return {
            "time": f"time:{self.time}",
            "lsn": f"lsn:{self.lsn}",
            "xid": f"xid:{self.xid}",
            "name": "name:before_it",
        }[kind]


@pytest.fixture(scope="module", params=[Engine, Files], ids=lambda engine: f"postgresql-{engine.version}")
def damaged(request):
    made = Damaged(request.param)
    yield made
    made.engine.remove()


@pytest.fixture(autouse=True)
def configured(damaged, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", damaged.engine.config)
    monkeypatch.setenv("PGUSER", "postgres")


class Copy(PostgresServer):
    """What was restored to a place of its own, on a port of its own."""

    def __init__(self, damaged, text, exclusive=False, start=True):
        origin = damaged.server
        self.programs, self.version, self.user = origin.programs, origin.version, origin.user
        self.address, self.port = "127.0.0.1", free_port()
        self.folder = origin.folder / f"copy-{self.port}"
        self.folder.mkdir()
        shutil.chown(self.folder, self.user, self.user)
        self.data = self.folder / "data"
        damaged.engine.restore(self, targets.parse(text, exclusive))
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n")
        if start:
            self.start()

    def at(self, **more):
        return {"version": self.version, "port": self.port, "socket_directory": str(self.folder), **more}

    def paused(self):
        answer = module("await_server")(**self.at(until="paused", deadline_s=30, place=str(self.data)))
        assert not answer.get("failed"), answer
        return module("replay_standing")(**self.at(tables=["postgres.public.things", "postgres.public.nothing"]))[
            "standing"
        ]

    def look(self):
        return module("damage")(**self.at(deadline_s=60, rest_share=0))["damage"]

    def again(self):
        self.stop()
        self.start()


@pytest.fixture
def copy(damaged):
    made = []

    def make(*arguments, **more):
        made.append(Copy(damaged, *arguments, **more))
        return made[-1]

    yield make
    for one in made:
        one.remove()


@pytest.mark.parametrize("kind", ["time", "lsn", "xid", "name"])
def test_a_restore_stands_paused_before_the_damage(damaged, copy, kind):
    standing = copy(damaged.target(kind), exclusive=kind in ("xid", "lsn")).paused()
    assert (standing["in_recovery"], standing["paused"]) == (True, True)
    assert standing["counts"]["postgres.public.things"] == 50
    assert "does not exist" in standing["counts"]["postgres.public.nothing"]
    assert standing["lsn"] and standing["time"] <= damaged.time


def gate(tmp_path, copy, standing, **more):
    (tmp_path / "run-1").mkdir(exist_ok=True)
    run = {"run_dir": str(tmp_path / "run-1"), "standing": standing, "damage": copy.look()}
    return module("approve_target")(**{**run, **more})


def test_it_waits_for_a_person_is_moved_on_and_promoted_where_that_person_says(damaged, copy, tmp_path):
    made = copy(damaged.target("xid"), exclusive=True)
    first = made.paused()
    answer = gate(tmp_path, made, first)
    assert refused(
        answer, 9, f"paused at {first['lsn']}", "postgres.public.things: 50", "-e target_approved=", "move_to"
    )
    noted = json.loads((tmp_path / "run-1/target.json").read_text())
    assert (noted["standing"], "approval" in noted) == (first, False)

    move = {**made.at(), "to": f"lsn:{damaged.later}"}
    assert module("move_target")(check=True, **move)["changed"]
    assert module("move_target")(**move)["changed"]
    assert module("move_target")(**move)["changed"], "not yet started again, as after a kill"
    made.again()
    then = made.paused()
    assert then["counts"]["postgres.public.things"] == 8
    assert not module("move_target")(**move)["changed"]

    promote = made.at()
    assert refused(module("promote_target")(approved=first["lsn"], **promote), 4, "was approved", "Nothing was changed")
    assert refused(gate(tmp_path, made, then, approved=first["lsn"]), 4, "It was not promoted")
    assert refused(module("move_target")(**{**move, "to": f"lsn:{damaged.lsn}"}), 4, "only goes forward")
    assert refused(module("move_target")(**{**move, "to": "latest"}), 3, "no target to pause at")
    answer = gate(tmp_path, made, then, approved=then["lsn"], operator="kim")
    assert (answer["approved"], answer["journal"][0]["detail"]) == (
        then["lsn"],
        f"kim approved the point {then['lsn']}",
    )
    assert module("promote_target")(check=True, approved=then["lsn"], **promote)["changed"]
    answer = module("promote_target")(approved=then["lsn"], **promote)
    assert (answer["changed"], answer["journal"][0]["step"]) == (True, "writable")
    made.psql("INSERT INTO things VALUES (8)")
    assert not module("promote_target")(approved=then["lsn"], **promote)["changed"]
    assert (
        made.psql("SELECT name FROM pg_file_settings WHERE name LIKE 'recovery_target%' AND name NOT LIKE '%timeline'")
        == []
    )
    assert refused(module("move_target")(**move), 4, "promoted")
    # what began there is compared with what was approved
    history = max((made.data / "pg_wal").glob("*.history")).read_text()
    switched = collection("plugins.module_utils.validation").switch_point(history)[1]
    assert switched == collection("plugins.module_utils.lsn").parse_lsn(then["lsn"])
    # and a resumed run finds its approval
    gone = module("replay_standing")(**promote)["standing"]
    assert gone["in_recovery"] is False
    assert not gate(tmp_path, made, gone)["changed"]


def test_without_a_person_a_copy_goes_on_when_nothing_damaged_was_found(damaged, copy, tmp_path):
    made = copy(damaged.target("name"))
    standing = made.paused()
    answer = gate(tmp_path, made, standing, inspect=False)
    assert (answer["approved"], answer["changed"]) == (standing["lsn"], True)
    assert not gate(tmp_path, made, standing, inspect=False)["changed"]


def test_a_damaged_copy_is_not_promoted_whoever_approves(tmp_path):
    gate_of = module("approve_target")
    bad = {"damaged": [{"kind": "table", "name": "a", "database": "b", "problems": ["invalid page"]}], "unknown": []}
    standing = {"in_recovery": True, "paused": True, "lsn": "0/5", "time": None, "counts": {}}
    for more in ({"inspect": False}, {"approved": "0/5"}):
        answer = gate_of(run_dir=str(tmp_path), standing=standing, damage=bad, **more)
        assert refused(answer, 6, "damaged too", "corruption_backup_before")
    promoted = {**standing, "in_recovery": False, "lsn": None}
    assert refused(gate_of(run_dir=str(tmp_path), standing=promoted, damage=bad), 4, "nobody approved")


def test_a_target_that_is_never_reached_ends_the_server_and_the_wait_instead_of_giving_all_that_came_after(
    damaged, copy
):
    made = copy("name:never_made", start=False)
    made.run("pg_ctl", "-D", made.data, "-l", made.folder / "log", "-W", "start")
    ready = made.at(until="paused", deadline_s=60, place=str(made.data), log=str(made.folder / "log"))
    assert refused(
        module("await_server")(**ready),
        5,
        "ended before it was paused",
        "before configured recovery target was reached",
    )
