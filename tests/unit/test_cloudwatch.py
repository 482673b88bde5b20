"""CloudWatch: alarms made on moto's server, what is published there, and what Amazon would make of both.

Contract-tested: the requests are real and answered by moto; how alarms behave is told by `alarm_evaluator`, for moto
does not say.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from alarm_evaluator import ALARM, INSUFFICIENT, OK, problems, states, told
from aws import KEY, SECRET, served
from greeters import greeting
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import HOUSE, module, refused
from pgrescue.core import cloudwatch_alarms, cloudwatch_data
from postgres import free_port

HOUR_S, DAY_S, PERIOD_S = 3600, 86400, 300
NOW = 1795556600.0
DETECTS_S = cloudwatch_alarms.DETECTS_S
SILENT_S = 6 * PERIOD_S  # five points of the evaluation range, the newest of which may just have been published
PROMISE = {
    "service": "shop",
    "objectives": {"rto_s": 3600, "rpo_s": 14400},
    "engines": ["physical"],
    "repositories": [{"bucket": "a"}, {"bucket": "b"}],
    "backup_interval_s": DAY_S,
    "dump_interval_s": DAY_S,
    "reaction_s": HOUR_S,
    "buckets": [{"store": "https://s3/a", "limit_bytes": 10**9}, {"store": "https://s3/b", "limit_bytes": None}],
}


@pytest.fixture(scope="module")
def aws():
    with served() as server:
        yield server


def played(aws, folder, playbook, *more, connection="ssh", port=None, **said):
    """A service of two hosts, through ansible-playbook."""
    ssh = {"ansible_port": port or free_port(), "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    here = {"ansible_become": False, **local} if connection == "local" else {}
    facts = {
        "service_name": "shop",
        "objectives": {"rto_s": 3600, "rpo_s": 14400, "phases": {}},
        "postgres_version": 17,
        "endpoint_name": "shop.example.org",
        "pgbackrest_repositories": [
            {"endpoint": "127.0.0.1:1", "bucket": name, "region": "r", "key": "k", "secret": "s", "retention_days": 30}
            for name in ("a", "b")
        ],
        "protection_measure_buckets": False,
        "cloudwatch_region": "us-east-1",
        "cloudwatch_key": KEY,
        "cloudwatch_secret": SECRET,
        "cloudwatch_url": aws.url,
    }
    hosts = {
        name: {"ansible_host": "127.0.0.1", "postgres_address": "127.0.0.1", **ssh, **here, **facts, **said}
        for name in ("db1", "db2")
    }
    groups = {name: {"hosts": dict.fromkeys(hosts)} for name in ("shop", "postgres")}
    inventory = folder / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": {"localhost": local, **hosts}, "children": groups}}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"playbooks/{playbook}.yml", "-i", str(inventory)]
    env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(folder / "runs")}
    done = subprocess.run(
        [*command, "-e", "service=shop", *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False
    )
    out = done.stdout + done.stderr
    return done.returncode, sum(map(int, re.findall(r"changed=(\d+)", out))), out


@pytest.fixture(scope="module")
def made(aws, tmp_path_factory):
    """The alarms as they are after the playbook made them, by name; and how much each run changed."""
    folder = tmp_path_factory.mktemp("made")
    watch = aws.client("cloudwatch")
    code, _, out = played(aws, folder, "make_alarms", "--check")
    assert code == 0, out
    assert (watch.describe_alarms()["MetricAlarms"], aws.client("sns").list_topics()["Topics"]) == ([], [])
    changed = []
    for _ in range(2):
        code, count, out = played(aws, folder, "make_alarms")
        assert code == 0, out
        assert SECRET not in out
        changed.append(count)
    alarms = {alarm["AlarmName"]: alarm for alarm in watch.describe_alarms()["MetricAlarms"]}
    return alarms, changed


def test_a_second_run_changes_nothing(made):
    alarms, changed = made
    assert changed == [2, 0]  # the topic, and the loop of alarms
    assert len(alarms) == 7


def test_every_alarm_looks_at_one_series_takes_silence_for_bad_and_tells_each_turn(aws, made):
    alarms, _ = made
    (topic,) = aws.client("sns").list_topics()["Topics"]
    for alarm in alarms.values():
        assert [one["Name"] for one in alarm["Dimensions"]] == ["service", "repo", "type"]
        assert (alarm["TreatMissingData"], alarm["Namespace"]) == ("breaching", "pgrescue")
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"]) == (300, 3, 3)
        for actions in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            assert alarm[actions] == [topic["TopicArn"]]
        assert problems(alarm) == []
    age = alarms["pgrescue shop 1 wal RecoveryPointAge"]
    assert (age["Statistic"], age["ComparisonOperator"]) == ("Maximum", "GreaterThanThreshold")
    assert age["Threshold"] == 14400 - HOUR_S - DETECTS_S


def test_what_somebody_changed_by_hand_is_put_right(aws, made, tmp_path):
    watch = aws.client("cloudwatch")
    name = "pgrescue shop 2 backup BackupAge"
    alarm = made[0][name]
    kept = ("AlarmName", "MetricName", "Namespace", "Dimensions", "Statistic", "ComparisonOperator", "Period")
    watch.put_metric_alarm(**{key: alarm[key] for key in kept}, EvaluationPeriods=1, Threshold=9e9)
    assert played(aws, tmp_path, "make_alarms")[:2] == (0, 1)
    (found,) = watch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (found["Threshold"], found["TreatMissingData"]) == (alarm["Threshold"], "breaching")


def test_an_objective_that_cloudwatch_cannot_keep_is_refused(aws, tmp_path):
    small = {"objectives": {"rto_s": 3600, "rpo_s": 900, "phases": {}}}
    code, _, out = played(aws, tmp_path, "make_alarms", **small)
    assert code == 2
    assert "A recovery point of 900 s cannot be kept by CloudWatch" in re.sub(r"\s+", " ", out)
    with pytest.raises(cloudwatch_alarms.Unreachable):
        cloudwatch_alarms.recovery_point_s({**PROMISE, "reaction_s": 14400 - DETECTS_S})


def test_what_else_is_watched_and_what_a_dump_may_lose():
    more = {"dumps": ["https://s3/d"], "replica": {"destination": "copies", "limit_s": 900}, "fly": "orders"}
    both = {alarm["name"]: alarm for alarm in cloudwatch_alarms.alarms(PROMISE, more)}
    assert both["pgrescue shop https://s3/a all BucketBytes"]["threshold"] == 10**9
    assert both["pgrescue shop copies replica ReplicationLag"]["threshold"] == 900
    assert both["pgrescue shop orders fly FailingChecks"]["comparison"] == "GreaterThanThreshold"
    assert both["pgrescue shop https://s3/d dump BackupAge"]["threshold"] == DAY_S + HOUR_S
    assert len(both) == 7 + 2 + 3
    dumped = {**PROMISE, "engines": ["dump"], "repositories": [], "buckets": []}
    alone = {alarm["name"]: alarm["threshold"] for alarm in cloudwatch_alarms.alarms(dumped, more)}
    assert alone["pgrescue shop https://s3/d dump BackupAge"] == 14400 - HOUR_S - DETECTS_S


# ---- what is published


def backup(stopped_s, **more):
    return {"label": "x", "type": "full", "stopped_s": stopped_s, "proof": "unproven", "error": False, **more}


def repository(number=1, *, at=NOW - HOUR_S, segment=NOW - 60, **more):
    return {"number": number, "problem": None, "backups": [backup(at)], "newest_segment_s": segment, **more}


def stamp(at_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


def job(at_s, **states):
    done = {number.lstrip("r"): {"state": said} for number, said in states.items()}
    return {"state": "failed", "started": stamp(at_s - 60), "finished": stamp(at_s), "repositories": done}


def values(**facts):
    """What is published of these facts, by metric, repository and type."""
    return {
        (one["MetricName"], *(said["Value"] for said in one["Dimensions"][1:])): one["Value"]
        for one in cloudwatch_data.data("shop", facts, NOW)
    }


def result(**facts):
    return values(**facts).get(("BackupSuccess", "1", "backup"))


def test_ages_and_a_result_are_published_for_each_repository():
    found = values(repositories=[repository(1), repository(2, at=NOW - 2 * HOUR_S)])
    assert found == {
        ("BackupAge", "1", "backup"): HOUR_S,
        ("RecoveryPointAge", "1", "wal"): 60,
        ("BackupSuccess", "1", "backup"): 1,
        ("BackupAge", "2", "backup"): 2 * HOUR_S,
        ("RecoveryPointAge", "2", "wal"): 60,
        ("BackupSuccess", "2", "backup"): 1,
        ("CollectorSuccess", "all", "all"): 1,
    }


def test_a_failure_is_published_as_0_by_whoever_knows_of_it():
    one = [repository()]
    assert result(repositories=one, jobs=[job(NOW - 600, r1="failed")]) == 0
    assert result(repositories=one, jobs=[job(NOW - 2 * HOUR_S, r1="failed")]) == 1, "it was tried again since"
    assert result(repositories=one, jobs=[job(NOW - 600, r1="failed"), job(NOW - 300, r1="taken")]) == 1
    assert result(repositories=one, jobs=[job(NOW - 600, r2="failed")]) == 0, "it ended before it came to this one"
    noted = {"at": stamp(NOW - 60), "repository": "1", "kind": "full", "result": "failed"}
    assert result(repositories=one, attempts=[noted]) == 0
    assert result(repositories=one, attempts=[{**noted, "repository": "2"}]) == 1
    assert result(repositories=one, attempts=[{**noted, "kind": "dump"}]) == 1
    assert result(repositories=one, jobs=[{"stanza": "shop", "state": "running", "started": stamp(NOW)}]) == 1


def test_what_is_not_known_is_not_published():
    silent = {"number": 1, "problem": "it does not answer"}
    assert values(repositories=[silent]) == {("CollectorSuccess", "all", "all"): 0}
    assert values() == {("CollectorSuccess", "all", "all"): 0}
    empty = {"number": 1, "problem": None, "backups": []}
    assert values(repositories=[empty]) == {("CollectorSuccess", "all", "all"): 1}
    bad = [backup(NOW - 60, error=True), backup(NOW - 30, proof="failed"), backup(NOW - DAY_S)]
    assert values(repositories=[repository(backups=bad)])["BackupAge", "1", "backup"] == DAY_S
    assert values(buckets=[{"store": "s", "problem": "down"}], replica={"problem": "down"}, fly={"problem": "401"}) == {
        ("CollectorSuccess", "all", "all"): 0
    }


def test_a_dump_is_as_old_as_its_beginning_in_each_store():
    one = {"started": stamp(NOW - HOUR_S), "finished": stamp(NOW - 1800), "stores": ["p", "m"]}
    older = {"started": stamp(NOW - DAY_S), "finished": stamp(NOW - DAY_S), "stores": ["m"]}
    found = values(dumps={"dumps": [{**one, "stores": ["p"]}, older]})
    assert (found["BackupAge", "p", "dump"], found["BackupAge", "m", "dump"]) == (HOUR_S, DAY_S)
    assert (found["BackupSuccess", "p", "dump"], found["CollectorSuccess", "all", "all"]) == (1, 1)
    failed = [{"at": stamp(NOW - 60), "repository": "p", "kind": "dump", "result": "failed"}]
    assert values(dumps={"dumps": [one]}, attempts=failed)["BackupSuccess", "p", "dump"] == 0


def account(aws):
    return {"service": "shop", "region": "us-east-1", "key": KEY, "secret": SECRET, "url": aws.url}


def stored(aws, metric, namespace, repo, kind, statistic="Maximum"):
    """What the server has of one series."""
    named = zip(("service", "repo", "type"), ("shop", repo, kind), strict=True)
    found = aws.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in named],
        StartTime=time.time() - DAY_S,
        EndTime=time.time() + DAY_S,
        Period=DAY_S,
        Statistics=[statistic],
    )
    return [point[statistic] for point in found["Datapoints"]]


def test_the_server_has_what_was_published_under_its_dimensions(aws, tmp_path):
    lines = [{"at": stamp(time.time()), "repository": "1", "result": "failed"}]
    (tmp_path / "shop.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"at": "20')
    asked = {**account(aws), "namespace": "told", "attempts_file": str(tmp_path / "shop.jsonl")}
    facts = {"repositories": [repository(at=time.time() - HOUR_S, segment=time.time() - 60)]}
    publish = module("publish_metrics")
    assert not publish(**asked, facts=facts, check=True)["changed"]
    assert stored(aws, "BackupSuccess", "told", "1", "backup") == []
    answer = publish(**asked, facts=facts)
    assert (answer["changed"], len(answer["published"])) == (True, 4)
    assert stored(aws, "BackupSuccess", "told", "1", "backup") == [0.0]
    assert stored(aws, "BackupAge", "told", "1", "backup")[0] == pytest.approx(HOUR_S, abs=60)
    assert stored(aws, "BackupAge", "told", "2", "backup") == []
    away = publish(**{**asked, "url": f"http://127.0.0.1:{free_port()}"}, facts=facts)
    assert refused(away, 5, "did not answer", "silence for bad")


def test_what_a_bucket_takes_counts_what_no_listing_shows(aws):
    """As `sum(Contents[].Size)` does not: versions that were replaced, and an upload that was left."""
    store = aws.bucket("paid", versioned=True)
    for body in (b"x" * 100, b"x" * 30):
        aws.s3.put_object(Bucket="paid", Key="backup", Body=body)
    upload = aws.s3.create_multipart_upload(Bucket="paid", Key="left")["UploadId"]
    aws.s3.upload_part(Bucket="paid", Key="left", UploadId=upload, PartNumber=1, Body=b"x" * 7)
    name = f"{aws.url}/paid"
    usage = module("bucket_usage")(stores=[store])["usage"]
    copy = aws.bucket("copies", versioned=True)
    replica = module("replication_lag")(source=store, destination=copy)["replica"]
    module("publish_metrics")(**account(aws), namespace="paid", facts={"buckets": usage, "replica": replica})
    sizes = {
        kind: stored(aws, "BucketBytes", "paid", name, kind)[0] for kind in ("current", "noncurrent", "unfinished")
    }
    assert sizes == {"current": 30, "noncurrent": 100, "unfinished": 7}
    assert stored(aws, "BucketBytes", "paid", name, "all") == [137]
    assert stored(aws, "ReplicationMissing", "paid", "copies", "replica") == [1]
    listed = sum(one["Size"] for one in aws.s3.list_objects_v2(Bucket="paid")["Contents"])
    assert listed == 30, "what the original script calls the size of the bucket"


def test_with_every_host_down_it_says_that_it_saw_nothing(aws, tmp_path):
    code, _, out = played(aws, tmp_path, "publish_metrics", cloudwatch_namespace="down")
    assert code == 0, out
    assert "rescued=1" not in out, "a host that is not asked is no failure"
    listed = aws.client("cloudwatch").list_metrics(Namespace="down")["Metrics"]
    assert [metric["MetricName"] for metric in listed] == ["CollectorSuccess"]
    assert stored(aws, "CollectorSuccess", "down", "all", "all") == [0.0]


def test_what_a_scheduled_backup_wrote_down_is_read_from_its_host(aws, tmp_path):
    """The hosts let themselves be read; nothing else works on them, so that the failure is all that is known."""
    (tmp_path / "job.json").write_text(json.dumps(job(time.time() - 60, r1="failed", r2="taken")))
    with greeting() as port:
        said = {"cloudwatch_job_file": str(tmp_path / "job.json"), "cloudwatch_namespace": "read"}
        seen = [{"number": number, "problem": None, "backups": []} for number in (1, 2)]
        more = ("-e", json.dumps({"protection_repositories": seen}))
        code, _, out = played(aws, tmp_path, "publish_metrics", *more, connection="local", port=port, **said)
    assert code == 0, out
    assert stored(aws, "BackupSuccess", "read", "1", "backup") == [0.0]
    assert stored(aws, "BackupSuccess", "read", "2", "backup") == [1.0]


# ---- what Amazon makes of it


def lived(until, *, taken, failed=(), down=(), jitter=0):
    """Each series as published every five minutes: backups good at `taken`, failed at `failed`, silent in `down`."""
    series = {}
    for step in range(int(until // PERIOD_S)):
        at = step * PERIOD_S + (jitter if step % 2 else 0)
        good = [moment for moment in taken if moment <= at]
        if not good or any(begin <= at < end for begin, end in down):
            continue
        facts = {
            "repositories": [repository(at=max(good), segment=at)],
            "jobs": [job(moment, r1="failed") for moment in failed if moment <= at],
        }
        for one in cloudwatch_data.data("shop", facts, at):
            series.setdefault(one["MetricName"], []).append((at, one["Value"]))
    return series


def history(made, metric, series, until):
    kind = {"BackupAge": "1 backup", "BackupSuccess": "1 backup", "RecoveryPointAge": "1 wal"}.get(metric, "all all")
    alarm = made[0][f"pgrescue shop {kind} {metric}"]
    return alarm, states(alarm, series.get(metric, []), until, since=DAY_S)


def entered(found, wanted, after=0.0):
    return next(at for at, seen in found if seen == wanted and at >= after)


NIGHTLY = [day * DAY_S + HOUR_S for day in range(6)]
METRICS = ["BackupAge", "BackupSuccess", "RecoveryPointAge", "CollectorSuccess"]


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_rings_while_all_is_well(made, metric):
    alarm, found = history(made, metric, lived(4 * DAY_S, taken=NIGHTLY, jitter=40), 4 * DAY_S)
    assert {seen for _at, seen in found} == {OK}
    assert told(alarm, found) == [(DAY_S, OK)]


def test_a_failure_rings_within_twenty_minutes_and_a_good_backup_ends_it(made):
    failed, again = 2 * DAY_S, 2 * DAY_S + 3 * HOUR_S
    series = lived(3 * DAY_S, taken=[*NIGHTLY[:2], again], failed=[failed])
    alarm, found = history(made, "BackupSuccess", series, 3 * DAY_S)
    rings = entered(found, ALARM)
    assert failed < rings <= failed + DETECTS_S
    ends = entered(found, OK, rings)
    assert again < ends <= again + 2 * PERIOD_S
    assert told(alarm, found) == [(DAY_S, OK), (rings, ALARM), (ends, OK)]


def test_a_backup_that_does_not_come_rings_once_it_is_late(made):
    alarm, found = history(made, "BackupAge", lived(4 * DAY_S, taken=NIGHTLY[:2]), 4 * DAY_S)
    late = NIGHTLY[1] + alarm["Threshold"]
    assert late < entered(found, ALARM) <= late + DETECTS_S
    assert found[-1][1] == ALARM


def test_a_recovery_point_that_ages_rings_before_it_is_lost(made):
    alarm, _ = history(made, "RecoveryPointAge", {}, DAY_S)
    samples = [(at, float(max(at - 2 * DAY_S, 0))) for at in range(DAY_S, 3 * DAY_S, PERIOD_S)]
    rings = entered(states(alarm, samples, 3 * DAY_S, since=DAY_S), ALARM, DAY_S + HOUR_S)
    assert rings <= 2 * DAY_S + 14400 - HOUR_S, "who is told must have the time to act"


@pytest.mark.parametrize("metric", METRICS)
def test_silence_rings_whatever_is_silent(made, metric):
    down = (2 * DAY_S, 2 * DAY_S + 2 * HOUR_S)
    _, found = history(made, metric, lived(3 * DAY_S, taken=NIGHTLY, down=[down]), 3 * DAY_S)
    rings = entered(found, ALARM)
    assert down[0] < rings <= down[0] + SILENT_S
    assert down[1] < entered(found, OK, rings) <= down[1] + 2 * PERIOD_S
    assert INSUFFICIENT not in {seen for _at, seen in found}


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2 * DAY_S, 3 * DAY_S),
    st.sampled_from(["failure", "silence", "late"]),
    st.integers(0, 60),
)
def test_whenever_it_goes_wrong_somebody_is_told(made, begins, what, jitter):
    if what == "failure":
        metric, series = "BackupSuccess", lived(5 * DAY_S, taken=NIGHTLY[:2], failed=[begins], jitter=jitter)
        due = begins + DETECTS_S
    elif what == "silence":
        metric = "CollectorSuccess"
        series, due = lived(5 * DAY_S, taken=NIGHTLY, down=[(begins, 9 * DAY_S)], jitter=jitter), begins + SILENT_S
    else:
        metric, series = "BackupAge", lived(5 * DAY_S, taken=[begins - DAY_S], jitter=jitter)
        due = begins - DAY_S + DAY_S + HOUR_S + DETECTS_S
    alarm, found = history(made, metric, series, 5 * DAY_S)
    rings = [at for at, seen in told(alarm, found) if seen == ALARM and at >= begins - DAY_S]
    assert rings, what
    assert rings[-1] <= due + 120


@pytest.mark.parametrize("metric", METRICS)
def test_with_missing_data_as_the_default_has_it_silence_would_ring_nobody(made, metric):
    """The fault, planted: else the tests above could not fail."""
    alarm, _ = history(made, metric, {}, DAY_S)
    series = lived(3 * DAY_S, taken=NIGHTLY, down=[(2 * DAY_S, 9 * DAY_S)])
    found = states({**alarm, "TreatMissingData": "missing"}, series[metric], 3 * DAY_S, since=DAY_S)
    assert ALARM not in {seen for _at, seen in found}
