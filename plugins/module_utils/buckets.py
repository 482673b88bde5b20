"""Objects in an S3-compatible store: listed, and hashed while they are written or read."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Mapping, TypeVar

from . import stores
from .guards import PRECONDITION, Stop

PART = 8 << 20  # bytes held in memory for each part on its way
PARTS = 9000  # of one object at most; S3 allows 10,000
FILES = 4  # on their way to or from one store at once

Answer = TypeVar("Answer")


class Bucket:
    """One store's bucket."""

    def __init__(self, store: Mapping[str, Any]) -> None:
        self.name = stores.label(store)
        self.bucket = store["bucket"]
        self.s3 = stores.client(store)

    def sizes(self, prefix: str) -> "dict[str, int]":
        """The keys below a prefix, and the size of each object."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {o["Key"]: int(o["Size"]) for page in pages for o in page.get("Contents", [])}

    def uploads(self, prefix: str) -> "list[dict[str, str]]":
        """Uploads in parts that were begun below a prefix and never ended."""
        from botocore.exceptions import ClientError

        pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        try:
            found = [upload for page in pages for upload in page.get("Uploads", [])]
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":  # what some stores say instead of an empty list
                raise
            return []
        return [
            {"key": u["Key"], "upload": u["UploadId"], "begun": u["Initiated"].strftime("%Y-%m-%dT%H:%M:%SZ")}
            for u in found
            if u["Key"].startswith(prefix)
        ]

    def put(self, key: str, path: str) -> "dict[str, Any]":
        """Write a file to an object in one pass; the size and digest of what was sent."""
        from boto3.s3.transfer import TransferConfig

        config = TransferConfig(
            multipart_threshold=PART,
            multipart_chunksize=max(PART, -(-os.path.getsize(path) // PARTS)),
            max_concurrency=2,
        )
        config.max_in_memory_upload_chunks = 2
        with open(path, "rb") as source:
            reader = _Hashed(source)
            self.s3.upload_fileobj(reader, self.bucket, key, Config=config)
        return reader.facts()

    def put_bytes(self, key: str, body: bytes) -> None:
        """Write an object that is small."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    def get_bytes(self, key: str) -> bytes:
        """Read an object that is small."""
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def stream(self, key: str) -> "Iterator[bytes]":
        """An object, piece by piece."""
        yield from self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].iter_chunks(1 << 20)

    def facts(self, key: str) -> "dict[str, Any]":
        """The size and digest of an object, from reading all of it."""
        return digest(self.stream(key))

    def get(self, key: str, path: str) -> "dict[str, Any]":
        """Read an object to a file; the size and digest of what came."""
        with open(path, "wb") as out:
            return digest(_written(self.stream(key), out))

    def delete(self, keys: "list[str]") -> None:
        """Remove objects; one that is not removed is an error."""
        from botocore.exceptions import ClientError

        for start in range(0, len(keys), 1000):
            named = [{"Key": key} for key in keys[start : start + 1000]]
            answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": named, "Quiet": True})
            for error in answer.get("Errors", []):
                raise ClientError({"Error": error}, "DeleteObjects of %s" % error.get("Key"))

    def abort(self, key: str, upload: str) -> None:
        """Give up an upload in parts."""
        self.s3.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)


class _Hashed:
    """A file that is read once and hashed on the way."""

    def __init__(self, source: Any) -> None:
        self.source, self.size, self.hash = source, 0, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece: bytes = self.source.read(size)
        self.size += len(piece)
        self.hash.update(piece)
        return piece

    def facts(self) -> "dict[str, Any]":
        return {"bytes": self.size, "sha256": self.hash.hexdigest()}


def digest(pieces: Iterable[bytes]) -> "dict[str, Any]":
    """The size and digest of what comes in pieces."""
    size, total = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        total.update(piece)
    return {"bytes": size, "sha256": total.hexdigest()}


def file_digest(path: str) -> "dict[str, Any]":
    """The size and digest of a file."""
    with open(path, "rb") as source:
        return digest(iter(lambda: source.read(1 << 20), b""))


def _written(pieces: Iterable[bytes], out: Any) -> "Iterator[bytes]":
    for piece in pieces:
        out.write(piece)
        yield piece


def each(
    buckets: Iterable[Bucket], question: "Callable[[Bucket], Answer]"
) -> "tuple[dict[str, Answer], dict[str, str]]":
    """Ask all stores side by side: the answer of each that gave one, and what went wrong with the others."""
    return stores.side_by_side((bucket.name, partial(question, bucket)) for bucket in buckets)


def ask(bucket: Bucket, question: "Callable[[Bucket], Answer]") -> Answer:
    """Ask one store that is needed; one that does not answer is a refusal."""
    answers, failed = each([bucket], question)
    if failed:
        raise Stop("%s does not answer: %s. Nothing was changed." % (bucket.name, failed[bucket.name]), PRECONDITION)
    return answers[bucket.name]


def many(jobs: "Mapping[str, Callable[[], Answer]]") -> "dict[str, Answer]":
    """Run the jobs of one store, some at once; the first that fails ends the others that have not begun."""
    with ThreadPoolExecutor(max_workers=FILES) as pool:
        running = {name: pool.submit(job) for name, job in jobs.items()}
        try:
            return {name: job.result() for name, job in running.items()}
        except BaseException:
            for job in running.values():
                job.cancel()
            raise
