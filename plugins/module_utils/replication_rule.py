"""Rules of S3 bucket replication: made, and held against what AWS documents. Pure.

Source: Amazon S3 API reference, PutBucketReplication and the types it names (ReplicationRule, Destination, Metrics,
ReplicationTimeValue, SourceSelectionCriteria), as botocore carries them.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Sequence

from . import records

ROLE = re.compile(r"^arn:(aws|aws-cn|aws-us-gov):iam::(\d{12}):role/[\w+=,.@/-]+$")
BUCKET = re.compile(r"^arn:(aws|aws-cn|aws-us-gov):s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
ACCOUNT = re.compile(r"^\d{12}$")
CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "GLACIER_IR", "DEEP_ARCHIVE", "REDUCED_REDUNDANCY", "OUTPOSTS")  # fmt: skip
SWITCH = ("Enabled", "Disabled")
MINUTES = 15  # the only time that replication time control knows
LONGEST_ID, LONGEST_PREFIX, MOST_RULES = 255, 1024, 1000


def partition(role_arn: str) -> str:
    """The part of AWS a role belongs to, which its buckets' ARNs must name too."""
    return role_arn.split(":")[1] if role_arn.count(":") >= 5 else "aws"


def bucket_arn(bucket: str, role_arn: str) -> str:
    """The ARN of a bucket in the partition of the role."""
    return "arn:%s:s3:::%s" % (partition(role_arn), bucket)


def rule(
    name: str,
    destination_arn: str,
    *,
    prefix: str = "",
    priority: int = 1,
    delete_markers: bool = False,
    storage_class: Optional[str] = None,
    kms_key: Optional[str] = None,
    time_control: bool = False,
    account: Optional[str] = None,
) -> "dict[str, Any]":
    """A whole rule, nothing of it left to what the other side takes for granted."""
    destination: "dict[str, Any]" = {"Bucket": destination_arn}
    made: "dict[str, Any]" = {
        "ID": name,
        "Priority": priority,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "DeleteMarkerReplication": {"Status": "Enabled" if delete_markers else "Disabled"},
        "Destination": destination,
    }
    if storage_class:
        destination["StorageClass"] = storage_class
    if account:
        destination.update(Account=account, AccessControlTranslation={"Owner": "Destination"})
    if kms_key:
        made["SourceSelectionCriteria"] = {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
        destination["EncryptionConfiguration"] = {"ReplicaKmsKeyID": kms_key}
    if time_control:
        destination["ReplicationTime"] = {"Status": "Enabled", "Time": {"Minutes": MINUTES}}
        destination["Metrics"] = {"Status": "Enabled", "EventThreshold": {"Minutes": MINUTES}}
    return made


def problems(configuration: Mapping[str, Any]) -> "list[str]":
    """Why AWS would refuse a configuration, or take it for another one than was meant; a sentence each."""
    found, rules = [], list(configuration.get("Rules") or [])
    role = str(configuration.get("Role") or "")
    if not ROLE.match(role):
        found.append("Role '%s' is not the ARN of a role: the account in it has 12 digits." % role)
    if not 1 <= len(rules) <= MOST_RULES:
        found.append("A configuration has between 1 and %d rules; this one has %d." % (MOST_RULES, len(rules)))
    names = [one.get("ID") for one in rules if one.get("ID")]
    if len(set(names)) < len(names):
        found.append("Two rules have the same ID.")
    ranks = [one["Priority"] for one in rules if "Priority" in one]
    if len(set(ranks)) < len(ranks):
        found.append("Two rules have the same Priority; which of them wins is not defined.")
    for place, one in enumerate(rules, 1):
        said = one.get("ID") or "number %d" % place
        found += ["Rule %s: %s" % (said, why) for why in _of_rule(one) + _of_destination(one)]
    return found


def _of_rule(one: Mapping[str, Any]) -> "list[str]":
    wrong = [
        (not one.get("ID"), "it has no ID; AWS would invent one, and nobody could find the rule to change it."),
        (len(str(one.get("ID") or "")) > LONGEST_ID, "its ID is longer than %d characters." % LONGEST_ID),
        (one.get("Status") not in SWITCH, "Status is Enabled or Disabled."),
        (
            "ExistingObjectReplication" in one,
            "ExistingObjectReplication is not supported any more; use S3 Batch Replication.",
        ),
    ]
    chosen = one.get("Filter")
    if chosen is None:
        wrong.append((True, "it has no Filter: without one AWS takes it for the first version of replication rules."))
        return [why for bad, why in wrong if bad]
    inner = chosen.get("And") or chosen
    tagged = "Tag" in chosen or bool(inner.get("Tags"))
    markers = one.get("DeleteMarkerReplication") or {}
    prefix = inner.get("Prefix", "")
    wrong += [
        ("Prefix" in one, "Prefix stands beside Filter; only the first version of replication rules has it there."),
        (len({"Prefix", "Tag", "And"} & set(chosen)) != 1, "Filter holds exactly one of Prefix, Tag and And."),
        (len(prefix) > LONGEST_PREFIX, "its Prefix is longer than %d characters." % LONGEST_PREFIX),
        ("Priority" not in one, "a rule with a Filter needs a Priority."),
        (
            markers.get("Status") not in SWITCH,
            "a rule with a Filter needs DeleteMarkerReplication; without it nobody can say whether deletions follow.",
        ),
        (
            tagged and markers.get("Status") == "Enabled",
            "delete markers cannot be replicated by tag: DeleteMarkerReplication must be Disabled.",
        ),
    ]
    return [why for bad, why in wrong if bad]


def _of_destination(one: Mapping[str, Any]) -> "list[str]":
    to = one.get("Destination") or {}
    clock, metrics = to.get("ReplicationTime"), to.get("Metrics") or {}
    key = (to.get("EncryptionConfiguration") or {}).get("ReplicaKmsKeyID")
    kms = ((one.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}).get("Status") == "Enabled"
    wrong = [
        (
            not BUCKET.match(str(to.get("Bucket") or "")),
            "Destination.Bucket is the ARN of a bucket, such as arn:aws:s3:::name.",
        ),
        (to.get("StorageClass", CLASSES[0]) not in CLASSES, "StorageClass is one of %s." % ", ".join(CLASSES)),
        ("Account" in to and not ACCOUNT.match(str(to["Account"])), "Destination.Account has 12 digits."),
        (
            "AccessControlTranslation" in to and "Account" not in to,
            "AccessControlTranslation needs Destination.Account.",
        ),
        (
            kms and not key,
            "objects encrypted with KMS are selected, and no EncryptionConfiguration names a key for the replicas.",
        ),
        (
            bool(key) and not kms,
            "a key for replicas is named, and SourceSelectionCriteria selects no objects encrypted with KMS.",
        ),
    ]
    if clock is not None:
        minutes, threshold = (
            (clock.get("Time") or {}).get("Minutes"),
            (metrics.get("EventThreshold") or {}).get("Minutes"),
        )
        on = clock.get("Status") == "Enabled"
        wrong += [
            (clock.get("Status") not in SWITCH, "ReplicationTime.Status is Enabled or Disabled."),
            (minutes != MINUTES, "ReplicationTime.Time.Minutes is %d, nothing else." % MINUTES),
            (
                on and metrics.get("Status") != "Enabled",
                "ReplicationTime needs Metrics with an EventThreshold of %d minutes: without it nobody is told of what is late."
                % MINUTES,
            ),
            (
                metrics.get("Status") == "Enabled" and threshold != MINUTES,
                "Metrics.EventThreshold.Minutes is %d, nothing else." % MINUTES,
            ),
        ]
    return [why for bad, why in wrong if bad]


def merged(existing: "Optional[Mapping[str, Any]]", role: str, wanted: Mapping[str, Any]) -> "dict[str, Any]":
    """The configuration with this rule in it; other rules stay as they are."""
    rules = list((existing or {}).get("Rules") or [])
    if any(one.get("ID") == wanted["ID"] for one in rules):
        return {"Role": role, "Rules": [dict(wanted) if one.get("ID") == wanted["ID"] else one for one in rules]}
    return {"Role": role, "Rules": [*rules, dict(wanted)]}


def without(existing: Mapping[str, Any], name: str) -> "Optional[dict[str, Any]]":
    """The configuration without a rule; None when nothing is left of it."""
    rules = [one for one in existing["Rules"] if one.get("ID") != name]
    return {"Role": existing["Role"], "Rules": rules} if rules else None


def same(one: "Optional[Mapping[str, Any]]", other: "Optional[Mapping[str, Any]]") -> bool:
    """Whether two configurations say the same; the order of their rules says nothing."""

    def plain(configuration: "Optional[Mapping[str, Any]]") -> Any:
        given = configuration or {}
        return given.get("Role"), sorted(records.canonical(rule) for rule in given.get("Rules") or [])

    return bool(plain(one) == plain(other))


def token(account: str, source: str, wanted: Mapping[str, Any]) -> str:
    """The token of the batch job that copies what was there before the rule; the same rule asks for the same job."""
    return records.digest([account, source, wanted])[:64]


def batch_job(
    account: str, source_arn: str, role: str, request: str, name: str, prefixes: Sequence[str]
) -> "dict[str, Any]":
    """What CreateJob of S3 Control is asked for: replicate all that the rule would have replicated, from a manifest that S3 makes."""
    chosen: "dict[str, Any]" = {"EligibleForReplication": True, "ObjectReplicationStatuses": ["NONE", "FAILED"]}
    if any(prefixes):
        chosen["KeyNameConstraint"] = {"MatchAnyPrefix": [prefix for prefix in prefixes if prefix]}
    return {
        "AccountId": account,
        "ConfirmationRequired": False,
        "ClientRequestToken": request,
        "Description": description(name, request),
        "Operation": {"S3ReplicateObject": {}},
        "Report": {"Enabled": False},
        "Priority": 1,
        "RoleArn": role,
        "ManifestGenerator": {
            "S3JobManifestGenerator": {"SourceBucket": source_arn, "EnableManifestOutput": False, "Filter": chosen}
        },
    }


def description(name: str, request: str) -> str:
    """By what the job of a rule is found again."""
    return "pgrescue: existing objects of rule %s, %s" % (name, request[:12])
