"""Bucket replication as it is in the stores: its configuration, the job for existing objects, and how far behind a replica is."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Mapping, Optional

from . import replication_rule, stores
from .guards import PRECONDITION, STEP_FAILED, Stop

OVER = ("Failed", "Cancelled")  # jobs that copied nothing more and may be asked for again


def need_versions(s3: Any, bucket: str) -> None:
    """Refuse a bucket that keeps no versions."""
    if s3.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        raise Stop(
            "Bucket %s keeps no versions, and replication needs them on both sides. Nothing was changed. Turn them on with "
            "amazon.aws.s3_bucket (versioning: true), as the role bucket_replication does, and run this again."
            % bucket,
            PRECONDITION,
        )


def configuration(s3: Any, bucket: str) -> "Optional[dict[str, Any]]":
    """The replication configuration of a bucket; None when it has none."""
    from botocore.exceptions import ClientError

    try:
        found = s3.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ReplicationConfigurationNotFoundError":
            raise
        return None
    return {"Role": found["Role"], "Rules": found["Rules"]}


def write(s3: Any, bucket: str, wanted: "Optional[Mapping[str, Any]]") -> None:
    """Write a configuration, or remove it, and read it back: what was accepted need not be what was meant."""
    if wanted is None:
        s3.delete_bucket_replication(Bucket=bucket)
    else:
        s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration=wanted)
    there = configuration(s3, bucket)
    if not replication_rule.same(there, wanted):
        raise Stop(
            "Bucket %s took the replication configuration and now says another one: %s. Look at it before anything relies on "
            "it, and write it again." % (bucket, there),
            STEP_FAILED,
        )


def control(store: Mapping[str, Any], url: "Optional[str]") -> Any:
    """A client of S3 Control, which runs batch jobs."""
    import boto3

    return boto3.client(
        "s3control",
        endpoint_url=url,
        region_name=store["region"],
        aws_access_key_id=store["key"],
        aws_secret_access_key=store["secret"],
        verify=store.get("ca_file") or True,
    )


def job_for(client: Any, request: Mapping[str, Any], check: bool) -> "tuple[Optional[str], bool]":
    """The job that copies what was there before the rule, and whether it had to be made.

    It is looked for by its description first: AWS does not say for how long it remembers a request token.
    """
    asked, more = {"AccountId": request["AccountId"]}, True
    while more:
        page = client.list_jobs(**asked)
        for job in page.get("Jobs", []):
            if job.get("Description") == request["Description"] and job["Status"] not in OVER:
                return str(job["JobId"]), False
        more = bool(page.get("NextToken"))
        asked["NextToken"] = page.get("NextToken", "")
    return (None, True) if check else (str(client.create_job(**request)["JobId"]), True)


def listed(store: Mapping[str, Any], prefix: str) -> "tuple[dict[str, tuple[int, float]], float]":
    """Size and time (epoch seconds) of every object below a prefix, and what the store's own clock says."""
    pages = stores.client(store).get_paginator("list_objects_v2").paginate(Bucket=store["bucket"], Prefix=prefix)
    found: "dict[str, tuple[int, float]]" = {}
    now = datetime.now(timezone.utc).timestamp()
    for page in pages:
        found.update({o["Key"]: (int(o["Size"]), o["LastModified"].timestamp()) for o in page.get("Contents", [])})
        said = page["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(said).timestamp() if said else now
    return found, now


def lag(
    source: "Mapping[str, tuple[int, float]]", replica: "Mapping[str, tuple[int, float]]", now_s: float
) -> "dict[str, Any]":
    """How far a replica is behind its source: the age of the oldest object that is not there yet, or not whole.

    When the newest object arrived is told only where the replica's store stamps it anew; AWS keeps the source's time.
    """
    missing = sorted(key for key, (size, _when) in source.items() if replica.get(key, (-1, 0.0))[0] != size)
    oldest = min((source[key][1] for key in missing), default=None)
    newest = max(source, key=lambda key: (source[key][1], key), default=None)
    facts: "dict[str, Any]" = {
        "objects": len(source),
        "missing": missing,
        "lag_s": round(max(now_s - oldest, 0.0), 3) if oldest is not None else 0.0,
        "newest": None,
    }
    if newest is not None:
        written, there = source[newest][1], newest not in missing
        arrived = replica[newest][1] if there else None
        facts["newest"] = {
            "key": newest,
            "written_s": written,
            "there": there,
            "took_s": round(arrived - written, 3) if arrived is not None and arrived > written else None,
        }
    return facts
