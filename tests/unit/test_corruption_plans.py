"""The cheapest safe way comes first, each way is told with its cost, and what leads nowhere is refused."""

import json

import jsonschema
import pytest
from modules import collection, module, refused
from pgrescue import schemas

plans = collection("plugins.module_utils.corruption_plans")
targets = collection("plugins.module_utils.recovery_targets")
guards = collection("plugins.module_utils.guards")

PRIMARY = {
    "role": "primary", "system_identifier": "7", "timeline": 1, "lsn": "0/9000000", "data_directory": "/pg/current",
    "settings": {},
}  # fmt: skip
STANDBY = {**PRIMARY, "role": "standby", "lsn": "0/8FFFF00", "replay": "not paused"}
SPARE = {"role": "spare", "ready": True, "data_directory": "/pg/current"}
STATES = {"db1": PRIMARY, "db2": STANDBY, "db3": SPARE}
HOSTS = {name: {"region": "east", "address": f"10.0.0.{n}", "root": "/pg"} for n, name in enumerate(STATES, 1)}
SOUND = {
    "damaged": [], "unknown": [], "data_checksums": True, "data_bytes": 10**9, "worked_s": 10.0,
    "checksum_failures": {},
}  # fmt: skip
INDEX = {
    "database": "shop", "name": "sales.orders_pkey", "sql": "sales.orders_pkey", "kind": "index", "method": "btree",
    "table": "sales.orders", "table_bytes": 10**8, "excludes": False, "catalog": False, "problems": ["invalid page"],
}  # fmt: skip
TABLE = {**INDEX, "name": "sales.orders", "kind": "table", "method": "heap"}


def backup(label, repo, stopped, lsn):
    return {
        "label": label, "repo": repo, "type": "full", "started": stopped, "stopped": stopped, "lsn_stop": lsn,
        "segment_bytes": 1 << 24, "size_bytes": 10**9, "timeline": 1, "system_identifier": "7", "proof": "unproven",
        "wal_start": "000000010000000000000002", "wal_stop": "000000010000000000000002",
        "reaches": "000000010000000000000008",
    }  # fmt: skip


CATALOG = {
    "candidates": [
        backup("new", 1, "2026-11-24T02:00:00Z", "0/8000000"),
        backup("old", 1, "2026-11-23T02:00:00Z", "0/2000000"),
        backup("far", 2, "2026-11-23T03:00:00Z", "0/3000000"),
    ],
    "passed_over": [], "system_identifier": "7", "timeline": 1, "unreachable": {},
    "archive_end": {"segment": "000000010000000000000008", "time": "2026-11-24T03:00:00Z"},
}  # fmt: skip


def request(damage, **more):
    return {
        "service": "shop", "procedure": "corruption", "states": STATES, "hosts": HOSTS, "damage": damage,
        "catalog": CATALOG, "recover_to": "latest", "exclusive": False, "backup_before": None, "method": None,
        "target": None, "prefer_region": "east", "application_scale": 2, "postgres_version": 17, "runs": [], **more,
    }  # fmt: skip


def on_primary(*damaged, **more):
    return {"db1": {**SOUND, "damaged": list(damaged), **more}, "db2": SOUND}


def make(damage, **more):
    plan = plans.make(request(damage, **more), "run-1")
    jsonschema.validate(plan, schemas.schema("plan"))
    return plan


def closed(plan, method):
    return [way.get("closed") for way in plan["ways"] if way["method"] == method]


def test_damaged_indexes_alone_are_made_again_which_loses_nothing():
    plan = make(on_primary(INDEX))
    assert (plan["method"], plan["target_host"], plan["safety_copy"]) == ("reindex", "db1", "backup")
    assert [way["method"] for way in plan["ways"]] == ["reindex", "promote", "restore", "restore"]
    first = plan["ways"][0]
    assert (first["loses_bytes"], first["takes_s"]) == (0, 2.0)
    assert first["changes"] == ["db1: REINDEX INDEX CONCURRENTLY sales.orders_pkey"]
    assert plan["indexes"] == [{k: INDEX[k] for k in ("database", "name", "sql", "method")}]
    assert (plan["candidates"], plan["irreversible"]) == ([], [])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (on_primary(INDEX, TABLE), "not only indexes"),
        (on_primary({**INDEX, "catalog": True}), "not only indexes"),
        (on_primary({**INDEX, "excludes": True}), "exclusion constraint"),
        (on_primary(INDEX, unknown=["every table is sound: shop: sales.x"]), "not everything could be looked at"),
    ],
)
def test_indexes_are_not_made_again_where_that_could_do_harm(damage, words):
    plan = make(damage)
    assert plan["method"] == "promote"
    assert words in closed(plan, "reindex")[0]


def test_a_damaged_table_is_left_for_a_sound_standby_and_what_that_loses_is_told():
    plan = make(on_primary(TABLE))
    assert (plan["method"], plan["target_host"]) == ("promote", "db2")
    assert plan["ways"][0]["loses_bytes"] == 0x100


LEFT_OUT = [f"every table is sound: shop: {plans.WITHOUT} amcheck would tell"]


@pytest.mark.parametrize(
    ("standby", "state", "words"),
    [
        ({**SOUND, "damaged": [TABLE]}, {}, "damaged too"),
        ({**SOUND, "unknown": ["every page can be read: shop: a"]}, {}, "not everything could be looked at"),
        ({**SOUND, "unknown": LEFT_OUT, "data_checksums": False}, {}, "no checksums"),
        (None, {}, "could not be looked at"),
        (SOUND, {"settings": {"recovery_min_apply_delay": "60000"}}, "stays behind on purpose"),
        (SOUND, {"replay": "paused"}, "paused"),
        (SOUND, {"timeline": 0}, "it follows timeline 0"),
    ],
)
def test_without_a_standby_that_is_known_to_be_sound_an_older_backup_is_restored(standby, state, words):
    damage = {"db1": {**SOUND, "damaged": [TABLE]}, **({"db2": standby} if standby else {})}
    plan = make(damage, states={**STATES, "db2": {**STANDBY, **state}})
    assert (plan["method"], plan["target_host"], plan["data_directory"]) == ("restore", "db3", "/pg/run-1")
    assert (plan["recovery_target"], plan["ways"][0]["loses_bytes"]) == ({"type": "default"}, 0)
    assert (plan["safety_copy"], plan["kept"]) == ("old place", {"db1": "/pg/current"})
    assert words in closed(plan, "promote")[0]


def test_a_standby_without_amcheck_whose_pages_all_have_their_checksums_is_sound():
    assert make({**on_primary(TABLE), "db2": {**SOUND, "unknown": LEFT_OUT}})["method"] == "promote"


def test_a_point_that_a_person_names_leads_to_a_restore_of_a_backup_from_before_it():
    plan = make(on_primary(), recover_to="time:2026-11-23T12:00:00+02:00")
    assert plan["recovery_target"] == {"type": "time", "value": "2026-11-23 10:00:00.000000+00", "inclusive": True}
    assert [b["label"] for b in plan["candidates"]] == ["old", "far"]
    assert plan["passed_over"][0]["label"] == "new"
    assert "loses_bytes" not in plan["ways"][0]
    assert "commits after time 2026-11-23 10:00:00.000000+00 are given up" in plan["irreversible"]
    plan = make(on_primary(), recover_to="lsn:0/3000000", exclusive=True)
    assert [b["label"] for b in plan["candidates"]] == ["old", "far"]
    assert plan["recovery_target"]["inclusive"] is False
    plan = make(on_primary(), recover_to="xid:1234")  # of which nobody knows when it was
    assert [b["label"] for b in plan["candidates"]] == ["old", "far", "new"]
    plan = make(on_primary(TABLE), method="restore", backup_before="2026-11-24T01:00:00Z")
    assert [b["label"] for b in plan["candidates"]] == ["old", "far"]


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({}, 3, "Nothing damaged was found on db1, db2"),
        ({"damage": {"db1": SOUND, "db2": {**SOUND, "damaged": [TABLE]}}}, 3, "db1, the primary, has nothing damaged"),
        ({"recover_to": "yesterday"}, 3, "names no point"),
        ({"recover_to": "time:2026-11-23T12:00:00"}, 3, "in which time zone"),
        ({"recover_to": "time:noon"}, 3, "is no time"),
        ({"recover_to": "lsn:12"}, 3, "names no point"),
        ({"recover_to": "xid:0"}, 3, "names no point"),
        ({"recover_to": "name:a", "exclusive": True}, 3, "nothing at it to leave out"),
        ({"recover_to": "lsn:0/1000000"}, 3, "No way is open"),
        ({"method": "reindex"}, 3, "no index is known to be damaged"),
        ({"recover_to": "xid:7", "states": {"db1": PRIMARY, "db2": STANDBY}}, 3, "add a spare"),
        ({"recover_to": "xid:7", "catalog": {**CATALOG, "system_identifier": "8"}}, 4, "hold system 8"),
    ],
)
def test_what_leads_nowhere_is_refused_with_the_reason(more, code, words):
    with pytest.raises(guards.Stop, match=words) as stop:
        plans.make(request(more.pop("damage", on_primary()), **more), "run-1")
    assert stop.value.exit_code == code
    assert "Nothing was changed" in str(stop.value)


def ask(tmp_path, damage, **more):
    (tmp_path / "run-1").mkdir(exist_ok=True)
    run = tmp_path / "run-1/run.json"
    if not run.exists():
        run.write_text("{}")
    given = {k: v for k, v in request(damage, **more).items() if v is not None and k != "runs"}
    return module("plan_corruption")(run_dir=str(tmp_path / "run-1"), **given)


def test_a_plan_is_written_with_all_ways_and_kept_by_a_resumed_run(tmp_path):
    answer = ask(tmp_path, on_primary(INDEX))
    assert (answer["changed"], answer["plan"]["method"]) == (True, "reindex")
    said = " / ".join(entry["detail"] for entry in answer["journal"])
    assert "Way reindex db1: loses nothing, takes about 2 s" in said
    assert "Way promote db2: loses 256 bytes of WAL, how long was never measured" in said
    assert json.loads((tmp_path / "run-1/ways.json").read_text()) == answer["plan"]["ways"]
    again = ask(tmp_path, on_primary(TABLE), method="restore")
    assert (again["changed"], again["plan"]) == (False, answer["plan"])


def test_to_promote_is_another_procedure_which_is_named_and_nothing_is_bound(tmp_path):
    answer = ask(tmp_path, on_primary(TABLE))
    assert refused(
        answer, 9, "promote db2", "pgrescue recover failover -s shop -e recovery_on=db2", "Nothing was changed"
    )
    assert answer["ways"][0]["method"] == "promote"
    assert not (tmp_path / "run-1/plan.json").exists()
    assert ask(tmp_path, on_primary(TABLE), method="restore")["plan"]["method"] == "restore"


def test_check_mode_shows_the_plan_and_writes_nothing(tmp_path):
    given = {k: v for k, v in request(on_primary(TABLE)).items() if v is not None and k != "runs"}
    answer = module("plan_corruption")(check=True, run_dir=str(tmp_path / "run-1"), **given)
    assert (answer["plan"]["method"], list(tmp_path.iterdir())) == ("promote", [])


def test_a_target_that_was_passed_is_refused_and_one_ahead_is_not():
    standing = {"lsn": "0/5000000", "time": "2026-11-24T01:00:00Z"}
    for behind in ("lsn:0/4FFFFFF", "time:2026-11-24T00:59:59Z"):
        with pytest.raises(guards.Stop, match="only goes forward"):
            targets.check_ahead(targets.parse(behind), standing)
    for ahead in ("lsn:0/5000001", "time:2026-11-24T01:00:01Z", "xid:9", "name:a"):
        targets.check_ahead(targets.parse(ahead), standing)


def cluster(**changes):
    good = {
        "system_identifier": "7", "place": "/pg/run-1", "in_recovery": False, "timeline": 2,
        "history": "1\t0/4000000\tbefore transaction 7\n", "segment_bytes": 1 << 24, "data_checksums": "on",
        "unreadable_databases": [], "invalid_indexes": 0, "writable": True,
    }  # fmt: skip
    return {**good, **changes}


def failed(seen, plan):
    judge = collection("plugins.module_utils.validation").judge_cluster
    return [check["name"] for check in judge(seen, plan) if check["verdict"] == "failed"]


def test_a_copy_that_went_beyond_the_point_that_was_approved_is_not_taken():
    plan = make(on_primary(), recover_to="xid:7")
    assert failed(cluster(), {**plan, "approval": {"lsn": "0/4000000"}}) == []
    assert failed(cluster(), {**plan, "approval": {"lsn": "0/3FFFFF8"}}) == ["replay ended where it was approved"]
    assert failed(cluster(), plan) == ["all archived WAL was replayed"]


def test_a_cluster_that_was_repaired_where_it_is_keeps_its_place_and_its_timeline():
    plan = make(on_primary(INDEX))
    here = {key: value for key, value in cluster(place="/pg/17/main", timeline=1).items() if key != "history"}
    assert failed(here, plan) == []
    assert failed({**here, "invalid_indexes": 1}, plan) == ["every index is valid"]
    assert failed({**here, "system_identifier": "8"}, plan) == ["the database system is the planned one"]
