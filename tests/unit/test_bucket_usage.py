"""What a prefix takes, to the byte: on moto's server, which keeps versions, and on rclone's, which does not."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from aws import served
from lint_faults import sound
from modules import collection, module
from pgrescue.core.lint import findings
from postgres import free_port, until

promised_buckets = collection("plugins.filter.protection").promised_buckets
SECRET = "a-secret-of-realistic-length"
NOTHING = {"objects": 0, "bytes": 0}


@pytest.fixture(scope="module")
def aws():
    with served() as server:
        yield server


def usage(*stores, prefix=""):
    return module("bucket_usage")(stores=list(stores), prefix=prefix)["usage"]


def fill(s3, bucket, names, size=10):
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=bucket, Key=name, Body=b"x" * size), names))


@pytest.mark.parametrize("count", [0, 1, 1100])
@pytest.mark.parametrize("versioned", [False, True])
def test_objects_are_counted_to_the_last_page(aws, count, versioned):
    bucket = aws.bucket(f"count-{count}-{versioned}".lower(), versioned=versioned)
    fill(aws.s3, bucket["bucket"], [f"backups/{n:05}" for n in range(count)])
    fill(aws.s3, bucket["bucket"], ["other/one"])
    (found,) = usage(bucket, prefix="backups/")
    assert found["problem"] is None
    assert found["current"] == {"objects": count, "bytes": 10 * count}
    assert (found["noncurrent"], found["delete_markers"]) == (NOTHING, 0)
    assert found["total_bytes"] == 10 * count
    assert found["versions"] == ("enabled" if versioned else "off")


def test_versions_markers_and_unfinished_uploads_are_counted(aws):
    bucket = aws.bucket("versions", versioned=True)
    name = bucket["bucket"]
    for size in (100, 20, 3):  # three versions of one object: two of them noncurrent
        fill(aws.s3, name, ["b/kept"], size)
    fill(aws.s3, name, ["b/deleted"], 5)
    aws.s3.delete_object(Bucket=name, Key="b/deleted")
    part = b"y" * (5 << 20)
    upload = aws.s3.create_multipart_upload(Bucket=name, Key="b/unfinished")["UploadId"]
    aws.s3.upload_part(Bucket=name, Key="b/unfinished", UploadId=upload, PartNumber=1, Body=part)
    aws.s3.upload_part(Bucket=name, Key="b/unfinished", UploadId=upload, PartNumber=2, Body=b"y" * 7)
    aws.s3.create_multipart_upload(Bucket=name, Key="b/begun and no more")
    aws.s3.create_multipart_upload(Bucket=name, Key="elsewhere")
    (found,) = usage(bucket, prefix="b/")
    assert found["current"] == {"objects": 1, "bytes": 3}
    assert found["noncurrent"] == {"objects": 3, "bytes": 125}
    assert found["delete_markers"] == 1
    assert found["unfinished"].pop("oldest_s") == 1289422113.0  # moto begins every upload in 2010
    assert found["unfinished"] == {"uploads": 2, "parts": 2, "bytes": (5 << 20) + 7}
    assert found["total_bytes"] == 3 + 125 + (5 << 20) + 7
    aws.versioning(name, "Suspended")
    assert usage(bucket)[0]["versions"] == "suspended"


def test_a_thousand_and_a_hundred_versions_are_counted(aws):
    bucket = aws.bucket("many-versions", versioned=True)
    names = [f"b/{n:05}" for n in range(550)]
    fill(aws.s3, bucket["bucket"], names, 7)
    fill(aws.s3, bucket["bucket"], names, 9)
    (found,) = usage(bucket, prefix="b/")
    assert found["current"] == {"objects": 550, "bytes": 9 * 550}
    assert found["noncurrent"] == {"objects": 550, "bytes": 7 * 550}


def test_the_linter_finds_what_was_planted_in_a_bucket(aws):
    """Three versions of one object, none of which a rule ends, an upload that was left, and one byte too many."""
    bucket = aws.bucket("planted", versioned=True)
    for size in (100, 20, 3):
        fill(aws.s3, bucket["bucket"], ["b/kept"], size)
    aws.s3.create_multipart_upload(Bucket=bucket["bucket"], Key="b/unfinished")
    limits = {"planted": 124, "gone": 124}
    promised = [bucket, {**bucket, "bucket": "gone"}]
    promise, facts = sound()
    promise["buckets"] = promised_buckets({"backups": promised}, limits)
    facts["buckets"] = usage(*promised)
    found = {(one["id"], one["level"]): one for one in findings(promise, facts)}
    assert {*found} == {
        ("uploads-unfinished", "warning"),
        ("versions-kept", "warning"),
        ("bucket-filling", "warning"),
        ("bucket-unmeasured", "warning"),
    }
    assert found["versions-kept", "warning"]["because"] == {"noncurrent_bytes": 120, "current_bytes": 3}
    assert SECRET not in repr(found) + repr(promise)


def test_a_repository_is_asked_as_the_engine_asks_it():
    repository = {"endpoint": "s3.east", "region": "east", "bucket": "b", "key": "k", "secret": "s", "cipher_pass": "c"}
    stores = collection("plugins.filter.protection").repository_stores([{**repository, "ca_file": "/ca.crt"}])
    assert stores == [
        {"url": "https://s3.east", "region": "east", "bucket": "b", "key": "k", "secret": "s", "ca_file": "/ca.crt"}
    ]


RULES = {
    "nothing": ([], []),
    "both": (
        [
            {
                "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
            }
        ],
        ["noncurrent", "unfinished"],
    ),
    "a rule that is switched off": (
        [{"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Status": "Disabled"}],
        [],
    ),
    "a rule for another folder": (
        [{"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Filter": {"Prefix": "elsewhere/"}}],
        [],
    ),
    "a rule for the folder": (
        [{"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}, "Filter": {"Prefix": "b"}}],
        ["unfinished"],
    ),
    "a rule for what has a tag": (
        [{"NoncurrentVersionExpiration": {"NoncurrentDays": 30}, "Filter": {"Tag": {"Key": "k", "Value": "v"}}}],
        [],
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_what_the_buckets_rules_end_is_told(aws, name):
    rules, expected = RULES[name]
    bucket = aws.bucket("rules-" + name.replace(" ", "-"), versioned=True)
    if rules:
        whole = [
            {"ID": str(at), "Status": "Enabled", "Filter": {"Prefix": ""}, **rule} for at, rule in enumerate(rules)
        ]
        aws.s3.put_bucket_lifecycle_configuration(Bucket=bucket["bucket"], LifecycleConfiguration={"Rules": whole})
    assert usage(bucket, prefix="b/")[0]["ends"] == expected


def test_a_host_without_the_library_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    (found,) = usage({"url": "http://x", "bucket": "b", "region": "r", "key": "k", "secret": SECRET})
    assert "boto3" in found["problem"]


def test_a_store_that_does_not_answer_is_an_observation(aws):
    bucket = aws.bucket("here")
    silent = {**bucket, "url": f"http://127.0.0.1:{free_port()}"}
    untrusted = {**bucket, "url": bucket["url"].replace("http", "https"), "ca_file": "/nowhere/ca.crt"}
    first, second, third, fourth = usage(silent, {**bucket, "bucket": "nowhere"}, bucket, untrusted)
    assert "Could not connect" in first["problem"]
    assert "NoSuchBucket" in second["problem"]
    assert (third["problem"], third["total_bytes"]) == (None, 0)
    assert "/nowhere/ca.crt" in fourth["problem"] or "No such file" in fourth["problem"]


@pytest.fixture
def rclone(tmp_path):
    root = tmp_path / "objects"
    (root / "evidence").mkdir(parents=True)
    port = free_port()
    program = Path(sys.executable).parent / "rclone"
    command = [program, "serve", "s3", root, "--addr", f"127.0.0.1:{port}", "--auth-key", f"lab,{SECRET}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        until(lambda: "Starting s3 server" in (tmp_path / "log").read_text(), 10, "the store serves")
        yield {
            "url": f"http://127.0.0.1:{port}",
            "bucket": "evidence",
            "region": "east",
            "key": "lab",
            "secret": SECRET,
        }
        process.terminate()


@pytest.mark.parametrize("count", [0, 1, 1100])
def test_a_store_that_keeps_no_versions_says_so_and_is_counted(rclone, count):
    s3 = boto3.client(
        "s3", endpoint_url=rclone["url"], region_name="east", aws_access_key_id="lab", aws_secret_access_key=SECRET
    )
    fill(s3, "evidence", [f"runs/{n:05}" for n in range(count)])
    (found,) = usage(rclone)
    assert found["problem"] is None
    assert (found["versions"], found["ends"]) == ("not kept by this store", None)
    assert found["unfinished"] == {"uploads": 0, "parts": 0, "bytes": 0, "oldest_s": None}
    assert found["current"] == {"objects": count, "bytes": 10 * count}
    assert found["total_bytes"] == 10 * count


def test_clients_made_side_by_side_share_no_session(monkeypatch):
    """The session behind boto3.client is not for threads: KeyError 'endpoint_resolver' now and then."""
    stores = collection("plugins.module_utils.stores")
    place = {"url": "http://127.0.0.1:9", "bucket": "b", "region": "east", "key": "lab", "secret": SECRET}
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    clients, failed = stores.side_by_side((str(n), lambda: stores.client(place)) for n in range(8))
    assert (len(clients), failed, boto3.DEFAULT_SESSION) == (8, {}, None)
