"""Replication rules: held against what AWS documents, written to moto's server, and measured by reading two buckets."""

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import boto3
import pytest
import yaml
from aws import KEY, SECRET, served
from botocore.stub import Stubber
from modules import HOUSE, collection, module, refused
from moto.core.responses import ActionResult
from moto.s3.responses import S3Response
from pgrescue.core import replication
from pgrescue.core import replication_rule as rules

ROLE = "arn:aws:iam::123456789012:role/s3-replication"
OF_THE_SOURCE = {  # the rule that the original document shows
    "Role": "arn:aws:iam::123456789:role/s3-replication-role",
    "Rules": [
        {
            "Status": "Enabled",
            "Priority": 1,
            "Filter": {"Prefix": "database-backups/"},
            "Destination": {
                "Bucket": "arn:aws:s3:::ai-affiliate-empire-backups-west",
                "ReplicationTime": {"Status": "Enabled", "Time": {"Minutes": 15}},
            },
        }
    ],
}


def whole(**more):
    """A configuration with everything in it."""
    options = {
        "prefix": "b/",
        "storage_class": "STANDARD_IA",
        "kms_key": "arn:aws:kms:eu-west-3:1:key/2",
        "time_control": True,
    }
    rule = rules.rule("pgrescue", rules.bucket_arn("copies", ROLE), account="210987654321", **{**options, **more})
    return {"Role": ROLE, "Rules": [rule]}


def test_what_is_built_is_found_right():
    assert rules.problems(whole()) == []
    assert rules.problems(whole(time_control=False, kms_key=None, storage_class=None)) == []
    china = "arn:aws-cn:iam::123456789012:role/r"
    assert rules.bucket_arn("copies", china) == "arn:aws-cn:s3:::copies"


def test_the_rule_of_the_source_document_is_refused_with_every_reason():
    said = "\n".join(rules.problems(OF_THE_SOURCE))
    for reason in (
        "12 digits",
        "has no ID",
        "needs DeleteMarkerReplication",
        "needs Metrics with an EventThreshold of 15",
    ):
        assert reason in said
    assert len(rules.problems(OF_THE_SOURCE)) == 4


def put(value, *path):
    def plant(configuration):
        place = configuration
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return plant


RULE = ("Rules", 0)
TO = (*RULE, "Destination")
WRONG = {
    "no role": (put("", "Role"), "is not the ARN of a role"),
    "no rules": (put([], "Rules"), "between 1 and 1000 rules"),
    "no ID": (put(None, *RULE, "ID"), "has no ID"),
    "long ID": (put("x" * 256, *RULE, "ID"), "longer than 255"),
    "odd status": (put("On", *RULE, "Status"), "Status is Enabled or Disabled"),
    "existing objects in the rule": (
        put({"Status": "Enabled"}, *RULE, "ExistingObjectReplication"),
        "S3 Batch Replication",
    ),
    "no filter": (put(None, *RULE, "Filter"), "no Filter"),
    "empty filter": (put({}, *RULE, "Filter"), "exactly one of"),
    "two filters": (put({"Key": "a", "Value": "b"}, *RULE, "Filter", "Tag"), "exactly one of"),
    "prefix beside the filter": (put("b/", *RULE, "Prefix"), "stands beside Filter"),
    "long prefix": (put("x" * 1025, *RULE, "Filter", "Prefix"), "longer than 1024"),
    "no priority": (put(None, *RULE, "Priority"), "needs a Priority"),
    "no word on deletions": (put(None, *RULE, "DeleteMarkerReplication"), "needs DeleteMarkerReplication"),
    "no bucket ARN": (put("copies", *TO, "Bucket"), "is the ARN of a bucket"),
    "odd class": (put("COLD", *TO, "StorageClass"), "StorageClass is one of"),
    "nine digits": (put("123456789", *TO, "Account"), "Account has 12 digits"),
    "owner without account": (put(None, *TO, "Account"), "needs Destination.Account"),
    "no key": (put(None, *TO, "EncryptionConfiguration"), "no EncryptionConfiguration"),
    "key for nothing": (put(None, *RULE, "SourceSelectionCriteria"), "selects no objects"),
    "ten minutes": (put(10, *TO, "ReplicationTime", "Time", "Minutes"), "is 15, nothing else"),
    "odd clock": (put("On", *TO, "ReplicationTime", "Status"), "ReplicationTime.Status"),
    "no metrics": (put(None, *TO, "Metrics"), "needs Metrics"),
    "threshold of ten": (put(10, *TO, "Metrics", "EventThreshold", "Minutes"), "EventThreshold.Minutes is 15"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_refused_for_that_reason_alone(name):
    plant, words = WRONG[name]
    configuration = deepcopy(whole())
    plant(configuration)
    (said,) = rules.problems(configuration)
    assert words in said


def test_rules_must_not_contradict_each_other():
    configuration = whole()
    other = {**deepcopy(configuration["Rules"][0]), "ID": "other"}
    assert "same Priority" in rules.problems({**configuration, "Rules": [configuration["Rules"][0], other]})[0]
    twin = {**other, "ID": "pgrescue", "Priority": 2}
    assert "same ID" in rules.problems({**configuration, "Rules": [configuration["Rules"][0], twin]})[0]
    tagged = whole(delete_markers=True)
    tagged["Rules"][0]["Filter"] = {"And": {"Prefix": "b/", "Tags": [{"Key": "a", "Value": "b"}]}}
    assert "cannot be replicated by tag" in rules.problems(tagged)[0]
    tagged["Rules"][0]["DeleteMarkerReplication"] = {"Status": "Disabled"}
    assert rules.problems(tagged) == []


@pytest.fixture(scope="module")
def aws():
    with served() as server:
        yield server


@pytest.fixture
def faithful(monkeypatch):
    """moto answers a rule that was read with another filter than was written; Amazon answers what was written."""

    def answer(self):
        self.data["Action"] = "GetBucketReplication"
        stored = self.backend.get_bucket_replication(self.bucket_name)
        if not stored:
            return moto_answer(self)
        read = [{**rule, "Filter": {"Prefix": rule["Filter"].get("Prefix") or ""}} for rule in stored["Rule"]]
        return self.serialized(ActionResult({"ReplicationConfiguration": {"Role": stored["Role"], "Rules": read}}))

    moto_answer = S3Response.get_bucket_replication
    monkeypatch.setattr(S3Response, "get_bucket_replication", answer)


@pytest.fixture
def pair(aws, request):
    name = request.node.name[:50].replace("_", "-").replace("[", "-").replace("]", "").lower().rstrip("-")
    return aws.bucket(f"{name}-a", versioned=True), aws.bucket(f"{name}-b", versioned=True)


def replicate(pair, check=False, **more):
    source, destination = pair
    given = {"source": source, "destination": destination, "rule_id": "pgrescue", "role_arn": ROLE, "prefix": "b/"}
    return module("bucket_replication")(check=check, **{**given, **more})


def stored(aws, pair):
    return aws.s3.get_bucket_replication(Bucket=pair[0]["bucket"])["ReplicationConfiguration"]


@pytest.mark.usefixtures("faithful")
def test_a_rule_is_written_once_and_changed_when_it_differs(aws, pair):
    assert replicate(pair, check=True)["changed"]
    with pytest.raises(aws.s3.exceptions.ClientError):
        stored(aws, pair)
    answer = replicate(pair, time_control=True, storage_class="STANDARD_IA")
    assert answer["changed"], answer
    (rule,) = stored(aws, pair)["Rules"]
    assert rule["Destination"]["Metrics"] == {"Status": "Enabled", "EventThreshold": {"Minutes": 15}}
    assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}
    assert not replicate(pair, time_control=True, storage_class="STANDARD_IA")["changed"]
    assert replicate(pair)["changed"]
    assert "Metrics" not in stored(aws, pair)["Rules"][0]["Destination"]


@pytest.mark.usefixtures("faithful")
def test_other_rules_stay_and_the_last_one_takes_the_configuration_along(aws, pair):
    replicate(pair, rule_id="others", prefix="c/", priority=2)
    assert replicate(pair)["changed"]
    assert [rule["ID"] for rule in stored(aws, pair)["Rules"]] == ["others", "pgrescue"]
    other_role = {"role_arn": ROLE + "-2"}
    assert refused(replicate(pair, **other_role), 4, "a bucket has one role for all its rules", "Nothing was changed")
    assert replicate(pair, state="absent")["changed"]
    assert [rule["ID"] for rule in stored(aws, pair)["Rules"]] == ["others"]
    assert not replicate(pair, state="absent")["changed"]
    assert replicate(pair, state="absent", rule_id="others")["configuration"] is None
    assert not replicate(pair, state="absent", rule_id="others")["changed"]


@pytest.mark.parametrize("side", [0, 1])
def test_buckets_without_versions_are_refused(aws, pair, side):
    aws.versioning(pair[side]["bucket"], "Suspended")
    answer = replicate(pair)
    assert refused(answer, 3, pair[side]["bucket"], "keeps no versions", "Nothing was changed", "s3_bucket")


def test_a_rule_that_amazon_would_refuse_is_not_written(aws, pair):
    answer = replicate(pair, role_arn="arn:aws:iam::123456789:role/r", storage_class="COLD")
    assert refused(answer, 4, "12 digits", "StorageClass is one of", "Nothing was changed")
    with pytest.raises(aws.s3.exceptions.ClientError):
        stored(aws, pair)


def test_a_store_that_says_another_rule_than_it_was_given_is_found_out(pair):
    """As moto does, which forgets the prefix."""
    assert refused(replicate(pair), 5, "now says another one")


def test_a_bucket_that_is_not_there_is_said(pair):
    source, destination = pair
    assert refused(replicate((source, {**destination, "bucket": "nowhere"})), 5, "NoSuchBucket")


class Control:
    """S3 Control as botocore's model has it; every request and answer is checked against that."""

    def __init__(self, monkeypatch):
        self.client = boto3.client(
            "s3control", region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )
        self.stub = Stubber(self.client)
        monkeypatch.setattr(collection("plugins.module_utils.replication"), "control", lambda *_: self.client)

    def lists(self, *jobs, token=None, **asked):
        page = {"Jobs": [{"JobId": job, "Description": words, "Status": status} for job, words, status in jobs]}
        more = {"NextToken": token} if token else {}
        self.stub.add_response("list_jobs", {**page, **more}, {"AccountId": "123456789012", **asked})


@pytest.fixture
def control(monkeypatch):
    made = Control(monkeypatch)
    with made.stub:
        yield made
        made.stub.assert_no_pending_responses()


def job_of(pair):
    wanted = rules.rule("pgrescue", rules.bucket_arn(pair[1]["bucket"], ROLE), prefix="b/")
    token = rules.token("123456789012", pair[0]["bucket"], wanted)
    return rules.batch_job("123456789012", rules.bucket_arn(pair[0]["bucket"], ROLE), ROLE, token, "pgrescue", ["b/"])


@pytest.mark.usefixtures("faithful")
def test_existing_objects_are_copied_by_one_job_for_one_rule(pair, control):
    existing = {"existing": True, "batch_role_arn": ROLE}
    job = job_of(pair)
    assert job["ManifestGenerator"]["S3JobManifestGenerator"]["Filter"]["EligibleForReplication"]
    control.lists()
    assert replicate(pair, check=True, **existing)["job"] is None
    control.lists(("job-0", "somebody's", "Active"), token="more")
    control.lists(("job-1", job["Description"], "Failed"), NextToken="more")
    control.stub.add_response("create_job", {"JobId": "job-2"}, job)
    answer = replicate(pair, **existing)
    assert (answer["changed"], answer["job"]) == (True, "job-2")
    control.lists(("job-2", job["Description"], "Complete"))
    answer = replicate(pair, **existing)
    assert (answer["changed"], answer["job"]) == (False, "job-2")


def test_another_rule_asks_for_another_job():
    first = rules.rule("a", "arn:aws:s3:::copies", prefix="b/")
    assert rules.token("1", "s", first) == rules.token("1", "s", dict(reversed(first.items())))
    assert rules.token("1", "s", first) != rules.token("1", "s", {**first, "Priority": 2})
    assert len(rules.token("1", "s", first)) == 64
    whole_bucket = rules.batch_job("1", "arn:aws:s3:::s", ROLE, "t", "a", [""])
    assert "KeyNameConstraint" not in json.dumps(whole_bucket)


def test_the_lag_is_the_age_of_what_is_missing():
    source = {"a": (1, 100.0), "b": (2, 200.0), "c": (3, 300.0)}
    assert replication.lag(source, dict(source), 1000.0)["lag_s"] == 0
    behind = replication.lag(source, {"a": (1, 105.0), "b": (1, 205.0)}, 1000.0)  # b is not whole yet
    assert (behind["missing"], behind["lag_s"]) == (["b", "c"], 800.0)
    assert behind["newest"] == {"key": "c", "written_s": 300.0, "there": False, "took_s": None}
    arrived = replication.lag(source, {**source, "c": (3, 304.5)}, 1000.0)
    assert arrived["newest"] == {"key": "c", "written_s": 300.0, "there": True, "took_s": 4.5}
    assert replication.lag({}, {}, 1000.0) == {"objects": 0, "missing": [], "lag_s": 0.0, "newest": None}


def lag(pair, **more):
    return module("replication_lag")(source=pair[0], destination=pair[1], **more)["replica"]


def test_a_copier_that_pauses_is_late(aws, pair):
    """Two real listings; the copier is this test."""
    a, b = pair[0]["bucket"], pair[1]["bucket"]
    assert lag(pair)["newest"] is None
    for n in range(1100):
        aws.s3.put_object(Bucket=a, Key=f"b/{n:05}", Body=b"x")
        if n != 700:
            aws.s3.copy_object(Bucket=b, Key=f"b/{n:05}", CopySource={"Bucket": a, "Key": f"b/{n:05}"})
    seen = lag(pair, prefix="b/", limit_s=0)
    assert (seen["objects"], seen["missing"], seen["late"]) == (1100, ["b/00700"], True)
    assert not lag(pair, prefix="b/", limit_s=900)["late"]
    aws.s3.copy_object(Bucket=b, Key="b/00700", CopySource={"Bucket": a, "Key": "b/00700"})
    seen = lag(pair, prefix="b/", limit_s=0)
    assert (seen["missing"], seen["lag_s"], seen["late"], seen["newest"]["there"]) == ([], 0.0, False, True)
    assert "NoSuchBucket" in lag((pair[0], {**pair[1], "bucket": "nowhere"}))["problem"]


def played(folder, said):
    """What ansible-playbook says of a service with these variables."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {"localhost": here, "probe": {**here, **said}}
    inventory = {
        "all": {"hosts": hosts, "children": {"shop": {"hosts": {"probe": {}}}, "witness": {"hosts": {"probe": {}}}}}
    }
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/replicate_buckets.yml"]
    return subprocess.run(
        [*command, "-i", str(folder / "hosts.yml"), "-e", "service=shop"], cwd=HOUSE, capture_output=True, text=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "ANSIBLE_SHOW_CUSTOM_STATS": "1"}, check=False,
    )  # fmt: skip


@pytest.mark.usefixtures("faithful")
def test_a_store_that_refuses_tells_nobody_its_secret(aws, tmp_path):
    """Ansible prints the item of a loop with what failed, and AWX keeps it."""
    secret = "no-one-shall-read-it"
    source = {**aws.bucket("refused-a"), "secret": secret, "bucket": "no name of a bucket"}
    said = {"bucket_replication_source": source, "bucket_replication_destination": source}
    done = played(tmp_path, {**said, "bucket_replication_role": ROLE})
    assert done.returncode == 2, done.stdout
    assert "Keep versions in both buckets" in done.stdout
    assert secret not in done.stdout + done.stderr


@pytest.mark.usefixtures("faithful")
def test_the_playbook_turns_versions_on_writes_the_rule_and_measures(aws, tmp_path):
    """Through ansible-playbook, with amazon.aws and this collection's modules, against moto's server."""
    source, destination = aws.bucket("played-a"), aws.bucket("played-b")
    aws.s3.put_object(Bucket="played-a", Key="b/old", Body=b"x")
    said = {
        "bucket_replication_source": source,
        "bucket_replication_destination": destination,
        "bucket_replication_role": ROLE,
        "bucket_replication_prefix": "b/",
    }
    for changed in (2, 0):
        done = played(tmp_path, said)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"changed={changed}" in done.stdout, done.stdout
        assert '"missing": [   "b/old"' in done.stdout
    assert aws.s3.get_bucket_versioning(Bucket="played-b")["Status"] == "Enabled"
    (rule,) = aws.s3.get_bucket_replication(Bucket="played-a")["ReplicationConfiguration"]["Rules"]
    assert rule["Destination"]["ReplicationTime"]["Time"]["Minutes"] == 15
