"""`samples-<host>.json` of a record: what a host did, second by second, as sysstat saw it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.json_schema import SkipJsonSchema

from pgrescue.models import SCHEMA_VERSION, Instant, Model

INTERVAL_S = 1
READER = "sadf"
_SECTOR, _KB = 512, 1024
_LIMIT_S = 120.0


def name(host: str) -> str:
    """The file of a host."""
    return f"samples-{host}.json"


class Sample(Model):
    """One second of a host. What was not measured is absent."""

    at: Instant  # by the host's own clock
    cpu_busy_percent: float | SkipJsonSchema[None] = None
    memory_used_percent: float | SkipJsonSchema[None] = None
    load_1: float | SkipJsonSchema[None] = None
    disk_read_bytes_s: float | SkipJsonSchema[None] = None
    disk_written_bytes_s: float | SkipJsonSchema[None] = None
    network_received_bytes_s: float | SkipJsonSchema[None] = None  # over all interfaces but loopback
    network_sent_bytes_s: float | SkipJsonSchema[None] = None


class Samples(Model):
    """All of one host. `ended`: why no more came before the sampling was over; `problem`: why none can be read."""

    schema_version: int = SCHEMA_VERSION
    host: str
    interval_s: float = INTERVAL_S
    samples: list[Sample]
    ended: str | SkipJsonSchema[None] = None
    problem: str | SkipJsonSchema[None] = None


class SamplesError(Exception):
    """Samples that cannot be read; the message says why."""


def convert(recorded: Path) -> list[Sample]:
    """What sadc wrote to a file, also one that ends in the middle of a sample. Raises SamplesError."""
    command = [READER, "-j", str(recorded), "--", "-u", "-r", "-b", "-q", "-n", "DEV"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_LIMIT_S, env={**os.environ, "LC_ALL": "C"}
        )
        # of a file that ends in the middle it complains, and gives all that is whole
        hosts = json.loads(done.stdout)["sysstat"]["hosts"]
        return [sample(one) for host in hosts for one in host["statistics"] if "timestamp" in one]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SamplesError(f"{READER} did not run: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SamplesError(done.stderr.strip() or f"{READER} said what cannot be read: {error!r}") from error


def sample(said: Mapping[str, Any]) -> Sample:
    """One entry of `sadf -j`."""
    stamp = said["timestamp"]
    cpu: Mapping[str, Any] = next((one for one in said.get("cpu-load", []) if one["cpu"] == "all"), {})
    disk, memory, queue = said.get("io", {}), said.get("memory", {}), said.get("queue", {})
    wires = [one for one in said.get("network", {}).get("net-dev", []) if one["iface"] != "lo"]
    found = {
        "cpu_busy_percent": round(100 - cpu["idle"], 2) if "idle" in cpu else None,
        "memory_used_percent": memory.get("memused-percent"),
        "load_1": queue.get("ldavg-1"),
        "disk_read_bytes_s": disk["io-reads"]["bread"] * _SECTOR if "io-reads" in disk else None,
        "disk_written_bytes_s": disk["io-writes"]["bwrtn"] * _SECTOR if "io-writes" in disk else None,
        "network_received_bytes_s": round(sum(one["rxkB"] for one in wires) * _KB, 1) if wires else None,
        "network_sent_bytes_s": round(sum(one["txkB"] for one in wires) * _KB, 1) if wires else None,
    }
    at = datetime.fromisoformat(f"{stamp['date']}T{stamp['time']}").replace(tzinfo=UTC)
    return Sample(at=at, **{key: value for key, value in found.items() if value is not None})


def read(directory: Path) -> tuple[Samples, ...]:
    """The samples of a record, by host; empty where there are none. Raises SamplesError when one cannot be read."""
    found = []
    for path in sorted(directory.glob(name("*"))):
        try:
            found.append(Samples.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise SamplesError(f"{path.name}: {error.errors()[0]['msg']}") from error
    return tuple(found)
