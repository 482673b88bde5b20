"""Each alert fires for its fault and for no other, and none fires while all is well. Judged by Prometheus itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from modules import collection
from pgrescue.core import series as table

from monitoring import (
    FOLLOWS,
    HOUSE,
    INSTANCES,
    MORE,
    RULES,
    Values,
    inventory_rules,
    judged,
    of,
    promtool,
    series,
    well,
    well_dumped,
)

FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'


def firing(folder: Any, values: Values, at: str = "2h", **inventory: Any) -> set[str]:
    """The alerts that fire then, in promtool's own words."""
    said = judged(folder, values, f"{FIRING} * 0", [{"labels": '{alertname="none"}', "value": 0}], at, **inventory)
    assert "got:" in said, said
    got = said.split("got:")[1]
    return {part.split('"')[1] for part in got.split("alertname=")[1:]} - {"Watchdog"}


def gone(values: Values, *parts: str) -> Values:
    """Without the series whose names hold one of these."""
    return {name: None for name in values if any(part in name for part in parts)}


def every(values: Values, part: str, value: str) -> Values:
    """Another value for the series whose names hold this."""
    found: Values = {name: value for name in values if part in name}
    assert found, part
    return found


WELL = well()
PRIMARY, REPO = of("db1"), {"cluster": "shop", "engine": "pgbackrest", "repo": 1, "instance": of("db1")["instance"]}
RUN = "run_rta_seconds"
P = "PgRescue"
FAULTS: dict[str, tuple[Values, set[str]]] = {
    "RecoveryPointStale": (every(WELL, "recovery_point", "-80000x150"), {"RecoveryPointAging"}),
    "RecoveryPointAging": (every(WELL, "recovery_point", "-60000x150"), set()),
    "RecoveryPointMissing": (gone(WELL, "recovery_point"), set()),
    "WalGap": ({series("wal_gap_segments", cluster="shop", instance=PRIMARY["instance"]): "0x100 3x50"}, set()),
    "ArchiverFailing": (
        {series("archiver_last_failure_timestamp_seconds", **PRIMARY): FOLLOWS,
         series("archiver_last_success_timestamp_seconds", **PRIMARY): "100x150"}, set()),
    "BackupOverdue": (every(WELL, "backup_last_success", "-90000x150"), set()),
    "BackupTelemetryMissing": (gone(WELL, "backup_last_success"), set()),
    "BackupFailed": ({series("backup_last_attempt_success", **REPO): "0x150"}, set()),
    "BackupUnusable": (every(WELL, "backup_unusable", "1x150"), set()),
    "RepositoryUnreachable": (
        {series("repository_reachable", cluster="shop", repo=2, instance=of(host)["instance"]): "0x150"
         for host in ("db1", "db2")}, set()),
    "NoRepository": (every(WELL, "repository_reachable", "0x150"), {"RepositoryUnreachable"}),
    "NoPrimary": (
        {**every(WELL, "server_primary", "0x150"), **every(WELL, "witness_last", "0+60x110 6600x40")},
        {"WitnessSilent"}),
    "TwoPrimaries": (every(WELL, "server_primary", "1x150"), {"StandbyLost"}),
    "StandbyLost": ({series("server_running", **of("db2")): "0x150"}, set()),
    "StandbyLagging": (every(WELL, "standby_lag", "1e9x150"), set()),
    "ChecksumFailure": ({series("checksum_failures", **of("db2")): "0x110 1x40"}, set()),
    "DiskFilling": (every(WELL, "disk_free_inodes", "1e6x150"), set()),
    "DiskFull": (every(WELL, "disk_free_bytes", "4e9x150"), {"DiskFilling"}),
    "WitnessSilent": (every(WELL, "witness_last", "0+60x110 6600x40"), set()),
    "WitnessMissing": (gone(WELL, "witness_last"), set()),
    "RestoreTestOverdue": (every(WELL, "restore_test", "-700000x150"), set()),
    "RestoreTestMissing": (gone(WELL, "restore_test"), set()),
    "DrillOverdue": (every(WELL, "drill_last", "-9000000x150"), set()),
    "DrillMissing": (gone(WELL, "drill_last"), set()),
    "ObjectiveMissed": (every(WELL, RUN, "4000x150"), set()),
    "ExporterDown": ({series("up", job="pgrescue", instance=INSTANCES[1]): "0x150"}, set()),
    "Blind": (every(WELL, "up{", "0x150"), {"ExporterDown"}),
    "CollectorFailing": ({series("collector_success", collector="repository", **of("db2")): "0x150"}, set()),
    "WatchSilent": (every(WELL, "watch_last", "0+60x110 6600x40"), set()),
    "TextfileStale": (every(WELL, "node_textfile", "0+60x90 5400x60"), set()),
    "RecordsMissing": (gone(WELL, "records_problems"), set()),
    "RecordsUnreadable": (every(WELL, "records_problems", "1x150"), set()),
}  # fmt: skip


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_prometheus_takes_the_rules_and_what_the_inventory_becomes(tmp_path):
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory_rules()))
    hurried = collection("plugins.module_utils.alert_rules").hurried(yaml.safe_load(RULES.read_text()), 30)
    (tmp_path / "hurried.yml").write_text(yaml.safe_dump(hurried))
    done = promtool("check", "rules", str(RULES), *map(str, tmp_path.glob("*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "wrong.yml").write_text(RULES.read_text().replace("max by (cluster)", "max by cluster", 1))
    assert promtool("check", "rules", str(tmp_path / "wrong.yml")).returncode != 0


def test_every_alert_but_the_one_that_always_fires_has_its_fault():
    assert {P + name for name in (*FAULTS, "DumpOverdue")} | {"Watchdog"} == set(alerts())


def test_while_all_is_well_nothing_fires_but_the_watchdog(tmp_path):
    assert firing(tmp_path, WELL) == set()
    assert judged(tmp_path, WELL, FIRING, [{"labels": '{alertname="Watchdog"}', "value": 1}]) == ""


@pytest.mark.parametrize("name", FAULTS)
def test_an_alert_fires_for_its_fault_and_others_only_where_they_follow(name, tmp_path):
    values, others = FAULTS[name]
    assert firing(tmp_path, {**WELL, **values}) == {P + one for one in (name, *others)}


def test_a_service_with_no_telemetry_at_all_is_paged(tmp_path):
    assert firing(tmp_path, {}) >= {P + "Blind", P + "RecoveryPointMissing"}


def test_nobody_is_paged_for_a_primary_whose_exporter_alone_is_gone(tmp_path):
    values = gone(WELL, f'instance="{PRIMARY["instance"]}"')
    values[series("up", job="pgrescue", instance=PRIMARY["instance"])] = "0x150"
    assert firing(tmp_path, {**WELL, **values}) == {P + "ExporterDown"}


@pytest.mark.parametrize("what", ["disk_free_bytes", "disk_free_inodes"])
def test_when_a_disk_is_full_is_told_from_hours_and_not_from_a_burst(tmp_path, what):
    half, minute = (4.9e10, 3e7) if what == "disk_free_bytes" else (4.9e6, 3e3)
    longer: Values = {name: str(value).replace("x150", "x400") for name, value in WELL.items()}
    steady = every(longer, what, f"{half}-{minute}x400")
    assert firing(tmp_path, {**longer, **steady}, at="390m") == {P + "DiskFull"}
    burst = every(longer, what, f"{half}x360 {half}-{10 * minute}x40")
    assert firing(tmp_path, {**longer, **burst}, at="390m") == set()
    assert firing(tmp_path, {**WELL, **every(WELL, what, f"{half}-{minute}x150")}) == set(), (
        "it is measured for two hours"
    )


def test_a_standby_that_runs_and_receives_nothing_is_lost_too(tmp_path):
    values = {**every(WELL, "standbys_streaming", "0x150"), **gone(WELL, "standby_lag")}
    assert firing(tmp_path, {**WELL, **values}) == {P + "StandbyLost"}


def test_every_alert_says_what_it_is_and_what_to_type_next():
    for name, rule in alerts().items():
        assert rule["labels"]["severity"] in ("page", "ticket", "none"), name
        assert set(rule["annotations"]) == {"summary", "command"}, name


def test_every_series_that_a_rule_asks_for_is_exported():
    asked = set(re.findall(r"\bpgrescue_[a-z_]+", RULES.read_text()))
    made = {
        rule["record"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    groups = {group["name"] for group in yaml.safe_load(RULES.read_text())["groups"]}
    assert asked - set(table.BY_NAME) - groups <= {"pgrescue_records", "pgrescue_expected_cluster"}
    assert {one.name for one in table.TABLE if one.by == "rules"} <= made | {
        rule["record"] for group in inventory_rules()["groups"] for rule in group["rules"]
    }


def test_a_person_is_told_before_the_objective_is_lost(tmp_path):
    """Where there are only dumps as much earlier as the longest takes."""
    slow = {
        series("backup_last_success_timestamp_seconds", cluster="shop", engine="dump", repo=1, type="dump"): "0x150",
        series("backup_last_duration_seconds", cluster="shop", engine="dump", repo=1, type="dump"): "2400x150",
    }
    told = ((WELL, 86400 - 1800, {}), ({**WELL, **slow}, 86400 - 1800, {}), (DUMPED, 86400 - 1800 - 2400, ONLY_DUMPED))
    for values, seconds, inventory in told:
        expected = [{"labels": 'pgrescue:reachable_rpo_seconds{cluster="shop"}', "value": seconds}]
        assert judged(tmp_path, values, "pgrescue:reachable_rpo_seconds", expected, **inventory) == ""
        wrong = [{**expected[0], "value": seconds + 1}]
        assert judged(tmp_path, values, "pgrescue:reachable_rpo_seconds", wrong, **inventory) != ""


def test_the_word_of_a_host_that_was_primary_once_is_not_taken_for_the_last(tmp_path):
    other = {**REPO, "instance": "10.0.0.2:9188"}
    old = {
        series("backup_last_attempt_timestamp_seconds", **other): "-90000x150",
        series("backup_last_attempt_success", **other): "0x150",
    }
    assert firing(tmp_path, {**WELL, **old}) == set()


def test_one_failure_in_thirty_is_96_7_percent_and_a_day_left_out_shows(tmp_path):
    day = 24  # hours, which are the steps
    labels = {"cluster": "shop", "engine": "pgbackrest", "repo": 1}
    last = [n if n != 15 else 14 for n in range(31)]  # a backup each midnight, and none on the fifteenth day
    values: Values = {
        series("backup_attempts_total", result="passed", **labels): " ".join(
            f"{n if n < 15 else n - 1}x{day - 1}" for n in range(31)
        ),
        series("backup_attempts_total", result="failed", **labels): f"0x{15 * day - 1} 1x{17 * day}",
        series("backup_last_success_timestamp_seconds", type="full", **labels): " ".join(
            f"{86400 * n}x{day - 1}" for n in last
        ),
    }
    rules = (
        "backup_attempts_passed:30d",
        "backup_attempts:30d",
        "backup_last_success_timestamp_seconds",
        "backup_gap_seconds:30d",
    )
    slow = [f"pgrescue:{name}" for name in rules]
    asked = {
        "pgrescue:backup_attempts:30d": 30,
        "pgrescue:backup_attempts_passed:30d": 29,
        "round(1000 * pgrescue:backup_attempts_passed:30d / pgrescue:backup_attempts:30d)": 967,
        "pgrescue:backup_gap_seconds:30d / 3600": 47,  # as seen each hour; two days, not the mean of a day
    }
    for expression, value in asked.items():
        name = expression if expression.endswith(":30d") and "/" not in expression else ""
        expected = [{"labels": f'{name}{{cluster="shop"}}', "value": value}]
        assert judged(tmp_path, values, expression, expected, "30d12h", slow) == ""


DUMPED = well_dumped()
# what is promised of it, less the time to put it right and to dump once more: 86400 - 1800 - 2400
DUMP_FAULTS: dict[str, tuple[Values, set[str]]] = {
    "RecoveryPointStale": (every(DUMPED, "recovery_point", "-75600x150"), {"RecoveryPointAging"}),
    "RecoveryPointAging": (every(DUMPED, "recovery_point", "-60000x150"), set()),
    "RecoveryPointMissing": (gone(DUMPED, "recovery_point"), set()),
    "BackupOverdue": (every(DUMPED, "backup_last_success", "-90000x150"), set()),
    "BackupTelemetryMissing": (gone(DUMPED, "backup_last_success"), set()),
    "BackupFailed": (every(DUMPED, "backup_last_attempt_success", "0x150"), set()),
    "BackupUnusable": (every(DUMPED, "backup_unusable", "1x150"), set()),
    "NoRepository": (every(DUMPED, "repository_reachable", "0x150"), {"RepositoryUnreachable"}),
    "RestoreTestOverdue": (every(DUMPED, "restore_test", "-700000x150"), set()),
    "Blind": (every(DUMPED, "up{", "0x150"), {"ExporterDown"}),
    "CollectorFailing": (every(DUMPED, "collector_success", "0x150"), set()),
}
ONLY_DUMPED: dict[str, Any] = {"hosts": {"databases": 0, "standbys": 0}, "instances": INSTANCES[:1]}


def test_of_a_service_with_nothing_but_a_url_no_witness_and_no_drill_is_missed(tmp_path):
    assert firing(tmp_path, DUMPED, **ONLY_DUMPED) == set()
    bare = gone(WELL, "witness_last", "drill_last")
    assert firing(tmp_path, {**WELL, **bare}) == {P + "WitnessMissing", P + "DrillMissing"}


def test_an_inventory_that_was_rendered_before_has_every_alert(tmp_path):
    """The rules are shared: they are new for a service whose own file is not yet."""
    rules = inventory_rules()
    (group,) = rules["groups"]
    group["rules"] = [rule for rule in group["rules"] if rule["record"] != "pgrescue_expected_database_hosts"]
    bare = {**WELL, **gone(WELL, "witness_last", "drill_last", "repository_reachable", "backup_last_success")}
    said = judged(tmp_path, bare, f"{FIRING} * 0", [{"labels": '{alertname="none"}', "value": 0}], rules=rules)
    got = {part.split('"')[1] for part in said.split("got:")[1].split("alertname=")[1:]} - {"Watchdog"}
    assert got == {P + "WitnessMissing", P + "DrillMissing", P + "BackupTelemetryMissing"}


BOTH: dict[str, Any] = {"more": {**MORE, "dump_age_s": 93600}}
BACKED_UP = {**DUMPED, **WELL, series("up", job="pgrescue", instance=INSTANCES[0]): "1x150"}
REPOSITORIES = {name: "0x150" for name in WELL if "repository_reachable" in name}


@pytest.mark.parametrize(
    ("values", "fires"),
    [
        ({}, set()),
        (every(WELL, "backup_last_success", "-90000x150"), {"BackupOverdue"}),
        (gone(WELL, "backup_last_success"), {"BackupTelemetryMissing"}),
        (gone(WELL, "recovery_point"), {"RecoveryPointMissing"}),
        (REPOSITORIES, {"NoRepository", "RepositoryUnreachable"}),
        (every(DUMPED, "backup_last_success", "-90000x150"), {"DumpOverdue"}),
        (gone(DUMPED, "backup_last_success"), {"DumpOverdue"}),
        (every(DUMPED, "repository_reachable", "0x150"), {"RepositoryUnreachable"}),
        (every(DUMPED, "backup_last_duration", "86000x150"), set()),
    ],
)  # fmt: skip
def test_beside_backups_dumps_neither_hide_what_is_lost_nor_shorten_what_is_promised(tmp_path, values, fires):
    assert firing(tmp_path, {**BACKED_UP, **values}, **BOTH) == {P + one for one in fires}


def test_a_store_that_is_no_more_is_no_failed_backup(tmp_path):
    """The records remember it."""
    where = {"cluster": "shop", "engine": "dump", "repo": "gone", "instance": "controller:9100"}
    left = {
        series(f"backup_last_attempt_{name}", **where): f"{n}x150"
        for name, n in (("timestamp_seconds", -9), ("success", 0))
    }
    assert firing(tmp_path, {**DUMPED, **left}, **ONLY_DUMPED) == set()
    there = {series("repository_reachable", cluster="shop", instance=INSTANCES[0], repo="gone"): "1x150"}
    assert firing(tmp_path, {**DUMPED, **left, **there}, **ONLY_DUMPED) == {P + "BackupFailed"}


@pytest.mark.parametrize("name", DUMP_FAULTS)
def test_its_alerts_fire_for_their_faults_as_those_of_any_service(name, tmp_path):
    values, others = DUMP_FAULTS[name]
    assert firing(tmp_path, {**DUMPED, **values}, **ONLY_DUMPED) == {P + one for one in (name, *others)}


@pytest.mark.parametrize(
    ("repo", "command"), [("1", "journalctl -u pgrescue-backup@shop"), ("https://s3/dumps", "pgrescue lint -s shop")]
)
def test_what_is_typed_after_a_failed_backup_is_there_to_be_typed(tmp_path, repo, command):
    labels = {"cluster": "shop", "repo": repo}
    values = {name: f"{value}x150" for name, value in (("attempt_timestamp_seconds", 60), ("attempt_success", 0))}
    summary = f"The last backup of shop to repository {repo} failed"
    alert = {
        "exp_labels": {**labels, "severity": "ticket"},
        "exp_annotations": {"summary": summary, "command": command},
    }
    test = {
        "interval": "1m",
        "input_series": [
            {"series": series(f"backup_last_{name}", instance="x", **labels), "values": value}
            for name, value in values.items()
        ]
        + [{"series": series("repository_reachable", instance="x", **labels), "values": "1x150"}],
        "alert_rule_test": [{"eval_time": "10m", "alertname": P + "BackupFailed", "exp_alerts": [alert]}],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", "test.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_waits_are_shortened_for_tests_and_limits_are_not():
    rules = yaml.safe_load(RULES.read_text())
    shorter = collection("plugins.module_utils.alert_rules").hurried(rules, 60)
    pairs = [(a, b) for g, h in zip(rules["groups"], shorter["groups"], strict=True)
             for a, b in zip(g["rules"], h["rules"], strict=True)]  # fmt: skip
    assert all(a["expr"] == b["expr"] for a, b in pairs)
    assert {(a["for"], b["for"]) for a, b in pairs if "for" in a} >= {("2m", "2s"), ("1h", "60s"), ("30s", "1s")}
    assert (HOUSE / "monitoring").is_dir()


def test_the_documentation_has_the_alerts():
    rows = re.findall(r"^\| `(\w+)` \| (page|ticket|none) \|", (HOUSE / "docs/metrics.md").read_text(), re.MULTILINE)
    assert rows == [(name, rule["labels"]["severity"]) for name, rule in alerts().items()]
