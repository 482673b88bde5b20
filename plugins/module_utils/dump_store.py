"""Reading what the stores hold of a service's dumps."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping

from . import buckets, dumps, signing
from .guards import PRECONDITION, REFUSED, Stop


def payload(bucket: buckets.Bucket, service: str, dump: str, public_keys: "list[str]") -> "dict[str, Any]":
    """The manifest of a dump in one store, once its signature and its place are right."""
    said = signing.parse(bucket.get_bytes(dumps.folder(service, dump) + dumps.MANIFEST))
    found: "dict[str, Any]" = signing.verify(said, public_keys)
    elsewhere = dumps.identity(found, service, dump)
    if elsewhere:
        raise Stop(elsewhere, REFUSED)
    return found


def copies(
    bucket: buckets.Bucket, service: str, public_keys: "list[str]", sizes: "Mapping[str, int]"
) -> "list[dict[str, Any]]":
    """What one store holds of each dump of a service; `sizes` are all its objects."""
    found = []
    for dump, objects in dumps.by_folder(sizes, service).items():
        where = dumps.folder(service, dump)
        copy = {"store": bucket.name, "id": dump, "objects": objects, "payload": None, "problem": None}
        copy["proof"] = _beside(bucket, where + dumps.PROOF) if dumps.PROOF in objects else None
        copy["hold"] = _beside(bucket, where + dumps.HOLD) if dumps.HOLD in objects else None
        if dumps.MANIFEST in objects:
            try:
                copy["payload"] = payload(bucket, service, dump, public_keys)
            except Stop as stop:
                copy["problem"] = str(stop)
        found.append(copy)
    return found


def observe(stores: "Iterable[Mapping[str, Any]]", service: str, public_keys: "list[str]") -> "dict[str, Any]":
    """What all stores hold of a service's dumps; one that does not answer is named, and when none does that is a refusal."""
    prefix = dumps.service_prefix(service)

    def ask(bucket: buckets.Bucket) -> "dict[str, Any]":
        sizes = bucket.sizes(prefix)
        return {
            "copies": copies(bucket, service, public_keys, sizes),
            "uploads": bucket.uploads(prefix),
            "hold": _beside(bucket, prefix + dumps.HOLD) if prefix + dumps.HOLD in sizes else None,
        }

    answers, unreachable = buckets.each([buckets.Bucket(store) for store in stores], ask)
    if not answers:
        said = "; ".join("%s: %s" % item for item in sorted(unreachable.items())) or "no store was named"
        raise Stop("No store can be asked about the dumps of %s (%s)." % (service, said), PRECONDITION)
    return {
        "copies": [copy for answer in answers.values() for copy in answer["copies"]],
        "uploads": [
            {"store": name, **upload} for name, answer in sorted(answers.items()) for upload in answer["uploads"]
        ],
        "holds": {name: answer["hold"] for name, answer in answers.items()},
        "unreachable": unreachable,
    }


def _beside(bucket: buckets.Bucket, key: str) -> "dict[str, Any]":
    """What was written beside a dump; what cannot be read is never taken for leave to do anything."""
    try:
        found = json.loads(bucket.get_bytes(key))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"reason": "%s cannot be read" % key}
