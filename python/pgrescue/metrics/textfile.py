"""Files for node-exporter's textfile collector, each written whole or not at all. They hold no time of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from pgrescue import files
from pgrescue.core.series import Sample, families, sample
from pgrescue.core.times import epoch_s
from pgrescue.ledger.index import LedgerError
from pgrescue.metrics import batch

FOLDER = "PGRESCUE_TEXTFILE"  # environment: the folder that node-exporter reads; nothing is written without it
RECORDS = "pgrescue_records.prom"


class _Families(Collector):
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> list[Any]:
        return families(self._samples)


def exposition(samples: Iterable[Sample]) -> bytes:
    """Samples in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Families(samples))
    return generate_latest(registry)


def write_records(runs: Path, folder: Path) -> Path:
    """What the records say, to the folder. Raises OSError, and LedgerError when the records cannot be asked."""
    path = folder / RECORDS
    files.write_bytes(path, exposition(batch.samples(runs, datetime.now(UTC))))
    return path


def publish(runs: Path) -> None:
    """`write_records`, where the environment names a folder. That it failed is said and ends no run."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    try:
        write_records(runs, Path(folder))
    except (OSError, LedgerError) as error:
        print(f"The metrics of this run could not be written to {folder}: {error}", file=sys.stderr, flush=True)


def write_watch(heartbeat: Mapping[str, Any]) -> None:
    """What a watch says of itself, where the environment names a folder. Raises OSError."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    service = heartbeat["service"]
    found = sample("watch_last_run_timestamp_seconds", epoch_s(heartbeat["at"]), service)
    found += sample("watch_state", 1, service, heartbeat["state"])
    files.write_bytes(Path(folder) / f"pgrescue_watch_{service}.prom", exposition(found))
