"""Copies of a sealed record where a bucket has Object Lock, against Amazon's S3 as moto plays it."""

from datetime import UTC, datetime, timedelta

import pytest
from aws import served
from botocore.exceptions import ClientError
from modules import collection, module

object_lock = collection("plugins.module_utils.object_lock")
RUN = "20261124T012044Z-shop-complete_loss"
FILES = ("run.json", "timeline.jsonl", "findings.json", "signoff-1.json", "seal-1.dsse.json", "manifest.sha256")


@pytest.fixture(scope="module")
def aws():
    with served() as running:
        yield running


@pytest.fixture
def run_dir(tmp_path):
    directory = tmp_path / RUN
    directory.mkdir()
    for name in FILES:
        (directory / name).write_text(name)
    return directory


def bucket(aws, name, *, lock=True, rule=None, **more):
    aws.s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
    if rule:
        aws.s3.put_object_lock_configuration(
            Bucket=name,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": rule}},
        )
    return {
        "url": aws.url, "bucket": name, "region": "us-east-1", "key": "AKIATESTTESTTESTTEST",
        "secret": "a-secret-of-realistic-length", **more,
    }  # fmt: skip


def retained(aws, store, name):
    head = aws.s3.head_object(Bucket=store["bucket"], Key=f"runs/{RUN}/{name}")
    until = head.get("ObjectLockRetainUntilDate")
    return head.get("ObjectLockMode"), until and round((until - datetime.now(UTC)) / timedelta(days=1))


def mirrored(run_dir, store):
    answer = module("mirror_record")(run_dir=str(run_dir), stores=[store], required=True)
    assert answer["held"] == [f"{store['url']}/{store['bucket']}"]


@pytest.mark.parametrize(
    ("name", "rule", "more", "expected"),
    [
        ("ruled", {"Mode": "COMPLIANCE", "Days": 30}, {}, ("COMPLIANCE", 30)),
        ("years", {"Mode": "GOVERNANCE", "Years": 6}, {"retain_days": 10}, ("GOVERNANCE", 2190)),
        ("told", None, {"retain_days": 10}, ("GOVERNANCE", 10)),
        ("untold", None, {}, (None, None)),
    ],
)
def test_every_file_of_a_sealed_record_is_locked_as_long_as_bucket_or_inventory_says(
    aws, run_dir, name, rule, more, expected
):
    store = bucket(aws, name, rule=rule, **more)
    mirrored(run_dir, store)
    assert {file: retained(aws, store, file) for file in FILES} == dict.fromkeys(FILES, expected)


def test_a_locked_file_stays_when_it_is_mirrored_again_and_cannot_be_removed(aws, run_dir):
    store = bucket(aws, "again", rule={"Mode": "COMPLIANCE", "Days": 30})
    mirrored(run_dir, store)
    (run_dir / "run.json").write_text("changed")
    mirrored(run_dir, store)
    versions = aws.s3.list_object_versions(Bucket="again", Prefix=f"runs/{RUN}/run.json")["Versions"]
    assert len(versions) == 2
    oldest = next(version["VersionId"] for version in versions if not version["IsLatest"])
    with pytest.raises(ClientError, match="AccessDenied"):
        aws.s3.delete_object(Bucket="again", Key=f"runs/{RUN}/run.json", VersionId=oldest)


def test_what_is_not_sealed_is_not_locked(aws, run_dir):
    store = bucket(aws, "unsealed", retain_days=10)
    (run_dir / "seal-1.dsse.json").unlink()
    mirrored(run_dir, store)
    assert retained(aws, store, "run.json") == (None, None)


def test_a_bucket_without_object_lock_takes_the_record_as_ever(aws, run_dir):
    store = bucket(aws, "plain", lock=False, retain_days=10)
    mirrored(run_dir, store)
    assert retained(aws, store, "seal-1.dsse.json") == (None, None)
