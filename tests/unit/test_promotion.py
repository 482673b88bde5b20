"""Promotion of real standbys, and what it would give up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import collection, module, refused
from postgres import until
from versions import Version

losses = collection("plugins.module_utils.losses")
guards = collection("plugins.module_utils.guards")
pgbackrest = collection("plugins.module_utils.pgbackrest")


@pytest.fixture(params=[15, 17])
def version(request, monkeypatch):
    return Version(request.param, monkeypatch)


@pytest.fixture
def pair(version):
    """A primary and its standby; both are removed whatever became of them."""
    primary = version.server(settings={"wal_level": "replica"}).start()
    try:
        primary.psql("CREATE SCHEMA pgrescue")
        primary.psql("CREATE TABLE pgrescue.witness (token bigint PRIMARY KEY)")
        primary.psql("INSERT INTO pgrescue.witness SELECT * FROM generate_series(1, 50)")
        standby = version.standby(primary)
        try:
            yield primary, standby
        finally:
            standby.remove()
    finally:
        primary.remove()


def promote(version, server, check=False, **more):
    return module("promote_standby")(**version.at(server), check=check, **more)


def test_a_standby_is_promoted_once_and_its_timeline_is_read_back(version, pair):
    primary, standby = pair
    looked = promote(version, standby, check=True, expected_timeline=2)
    assert looked["changed"]
    assert standby.psql("SELECT pg_is_in_recovery()")[0][0]
    primary.stop()
    answer = promote(version, standby, expected_timeline=2)
    assert (answer["promotion"]["timeline"], answer["promotion"]["from_timeline"]) == (2, 1)
    assert answer["journal"][-1]["step"] == "writable"
    standby.psql("INSERT INTO pgrescue.witness VALUES (51)")
    checkpoint = "SELECT timeline_id FROM pg_control_checkpoint()"
    assert standby.psql(checkpoint)[0][0] == 2  # what pg_rewind of the old primary reads
    again = promote(version, standby, expected_timeline=2)
    assert not again["changed"]
    assert again["promotion"]["left_at"] == answer["promotion"]["left_at"]
    assert not promote(version, standby)["changed"]
    assert refused(promote(version, standby, expected_timeline=3), 4, "a primary on timeline 2", "to make timeline 3")


HANGS = """#!/bin/sh
case "$*" in *--repo=2*) exit 1;; esac
sleep 0.3  # it catches the signal only after a while, as the engine; ended before, it takes the server with it
trap 'exit 63' TERM
while :; do sleep 1; done
"""


def test_a_repository_that_is_cut_off_holds_up_no_promotion(version, pair):
    """The engine waits minutes for one, whenever the server asks the archive; so it is not asked any more."""
    primary, standby = pair
    engine = standby.folder / "pgbackrest"
    engine.write_text(HANGS)
    engine.chmod(0o755)
    command = f'{engine} --stanza=test archive-get %f "%p"'
    standby.psql(f"ALTER SYSTEM SET restore_command = '{command}'")
    standby.psql("SELECT pg_reload_conf()")
    primary.stop()
    until(lambda: asking(standby), 20, "it asks the archive")
    answer = promote(version, standby, endpoints={"1": "127.0.0.1:1"}, expected_timeline=2, deadline_s=20)
    assert answer.get("promotion", {}).get("timeline") == 2, answer  # without that it hangs for good
    assert standby.psql("SHOW restore_command")[0][0] == command


def asking(server):
    """Whether its recovery has the engine ask the archive."""
    pid = server.psql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'startup'")[0][0]
    return len(pgbackrest.family(pid)) > 1


def test_a_standby_asks_one_repository_that_answers_alone():
    fetching = collection("plugins.module_utils.fetching")
    ours = 'pgbackrest --stanza=shop archive-get %f "%p"'
    assert fetching.limited(ours, ["2", "3"]) == 'pgbackrest --repo=2 --stanza=shop archive-get %f "%p"'
    assert fetching.limited(ours, []) == ""
    for other in ("cp /archive/%f %p", "pgbackrest --repo=1 --stanza=shop archive-get %f %p", ""):
        assert fetching.limited(other, []) == other


def test_a_promotion_that_is_told_the_plan_asks_at_once_what_must_hold(version, pair):
    primary, standby = pair
    system = standby.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    plan = {"method": "promote", "system_identifier": system, "target_timeline": 1, "received": "0/0"}
    plan["data_directory"] = str(standby.data.resolve())
    told = {"ranges": [[1, 50]], "attempts": {}, "acks": {}}
    primary.psql("DELETE FROM pgrescue.witness WHERE token = 7")
    primary.stop()
    assert promote(version, standby, check=True, plan=plan)["journal"] == []
    answer = promote(version, standby, plan=plan, acknowledged=told)
    failed = [check["name"] for check in answer["checks"] if check["verdict"] != "passed"]
    assert failed == ["every commit acknowledged before the recovery point is there"]
    assert [line.get("step") for line in answer["journal"]] == [None, "writable", "data"]
    again = promote(version, standby, plan=plan, acknowledged=told, accepted_losses=[7], expected_timeline=2)
    assert {check["verdict"] for check in again["checks"]} == {"passed"}
    assert again["reconciliation"]["acknowledged"] == 50


def test_the_timeline_that_a_standby_followed_is_known_when_its_primary_is_dead(version, pair):
    primary, standby = pair
    with version.standby(primary).start() as other:
        primary.stop()
        promote(version, standby)
        other.psql(f"ALTER SYSTEM SET primary_conninfo = '{standby.dsn}'")
        other.psql("SELECT pg_reload_conf()")
        standby.psql("INSERT INTO pgrescue.witness VALUES (51)")
        until(lambda: other.psql("SELECT max(token) FROM pgrescue.witness")[0][0] == 51, 30, "the other one follows")
        standby.kill9()
        until(lambda: not other.psql("SELECT 1 FROM pg_stat_wal_receiver"), 30, "the receiver has ended")
        assert module("cluster_state")(**version.at(other))["state"]["timeline"] == 2
        assert promote(version, other)["promotion"]["timeline"] == 3


def test_a_primary_that_was_never_promoted_is_left_alone(version, pair):
    primary, _ = pair
    assert refused(promote(version, primary), 4, "a primary on timeline 1 and was never promoted")


def test_what_was_received_is_replayed_first_and_a_paused_replay_is_refused(version, pair):
    primary, standby = pair
    standby.psql("SELECT pg_wal_replay_pause()")
    until(lambda: standby.psql("SELECT pg_get_wal_replay_pause_state()")[0][0] == "paused", 10, "it is paused")
    primary.psql("INSERT INTO pgrescue.witness SELECT * FROM generate_series(51, 500)")
    end = primary.psql("SELECT pg_current_wal_lsn()::text")[0][0]
    until(lambda: standby.psql(f"SELECT pg_last_wal_receive_lsn() >= '{end}'")[0][0], 10, "it is received")
    assert refused(promote(version, standby), 4, "replay of this standby is paused", "pg_wal_replay_resume")
    primary.stop()
    standby.psql("SELECT pg_wal_replay_resume()")
    assert promote(version, standby)["changed"]
    assert standby.psql("SELECT max(token) FROM pgrescue.witness") == [(500,)]


def test_a_timeline_that_was_not_expected_is_a_failure(version, pair):
    primary, standby = pair
    # another server made timeline 2 meanwhile, and the archive says so
    (standby.folder / "archive").mkdir(mode=0o777)
    (standby.folder / "archive/00000002.history").write_text("1\t0/3000000\tno recovery target specified\n")
    standby.psql(f"ALTER SYSTEM SET restore_command = 'cp {standby.folder}/archive/%f %p'")
    standby.psql("ALTER SYSTEM SET recovery_target_timeline = 'current'")
    standby.stop()
    primary.stop()
    standby.start()
    assert refused(promote(version, standby, expected_timeline=2), 5, "promoted to timeline 3, not 2", "not moved")


def test_the_trigger_file_is_a_way_where_the_server_has_it(version, pair):
    _, standby = pair
    answer = promote(version, standby, way="trigger_file")
    if version.number >= 16:
        assert refused(answer, 4, "has no trigger file any more")
        return
    assert refused(answer, 4, "promote_trigger_file is not set")
    standby.psql("ALTER SYSTEM SET promote_trigger_file = 'promote_me'")
    standby.psql("SELECT pg_reload_conf()")
    until(lambda: standby.psql("SHOW promote_trigger_file")[0][0], 10, "it is set")
    assert promote(version, standby, way="trigger_file")["promotion"]["timeline"] == 2


# -- what it would give up -------------------------------------------------------------------------------------------


def acknowledged(*ranges, **acks):
    return {"ranges": [list(one) for one in ranges], "acks": {key[1:]: at for key, at in acks.items()}, "attempts": {}}


def at(second):
    return f"2026-11-24T22:00:{second:06.3f}Z"


def loss(version, standby, seen, **more):
    return module("promote_standby")(check=True, **version.at(standby), seen=seen, **more)


def test_the_loss_of_a_level_standby_is_nothing_and_of_a_late_one_is_counted(version, pair):
    primary, standby = pair
    end = primary.psql("SELECT pg_current_wal_lsn()::text")[0][0]
    none = {"bytes": 0, "transactions": 0, "seconds": 0}
    there = acknowledged((1, 50), t50=at(1))
    answer = loss(version, standby, [{"lsn": end, "by": "db1", "at": at(1)}], acknowledged=there, limits=none)
    assert {name: answer["loss"][name] for name in none} == none
    standby.stop()
    primary.psql("INSERT INTO pgrescue.witness SELECT * FROM generate_series(51, 60)")
    late = primary.psql("SELECT pg_current_wal_lsn()::text")[0][0]
    seen = [{"lsn": end, "by": "db1", "at": at(1)}, {"lsn": late, "by": "its control file", "at": at(3)}, {"by": "x"}]
    primary.stop("immediate")
    standby.start()
    more = acknowledged((1, 50), (51, 54), (56, 60), t50=at(1), t60=at(3.5))
    limits = {"transactions": 5, "seconds": 5}
    assert refused(loss(version, standby, seen, acknowledged=more, limits=limits), 4, "9 of 5 transactions", "seconds")
    told = loss(version, standby, seen, acknowledged=more, limits=limits, accept_loss="Ada: the shop can live with it")
    assert (told["loss"]["transactions"], told["loss"]["seconds"]) == (9, 2.5)
    assert told["loss"]["bytes"] == losses.parse_lsn(late) - losses.parse_lsn(told["loss"]["standby"]) > 0
    assert told["loss"]["seen_by"] == "its control file"
    assert "Ada: the shop can live with it" in told["journal"][0]["detail"]


def test_what_is_not_known_keeps_no_limit(version, pair):
    _, standby = pair
    assert "loss" not in loss(version, standby, [])  # there is nothing to hold it against
    assert loss(version, standby, [], acknowledged=acknowledged((1, 50)))["loss"]["bytes"] is None
    assert refused(loss(version, standby, [], limits={"bytes": 10**9}), 4, "an unknown number of")
    assert refused(loss(version, standby, [], limits={"rows": 1}), 3, "no limit on rows")


lsns = st.integers(0, 1 << 40)
sightings = st.lists(
    st.builds(
        lambda lsn, second: {"lsn": losses.format_lsn(lsn), "at": at(second), "by": "x"}, lsns, st.integers(0, 59)
    ),
    max_size=6,
)


def test_a_standby_that_hears_from_its_primary_is_not_promoted():
    check = collection("plugins.module_utils.promotion").check_quiet
    check(None, None)
    check("12:00:00", "12:00:00")  # it did before it was fenced
    with pytest.raises(collection("plugins.module_utils.guards").Stop, match="still hears from its primary"):
        check("12:00:00", "12:00:01")


@settings(deadline=None)
@given(sightings, lsns, lsns)
def test_a_standby_that_has_more_never_loses_more(seen, reached, more):
    def bytes_lost(position):
        where = losses.format_lsn(position)
        return losses.of({"received": where, "replayed": where}, seen)["bytes"]

    if seen:
        assert bytes_lost(max(reached, more)) <= bytes_lost(min(reached, more))
        assert (bytes_lost(reached) == 0) == (max(losses.parse_lsn(one["lsn"]) for one in seen) <= reached)
    else:
        assert bytes_lost(reached) is None
