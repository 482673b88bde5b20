"""What is concluded from what all places see, and what is proposed then."""

from __future__ import annotations

from typing import Any

import pytest
from pgrescue.core import proposals, scene, situations
from scenes import LIMITS, PROMISE, cut, fail_calls, fail_writes, knock, server, spare, stopped, well

KNOWN: dict[str, Any] = {
    "primary": "db1",
    "standbys": ["db2", "db3"],
    "power": {},
    "baseline": {},
    "checksum_failures": {},
}
MISSED = '2026-11-24 01:00:00.000 UTC [77] ERROR:  relation "products" does not exist'
OFF = {"on": False, "said": "the host is exited"}
ON = {"on": True, "said": "the host is running"}
GONE = "connection to server at 10.0.1.11, port 5432 failed: timeout expired"


def judge(looks: dict[str, Any], promise: dict[str, Any] | None = None, **known: Any) -> dict[str, Any]:
    return situations.judge(scene.Scene(promise or PROMISE, looks, {**KNOWN, **known}))


def request(looks: dict[str, Any], **more: Any) -> dict[str, Any]:
    backup = {
        "label": "20261124-010000F",
        "repo": 1,
        "wal_start": "000000030000000000000004",
        "size_bytes": 30 << 20,
        "segment_bytes": 16 << 20,
    }
    catalog = {
        "candidates": [backup],
        "passed_over": [],
        "unreachable": {},
        "system_identifier": "7432",
        "timeline": 3,
        "archive_end": {"segment": "000000030000000000000005", "time": "2026-11-24T01:00:00Z"},
    }
    return {
        "service": "shop",
        "inventory": "inventories/prod",
        "states": scene.Scene(PROMISE, looks, KNOWN).states(),
        "hosts": PROMISE["hosts"],
        "catalog": catalog,
        "dumps": {},
        "runs": [],
        "prefer_region": "east",
        "manager": "",
        "last_acknowledged_s": None,
        **more,
    }


def region_gone() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db1", "db2", "spare1", "app1")
    looks["db3"]["server"]["streaming"] = False
    fail_writes(looks, GONE)
    fail_calls(looks, "timed out")
    return looks, {}


def everything_lost() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db1", "db2", "db3")
    fail_writes(looks, GONE)
    return looks, {"power": dict.fromkeys(("db1", "db2", "db3"), OFF)}


def isolated() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db1")
    fail_writes(looks, GONE)
    for host in ("db2", "db3"):
        looks[host]["server"]["streaming"] = False
    return looks, {"power": {"db1": ON}}


def cut_from_clients() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_writes(looks, GONE)
    for place in ("app1", "app2", "client1"):
        looks[place]["ports"]["db1"] = "silent"
    return looks, {"reaches": {place: ["db1"] for place in ("app1", "app2", "client1")}}


def host_gone() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db1")
    fail_writes(looks, GONE)
    for host in ("db2", "db3"):
        looks[host]["server"]["streaming"] = False
    return looks, {"power": {"db1": OFF}}


def data_gone() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"] = spare()
    knock(looks, "db1", "refused")
    fail_writes(looks, "connection refused")
    return looks, {}


def stopped_unlooked() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db1", did="refused")
    fail_writes(looks, "connection refused")
    return looks, {}


def recovering() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    said = "the database system is starting up"
    looks["db1"]["server"] = stopped(role="unresponsive", status="starting", alive=True, problem="FATAL: " + said)
    fail_writes(looks, said, "57P03")
    return looks, {}


def full() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"]["disks"][0]["free_bytes"] = 4096
    fail_writes(looks, 'could not extend file "base/5/16384": No space left on device', "53100")
    return looks, {}


def full_and_stopped() -> tuple[dict[str, Any], dict[str, Any]]:
    looks, known = stopped_server()
    looks["db1"]["server"]["disks"][0]["free_bytes"] = 0
    return looks, known


def damaged() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    said = 'invalid page in block 0 of relation "base/5/16390"'
    fail_calls(looks, said, ("products",))
    looks["db1"]["server"]["says"] = ["2026-11-24 01:00:00.000 UTC [77] ERROR:  " + said]
    return looks, {}


def stopped_server() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"] = stopped()
    knock(looks, "db1", "refused")
    fail_writes(looks, "connection refused")
    return looks, {}


def hung() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"] = {"unanswered_s": 2.0}
    knock(looks, "db1", "silent")
    fail_writes(looks, "no answer")
    return looks, {}


def no_connections() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"]["sessions"] = 57
    fail_writes(looks, "remaining connection slots are reserved for roles with the SUPERUSER attribute", "53300")
    return looks, {}


def read_only() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"]["settings"]["default_transaction_read_only"] = "on"
    fail_writes(
        looks, "cannot execute INSERT in a read-only transaction", "25006", in_recovery=False, server="10.0.1.11"
    )
    return looks, {}


def wrong_role() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_writes(
        looks, "cannot execute INSERT in a read-only transaction", "25006", in_recovery=True, server="10.0.1.12"
    )
    for look in looks.values():
        look["name"]["addresses"] = ["10.0.1.12"]
    return looks, {}


def misled() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    for look in looks.values():
        look["name"]["addresses"] = ["10.0.9.9"]
    fail_writes(looks, GONE)
    return looks, {}


def names_silent() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    for look in looks.values():
        look["name"] = {"addresses": [], "problem": "Temporary failure in name resolution"}
    fail_writes(looks, "Temporary failure in name resolution")
    return looks, {}


def unconfirmed() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"].update(unconfirmed=7)
    looks["db1"]["server"]["settings"]["synchronous_standby_names"] = "FIRST 1 (db2)"
    fail_writes(looks, "no answer")
    return looks, {}


def table_gone() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_calls(looks, 'relation "products" does not exist', ("products",))
    return looks, {}


def table_gone_and_too_busy_to_say() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_calls(looks, "no answer within 2 s", ("products",))
    looks["db1"]["server"]["misses"] = [MISSED, MISSED]
    return looks, {}


def stale_content() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_calls(looks, "its newest content is 400 s old", ("products",), age_s=400.0)
    return looks, {}


def application_only() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_calls(looks, "connection refused")
    return looks, {}


def slow() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    for place in ("app1", "client1"):
        looks[place]["write"]["took_s"] = 1.7
    return looks, {}


def stale() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"]["lsn"] = "1/0"
    looks["db3"]["server"]["lsn"] = "1/0"
    looks["db2"]["server"].update(replay="paused")
    return looks, {}


def standby_lost() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    cut(looks, "db2")
    return looks, {}


def unarchived() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db1"]["server"]["archiver"] = {"archived_s": 900.0, "failed_s": 950.0}
    return looks, {}


def filling() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db2"]["server"]["disks"][0]["free_bytes"] = 2 << 30
    return looks, {}


def two_primaries() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    looks["db2"]["server"] = server("primary", timeline=4)
    return looks, {}


def blind() -> tuple[dict[str, Any], dict[str, Any]]:
    return {place: {"place": place, "unreachable": "Network is unreachable"} for place in well()}, {}


def unseen() -> tuple[dict[str, Any], dict[str, Any]]:
    looks = well()
    fail_writes(looks, "SSL error: unexpected eof while reading")
    return looks, {}


MATRIX = {  # what is seen: the situation, and what is proposed first
    region_gone: ("region_gone", "region_failure"),
    everything_lost: ("everything_lost", "complete_loss"),
    isolated: ("partitioned", "failover"),
    cut_from_clients: ("partitioned", "mend_path"),
    host_gone: ("host_gone", "failover"),
    data_gone: ("data_gone", "failover"),
    stopped_unlooked: ("stopped", "restart"),
    recovering: ("recovering", "wait"),
    full: ("full", "free_disk"),
    full_and_stopped: ("full", "free_disk"),
    damaged: ("damaged", "corruption"),
    stopped_server: ("stopped", "restart"),
    hung: ("hung", "restart"),
    no_connections: ("no_connections", "end_sessions"),
    read_only: ("read_only", "allow_writes"),
    wrong_role: ("wrong_role", "point_name"),
    misled: ("misled", "point_name"),
    names_silent: ("names_silent", "mend_names"),
    unconfirmed: ("unconfirmed", "let_commit"),
    table_gone: ("table_gone", "partial_loss"),
    table_gone_and_too_busy_to_say: ("table_gone", "partial_loss"),
    stale_content: ("stale_content", "mend_application"),
    application_only: ("application_only", "mend_application"),
    slow: ("slow", "look"),
    stale: ("stale", "wait"),
    standby_lost: ("standby_lost", "rebuild_standbys"),
    unarchived: ("unarchived", "lint"),
    filling: ("filling", "free_disk"),
    two_primaries: ("two_primaries", "close"),
    blind: ("blind", "look"),
    unseen: ("unseen", "look"),
}
NEEDS_IT = {"region_gone", "everything_lost", "partitioned", "host_gone", "data_gone", "damaged"}


@pytest.mark.parametrize("seen", MATRIX, ids=lambda seen: seen.__name__)
def test_each_state_is_told_from_the_others_and_gets_its_proposal(seen):
    looks, known = seen()
    found = judge(looks, **known)
    state, first = MATRIX[seen]
    assert found["state"] == state, (found["state"], found["facts"], found["refuted"])
    offered = proposals.propose(found, request(looks))
    assert offered["proposed"][0]["do"] == first, offered
    assert state in NEEDS_IT or not any(way["destructive"] for way in offered["proposed"])


@pytest.mark.parametrize("seen", MATRIX, ids=lambda seen: seen.__name__)
def test_a_conclusion_has_two_facts_from_different_places(seen):
    looks, known = seen()
    found = judge(looks, **known)
    assert len({said["by"] for said in found["facts"]}) >= (1 if found["state"] in situations.ALONE else 2)
    order = [state for state, _level, _rule in situations.RULES]
    assert [one["state"] for one in found["refuted"]] == order[: order.index(found["state"])]
    assert all(one["why"] for one in found["refuted"])


def test_every_rule_is_in_the_matrix_and_has_an_order_of_proposals():
    states = {state for state, _level, _rule in situations.RULES}
    assert states == {state for state, _first in MATRIX.values()}
    assert states | {"well"} == set(proposals.ORDER)
    wanted = {what for order in proposals.ORDER.values() for what in order} | {"mend_path"}
    assert wanted <= set(proposals.OTHERS) | set(proposals.RUNBOOKS)


def test_a_service_that_is_well_is_well():
    found = judge(well())
    assert (found["state"], found["level"], found["doubts"]) == ("well", "none", [])
    assert proposals.propose(found, request(well()))["proposed"] == []


def test_what_one_place_alone_sees_is_a_doubt_and_no_situation():
    looks = well()
    looks["app1"]["write"].update(ok=False, problem="no answer")
    found = judge(looks)
    assert found["state"] == "well"
    assert found["doubts"] == [{"by": "app1", "says": "a write through the service's name fails: no answer"}]


def test_a_look_that_is_unanswered_at_one_place_is_no_hung_server():
    looks = well()
    looks["db1"]["server"] = {"unanswered_s": 2.0}
    assert judge(looks)["state"] == "well"


def test_a_standby_that_stays_behind_on_purpose_is_not_stale():
    looks, _known = stale()
    looks["db2"]["server"]["settings"]["recovery_min_apply_delay"] = "3600000"
    assert judge(looks)["state"] == "well"


def test_commits_that_wait_and_leave_no_connection_are_what_it_is_about():
    looks, _known = unconfirmed()
    fail_writes(looks, "too many connections for role", "53300")
    assert judge(looks)["state"] == "unconfirmed"


@pytest.mark.parametrize(
    ("problem", "state", "wanted"),
    [
        ("FATAL: sorry, too many clients already", "53300", "no_connections"),
        ("read-only transaction", "25006", "read_only"),
    ],
)
def test_a_primary_that_answers_its_clients_is_not_partitioned_though_nobody_can_look(problem, state, wanted):
    looks = well()
    looks["db1"] = {"place": "db1", "unreachable": "sudo: a password is required"}
    fail_writes(looks, problem, state, in_recovery=False)
    for host in ("db2", "db3"):
        looks[host]["server"]["streaming"] = False
    found = judge(looks)
    assert found["state"] == wanted
    assert not any(way["destructive"] for way in proposals.propose(found, request(looks))["proposed"])


def test_ports_that_were_never_reached_prove_no_partition():
    looks, _known = full()
    for place in ("app1", "app2", "client1"):
        looks[place]["ports"]["db1"] = "silent"
    assert judge(looks, reaches={place: [] for place in ("app1", "app2", "client1")})["state"] == "full"


def test_one_endpoint_that_fails_gives_no_region_up():
    looks, _known = region_gone()
    for look in looks.values():
        if "write" in look:
            look["write"].update(ok=True, problem=None)
    assert judge(looks)["state"] == "application_only"


def test_without_any_place_that_writes_an_outage_is_seen_by_what_others_see():
    looks, known = region_gone()
    cut(looks, "app2", "client1")
    found = judge(looks, **known)
    assert found["state"] == "region_gone"
    looks, _known = stopped_server()
    for place in ("app1", "app2", "client1"):
        looks[place]["write"] = {"unasked": "ModuleNotFoundError: psycopg"}
        looks[place]["http"] = {}
    found = judge(looks)
    assert found["state"] == "stopped" and "cannot write" in found["doubts"][0]["says"]


def test_places_that_are_not_equipped_see_nothing_and_are_named():
    looks = well()
    for place in ("app1", "app2", "client1"):
        looks[place]["write"].update(ok=False, problem="fe_sendauth: no password supplied", unequipped=True)
    found = judge(looks)
    assert found["state"] == "well" and len(found["doubts"]) == 3
    assert all("not equipped" in one["says"] and "playbooks/keep_watch.yml" in one["says"] for one in found["doubts"])


def test_a_broken_login_on_the_host_is_no_hung_server():
    looks = well()
    looks["db1"]["server"] = stopped(
        role="unresponsive", status="ready", alive=True, problem="FATAL: no pg_hba.conf entry"
    )
    fail_calls(looks, "connection refused")
    assert judge(looks)["state"] == "application_only"
    looks["db1"]["server"]["problem"] = "connection timeout expired"
    assert judge(looks)["state"] == "application_only"  # clients write


def test_a_stranger_who_writes_into_the_log_makes_nothing_damaged():
    looks = well()
    for host in ("db1", "db2"):
        looks[host]["server"]["says"] = [
            '2026-11-24 01:00:00 UTC [7] FATAL:  role "ERROR:  invalid page in block 0" does not exist',
            "2026-11-24 01:00:00 UTC [7] STATEMENT:  SELECT 'invalid page in block 0'",
        ]
    assert judge(looks)["state"] == "well"


def test_what_somebody_else_misses_is_not_why_the_application_is_down():
    looks, _ = application_only()
    looks["db1"]["server"]["misses"] = [MISSED]
    assert judge(looks)["state"] == "application_only"
    looks = well()
    looks["db1"]["server"]["misses"] = [MISSED] * 10
    assert judge(looks)["state"] == "well"


def test_a_promoted_standby_is_not_lost_and_one_that_was_taken_out_is_not_missed():
    looks, _known = host_gone()
    looks["db2"]["server"] = server("primary", timeline=4)
    looks["db3"]["server"].update(streaming=True)
    for look in looks.values():
        if "write" in look:
            look["write"].update(ok=True, problem=None, server="10.0.1.12")
        look.get("name", {})["addresses"] = ["10.0.1.12"]
    assert judge(looks, primary="db2", standbys=["db2", "db3", "db9"])["state"] == "well"


def test_damage_of_a_standby_is_told_of_the_standby():
    looks = well()
    looks["db2"]["server"]["says"] = ["2026-11-24 01:00:00 UTC [7] WARNING:  page verification failed, calculated 1"]
    found = judge(looks)
    assert (found["state"], found["level"]) == ("standby_lost", "ticket")


def test_facts_hold_nothing_that_a_terminal_obeys():
    looks, _known = application_only()
    for look in looks.values():
        for call in (look.get("http") or {}).values():
            call["problem"] = "\x1b[2J\u202egone"
    assert not any({"\x1b", "\u202e"} & {*said["says"]} for said in judge(looks)["facts"])


def test_a_service_behind_a_proxy_is_not_misled():
    looks, _known = misled()
    assert judge(looks, {**PROMISE, "proxies": ["10.0.9.9"]})["state"] == "unseen"


def test_the_usual_slowness_of_a_place_is_taken_into_account():
    looks, _known = slow()
    usual = {place: {"write": 0.5} for place in ("app1", "client1")}
    assert judge(looks, baseline=usual)["state"] == "well"


def test_checksum_failures_from_before_the_watch_are_old_news():
    looks = well()
    looks["db1"]["server"]["checksum_failures"] = 3
    assert judge(looks, checksum_failures={"db1": 3})["state"] == "well"
    looks["db1"]["server"]["says"] = ["2026-11-24 01:00:00 UTC [7] WARNING:  page verification failed, calculated 1"]
    assert judge(looks, checksum_failures={"db1": 2})["state"] == "damaged"


def test_without_a_usable_standby_the_backup_is_proposed():
    looks, known = host_gone()
    cut(looks, "db2", "db3")
    known["power"] |= {"db2": ON, "db3": ON}
    found = judge(looks, **known)
    offered = proposals.propose(found, request(looks))
    assert found["state"] == "host_gone" and offered["proposed"][0]["do"] == "complete_loss"
    assert offered["not_offered"][0]["do"] == "failover"


def test_two_standbys_are_ranked_and_figures_come_from_earlier_runs():
    looks, known = host_gone()
    looks["db2"]["server"]["received"] = "0/5000000"
    runs = [{"method": "promote", "procedure": "failover", "rta_s": took} for took in (9.0, 11.0, 12.0)]
    first = proposals.propose(judge(looks, **known), request(looks, runs=runs, last_acknowledged_s=991.5))["proposed"][
        0
    ]
    assert (first["host"], first["loses_bytes"], first["loses_s"], first["takes_s"]) == ("db3", 0, 1.5, 11.0)
    assert first["takes_p95_s"] > 12.0


def test_spares_alone_are_no_copy():
    looks, known = everything_lost()
    looks["db2"] = {"place": "db2", "at": 1.0, "server": spare(), "ports": {}}
    assert judge(looks, **known)["state"] == "everything_lost"
    assert LIMITS["slow_factor"] == 5.0
