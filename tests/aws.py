"""Amazon's services as moto's server plays them, on a loopback address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

KEY, SECRET = "AKIATESTTESTTESTTEST", "a-secret-of-realistic-length"


class Aws:
    """A server with buckets; made anew for every test that asks for it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.s3 = self.client("s3")

    def client(self, service: str) -> Any:
        """A client for one of its services."""
        said = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        return boto3.client(service, endpoint_url=self.url, **said)

    def bucket(self, name: str, *, versioned: bool = False) -> dict[str, Any]:
        """A new bucket, as inventories name a store."""
        self.s3.create_bucket(Bucket=name)
        if versioned:
            self.versioning(name, "Enabled")
        return {"url": self.url, "bucket": name, "region": "us-east-1", "key": KEY, "secret": SECRET}

    def versioning(self, name: str, status: str) -> None:
        self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})


@contextmanager
def served() -> Iterator[Aws]:
    """moto's server on a free port, empty."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Aws(f"http://{host}:{port}")
    finally:
        server.stop()
