"""The pure core: what is chosen, what is refused and with which exit code, what counts as lost."""

import copy

import pytest
from modules import collection
from pgrescue.core import lsn, plans, ranges, reconcile, repository, timelines, validation
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


def request(**changes):
    """The arguments of a plan that would be made."""
    good = {
        "procedure": "complete_loss",
        "service": "shop",
        "states": {"spare1": SPARE, "db1": {"role": "stopped"}},
        "hosts": {
            "db1": {"region": "east", "address": "10.0.0.1", "root": "/pg"},
            "spare2": {"region": "west", "address": "10.0.0.3", "root": "/pg"},
            "spare1": {"region": "east", "address": "10.0.0.2", "root": "/pg"},
        },
        "catalog": {
            "candidates": [BACKUP],
            "passed_over": [],
            "unreachable": {},
            "system_identifier": "7",
            "timeline": 1,
            "archive_end": {"segment": BACKUP["wal_stop"], "time": "2026-11-24T01:01:00Z"},
        },
        "target": None,
        "prefer_region": "east",
        "application_scale": 2,
        "postgres_version": 17,
        "despite_copies": False,
    }
    return {**copy.deepcopy(good), **changes}


def test_a_plan_restores_to_a_new_place_on_the_clean_host():
    plan = plans.make(request(), "run-1")
    assert (plan["target_host"], plan["data_directory"]) == ("spare1", "/pg/run-1")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"states": {"db2": {"role": "standby"}, "spare1": SPARE}}, REFUSED),
        ({"states": {"db2": {"role": "primary"}, "spare1": SPARE}}, REFUSED),
        ({"states": {"db2": {"role": "unresponsive"}, "spare1": SPARE}}, REFUSED),
        ({"target": "db1"}, REFUSED),
        ({"states": {"spare1": {"role": "spare"}}}, PRECONDITION),  # nobody has configured it yet
        # its server would start on what its operator configured, not on what is restored
        ({"states": {"spare1": {"role": "spare", "ready": False}}}, PRECONDITION),
        ({"states": {"db1": {"role": "stopped"}}}, PRECONDITION),
        ({"catalog": {"candidates": [], "passed_over": []}}, PRECONDITION),
    ],
)
def test_a_plan_is_refused_with_its_exit_code(changes, code):
    with pytest.raises(Stop) as stop:
        plans.make(request(**changes), "run-1")
    assert stop.value.exit_code == code


def test_a_running_copy_may_be_given_up_on_purpose():
    states = {"db2": {"role": "standby"}, "spare1": SPARE}
    assert plans.make(request(states=states, despite_copies=True), "run-1")["target_host"] == "spare1"


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
    assert [check["verdict"] for check in checks].count("failed") == 1


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


def test_every_server_that_may_be_written_is_fenced_but_the_recovered_one():
    roles = {"db1": "primary", "db2": "unresponsive", "db3": "standby", "spare1": "primary", "spare2": "spare"}
    states = {host: {"role": role} for host, role in roles.items()}
    assert collection("plugins.filter.hosts").to_fence(states, "spare1") == ["db1", "db2"]


def test_nothing_acknowledged_proves_nothing():
    found = reconcile.reconcile(reconcile.read_acknowledged([]), [[1, 5]], 0)
    assert validation.judge_tokens(found, [])["verdict"] == "failed"
