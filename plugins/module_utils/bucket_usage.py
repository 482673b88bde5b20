"""What the objects below a prefix of a bucket take, to the byte: what a listing shows, and what it does not."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from . import stores

NOT_KEPT = "not kept by this store"
UNKNOWN = ("NotImplemented", "MethodNotAllowed", "501")  # what stores answer that do not know a question
NO_UPLOADS = ("NoSuchUpload",)  # what some say instead of an empty list
NO_RULES = "NoSuchLifecycleConfiguration"
ENDS = {"NoncurrentVersionExpiration": "noncurrent", "AbortIncompleteMultipartUpload": "unfinished"}


class Tally:
    """How many there are, and their bytes: a bucket may hold more than fits into memory, so nothing else is kept."""

    def __init__(self) -> None:
        self.objects, self.bytes = 0, 0

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Count some more."""
        for entry in entries:
            self.objects += 1
            self.bytes += int(entry["Size"])

    def facts(self) -> "dict[str, int]":
        """Both numbers."""
        return {"objects": self.objects, "bytes": self.bytes}


def usage(store: Mapping[str, Any], prefix: str) -> "dict[str, Any]":
    """Everything below the prefix that is paid for. Every listing is read to its last page."""
    s3 = stores.client(store)
    where = {"Bucket": store["bucket"], "Prefix": prefix}
    current, noncurrent = Tally(), Tally()
    markers = _versions(s3, where, current, noncurrent)
    if markers is None:
        markers, kept = 0, NOT_KEPT
        for page in s3.get_paginator("list_objects_v2").paginate(**where):
            current.add(page.get("Contents", []))
    else:
        kept = s3.get_bucket_versioning(Bucket=store["bucket"]).get("Status", "off").lower()
    unfinished = _unfinished(s3, where)
    return {
        "versions": kept,
        "current": current.facts(),
        "noncurrent": noncurrent.facts(),
        "delete_markers": markers,
        "unfinished": unfinished,
        "total_bytes": current.bytes + noncurrent.bytes + unfinished["bytes"],
        "ends": _ends(s3, store["bucket"], prefix),
    }


def _versions(s3: Any, where: Mapping[str, str], current: Tally, noncurrent: Tally) -> Optional[int]:
    """Count all versions; how many delete markers there are, None when the store does not know what a version is."""
    markers = 0
    for page in _answered(s3.get_paginator("list_object_versions").paginate(**where), UNKNOWN):
        if page is None:
            return None
        current.add(entry for entry in page.get("Versions", []) if entry["IsLatest"])
        noncurrent.add(entry for entry in page.get("Versions", []) if not entry["IsLatest"])
        markers += len(page.get("DeleteMarkers", []))
    return markers


def _unfinished(s3: Any, where: Mapping[str, str]) -> "dict[str, Any]":
    """Uploads in parts that were begun and not ended: no listing shows them, and every part is paid for."""
    begun: "list[float]" = []
    parts = Tally()
    for page in _answered(s3.get_paginator("list_multipart_uploads").paginate(**where), UNKNOWN + NO_UPLOADS):
        for upload in (page or {}).get("Uploads", []):
            begun.append(upload["Initiated"].timestamp())
            which = {"Bucket": where["Bucket"], "Key": upload["Key"], "UploadId": upload["UploadId"]}
            for listed in _answered(s3.get_paginator("list_parts").paginate(**which), NO_UPLOADS):
                parts.add((listed or {}).get("Parts", []))
    return {"uploads": len(begun), "parts": parts.objects, "bytes": parts.bytes, "oldest_s": min(begun, default=None)}


def _ends(s3: Any, bucket: str, prefix: str) -> "Optional[list[str]]":
    """What the bucket's own rules end, of everything below the prefix; None when the store does not say."""
    from botocore.exceptions import ClientError

    try:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket).get("Rules")
    except ClientError as error:
        if error.response["Error"]["Code"] == NO_RULES:
            return []
        if _is(error, (*UNKNOWN, "AccessDenied")):
            return None
        raise
    if rules is None:  # some answer another question instead
        return None
    whole = [rule for rule in rules if rule["Status"] == "Enabled" and _covers(rule, prefix)]
    return sorted({ends for rule in whole for key, ends in ENDS.items() if key in rule})


def _covers(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether a rule holds for everything below the prefix: one that looks at tags or sizes holds for some of it."""
    chosen = rule.get("Filter", {})
    return not set(chosen) - {"Prefix"} and prefix.startswith(chosen.get("Prefix", rule.get("Prefix", "")))


def _answered(pages: Iterable[Any], unless: "tuple[str, ...]") -> "Iterable[Any]":
    """The pages of a listing; None once, when the store answers one of these errors instead."""
    from botocore.exceptions import ClientError

    try:
        yield from pages
    except ClientError as error:
        if not _is(error, unless):
            raise
        yield None


def _is(error: Any, answers: "tuple[str, ...]") -> bool:
    """Whether a store said one of these, as a code or as a status."""
    status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return error.response["Error"]["Code"] in answers or status in answers
