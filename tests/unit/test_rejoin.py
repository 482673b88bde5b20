"""An old primary, or a standby that has more, comes back as a standby of the new primary; on real servers."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import as_user, collection, module, refused
from postgres import until
from versions import Version, catch_up

lsn = collection("plugins.module_utils.lsn")
rewinding = collection("plugins.module_utils.rewinding")
standby_settings = collection("plugins.module_utils.standby_settings")

HOUSE = Path(__file__).parents[2]


@pytest.fixture(params=[15, 17])
def version(request, monkeypatch):
    return Version(request.param, monkeypatch)


class Parted:
    """A primary that went on by itself after its standby was promoted."""

    def __init__(self, version, **more):
        self.version = version
        self.servers = []
        self.old = self.keep(version.server(settings={"wal_level": "replica", "wal_keep_size": "64MB"}, **more).start())
        self.old.psql("CREATE TABLE things (id int, said text)")
        self.new = self.keep(version.standby(self.old))

    def keep(self, server):
        self.servers.append(server)
        return server

    def promote(self):
        module("promote_standby")(**self.version.at(self.new))
        self.new.psql("INSERT INTO things VALUES (1, 'on the new primary')")

    def write(self, count=3):
        """Transactions that the new primary never sees."""
        for number in range(count):
            self.old.psql(f"INSERT INTO things VALUES ({100 + number}, 'lost')")

    def remove(self):
        for server in reversed(self.servers):
            server.remove()

    def rewind(self, server=None, check=False, **more):
        place = (server or self.old).data
        arguments = {"version": self.version.number, "place": str(place), "source": self.new.dsn, **more}
        return as_user(self.old.user, lambda: module("rewind_cluster")(check=check, **arguments))

    def follow(self, server=None, **more):
        """Make it a standby, start it, and see what it holds once it is level."""
        server = server or self.old
        conninfo = f"{self.new.dsn} application_name=old"
        settings = {"primary_conninfo": conninfo, "recovery_target_timeline": "latest", "port": server.port, **more}
        settings["unix_socket_directories"] = str(server.folder)
        made = as_user(server.user, lambda: module("make_standby")(place=str(server.data), settings=settings))
        assert not made.get("failed"), made
        server.start()
        streaming = "SELECT status FROM pg_stat_wal_receiver"
        until(lambda: server.psql(streaming) == [("streaming",)], 20, "it streams")
        catch_up(server, self.new)
        return server.psql("SELECT id FROM things ORDER BY id")


@pytest.fixture
def parted(version):
    made = Parted(version)
    try:
        yield made
    finally:
        made.remove()


def test_an_old_primary_is_rewound_and_what_it_wrote_alone_is_kept(parted):
    parted.promote()
    parted.write(3)
    parted.old.stop()
    before = parted.old.run("pg_controldata", parted.old.data)
    looked = parted.rewind(check=True)
    assert (looked["changed"], looked["rewound"], looked["rebuild"]) == (True, True, False)
    assert parted.old.run("pg_controldata", parted.old.data) == before
    assert not list(parted.old.folder.glob("*.diverged*"))
    answer = parted.rewind()
    assert (answer["rewound"], answer["rebuild"], answer["why"]) == (True, False, [])
    lost = answer["lost"]
    assert len(lost["transactions"]) == 3
    assert "3 transaction(s) of it were never on the new primary" in answer["journal"][0]["detail"]
    kept = sorted(path.name for path in Path(lost["folder"]).iterdir())
    assert kept == sorted([*lost["segments"], "transactions.json"])
    dump = ["-p", lost["folder"], "-t", 1, "-s", lost["transactions"][0]["lsn"], "-n", 1]
    assert lost["transactions"][0]["at"][:19] in parted.old.run("pg_waldump", *dump)
    assert parted.follow() == [(1,)]
    assert parted.old.psql("SELECT pg_is_in_recovery()") == [(True,)]


def test_the_standbys_account_may_do_what_pg_rewind_does_once_it_is_granted(parted):
    parted.promote()
    parted.write(1)
    parted.old.stop()
    parted.new.psql("CREATE ROLE replicator LOGIN REPLICATION")
    source = parted.new.dsn.replace("user=postgres", "user=replicator")
    assert refused(parted.rewind(source=source), 3, "permission denied", "Nothing was changed")
    defaults = yaml.safe_load((HOUSE / "roles/standby/defaults/main.yml").read_text())
    parted.new.psql(f"GRANT EXECUTE ON FUNCTION {', '.join(defaults['standby_rewind_functions'])} TO replicator")
    answer = parted.rewind(source=source)
    assert answer["rewound"], answer
    assert parted.follow() == [(1,)]


def test_one_that_crashed_is_made_to_end_cleanly_first(parted):
    parted.promote()
    parted.write(2)
    parted.old.kill9()
    answer = parted.rewind()
    assert (answer["rewound"], len(answer["lost"]["transactions"])) == (True, 2)
    assert parted.follow() == [(1,)]


@pytest.fixture
def killed_half_way(parted, monkeypatch):
    """Where pg_rewind is killed by its first write beyond a megabyte of a file, as by kill -9; calling it ends that."""
    postgres = collection("plugins.module_utils.postgres")
    real, folder = postgres.BIN, parted.old.folder / f"bin{parted.version.number}"
    folder.mkdir()
    for program in Path(real % parted.version.number).iterdir():
        (folder / program.name).symlink_to(program)
    rewind = folder / "pg_rewind"
    program = rewind.resolve()
    rewind.unlink()
    rewind.write_text(
        f'#!/bin/sh\ncase "$*" in *--dry-run*) ;; *) ulimit -c 0; ulimit -f 2000 ;; esac\nexec {program} "$@"\n'
    )
    rewind.chmod(0o755)
    monkeypatch.setattr(postgres, "BIN", str(parted.old.folder / "bin%s"))
    yield lambda: monkeypatch.setattr(postgres, "BIN", real)


def test_a_rewind_that_was_killed_is_built_anew_and_no_server_is_started_on_its_half(parted, killed_half_way):
    parted.old.psql("CREATE TABLE much AS SELECT i, repeat('x', 500) FROM generate_series(1, 10000) i")
    catch_up(parted.new, parted.old)
    parted.promote()
    parted.old.psql("UPDATE much SET i = i + 1")  # so that there is much to copy
    parted.old.stop()
    first = parted.rewind()
    assert first["rebuild"], first
    assert "failed half way" in first["why"][0]
    arguments = {"place": str(parted.old.data), "settings": {}}
    assert refused(module("make_standby")(**arguments), 3, "did not come to its end", "rejoin.yml")
    killed_half_way()
    again = parted.rewind()
    assert again["lost"] == first["lost"]
    listing = Path(first["lost"]["folder"]) / "transactions.json"
    assert json.loads(listing.read_text()) == first["lost"]
    # half of its WAL was overwritten: it is built anew at another place, and nothing is lost by that
    assert again["rebuild"], again
    assert refused(module("make_standby")(**arguments), 3, "did not come to its end")


def test_one_that_was_killed_after_its_last_write_is_whole(parted):
    parted.promote()
    parted.write(1)
    parted.old.stop()
    assert parted.rewind()["rewound"]
    note = Path(f"{parted.old.data}.rewinding.json")
    note.write_text("{}")
    shutil.chown(note, parted.old.user)
    again = parted.rewind()
    assert (again["rewound"], again["rebuild"]) == (False, False), again
    assert not note.exists()


def test_a_clean_switch_over_needs_no_rewind(parted):
    parted.old.psql("INSERT INTO things VALUES (0, 'before')")
    parted.old.stop()  # it waits until its standby has everything
    parted.promote()
    answer = parted.rewind()
    assert (answer["rewound"], answer["rebuild"]) == (False, False)
    assert answer["lost"].get("transactions", []) == []
    assert parted.follow() == [(0,), (1,)]


def test_a_standby_that_is_ahead_is_found_and_rewound_as_well(parted, version):
    other = parted.keep(version.standby(parted.old))
    behind = parted.keep(version.standby(parted.old))
    parted.new.stop()
    behind.stop()
    parted.write(2)
    catch_up(other, parted.old)
    parted.old.kill9()
    parted.new.start()
    behind.start()
    parted.promote()
    asked = {"source": parted.new.dsn}
    ahead = module("standby_ahead")
    assert ahead(**version.at(other), **asked)["ahead"]
    assert not ahead(**version.at(behind), **asked)["ahead"]
    assert refused(ahead(**version.at(parted.new), **asked), 4, "no standby")
    assert refused(ahead(**version.at(behind), source=f"{other.dsn}"), 3, "is a standby itself")
    behind.stop()
    assert parted.follow(behind) == [(1,)]
    other.stop()
    answer = parted.rewind(other)
    assert (answer["rewound"], len(answer["lost"]["transactions"])) == (True, 2)
    assert parted.follow(other) == [(1,)]


def test_what_was_received_beyond_the_parting_and_not_replayed_is_not_replayed_later(parted, version):
    other = parted.keep(version.standby(parted.old))
    parted.new.stop()
    other.psql("SELECT pg_wal_replay_pause()")
    until(lambda: other.psql("SELECT pg_get_wal_replay_pause_state()")[0][0] == "paused", 10, "it is paused")
    parted.write(2)
    end = parted.old.psql("SELECT pg_current_wal_lsn()::text")[0][0]
    until(lambda: other.psql(f"SELECT pg_last_wal_receive_lsn() >= '{end}'")[0][0], 10, "it is received")
    parted.old.kill9()
    other.stop("immediate")
    other.stop()
    parted.new.start()
    parted.promote()
    answer = parted.rewind(other)
    if answer["rebuild"]:  # killed as a standby: nothing but its own start makes it whole
        assert "a standby that was killed" in answer["why"][0]
        assert len(answer["lost"]["transactions"]) == 2
        return
    assert parted.follow(other) == [(1,)]


def test_what_pg_rewind_needs_and_is_not_there_is_said_and_nothing_is_changed(version):
    made = Parted(version, initdb=())
    try:
        made.promote()
        made.write(1)
        made.old.stop()
        before = made.old.run("pg_controldata", made.old.data)
        answer = made.rewind()
        assert (answer["rebuild"], answer["rewound"]) == (True, False)
        assert "neither data checksums nor wal_log_hints" in answer["why"][0]
        assert len(answer["lost"]["transactions"]) == 1
        assert made.old.run("pg_controldata", made.old.data) == before
        made.old.start()  # by somebody, in between
        made.write(1)
        made.old.stop()
        assert len(made.rewind()["lost"]["transactions"]) == 2
    finally:
        made.remove()


def test_wal_that_is_gone_is_brought_from_the_archive_or_the_cluster_is_built_anew(parted):
    parted.promote()
    parted.write(2)
    parted.old.psql("SELECT pg_switch_wal()")
    parted.write(1)
    parted.old.stop()
    archive = parted.old.folder / "archive"
    archive.mkdir()
    parting = parted.new.psql("SELECT pg_read_file('pg_wal/00000002.history')")[0][0].split()[1]
    gone = parted.old.data / "pg_wal" / rewinding.segment_name(1, lsn.parse_lsn(parting) >> 24, 1 << 24)
    shutil.move(gone, archive / gone.name)
    for path in (archive, archive / gone.name):
        shutil.chown(path, parted.old.user)
    answer = parted.rewind()
    assert answer["rebuild"], answer
    assert "pg_rewind would not do it" in answer["why"][0]
    shutil.rmtree(answer["lost"]["folder"])
    answer = parted.rewind(restore_command=f"cp {archive}/%f %p")
    assert (answer["rewound"], len(answer["lost"]["transactions"])) == (True, 3), answer
    assert parted.follow() == [(1,)]


def test_another_database_and_a_server_that_runs_are_refused(parted, version):
    parted.promote()
    assert refused(parted.rewind(), 4, "A server runs on", "Fence it first")
    stranger = parted.keep(version.server())
    assert refused(parted.rewind(stranger), 4, "another database")
    parted.old.stop()
    nowhere = f"host={parted.old.folder} port=1 user=postgres"
    assert refused(parted.rewind(source=nowhere), 3, "cannot be asked", "Nothing was changed")
    parted.new.psql("SELECT 1")
    # the wrong way round: what was promoted is not rewound onto what it was promoted from
    parted.new.stop()
    parted.old.start()
    arguments = {"version": version.number, "place": str(parted.new.data), "source": parted.old.dsn}
    answer = as_user(parted.old.user, lambda: module("rewind_cluster")(**arguments))
    assert refused(answer, 4, "promoted later")


# -- the settings of a standby ---------------------------------------------------------------------------------------


def test_a_primary_that_runs_is_not_made_a_standby_and_no_password_is_written(parted):
    make = module("make_standby")
    assert refused(make(place=str(parted.old.data), settings={}), 4, "A primary runs")
    assert refused(make(place=str(parted.old.folder), settings={}), 3, "holds no cluster")
    secret = {"primary_conninfo": "host=a password=b"}
    assert refused(make(place=str(parted.new.data), settings=secret), 3, "holds a password")


def test_a_running_standby_is_pointed_elsewhere_once(parted, version):
    other = parted.keep(version.standby(parted.old))
    parted.old.stop()
    parted.promote()
    settings = {"primary_conninfo": parted.new.dsn, "recovery_target_timeline": "latest"}
    arguments = {"place": str(other.data), "settings": settings}
    assert as_user(other.user, lambda: module("make_standby")(check=True, **arguments))["changed"]
    answer = as_user(other.user, lambda: module("make_standby")(**arguments))
    assert (answer["changed"], answer["running"]) == (True, True)
    assert not as_user(other.user, lambda: module("make_standby")(**arguments))["changed"]
    other.psql("SELECT pg_reload_conf()")
    until(lambda: other.psql("SELECT id FROM things") == [(1,)], 20, "it follows the new primary")


STALE = ["primary_conninfo", "recovery_target_time", "recovery_min_apply_delay"]
SETTING = st.sampled_from(["shared_buffers", "restore_command", "port", *STALE])
VALUE = st.text(st.characters(codec="ascii", exclude_characters="\n\r\0"), max_size=12)


def read(text):
    found = {}
    for line in text.split("\n"):
        name, _, value = line.partition(" = ")
        found[name] = value[1:-1].replace("''", "'")
    return found


@settings(deadline=None)
@given(st.dictionaries(SETTING, VALUE), st.dictionaries(SETTING, VALUE))
def test_what_is_set_is_set_what_is_stale_is_gone_and_the_rest_stays(before, wanted):
    text = "# Do not edit this file manually!\n"
    text += "".join(f"{name} = {standby_settings.quoted(value)}\n" for name, value in before.items())
    after = standby_settings.rewritten(text, wanted)
    assert after.startswith("# Do not edit")
    found = read(after)
    for name, value in before.items():
        if name not in wanted and name in ("shared_buffers", "port", "restore_command"):
            assert found[name] == value
    assert {name: found[name] for name in wanted} == wanted
    assert not (set(found) & set(STALE)) - set(wanted)
    assert standby_settings.rewritten(after, wanted) == after


# -- lines of timelines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs", "parted"),
    [
        ((1, ""), (1, ""), None),
        ((1, ""), (2, "1\t0/50\tx\n"), (1, 0x50)),
        ((2, "1\t0/50\tx\n"), (2, "1\t0/50\tx\n"), None),
        ((2, "1\t0/60\tx\n"), (3, "1\t0/50\tx\n"), (1, 0x50)),  # both were promoted
        ((2, "1\t0/50\tx\n"), (3, "1\t0/50\tx\n2\t0/90\tx\n"), (2, 0x90)),
    ],
)
def test_two_lines_part_where_the_first_of_them_left(ours, theirs, parted):
    assert rewinding.parting(rewinding.line(*ours), rewinding.line(*theirs)) == parted


# -- who may be taken back -------------------------------------------------------------------------------------------

STATES = {
    "db1": {"role": "stopped", "system_identifier": "7"},
    "db2": {"role": "primary", "system_identifier": "7"},
    "db3": {"role": "stopped", "system_identifier": "8"},
    "spare1": {"role": "spare", "system_identifier": None},
}


def take_back(runs, host="db1", states=STATES):
    return module("rejoin_target")(host=host, states=states, runs_dir=str(runs))


def test_only_an_old_copy_of_the_same_database_is_taken_back(tmp_path):
    assert take_back(tmp_path)["primary"] == "db2"
    assert refused(take_back(tmp_path, "db2"), 4, "is the primary")
    assert refused(take_back(tmp_path, "db3"), 4, "another database")
    assert refused(take_back(tmp_path, "spare1"), 3, "rebuild_standbys.yml")
    assert refused(take_back(tmp_path, "db9"), 3, "does not answer")
    assert refused(take_back(tmp_path, states={"db1": STATES["db1"]}), 3, "nobody to follow")


def test_the_way_back_of_an_open_window_is_left_alone(tmp_path):
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-1/plan.json").write_text(json.dumps({"service": "shop", "method": "promote"}))
    (tmp_path / "run-1/checks.json").write_text("[]")
    kept = {"run": "run-1", "closes": "2999-01-01T00:00:00Z", "old_side": ["db1"]}
    for window, closed in (
        (kept, False),
        ({**kept, "closed": "2026-11-26T00:00:00Z"}, True),
        ({**kept, "closes": "2026-01-01T00:00:00Z"}, True),
        ({**kept, "old_side": ["db3"]}, True),
    ):
        (tmp_path / "run-1/window.json").write_text(json.dumps(window))
        answer = take_back(tmp_path)
        assert (
            answer.get("primary") == "db2" if closed else refused(answer, 4, "way back of run run-1", "commit window")
        )


def test_a_way_back_ends_when_a_later_run_has_moved_traffic(tmp_path):
    def ran(name, **plan):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "plan.json").write_text(json.dumps({"service": "shop", **plan}))

    ran("run-1", method="promote")
    (tmp_path / "run-1/checks.json").write_text("[]")
    window = {"run": "run-1", "closes": "2999-01-01T00:00:00Z", "old_side": ["db1"]}
    (tmp_path / "run-1/window.json").write_text(json.dumps(window))
    ran("run-2", method="promote")  # it has validated nothing yet
    assert refused(take_back(tmp_path), 4, "way back of run run-1")
    (tmp_path / "run-2/checks.json").write_text("[]")
    ran("run-2", service="other", method="promote")
    assert refused(take_back(tmp_path), 4, "way back of run run-1")
    ran("run-2")  # a proof
    assert refused(take_back(tmp_path), 4, "way back of run run-1")
    ran("run-2", method="restore")
    assert take_back(tmp_path)["primary"] == "db2"
