"""Object Lock of a bucket: what keeps a sealed record from being removed, where the bucket has it enabled."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Mapping, Optional

_DAYS = {"Days": 1, "Years": 365}


def retention(s3: Any, store: Mapping[str, Any], now: Optional[datetime] = None) -> "dict[str, Any]":
    """The arguments of `put_object` that lock an object; none where the bucket has no Object Lock, or nobody says how long.

    The bucket's own default retention counts before the `retain_days` of the inventory.
    """
    from botocore.exceptions import ClientError

    try:
        answer = s3.get_object_lock_configuration(Bucket=store["bucket"]).get("ObjectLockConfiguration", {})
    except ClientError:
        return {}  # it has none, does not know of such a thing, or may not be asked: the copy is what matters
    if answer.get("ObjectLockEnabled") != "Enabled":
        return {}
    rule = answer.get("Rule", {}).get("DefaultRetention", {})
    days = sum(int(rule[unit]) * length for unit, length in _DAYS.items() if rule.get(unit)) or store.get("retain_days")
    if not days:
        return {}
    return {
        "ObjectLockMode": rule.get("Mode", "GOVERNANCE"),
        "ObjectLockRetainUntilDate": (now or datetime.now(timezone.utc)) + timedelta(days=days),
        "ChecksumAlgorithm": "SHA256",  # a locked object needs one
    }
