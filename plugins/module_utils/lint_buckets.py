"""Rules about buckets: what is paid for and no listing shows, and whether there is room for the next backup."""

from __future__ import annotations

from typing import Any, Iterator, Mapping, Optional

from . import capacity
from .findings import finding
from .observed import Service
from .times import epoch_s

DAY_S = 86400


def measured(service: Service) -> "Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]":
    """Each bucket that was measured: what is promised of it, and what was seen."""
    for bucket in service.promise.get("buckets") or []:
        seen = service.buckets.get(bucket["store"]) or {}
        if seen and not seen.get("problem"):
            yield bucket, seen


def unmeasured(service: Service) -> "Iterator[dict[str, Any]]":
    """A bucket of which nobody knows what it takes."""
    for bucket in service.promise.get("buckets") or []:
        seen = service.buckets.get(bucket["store"])
        if not seen or seen.get("problem"):
            yield finding(
                "bucket-unmeasured",
                "warning",
                "protection",
                "What the bucket takes could not be measured: %s" % seen["problem"]
                if seen
                else "What the bucket takes could not be measured: no host was there to ask it.",
                "Start what does not answer, and let the key list the bucket's versions and uploads in parts.",
                where=bucket["store"],
            )


def uploads(service: Service) -> "Iterator[dict[str, Any]]":
    """A backup or a dump that was cut off leaves parts behind, and nothing that lists objects shows them."""
    for bucket, seen in measured(service):
        begun = seen["unfinished"]["oldest_s"]
        if begun is not None and service.now_s - begun > DAY_S:
            yield finding(
                "uploads-unfinished",
                "warning",
                "protection",
                "Uploads were begun more than a day ago and never ended; their parts are paid for and in no listing.",
                "Give the bucket a lifecycle rule with AbortIncompleteMultipartUpload after two days.",
                where=bucket["store"],
                uploads=seen["unfinished"]["uploads"],
                unfinished_bytes=seen["unfinished"]["bytes"],
                oldest_s=service.now_s - begun,
            )


def versions(service: Service) -> "Iterator[dict[str, Any]]":
    """Versions outlive a deletion by mistake; without an end they outlive every retention."""
    for bucket, seen in measured(service):
        kept, current = seen["noncurrent"]["bytes"], seen["current"]["bytes"]
        ends = seen["ends"]  # null where the store does not say
        if "noncurrent" not in (ends or []) and (kept > current or (kept and ends is not None)):
            yield finding(
                "versions-kept",
                "warning" if kept > current else "advice",
                "protection",
                "Nothing ends the versions of what was overwritten or deleted%s."
                % (", and they take more than what is there" if kept > current else ""),
                "Give the bucket a lifecycle rule with NoncurrentVersionExpiration, after as many days as a deletion by "
                "mistake may go unnoticed.",
                where=bucket["store"],
                noncurrent_bytes=kept,
                current_bytes=current,
            )


def room(service: Service) -> "Iterator[dict[str, Any]]":
    """A bucket that is full takes no WAL, and the primary's disk is the next to fill."""
    for bucket, seen in measured(service):
        limit, total = bucket.get("limit_bytes"), seen["total_bytes"]
        if not limit:
            continue
        grows = growth(service, bucket["holds"], total)
        days = capacity.days_until(total, limit, grows)
        soon = days is not None and days < capacity.PAGE_DAYS
        if soon or total >= capacity.WARN_SHARE * limit:
            yield finding(
                "bucket-filling",
                "error" if soon else "warning",
                "protection",
                "The bucket will be full within two days." if soon else "The bucket is more than four fifths full.",
                "Raise its quota and protection_bucket_limits, or keep less by policy; never delete objects of a repository by hand.",
                where=bucket["store"],
                total_bytes=total,
                limit_bytes=limit,
                growth_bytes_per_day=grows,
                days_to_full=None if days is None else round(days, 1),
            )


def growth(service: Service, holds: str, total: float) -> Optional[float]:
    """Bytes a day: what keeps so many backups grows as they do. Nobody knows it of records."""
    samples = {
        "backups": capacity.sizes(service.backups),
        "dumps": [(epoch_s(dump["finished"]), float(dump["size_bytes"])) for dump in service.dumps],
        "records": [],
    }[holds]
    grows = capacity.growth_per_day(samples)
    newest = max(samples, default=(0.0, 0.0))[1]
    return total * grows / newest if grows and newest else None


RULES = (unmeasured, uploads, versions, room)
