"""What the objects below a prefix of a bucket take, to the byte: what a listing shows, and what it does not."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from . import stores

NOT_KEPT = "not kept by this store"
UNKNOWN = ("NotImplemented", "MethodNotAllowed", "501")  # what stores answer that do not know a question
NO_UPLOADS = ("NoSuchUpload",)  # what some say instead of an empty list


def counted(entries: Iterable[Mapping[str, Any]]) -> "dict[str, int]":
    """How many there are, and their bytes."""
    sizes = [int(entry["Size"]) for entry in entries]
    return {"objects": len(sizes), "bytes": sum(sizes)}


def usage(store: Mapping[str, Any], prefix: str) -> "dict[str, Any]":
    """Everything below the prefix that is paid for. Every listing is read to its last page."""
    s3 = stores.client(store)
    where = {"Bucket": store["bucket"], "Prefix": prefix}
    versions = _versions(s3, where)
    if versions is None:
        pages = s3.get_paginator("list_objects_v2").paginate(**where)
        current = counted(entry for page in pages for entry in page.get("Contents", []))
        noncurrent, markers, kept = {"objects": 0, "bytes": 0}, 0, NOT_KEPT
    else:
        current = counted(entry for entry in versions["Versions"] if entry["IsLatest"])
        noncurrent = counted(entry for entry in versions["Versions"] if not entry["IsLatest"])
        markers = len(versions["DeleteMarkers"])
        kept = s3.get_bucket_versioning(Bucket=store["bucket"]).get("Status", "off").lower()
    unfinished = _unfinished(s3, where)
    return {
        "versions": kept,
        "current": current,
        "noncurrent": noncurrent,
        "delete_markers": markers,
        "unfinished": unfinished,
        "total_bytes": current["bytes"] + noncurrent["bytes"] + unfinished["bytes"],
    }


def _versions(s3: Any, where: Mapping[str, str]) -> "dict[str, list[Any]] | None":
    """All versions and delete markers; None when the store does not know what a version is."""
    found: "dict[str, list[Any]]" = {"Versions": [], "DeleteMarkers": []}
    for page in _answered(s3.get_paginator("list_object_versions").paginate(**where), UNKNOWN):
        if page is None:
            return None
        for kind in found:
            found[kind] += page.get(kind, [])
    return found


def _unfinished(s3: Any, where: Mapping[str, str]) -> "dict[str, Any]":
    """Uploads in parts that were begun and not ended: no listing shows them, and every part is paid for."""
    uploads, parts = 0, {"objects": 0, "bytes": 0}
    for page in _answered(s3.get_paginator("list_multipart_uploads").paginate(**where), UNKNOWN + NO_UPLOADS):
        for upload in (page or {}).get("Uploads", []):
            uploads += 1
            which = {"Bucket": where["Bucket"], "Key": upload["Key"], "UploadId": upload["UploadId"]}
            for listed in _answered(s3.get_paginator("list_parts").paginate(**which), NO_UPLOADS):
                found = counted((listed or {}).get("Parts", []))
                parts = {key: parts[key] + found[key] for key in parts}
    return {"uploads": uploads, "parts": parts["objects"], "bytes": parts["bytes"]}


def _answered(pages: Iterable[Any], unless: "tuple[str, ...]") -> "Iterable[Any]":
    """The pages of a listing; None once, when the store answers one of these errors instead."""
    from botocore.exceptions import ClientError

    try:
        yield from pages
    except ClientError as error:
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        if error.response["Error"]["Code"] not in unless and status not in unless:
            raise
        yield None
