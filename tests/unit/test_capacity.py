"""Room, growth and predictions: pure arithmetic, and what the modules observe of this host and of real servers."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from lint_faults import DAY, GB, HOUR, NOW, SEGMENT, run
from modules import collection, module
from pgrescue.core import capacity, history, prediction
from pgrescue.core.lsn import gaps
from pgrescue.core.trend import quantile, slope
from postgres import PostgresServer, programs, until
from run_fixture import Synthetic

VERSION = int(programs().parent.name)


def noisy(days, per_day, noise=0.01, seed=1):
    """Sizes of a cluster, once a day, with noise."""
    chance = random.Random(seed)
    return [(NOW + day * DAY, (100 * GB + day * per_day) * (1 + chance.uniform(-noise, noise))) for day in range(days)]


def test_growth_is_found_in_noise_and_not_bent_by_a_bulk_load():
    samples = noisy(60, GB)
    assert capacity.growth_per_day(samples) == pytest.approx(GB, rel=0.1)
    when, size = samples[30]
    assert capacity.growth_per_day([*samples, (when + HOUR, size * 3)]) == pytest.approx(GB, rel=0.1)


def test_growth_is_not_told_from_less_than_a_day_nor_from_one_sample():
    assert capacity.growth_per_day([(NOW, GB), (NOW + DAY - 1, 2 * GB)]) is None
    assert capacity.growth_per_day([(NOW, GB)]) is None
    assert capacity.growth_per_day([]) is None


def test_days_to_full():
    assert capacity.days_until(0, 10 * GB, 2 * GB) == 5
    assert capacity.days_until(GB, GB, None) == 0
    assert capacity.days_until(0, GB, None) is None
    assert capacity.days_until(0, GB, -GB) is None


def test_the_share_is_that_of_what_an_ordinary_user_may_fill():
    reserved = {"used_bytes": 80, "free_bytes": 15, "used_inodes": 0, "free_inodes": 0}  # 5 are kept for root
    assert capacity.used_share(reserved) == pytest.approx(80 / 95)
    assert capacity.used_share(reserved, "inodes") == 0


def test_one_filesystem_is_judged_once():
    shared, own = {"device": 1}, {"device": 2}
    found = capacity.filesystems({"filesystems": {"data": shared, "wal": own, "restore": shared}})
    assert [uses for uses, _ in found] == ["data and restore", "wal"]


def test_a_crowd_of_points_does_not_outvote_those_that_are_far_apart():
    crowd = [(1.0 + n / 1000, 5.0 + (n % 7)) for n in range(30)]
    assert slope([*crowd, (1000.0, 1008.0), (1001.0, 1009.0)]) == pytest.approx(1.0, rel=0.02)
    assert slope([(1.0, 1.0), (1.0, 2.0)]) is None
    assert quantile(range(1, 21), 0.95) == 19
    assert quantile([3, 1], 0.95) == 3


def runs_of(sizes, seed=1):
    """Runs at 100 MB/s and 20 segments a second behind a fixed cost of 5 s, each up to a tenth slower or faster."""
    chance = random.Random(seed)
    made = []
    for size in sizes:
        factor = chance.uniform(0.9, 1.1)
        fetch, replay = (5 + size / 1e8) * factor, 100 / 20 * factor
        made.append(
            run(
                fetched_bytes=size,
                fetch_s=fetch,
                replayed_bytes=100 * SEGMENT,
                replay_s=replay,
                rta_s=fetch + replay + 60,
            )
        )
    return made


def test_a_prediction_holds_for_sizes_a_hundred_times_as_big():
    found = prediction.predict(runs_of([GB, GB, 10 * GB, 20 * GB]), 100 * GB, 100 * SEGMENT)
    assert found["restore_p50_s"] == pytest.approx(5 + 1000 + 5, rel=0.25)
    assert found["back_p50_s"] == pytest.approx(found["restore_p50_s"] + 60)
    assert found["restore_p95_s"] >= found["restore_p50_s"]


def test_twenty_runs_are_covered_by_what_was_predicted_before_each():
    sizes = [size * GB for size in random.Random(3).choices(range(1, 100), k=40)]
    made, covered, errors = runs_of(sizes), 0, []
    for at in range(20, 40):
        found = prediction.predict(made[:at], made[at]["fetched_bytes"], made[at]["replayed_bytes"])
        took = made[at]["fetch_s"] + made[at]["replay_s"]
        covered += took <= found["restore_p95_s"] * 1.001
        errors.append(abs(took - found["restore_p50_s"]) / took)
    assert covered >= 18
    assert sorted(errors)[10] <= 0.25


def test_a_stall_on_little_data_is_not_multiplied():
    stalled = run(fetched_bytes=GB // 30, fetch_s=60.0, rta_s=150.0)
    found = prediction.predict([*runs_of([GB // 30] * 5 + [10 * GB] * 5), stalled], 10 * GB, 100 * SEGMENT)
    assert 150 < found["restore_p95_s"] < 200


def test_without_measurements_nothing_is_predicted_and_proofs_say_nothing_of_the_way_back():
    assert prediction.predict([], GB, 0) is None
    assert prediction.predict([{"id": "x"}], GB, 0) is None
    proof = {k: v for k, v in run().items() if k != "rta_s"}
    assert set(prediction.predict([proof], GB, 0)) == {"runs", "measured_bytes", "restore_p50_s", "restore_p95_s"}
    assert prediction.outgrown([proof], GB, 0, GB, 1, 365) is None


def test_the_day_on_which_the_objective_breaks_is_found():
    exact = [
        run(fetched_bytes=size, fetch_s=size / 1e8, replay_s=0.0, replayed_bytes=0, rta_s=size / 1e8 + 100)
        for size in (GB, 100 * GB)
    ]
    day = prediction.outgrown(exact, 100 * GB, 0, GB, 1200, 365)  # 1,000 s for 100 GB, 10 s more a day
    assert day == pytest.approx(10, abs=1)
    assert prediction.outgrown(exact, 100 * GB, 0, GB, 999_999, 365) is None
    assert prediction.outgrown(exact, 100 * GB, 0, GB, 1, 365) == 0
    assert prediction.outgrown(exact, 100 * GB, 0, -GB, 1200, 365) is None


def test_the_present_host_is_observed(tmp_path):
    seen = module("host_capacity")(version=VERSION, data_directory=str(tmp_path / "no"), restore_root="/", spool="/x")[
        "capacity"
    ]
    disk = seen["filesystems"]["restore"]
    assert os.path.ismount(seen["filesystems"]["data"]["mount"])
    free = shutil.disk_usage("/").free
    assert disk["free_bytes"] == pytest.approx(free, rel=0.05)
    assert disk["free_inodes"] == pytest.approx(os.statvfs("/").f_favail, rel=0.05)
    assert (seen["cluster_bytes"], seen["wal_bytes"], seen["ready_count"]) == (0, 0, 0)
    assert seen["postgres"].startswith(f"{VERSION}.")
    assert "plpgsql" in seen["extension_files"]
    assert seen["glibc"] == os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    assert seen["cpus"] >= 1
    assert seen["memory_bytes"] > 100_000_000


def test_a_host_without_postgres_is_an_observation(tmp_path):
    seen = module("host_capacity")(version=99, data_directory=str(tmp_path), restore_root=str(tmp_path))["capacity"]
    assert (seen["postgres"], seen["icu"], seen["extension_files"]) == (None, None, [])


def test_a_full_filesystem_is_seen_as_full(tmp_path, monkeypatch):
    """The numbers of a filesystem of 100 blocks, 5 of them kept for root."""
    full = os.statvfs_result((4096, 4096, 100, 9, 4, 50, 5, 5, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    seen = module("host_capacity")(version=VERSION, data_directory=str(tmp_path), restore_root=str(tmp_path))[
        "capacity"
    ]
    disk = seen["filesystems"]["data"]
    assert (disk["used_bytes"], disk["free_bytes"]) == (91 * 4096, 4 * 4096)
    assert (disk["used_inodes"], disk["free_inodes"]) == (45, 5)
    assert capacity.used_share(disk) == pytest.approx(91 / 95)


@pytest.fixture(scope="module")
def pair():
    """A primary whose archiving fails, and its standby with a password in its connection string."""
    settings = {"archive_mode": "on", "archive_command": "/bin/false", "wal_level": "replica", "max_connections": 50}
    with PostgresServer(settings=settings) as primary:
        primary.psql("SELECT pg_create_physical_replication_slot('kept', true)")
        primary.psql("CREATE UNLOGGED TABLE scratch (id int)")
        primary.psql("CREATE DATABASE other")
        with primary.standby_of() as standby:
            yield primary, standby


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")


def settings_of(server):
    at = {"port": server.port, "socket_directory": str(server.folder)}
    return module("server_settings")(version=VERSION, **at)["server"]


def room_of(server):
    return module("host_capacity")(version=VERSION, data_directory=str(server.data), restore_root="/tmp")["capacity"]


def test_a_server_says_how_it_is_configured_and_how_archiving_fares(pair):
    primary, _ = pair
    primary.psql("SELECT pg_switch_wal()")
    until(lambda: settings_of(primary)["archiver"]["failing"], 20, "the archiver has failed")
    seen = settings_of(primary)
    assert (seen["settings"]["archive_mode"], seen["settings"]["max_connections"]) == ("on", 50)
    assert seen["segment_bytes"] == SEGMENT
    assert seen["archiver"]["failed_count"] >= 1
    assert [(s["name"], s["active"], s["wal_status"]) for s in seen["slots"]] == [("kept", False, "reserved")]
    assert [s["state"] for s in seen["senders"]] == ["streaming"]
    databases = {d["name"]: d for d in seen["databases"]}
    assert databases["postgres"]["unlogged"] == 1
    assert databases["other"]["unlogged"] == 0
    assert "plpgsql" in databases["other"]["extensions"]
    collation = databases["postgres"]["collation"]
    assert collation["recorded"] == collation["actual"]
    room = room_of(primary)
    assert room["ready_count"] >= 1
    assert room["oldest_ready_s"] > 0
    assert room["cluster_bytes"] > 5_000_000
    assert room["wal_bytes"] >= SEGMENT


def test_a_password_in_a_connection_string_is_noticed_and_not_repeated(pair):
    _, standby = pair
    assert not settings_of(standby)["conninfo_has_password"]
    for secret in ("host=x password=geheim", "password = ''geheim'' host=x", "postgresql://me:geheim@x/db"):
        standby.psql(f"ALTER SYSTEM SET primary_conninfo = '{secret}'")
        standby.psql("SELECT pg_reload_conf()")
        seen = until(lambda: (s := settings_of(standby))["conninfo_has_password"] and s, 10, "it is noticed")
        assert "geheim" not in json.dumps(seen)
        standby.psql("ALTER SYSTEM SET primary_conninfo = 'host=x passfile=/srv/passwords'")
        standby.psql("SELECT pg_reload_conf()")
        until(lambda: not settings_of(standby)["conninfo_has_password"], 10, "a passfile is no password")


def test_a_setting_that_waits_for_a_restart_is_named(pair):
    primary, _ = pair
    primary.psql("ALTER SYSTEM SET max_connections = 51")
    primary.psql("SELECT pg_reload_conf()")
    until(lambda: settings_of(primary)["pending_restart"] == ["max_connections"], 10, "it is named")
    assert settings_of(primary)["settings"]["max_connections"] == 50


def test_a_server_that_is_not_there_is_an_observation(tmp_path):
    answer = module("server_settings")(version=VERSION, port=1, socket_directory=str(tmp_path))
    assert not answer.get("failed")
    assert ".s.PGSQL.1" in answer["server"]["problem"]


def test_where_an_archive_breaks():
    def named(*numbers, timeline=1):
        return [f"{timeline:08X}{0:08X}{number:08X}" for number in numbers]

    assert gaps(named(1, 2, 3), *named(1)) == []
    assert gaps(named(1, 2, 5, 6, 9), *named(1)) == [tuple(named(2, 5)), tuple(named(6, 9))]
    assert gaps(named(2, 3), *named(1)) == [tuple(named(1, 2))]
    after = [*named(1, 2), *named(3, 4, timeline=2)]
    assert gaps(after, *named(1)) == []
    assert gaps([*after, *named(6, timeline=2), *named(7)], *named(1)) == [
        (named(4, timeline=2)[0], named(6, timeline=2)[0])
    ]


def test_a_run_tells_its_speeds_from_its_own_journal(tmp_path):
    made = Synthetic().write(tmp_path)
    (found,), unreadable = history.read(str(tmp_path), "shop")
    assert unreadable == []
    assert (found["id"], found["kind"], found["procedure"]) == (made.name, "drill", "recover_complete_loss")
    assert history.read(str(tmp_path), "another") == ([], [])
    assert history.read(str(tmp_path / "none"), "shop") == ([], [])
    (made / "run.json").write_text("{")
    assert history.read(str(tmp_path), "shop") == ([], [made.name])


def events(*said):
    """A journal of (seconds, event, phase, step, detail)."""
    return [
        {
            "wall": f"2026-11-24T01:00:{seconds:02d}.000000Z",
            "event": event,
            "phase": phase,
            "step": step,
            "detail": detail,
        }
        for seconds, event, phase, step, detail in said
    ]


RESTORED = "Backup B1 from repository 2, taken until 2026-11-24T00:00:00Z, restored; every file matched its checksum"
JOURNAL = [
    (0, "start", "restore", None, None),
    (9, "decision", "restore", "Restore", RESTORED),
    (10, "milestone", "restore", "restored", None),
    (12, "start", "restore", "Start the copy, where nobody can reach it", None),
    (15, "milestone", "restore", "writable", "replayed to 0/5000000"),
    (16, "end", None, None, None),
]
PLAN = {"candidates": [{"label": "B1", "size_bytes": GB, "wal_start": "000000010000000000000002"}]}
RUN = {"id": "r", "kind": "proof", "procedure": "prove", "service": "shop", "result": "passed", "exit_code": 0}


def test_a_proof_measures_the_fetch_and_the_replay():
    found = history.folded(RUN, {}, PLAN, [], events(*JOURNAL))
    assert (found["fetched_bytes"], found["fetch_s"]) == (GB, 10)
    assert (found["replayed_bytes"], found["replay_s"]) == (3 * SEGMENT, 3)
    assert "rta_s" not in found


@pytest.mark.parametrize("gone", range(5))
def test_what_a_journal_does_not_show_is_absent(gone):
    found = history.folded(RUN, {}, PLAN, [], events(*(JOURNAL[:gone] + JOURNAL[gone + 1 :])))
    assert not {"fetch_s", "replay_s"} <= set(found)


def test_a_restore_that_was_interrupted_measures_nothing():
    again = [*JOURNAL[:3], (20, "start", "restore", None, None), *JOURNAL[3:]]
    assert not {"fetch_s", "replay_s"} & set(history.folded(RUN, {}, PLAN, [], events(*again)))


def test_units_are_told_apart():
    units = collection("plugins.filter.protection").units
    said = "Id=a.timer\nLoadState=loaded\nActiveState=active\n\nId=a.service\nLoadState=loaded\nResult=exit-code"
    assert units(said)["a.service"]["Result"] == "exit-code"
    assert units("") == {}


def test_secrets_of_repositories_are_not_handed_on():
    promised = collection("plugins.filter.protection").promised_repositories
    (one,) = promised([{"region": "east", "key": "id", "secret": "geheim", "cipher_pass": "geheim", "ca_file": "/x"}])
    assert one == {"region": "east", "key": "id", "encrypted": True}


def test_the_primary_is_asked_about_the_repositories_if_there_is_one():
    ask = collection("plugins.filter.protection").one_to_ask
    here = {"role": "standby", "data_directory": "/srv"}
    assert ask({"a": {"state": here}, "b": {"state": {**here, "role": "primary"}}, "c": {"state": {}}}) == "b"
    assert ask({"b": {"state": here}, "a": {"state": here}}) == "a"
    assert ask({"c": {"state": {"role": "spare", "data_directory": None}}}) == ""


def test_the_sample_of_a_real_run_is_read():
    """Every run that this checkout holds can be folded."""
    runs = Path(__file__).parents[2] / "runs"
    assert history.read(str(runs), "shop")[1] == []
