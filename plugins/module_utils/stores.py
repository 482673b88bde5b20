"""Copies of a run's record in object stores. A store is a mapping: url, bucket, region, key, secret and, if need be,
ca_file and retain_days.

The one place that makes S3 clients; `buckets` lists and hashes through them. boto3 is imported where it is used, for most hosts
have none.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, Iterable, Mapping, Optional, TypeVar

from . import controllers, object_lock, records

Answer = TypeVar("Answer")

MANIFEST = "manifest.sha256"
TIMELINE = "timeline.jsonl"

ARGUMENT = {  # of a module
    "type": "list",
    "elements": "dict",
    "required": True,
    "options": {
        **{key: {"type": "str", "required": True} for key in ("url", "bucket", "region", "key")},
        "secret": {"type": "str", "required": True, "no_log": True},
        "ca_file": {"type": "path"},
        "retain_days": {"type": "int"},
    },
}


def client(store: Mapping[str, Any]) -> Any:
    """An S3 client for one store."""
    import boto3
    from botocore.config import Config

    # some S3-compatible stores do not know the checksums newer clients add unasked; older ones add none and know no such option
    unasked = ("request_checksum_calculation", "response_checksum_validation")
    sparing: "dict[str, Any]" = {name: "when_required" for name in unasked if name in Config.OPTION_DEFAULTS}
    # stores are asked side by side; the session that boto3.client shares is not for threads (KeyError: 'endpoint_resolver')
    return boto3.session.Session().client(
        "s3",
        endpoint_url=store["url"],
        region_name=store["region"],
        aws_access_key_id=store["key"],
        aws_secret_access_key=store["secret"],
        verify=store.get("ca_file") or True,
        config=Config(
            **sparing,
            s3={"addressing_style": "path"},
            connect_timeout=3,
            read_timeout=10,
            retries={"total_max_attempts": 2},
        ),
    )


def upload(run_dir: str, store: Mapping[str, Any]) -> int:
    """Copy every file of the record to one store, the manifest last; how many there were.

    A record that is sealed is locked, where the bucket has Object Lock: one that is not may still change, or hold a secret.
    """
    s3, run = client(store), os.path.basename(run_dir)
    names = [entry.name for entry in os.scandir(run_dir) if entry.is_file() and entry.name != controllers.NOTE]
    sealed = any(name.startswith("seal-") for name in names) and MANIFEST in names
    locked = object_lock.retention(s3, store) if sealed else {}

    def put(name: str) -> None:
        with open(os.path.join(run_dir, name), "rb") as body:
            s3.put_object(Bucket=store["bucket"], Key="runs/%s/%s" % (run, name), Body=body.read(), **locked)

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(put, [name for name in names if name != MANIFEST]))
    for name in names:
        if name == MANIFEST:
            put(name)
    return len(names)


def side_by_side(
    questions: "Iterable[tuple[str, Callable[[], Answer]]]",
) -> "tuple[dict[str, Answer], dict[str, str]]":
    """Ask all stores, each named, at once: the answer of each that gave one, and what went wrong with the others."""
    from botocore.exceptions import BotoCoreError, ClientError

    answers: "dict[str, Answer]" = {}
    failed: "dict[str, str]" = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        for name, asked in [(name, pool.submit(question)) for name, question in questions]:
            try:
                answers[name] = asked.result()
            except (BotoCoreError, ClientError) as error:
                failed[name] = str(error)
    return answers, failed


def mirror(run_dir: str, stores: Iterable[Mapping[str, Any]]) -> "tuple[list[str], dict[str, str]]":
    """Copy the record to all stores side by side: those that hold it now, and what went wrong with the others."""
    held, failed = side_by_side((label(store), partial(upload, run_dir, store)) for store in stores)
    return list(held), failed


def label(store: Mapping[str, Any]) -> str:
    """What a store is called in answers and messages."""
    return "%s/%s" % (store["url"], store["bucket"])


def fullest(run: str, stores: Iterable[Mapping[str, Any]]) -> "tuple[Optional[Mapping[str, Any]], dict[str, str]]":
    """The store with the longest timeline of the run, if any holds it, and what went wrong with the others."""
    from botocore.exceptions import BotoCoreError, ClientError

    sizes: "list[tuple[int, Mapping[str, Any]]]" = []
    failed: "dict[str, str]" = {}
    for store in stores:
        try:
            sizes += [(size, store) for name, size in listed(run, client(store), store) if name == TIMELINE]
        except (BotoCoreError, ClientError) as error:
            failed[label(store)] = str(error)
    return (max(sizes, key=lambda size: size[0])[1] if sizes else None), failed


def bring(run_dir: str, prefix: str, stores: Iterable[Mapping[str, Any]]) -> "tuple[list[str], dict[str, str]]":
    """Bring the small files of a record whose names begin so, and that are not here, from all stores; what was brought, and what went wrong."""
    run = os.path.basename(run_dir)

    def fresh(store: Mapping[str, Any]) -> "dict[str, bytes]":
        s3 = client(store)
        names = [
            name for name, _size in listed(run, s3, store, prefix) if not os.path.exists(os.path.join(run_dir, name))
        ]
        return {
            name: s3.get_object(Bucket=store["bucket"], Key="runs/%s/%s" % (run, name))["Body"].read() for name in names
        }

    found, failed = side_by_side((label(store), partial(fresh, store)) for store in stores)
    files = {name: body for answer in found.values() for name, body in answer.items()}
    for name, body in files.items():
        records.write_bytes(os.path.join(run_dir, name), body)
    return sorted(files), failed


def put_beside(path: str, stores: Iterable[Mapping[str, Any]]) -> "tuple[list[str], dict[str, str]]":
    """Copy one file of a record into all stores: those that hold it now, and what went wrong with the others."""
    run_dir, name = os.path.split(path)
    with open(path, "rb") as source:
        body = source.read()

    def put(store: Mapping[str, Any]) -> None:
        key = "runs/%s/%s" % (os.path.basename(run_dir), name)
        client(store).put_object(Bucket=store["bucket"], Key=key, Body=body)

    held, failed = side_by_side((label(store), partial(put, store)) for store in stores)
    return list(held), failed


def listed(run: str, s3: Any, store: Mapping[str, Any], prefix: str = "") -> "list[tuple[str, int]]":
    """Names and sizes of the files of a record in a store, those whose names begin so."""
    found = s3.list_objects_v2(Bucket=store["bucket"], Prefix="runs/%s/%s" % (run, prefix)).get("Contents", [])
    return [(entry["Key"].rpartition("/")[2], int(entry["Size"])) for entry in found]


def download(run: str, root: str, store: Mapping[str, Any]) -> str:
    """Bring a run's record from a store to `root/<run>`, which appears when it is whole; the directory."""
    s3, target = client(store), os.path.join(root, run)
    partial = os.path.join(root, ".%s.partial" % run)
    shutil.rmtree(partial, ignore_errors=True)  # of an attempt that was cut off
    os.makedirs(partial)
    for name, _size in listed(run, s3, store):
        body = s3.get_object(Bucket=store["bucket"], Key="runs/%s/%s" % (run, name))["Body"].read()
        # for whoever fetched it: what is in it was for one person, perhaps
        with open(os.path.join(partial, name), "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(body)
    os.rename(partial, target)
    return target
