"""The pure core: what is chosen, what is refused and with which exit code, what counts as lost."""

import copy

import pytest
from modules import collection
from pgrescue.core import lsn, plans, ranges, reconcile, records, repository, timelines, validation, ways
from pgrescue.core.guards import PRECONDITION, REFUSED, Stop

BACKUP = {
    "label": "20261124-010000F",
    "repo": 1,
    "type": "full",
    "started": "2026-11-24T01:00:00Z",
    "stopped": "2026-11-24T01:00:05Z",
    "wal_start": "000000010000000000000003",
    "wal_stop": "000000010000000000000003",
    "lsn_stop": "0/3000100",
    "segment_bytes": 1 << 24,
    "size_bytes": 1,
    "timeline": 1,
    "system_identifier": "7",
    "error": False,
}


SPARE = {"role": "spare", "ready": True}
STANDBY = {
    "role": "standby",
    "timeline": 1,
    "lsn": "0/4000000",
    "received": "0/4000000",
    "replay": "not paused",
    "system_identifier": "7",
    "place": "/pg/standby",
}


hosts = collection("plugins.filter.hosts")


def request(**changes):
    """The arguments of a plan that would be made."""
    good = {
        "procedure": "complete_loss",
        "service": "shop",
        "states": {"spare1": SPARE, "db1": {"role": "stopped"}},
        "hosts": {
            "db1": {"region": "east", "address": "10.0.0.1", "names": ["db1", "db1.example.org"], "root": "/pg"},
            "spare2": {
                "region": "west",
                "address": "10.0.0.3",
                "names": ["spare2", "spare2.example.org"],
                "root": "/pg",
            },
            "spare1": {
                "region": "east",
                "address": "10.0.0.2",
                "names": ["spare1", "spare1.example.org"],
                "root": "/pg",
            },
        },
        "catalog": {
            "candidates": [BACKUP],
            "passed_over": [],
            "unreachable": {},
            "system_identifier": "7",
            "timeline": 1,
            "archive_end": {"segment": BACKUP["wal_stop"], "time": "2026-11-24T01:01:00Z"},
        },
        "dumps": {},
        "dump": None,
        "methods": ["promote", "restore"],
        "method": None,
        "planned": False,
        "region_lost": False,
        "only_in": None,
        "undoes": {},
        "lost_regions": [],
        "runs": [],
        "last_acknowledged_s": None,
        "system_identifier": None,
        "target": None,
        "prefer_region": "east",
        "application_scale": 2,
        "clients": "stopped",
        "postgres_version": 17,
        "despite_copies": False,
        "despite_primary": False,
        "manager": "",
    }
    return {**copy.deepcopy(good), **changes}


def test_a_plan_restores_to_a_new_place_on_the_clean_host():
    plan = plans.make(request(), "run-1")
    assert (plan["target_host"], plan["data_directory"]) == ("spare1", "/pg/run-1")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"states": {"db2": {"role": "primary"}, "spare1": SPARE}}, REFUSED),
        ({"states": {"db2": {"role": "primary"}, "db1": STANDBY}, "methods": ["promote"]}, REFUSED),
        ({"catalog": {}, "states": {"db1": STANDBY, "spare1": {**STANDBY, "system_identifier": "8"}}}, REFUSED),
        ({"states": {"db2": {"role": "unresponsive"}, "spare1": SPARE}}, PRECONDITION),
        ({"planned": True, "states": {"db1": STANDBY}}, PRECONDITION),  # a switchover needs a primary to leave
        (
            {"planned": True, "states": {"db1": {**STANDBY, "role": "primary"}, "db2": {"role": "primary"}}},
            PRECONDITION,
        ),
        ({"states": {"db1": STANDBY}, "method": "restore"}, PRECONDITION),  # no clean host
        ({"states": {"spare1": SPARE}, "methods": ["promote"]}, PRECONDITION),
        ({"region_lost": True}, PRECONDITION),  # every region answers
        ({"states": {"db1": STANDBY}, "methods": ["promote"], "only_in": "west"}, PRECONDITION),
        ({"target": "db1"}, REFUSED),
        ({"states": {"spare1": {"role": "spare"}}}, PRECONDITION),  # nobody has configured it yet
        # its server would start on what its operator configured, not on what is restored
        ({"states": {"spare1": {"role": "spare", "ready": False}}}, PRECONDITION),
        ({"states": {"db1": {**STANDBY, "managed_by": "Patroni"}, "spare1": SPARE}}, REFUSED),
        ({"states": {"db1": {"role": "stopped"}}}, PRECONDITION),
        ({"catalog": {"candidates": [], "passed_over": []}}, PRECONDITION),
    ],
)
def test_a_plan_is_refused_with_its_exit_code(changes, code):
    with pytest.raises(Stop) as stop:
        plans.make(request(**changes), "run-1")
    assert stop.value.exit_code == code


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("db2", "db2 has no copy that could be promoted: it is primary; other standbys: db1."),
        ("spare1", "spare1 has no copy that could be promoted: it is spare; other standbys: db1."),
        ("db9", "db9 has no copy that could be promoted: it is no host of the service; other standbys: db1."),
    ],
)
def test_a_host_that_cannot_be_promoted_is_named_with_those_that_can(target, says):
    hosts = {**request()["hosts"], "db2": {**request()["hosts"]["spare1"], "address": "10.0.0.9"}}
    states = {"db1": STANDBY, "db2": {**STANDBY, "role": "primary"}, "spare1": SPARE}
    with pytest.raises(Stop) as stop:
        plans.make(request(hosts=hosts, states=states, planned=True, methods=["promote"], target=target), "run-1")
    assert str(stop.value).startswith(says)
    assert "complete_loss" not in str(stop.value)


PATRONIS = {"managed_by": "Patroni", "timeline": 1}
MANAGED = {
    "db1": {**STANDBY, **PATRONIS, "role": "primary"},
    "spare1": {**STANDBY, **PATRONIS, "upstream": "db1.example.org"},
}


def test_a_promotion_goes_through_the_tool_that_decides_who_is_primary():
    planned = plans.make(request(states=MANAGED, manager="Patroni", planned=True, methods=["promote"]), "run-1")
    assert (planned["method"], planned["through"], planned["left"]) == ("promote", "Patroni", "db1")
    assert (planned["fence"], planned["changes"][1]) == ([], "db1: made a standby by Patroni")
    lost = {host: seen for host, seen in MANAGED.items() if host != "db1"}
    failover = plans.make(request(states=lost, manager="Patroni", methods=["promote"]), "run-1")
    assert (failover["fence"], failover["changes"][2]) == (["db1"], "spare1: promoted by Patroni")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"states": MANAGED}, "postgres_manager: Patroni"),
        ({"states": {"db1": {**STANDBY, "managed_by": "pg_auto_failover"}}, "manager": "Patroni"}, "pg_autoctl"),
        ({"states": {"db1": STANDBY}, "manager": "Patroni"}, "nothing shows that it does"),
        ({"states": {"spare1": SPARE}, "manager": "Patroni"}, "Patroni manages the cluster, and would have to start"),
    ],
)
def test_what_manages_a_cluster_must_be_what_the_inventory_says_and_be_able_to_do_it(changes, why):
    with pytest.raises(Stop, match=why):
        plans.make(request(**changes), "run-1")


def test_a_running_copy_may_be_given_up_on_purpose():
    states = {"db2": STANDBY, "spare1": SPARE}
    plan = plans.make(request(states=states, despite_copies=True), "run-1")
    assert (plan["method"], plan["target_host"]) == ("restore", "spare1")


# -- the ways --------------------------------------------------------------------------------------------------------


def way(**changes):
    """The ways of a request, as (method, host or repository, whether it is open)."""
    found = ways.ways(request(**changes))
    return [(one["method"], one.get("host") or one.get("repository"), "closed" not in one) for one in found]


def behind(received, **changes):
    return {**STANDBY, "timeline": 3, "received": received, **changes}


def test_the_standby_that_received_most_is_promoted_and_positions_are_numbers():
    states = {"db1": behind("0/9000000"), "spare1": behind("0/10000000")}
    plan = plans.make(request(states=states), "run-1")
    assert (plan["method"], plan["target_host"], plan["received"]) == ("promote", "spare1", "0/10000000")
    assert [one.get("loses_bytes") for one in plan["ways"]][:2] == [0, 0x7000000]


def test_of_two_that_received_as_much_the_preferred_region_is_taken():
    states = {"spare2": STANDBY, "db1": STANDBY}
    assert way(states=states, methods=["promote"], prefer_region="west") == [
        ("promote", "spare2", True),
        ("promote", "db1", True),
    ]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"settings": {"recovery_min_apply_delay": "3600000"}}, "on purpose"),
        ({"settings": {"listen_addresses": "localhost"}}, "no client would reach it"),
        ({"replay": "paused"}, "paused"),
        ({"timeline": 2}, "follows timeline 2 and the service is on 3"),
    ],
)
def test_a_standby_that_is_not_fit_is_told_and_not_taken(changes, why):
    states = {"db1": behind("0/8000000"), "spare1": behind("0/9000000", **changes)}
    plan = plans.make(request(states=states, methods=["promote"]), "run-1")
    assert plan["target_host"] == "db1"
    assert why in plan["ways"][1]["closed"]


def test_a_delayed_standby_is_taken_when_it_is_asked_for():
    states = {"db1": behind("0/8000000", settings={"recovery_min_apply_delay": "3600000"})}
    assert plans.make(request(states=states, target="db1"), "run-1")["target_host"] == "db1"


def test_where_the_archive_reaches_further_than_the_standby_the_backup_is_restored():
    catalog = copy.deepcopy(request()["catalog"])
    catalog["archive_end"]["segment"] = "000000010000000000000020"
    states = {"db1": behind("0/3000000"), "spare1": SPARE, "db2": {"role": "stopped", "lsn": "0/20000000"}}
    assert plans.make(request(states=states, catalog=catalog), "run-1")["method"] == "restore"


LEFT = {"run": "run-0", "left": "db1", "system_identifier": "7", "target_timeline": 1}
FENCED = {"role": "stopped", "system_identifier": "7", "timeline": 1, "lsn": "0/5000028", "place": "/pg/main"}


def test_a_failover_is_taken_back_by_going_on_with_the_primary_that_it_left():
    states = {"db1": FENCED, "spare1": {"role": "primary", "timeline": 2, "lsn": "0/5000128", "system_identifier": "7"}}
    plan = plans.make(request(states=states, methods=["return"], undoes=LEFT), "run-1")
    assert (plan["target_host"], plan["fence"], plan["target_timeline"]) == ("db1", ["spare1", "spare2"], 2)
    assert plan["ways"][0]["loses_bytes"] == 0x100


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"role": "standby", "received": "0/5000028"}, "is standby"),
        ({"role": "silent"}, "is silent"),
        ({"system_identifier": "8"}, "system 8"),
        ({"timeline": 2}, "timeline 2 already"),
    ],
)
def test_an_old_primary_that_is_not_as_it_was_left_does_not_go_on(changes, why):
    with pytest.raises(Stop, match=why) as stop:
        plans.make(request(states={"db1": {**FENCED, **changes}}, methods=["return"], undoes=LEFT), "run-1")
    assert stop.value.exit_code == PRECONDITION
    assert str(stop.value).startswith("db1 cannot be gone back to: it ")
    assert "complete_loss" not in str(stop.value)


def test_what_a_way_loses_is_told_in_seconds_of_acknowledged_commits():
    states = {"db1": {**STANDBY, "replayed_s": 1000.0}}
    chosen = ways.ways(request(states=states, last_acknowledged_s=1004.5))[0]
    assert (chosen["loses_s"], "takes_s" in chosen) == (4.5, False)
    runs = [{"method": "promote", "rta_s": took} for took in (9.0, 11.0, 30.0)]
    assert ways.ways(request(states=states, runs=runs))[0]["takes_s"] == 11.0
    interrupted = [*runs, {"method": "promote", "rta_s": 546.0, "attempts": 92}]
    assert ways.ways(request(states=states, runs=interrupted))[0]["takes_s"] == 11.0


def test_a_prediction_is_told_by_runs_that_began_alike():
    states = {"db1": {**STANDBY, "replayed_s": 1000.0}}
    others = [{"method": "promote", "procedure": "unattended_failover", "rta_s": 9.0, "detection_s": 2.0}] * 9
    same = [{"method": "promote", "procedure": "failover", "rta_s": 12.0}] * 5
    alike = [{"method": "promote", "procedure": "failover", "rta_s": 27.0, "detection_s": 6.0}]
    for runs, expected in ((others, 9.0), (others + same, 12.0), (others + same + alike, 27.0)):
        assert ways.ways(request(procedure="failover", states=states, runs=runs))[0]["takes_s"] == expected
    left = request(procedure="failover", planned=True, states=states, runs=others + same + alike)
    assert ways.ways(left)[0]["takes_s"] == 12.0


def test_with_no_clean_host_a_backup_is_restored_over_what_a_stopped_host_was_left_with():
    left = {"db1": {**FENCED, "ready": True}}
    for nobody in (None, ""):  # the role says nothing with an empty word
        plan = plans.make(request(states=left, methods=["restore"], target=nobody), "run-1")
        assert (plan["method"], plan["target_host"], plan["warm_from"]) == ("restore", "db1", "/pg/main")
    assert plan["data_directory"] == "/pg/run-1"
    assert [way["closed"] for way in plan["ways"] if way["method"] == "restore"] == [ways.NO_SPARE]
    spared = {**left, "spare1": SPARE}
    assert plans.make(request(states=spared), "run-1")["target_host"] == "spare1"
    assert plans.make(request(states=spared), "run-1")["warm_from"] is None
    assert plans.make(request(states=spared, target="db1"), "run-1")["warm_from"] == "/pg/main"
    assert plans.make(request(states=spared, method="warm_restore"), "run-1")["target_host"] == "db1"


DUMPS = {
    "dumps": [
        {
            "id": "20261124T004000Z",
            "started": "2026-11-24T00:40:00Z",
            "size_bytes": 5,
            "system_identifier": "8",
            "excluded": [{"name": "postgres", "reason": "empty"}],
        },
        {"id": "20261123T004000Z", "started": "2026-11-23T00:40:00Z", "size_bytes": 4, "system_identifier": "7"},
    ],
    "refused": [{"id": "20261122T004000Z", "store": "east", "reason": "globals.sql is missing"}],
    "unreachable": {"west": "timed out"},
}
PROBLEM = {"candidates": [], "passed_over": [], "unreachable": {}, "problem": "No repository offers a backup"}
NO_BACKUP = {**PROBLEM, "empty": True}
ARCHIVED_S = 1795482060.0  # when the catalog's last segment was, 2026-11-24T01:01:00Z


def test_a_dump_is_the_way_where_no_backup_is_left():
    lost = {"states": {"spare1": SPARE}, "catalog": NO_BACKUP, "last_acknowledged_s": ARCHIVED_S}
    plan = plans.make(request(**lost, dumps=DUMPS), "run-1")
    assert (plan["method"], plan["target_host"], plan["data_directory"]) == ("logical", "spare1", "/pg/run-1")
    assert (plan["system_identifier"], plan["target_timeline"]) == (None, 0)
    assert [one["label"] for one in plan["candidates"]] == ["20261124T004000Z", "20261123T004000Z"]
    assert plan["ways"][0]["loses_s"] == 21 * 60
    assert [line["detail"] for line in plans.decisions(plan)] == [
        "Go on without store west, which does not answer: timed out",
        "Dump 20261122T004000Z passed over: in east: globals.sql is missing",
        "Restore dump 20261124T004000Z on spare1",
    ]
    with pytest.raises(Stop, match="No repository offers a backup; no store answers") as stop:
        plans.make(request(**lost, dumps={**DUMPS, "dumps": [], "refused": [], "problem": "no store answers"}), "run-1")
    assert stop.value.exit_code == PRECONDITION
    with pytest.raises(Stop, match="sql is missing"):
        plans.make(request(**lost, dumps={**DUMPS, "dumps": []}), "run-1")


@pytest.mark.parametrize(
    "changes",
    [
        {"states": {"spare1": SPARE, "db1": {**STANDBY, "replay": "paused"}}},  # which a person can let go on
        {"catalog": PROBLEM},  # of several systems, say
        {"catalog": {**PROBLEM, "unreachable": {"1": "silent"}}},
        {"catalog": {**NO_BACKUP, "passed_over": [{"label": "F", "repo": 1, "reason": "belongs to system 7"}]}},
        {
            "dumps": {
                **DUMPS,
                "dumps": [{**DUMPS["dumps"][0], "excluded": [{"name": "stock", "reason": "not granted"}]}],
            }
        },
    ],
)
def test_a_dump_waits_for_a_person_where_anything_else_may_be_opened(changes):
    asked = request(**{"states": {"spare1": SPARE}, "catalog": NO_BACKUP, "dumps": DUMPS, **changes})
    with pytest.raises(Stop, match="a person can choose it, -e recovery_method=logical") as stop:
        plans.make(asked, "run-1")
    assert stop.value.exit_code == PRECONDITION
    plan = plans.make({**asked, "method": "logical"}, "run-1")
    assert plan["method"] == "logical"
    lacks = [line for line in plan["irreversible"] if "is not in the dump" in line]
    assert lacks == (["database stock is not in the dump"] if "dumps" in changes else [])


def test_a_dump_is_the_last_of_the_open_ways_whatever_it_loses():
    late = request(dumps={**DUMPS, "dumps": [{**DUMPS["dumps"][0], "started": "2026-11-26T00:00:00Z"}]})
    late["last_acknowledged_s"] = ARCHIVED_S + 200_000
    assert "another way is open" in plans.make(late, "run-1")["ways"][-1]["closed"]
    assert plans.make(late, "run-1")["method"] == "restore"
    assert (
        plans.make({**late, "states": {"spare1": SPARE, "db1": {**STANDBY, "replayed_s": 1.0}}}, "run-1")["method"]
        == "promote"
    )


def test_the_dump_that_is_named_and_none_of_another_system():
    asked = request(states={"spare1": SPARE}, catalog=NO_BACKUP, dumps=DUMPS, method="logical")
    older = plans.make({**asked, "dump": "20261123T004000Z"}, "run-1")["candidates"]
    assert [one["label"] for one in older] == ["20261123T004000Z"]
    unasked = {**asked, "method": None}
    lame = {**DUMPS["dumps"][1], "excluded": [{"name": "stock", "reason": "no right"}]}
    taken = plans.make({**unasked, "dumps": {**DUMPS, "dumps": [DUMPS["dumps"][0], lame]}}, "run-1")["candidates"]
    assert [one["label"] for one in taken] == ["20261124T004000Z"]
    own = plans.make({**asked, "system_identifier": "7"}, "run-1")["candidates"]
    assert [one["label"] for one in own] == ["20261123T004000Z"]
    bad = {**DUMPS, "dumps": [{**DUMPS["dumps"][0], "proof": {"state": "failed"}}, DUMPS["dumps"][1]]}
    last = plans.make({**asked, "dumps": bad}, "run-1")["candidates"]
    assert [one["label"] for one in last] == ["20261123T004000Z", "20261124T004000Z"]


def test_the_system_of_the_one_primary_is_meant_and_standbys_of_another_name_nobody_to_fence():
    stray = {**STANDBY, "system_identifier": "6", "upstream": "db1"}
    primary = {**STANDBY, "role": "primary", "received": None}
    follows = {**STANDBY, "upstream": "spare1"}
    asked = request(states={"spare1": primary, "spare2": follows, "stray": stray}, methods=["promote"], planned=True)
    plan = plans.make(asked, "run-1")
    assert (plan["target_host"], plan["left"], plan["fence"]) == ("spare2", "spare1", ["spare1"])
    lost = request(states={"spare2": follows, "stray": stray}, methods=["promote"])
    with pytest.raises(Stop, match="several database systems"):
        plans.make({**lost, "catalog": {}}, "run-1")
    assert plans.make(lost, "run-1")["fence"] == ["spare1"]  # by what the repositories serve; db1 is of the other


def test_a_backup_of_another_system_than_the_hosts_hold_is_restored_only_by_name():
    asked = request(states={"spare1": SPARE, "db1": {"role": "stopped", "system_identifier": "8"}})
    with pytest.raises(Stop, match="the repositories hold database system 7, and the hosts 8"):
        plans.make(asked, "run-1")
    assert plans.make({**asked, "system_identifier": "7"}, "run-1")["method"] == "restore"


def test_a_copy_of_a_system_that_was_given_up_is_no_measure_for_the_one_that_took_its_place():
    old = {"role": "stopped", "system_identifier": "6", "timeline": 9, "lsn": "7/0"}
    asked = request(states={"db1": STANDBY, "spare1": old}, system_identifier="7")
    way = plans.make(asked, "run-1")["ways"][0]
    assert (way["method"], way["loses_bytes"]) == ("promote", 0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"states": {"db2": {"role": "unresponsive"}, "spare1": SPARE}}, "still runs"),
        ({"states": {"db1": {"role": "stopped"}}}, "no host of the service is clean"),
        ({"target": "db1"}, "is not a clean host"),
    ],
)
def test_no_dump_is_restored_beside_a_server_that_runs_or_on_a_host_that_has_a_cluster(changes, why):
    with pytest.raises(Stop, match=why):
        plans.make(request(catalog=NO_BACKUP, dumps=DUMPS, **changes), "run-1")


def test_a_standby_is_promoted_where_no_repository_answers():
    assert plans.make(request(states={"db1": STANDBY}, catalog=NO_BACKUP, dumps=DUMPS), "run-1")["method"] == "promote"


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"ready": False}, "not configured to start"), ({"ready": True, "system_identifier": "8"}, "and the hosts 8")],
)
def test_what_a_host_was_left_with_must_be_the_same_database_where_a_restore_can_be_put(changes, why):
    with pytest.raises(Stop, match=why):
        plans.make(request(states={"db1": {**FENCED, **changes}}, methods=["restore"]), "run-1")


def test_a_host_that_does_not_answer_may_still_be_written_to():
    states = {"db1": {"role": "primary"}, "spare1": {"role": "unresponsive"}}
    assert plans.to_fence(request(states=states)) == ["db1", "spare1", "spare2"]


def test_of_silent_hosts_the_one_that_the_standbys_stream_from_is_fenced():
    silent = request(states={"spare1": {**STANDBY, "upstream": "db1.example.org"}})
    assert (plans.to_fence(silent), plans.left(silent)) == (["db1"], "db1")
    seen = request(states={"db1": {"role": "primary"}, "spare1": {**STANDBY, "upstream": "db1.example.org"}})
    assert (plans.to_fence(seen), plans.left(seen)) == (["db1"], "db1")
    unknown = request(states={"spare1": {**STANDBY, "upstream": "elsewhere"}})
    assert (plans.to_fence(unknown), plans.left(unknown)) == (["db1", "spare2"], None)


def test_a_lost_region_is_one_of_which_no_host_answers():
    hostvars = {"db1": {"region": "east"}, "app1": {"region": "east"}, "db3": {"region": "west"}}
    assert hosts.lost_regions(hostvars, ["db3"], hostvars) == ["east"]
    assert hosts.lost_regions(hostvars, ["db3", "app1"], hostvars) == []


def test_a_standby_that_streams_from_another_host_or_went_astray_is_pointed_at_the_present_primary():
    standby = {"role": "standby", "timeline": 5}
    hostvars = {
        "db1": {
            "postgres_fqdn": "db1.example.org",
            "postgres_address": "10.0.0.1",
            "postgres_state": {"role": "primary", "timeline": 5},
        },
        "db2": {"postgres_state": {**standby, "upstream": "db9.example.org"}},
        "db3": {"postgres_state": {**standby, "upstream": "db1.example.org"}},
        "db4": {"postgres_state": {**standby, "upstream": None}},  # fed by the archive alone
        "db5": {},
        "db6": {"postgres_state": {**standby, "upstream": "10.0.0.1", "timeline": 4}},
        "db7": {"postgres_state": {**standby, "upstream": "db9.example.org", "managed_by": "Patroni"}},
    }
    assert hosts.not_following(hostvars, hostvars, "db1") == ["db2", "db6"]


def test_an_application_starts_where_it_stands_by_only_when_nothing_else_is_left():
    hostvars = {"app1": {}, "app2": {"application_stands_by": True}}
    assert hosts.serving(["app1", "app2"], hostvars) == ["app1"]
    assert hosts.serving(["app2"], hostvars) == ["app2"]


def test_wal_after_a_gap_is_not_promised():
    names = ["000000010000000000000003", "000000010000000000000004", "000000010000000000000006"]
    assert lsn.contiguous_end(names, names[0]) == names[1]
    assert lsn.contiguous_end(names, "000000010000000000000001") is None


def test_what_a_left_timeline_archived_later_is_not_promised():
    left = [f"0000000100000000000000{n:02X}" for n in range(0x10, 0x15)]  # its old primary came back
    names = [*left, "000000020000000000000011", "000000020000000000000012"]
    assert lsn.contiguous_end(names, left[0]) == names[-1]
    assert lsn.contiguous_end(left, "000000020000000000000011") is None


def test_what_another_system_archived_closes_no_gap():
    stanza = {
        "db": [{"repo-key": 1, "id": 1, "system-id": 6}, {"repo-key": 1, "id": 2, "system-id": 7}],
        "archive": [
            {"id": "17-1", "database": {"repo-key": 1, "id": 1}},
            {"id": "17-2", "database": {"repo-key": 1, "id": 2}},
        ],
    }
    assert repository.archives([stanza], "7") == [(1, "17-2")]
    assert repository.archives([stanza], "7", ["1"]) == []


def test_wal_is_followed_onto_a_newer_timeline():
    names = ["000000010000000000000003", "000000010000000000000004", "000000020000000000000004"]
    assert lsn.contiguous_end(names, names[0]) == names[2]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"system_identifier": "8"}, "belongs to system 8"),
        ({"error": True}, "checksum errors"),
        ({"wal_stop": "000000010000000000000005"}, "is not complete"),
    ],
)
def test_a_backup_that_cannot_be_used_is_passed_over_with_its_reason(changes, reason):
    usable, passed_over = repository.judge([{**BACKUP, **changes}], "7", [BACKUP["wal_start"]], timelines.Line(1, {}))
    assert not usable
    assert reason in passed_over[0]["reason"]


def test_a_repository_of_several_systems_must_be_told_which():
    with pytest.raises(Stop) as stop:
        repository.single_system([BACKUP, {**BACKUP, "system_identifier": "8"}], None)
    assert stop.value.exit_code == PRECONDITION


def test_a_repository_serves_the_system_that_it_was_given_last():
    databases = [{"repo-key": 1, "id": 1, "system-id": 7}, {"repo-key": 1, "id": 2, "system-id": 8}]
    info = [{"db": databases, "repo": [{"key": 1}, {"key": 2}]}]
    assert repository.served(info) == {1: "8", 2: None}
    assert repository.present_system(info) == "8"
    info[0]["db"].append({"repo-key": 2, "id": 1, "system-id": 7})
    assert repository.present_system(info) is None


def lines(*tokens):
    """A witness journal in which each token was sent and acknowledged in turn."""
    for token in tokens:
        yield {"event": "attempt", "probe": "commit", "token": token, "wall": f"2026-11-24T01:00:{token:02d}.1Z"}
        yield {
            "event": "result",
            "probe": "commit",
            "token": token,
            "ok": True,
            "end": f"2026-11-24T01:00:{token:02d}.2Z",
        }


def test_a_commit_missing_before_the_newest_row_is_named():
    found = reconcile.reconcile(reconcile.read_acknowledged(lines(1, 2, 3, 4, 5)), [[1, 2], [4, 4]], 1)
    assert found.missing_before_recovery_point == [3]
    assert found.missing_after_recovery_point == [5]
    assert validation.judge_tokens(found, [])["verdict"] == "failed"
    assert "3" in validation.judge_tokens(found, [])["observed"]
    assert validation.judge_tokens(found, [3])["verdict"] == "passed"


def test_a_commit_in_flight_beside_the_newest_row_was_not_promised_before_it():
    journal = list(lines(1, 2, 3))
    journal[-3]["end"] = "2026-11-24T01:00:09Z"  # token 2 was acknowledged after token 3 had been sent
    found = reconcile.reconcile(reconcile.read_acknowledged(journal), [[1, 1], [3, 3]], 1)
    assert (found.missing_before_recovery_point, found.missing_after_recovery_point) == ([], [2])


def cluster(**changes):
    """What a well restored cluster says of itself."""
    good = {
        "system_identifier": "7",
        "place": "/pg/run-1",
        "in_recovery": False,
        "timeline": 2,
        "history": "1\t0/4000000\tno recovery target specified\n",
        "segment_bytes": 16 * 1024 * 1024,
        "data_checksums": "on",
        "unreadable_databases": [],
        "invalid_indexes": 0,
        "writable": True,
    }
    return {**good, **changes}


def test_a_well_restored_cluster_passes_every_check():
    checks = validation.judge_cluster(cluster(), plans.make(request(), "run-1"))
    assert {check["verdict"] for check in checks} == {"passed"}


def test_a_promoted_standby_must_have_all_that_it_had_received():
    plan = plans.make(request(states={"db1": STANDBY}), "run-1")
    good = cluster(place="/pg/standby", history="1\t0/4000000\tno recovery target specified\n")
    assert {check["verdict"] for check in validation.judge_cluster(good, plan)} == {"passed"}
    short = {**good, "history": "1\t0/3FFFFF8\tno recovery target specified\n"}
    failed = [check["name"] for check in validation.judge_cluster(short, plan) if check["verdict"] == "failed"]
    assert failed == ["all WAL that it had received was replayed"]


@pytest.mark.parametrize(
    "changes",
    [
        {"system_identifier": "8"},
        {"place": "/var/lib/postgresql/17/main"},
        {"in_recovery": True},
        {"timeline": 1},
        {"history": "1\t0/3000000\tno recovery target specified\n"},
        {"data_checksums": "off"},
        {"unreadable_databases": ["shop"]},
        {"invalid_indexes": 1},
        {"writable": False},
    ],
)
def test_every_check_of_a_restored_cluster_can_fail(changes):
    checks = validation.judge_cluster(cluster(**changes), plans.make(request(), "run-1"))
    (failed,) = [check for check in checks if check["verdict"] == "failed"]
    # what the cluster was like before it was lost keeps no client from it
    assert failed["tier"] == ("should" if {"data_checksums", "invalid_indexes"} & set(changes) else "must")


def test_ranges_are_sets():
    assert ranges.subtract([[1, 10]], [[3, 4], [9, 20]]) == [[1, 2], [5, 8]]
    assert ranges.clip([[1, 10]], 4, 6) == [[4, 6]]
    assert ranges.to_ranges([3, 1, 2, 7]) == [[1, 3], [7, 7]]


def seen_host(region, role, **state):
    """What is known of one host."""
    return {"region": region, "postgres_state": {"role": role, **state}}


def test_standbys_are_built_where_one_is_missing_and_where_one_was_begun():
    hosts = {
        "db1": seen_host("east", "primary"),
        "db2": seen_host("east", "spare", ready=True),
        "db3": {"region": "west"},  # does not answer
        "db4": seen_host("west", "spare", ready=True),
        "db7": seen_host("east", "spare"),  # blank, and not configured
        "db5": seen_host("west", "stopped", unstarted={"run": "standby of db9", "place": "/old"}),
        "db6": seen_host("west", "stopped", unstarted={"run": "standby of db1", "place": "/new"}),
    }
    build = collection("plugins.filter.hosts").standbys_to_build
    assert build(hosts, hosts, {"east": 1, "west": 1}) == ["db2", "db6"]
    assert build(hosts, hosts, {"west": 3}) == ["db6", "db4"]
    hosts["db2"] = seen_host("east", "standby")
    assert build(hosts, hosts, {"east": 1}) == []
    hosts["db1"] = seen_host("east", "primary", managed_by="Patroni")
    assert build(hosts, hosts, {"west": 3}) == []  # it makes its own


def test_every_server_that_may_be_written_is_fenced_but_the_recovered_one():
    roles = {"db1": "primary", "db2": "unresponsive", "db3": "standby", "spare1": "primary", "spare2": "spare"}
    states = {host: {"role": role} for host, role in roles.items()}
    assert collection("plugins.filter.hosts").to_fence(states, "spare1") == ["db1", "db2"]


def test_nothing_acknowledged_proves_nothing():
    found = reconcile.reconcile(reconcile.read_acknowledged([]), [[1, 5]], 0)
    assert validation.judge_tokens(found, [])["verdict"] == "failed"


def test_a_plan_is_kept_with_its_run_and_the_run_is_bound_to_it(tmp_path):
    records.write_json(str(tmp_path / "run.json"), {"id": "run-1", "service": "shop"})
    plan = plans.make(request(), "run-1")
    records.keep_plan(str(tmp_path), plan)
    assert records.read_json(str(tmp_path / "plan.json")) == plan
    bound = {"plan_digest": records.digest(plan), "system_identifier": "7"}
    assert records.read_json(str(tmp_path / "run.json")) == {"id": "run-1", "service": "shop", **bound}
