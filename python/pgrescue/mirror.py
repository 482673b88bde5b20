"""Copy the record of a run to its object stores. `python -m pgrescue.mirror RUN_DIR < stores.json`; playbooks call it.

Standard input is a JSON list of stores: url, bucket, region, key, secret and optionally ca_file.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

# Some S3-compatible stores do not know the checksums newer clients add unasked.
QUIET = Config(
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    s3={"addressing_style": "path"},
    connect_timeout=5,
    read_timeout=30,
    retries={"total_max_attempts": 3},
)
PRIVATE = {"controller.json"}


def client(store: dict[str, Any]) -> Any:
    """An S3 client for one store."""
    return boto3.client(
        "s3",
        endpoint_url=store["url"],
        region_name=store["region"],
        aws_access_key_id=store["key"],
        aws_secret_access_key=store["secret"],
        verify=store.get("ca_file") or True,
        config=QUIET,
    )


def upload(directory: Path, store: dict[str, Any]) -> int:
    """Copy every file of the record to one store, the manifest last; how many there were."""
    s3 = client(store)
    files = [path for path in sorted(directory.iterdir()) if path.is_file() and path.name not in PRIVATE]
    for path in sorted(files, key=lambda path: path.name == "manifest.sha256"):
        s3.put_object(Bucket=store["bucket"], Key=f"runs/{directory.name}/{path.name}", Body=path.read_bytes())
    return len(files)


def download(run: str, root: Path, store: dict[str, Any]) -> Path:
    """Bring a run's record from a store to `root/<run>`, so that it can be resumed or read here."""
    s3 = client(store)
    target = root / run
    target.mkdir(parents=True, exist_ok=True)
    for entry in s3.list_objects_v2(Bucket=store["bucket"], Prefix=f"runs/{run}/").get("Contents", []):
        body = s3.get_object(Bucket=store["bucket"], Key=entry["Key"])["Body"].read()
        (target / entry["Key"].rsplit("/", 1)[1]).write_bytes(body)
    return target


def main() -> None:
    """Mirror to all stores side by side; a store that fails is named, and the others still get their copy."""
    directory = Path(sys.argv[1])
    stores = json.load(sys.stdin)
    failed = []
    with ThreadPoolExecutor() as pool:
        for store, copied in [(store, pool.submit(upload, directory, store)) for store in stores]:
            try:
                print(f"{store['url']}/{store['bucket']}: {copied.result()} files")
            except (BotoCoreError, ClientError) as error:
                failed.append(f"{store['url']}/{store['bucket']}: {error}")
    if failed:
        sys.exit("The record was not mirrored to " + "; ".join(failed))


if __name__ == "__main__":
    main()
