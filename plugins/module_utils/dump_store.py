"""Reading what the stores hold of a service's dumps."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Callable, Iterable, Mapping, Sequence

from . import buckets, dumps, records, signing
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
        copy["proof"] = _beside(bucket, where + dumps.PROOF, dumps.proof_note) if dumps.PROOF in objects else None
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
        found = copies(bucket, service, public_keys, bucket.sizes(prefix))
        uploads = bucket.uploads(prefix)
        sizes = bucket.sizes(prefix)  # again: a hold that was put while all that was read shall be seen
        beside = dumps.by_folder(sizes, service)
        for copy in found:
            copy["holds"] = _holds(bucket, dumps.folder(service, copy["id"]), beside.get(copy["id"], {}))
        return {
            "copies": found,
            "uploads": uploads,
            "hold": _beside(bucket, prefix + dumps.HOLD, dumps.hold_note) if prefix + dumps.HOLD in sizes else None,
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


def offered(
    stores: "Iterable[Mapping[str, Any]]", service: str, public_keys: "list[str]"
) -> "tuple[list[dict[str, Any]], dict[str, str]]":
    """The copies in all stores, and what went wrong with the others: what an account sees that may list and read, and no more."""
    prefix = dumps.service_prefix(service)
    answers, unreachable = buckets.each(
        [buckets.Bucket(store) for store in stores],
        lambda bucket: copies(bucket, service, public_keys, bucket.sizes(prefix)),
    )
    return [{**copy, "holds": []} for found in answers.values() for copy in found], unreachable


def hold(
    stores: "Sequence[buckets.Bucket]", service: str, dump: str, run: str, at: datetime, write: bool
) -> "tuple[dict[str, bool], dict[str, str]]":
    """Keep a dump for the sake of a run in every store that has it: whether the hold is new in each, and which did not take it."""
    folder, name = dumps.folder(service, dump), dumps.hold(run)
    body = records.canonical({"run": run, "reason": "run %s needs it" % run, "at": dumps.stamp(at)})

    def put(bucket: buckets.Bucket) -> "bool | None":
        there = bucket.sizes(folder)
        if folder + dumps.MANIFEST not in there:
            return None
        if write and folder + name not in there:
            bucket.put_bytes(folder + name, body)
        return folder + name not in there

    answers, failed = buckets.each(stores, put)
    return {store: new for store, new in answers.items() if new is not None}, failed


def let_go(
    stores: "Sequence[buckets.Bucket]", service: str, run: str, write: bool
) -> "tuple[dict[str, list[str]], dict[str, str]]":
    """Take away the holds of a run: the dumps it held in each store, and what went wrong with the others."""
    name = dumps.hold(run)

    def drop(bucket: buckets.Bucket) -> "list[str]":
        there = dumps.by_folder(bucket.sizes(dumps.service_prefix(service)), service)
        held = sorted(dump for dump, objects in there.items() if name in objects)
        if write:
            bucket.delete([dumps.folder(service, dump) + name for dump in held])
        return held

    return buckets.each(stores, drop)


def _holds(bucket: buckets.Bucket, folder: str, objects: "Iterable[str]") -> "list[dict[str, Any]]":
    """What keeps one copy: a person's note, and those of runs."""
    found = [_beside(bucket, folder + name, dumps.hold_note) for name in objects if name == dumps.HOLD]
    runs = {name: dumps.holder(name) for name in objects}
    return found + [
        {**_beside(bucket, folder + name, dumps.hold_note), "run": run} for name, run in sorted(runs.items()) if run
    ]


def _beside(bucket: buckets.Bucket, key: str, note: "Callable[[Any, str], dict[str, Any]]") -> "dict[str, Any]":
    """What was written beside a dump; what cannot be read is never taken for leave to do anything."""
    try:
        found = json.loads(bucket.get_bytes(key))
    except (ValueError, RecursionError):
        found = None
    return note(found, key)
