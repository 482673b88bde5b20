"""`samples-<host>.json` of a record: what a host did, second by second, as sysstat saw it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from pydantic import ValidationError
from pydantic.json_schema import SkipJsonSchema

from pgrescue.models import SCHEMA_VERSION, Instant, Model

INTERVAL_S = 1
Tables = Mapping[str, Sequence[Mapping[str, str]]]  # rows by column, of each table by its first column
_SECTOR, _KB = 512, 1024
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


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
    """What `sar` of a host printed as text, also where it ends in the middle of a line. Raises SamplesError.

    Text, for what one version of sysstat records another one may not read.
    """
    lines = recorded.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    began = _DATE.search(lines[0]) if lines else None
    if began is None:
        raise SamplesError(f"not what sar prints: {lines[0].strip()[:80]!r}" if lines else "sar said nothing")
    try:
        seconds = list(_seconds(date.fromisoformat(began[0]), lines[1:]))
        return [sample(at, tables) for at, tables in seconds]
    except (ValueError, KeyError) as error:
        raise SamplesError(f"sar printed what cannot be read: {error!r}") from error


def sample(at: datetime, tables: Tables) -> Sample:
    """What sar's tables say of one second, in plain units."""
    cpu, memory = _only(tables, "CPU"), _only(tables, "kbmemfree")
    disk, queue = _only(tables, "tps"), _only(tables, "runq-sz")
    wires = [one for one in tables.get("IFACE", []) if one["IFACE"] != "lo"]
    found = {
        "cpu_busy_percent": round(100 - float(cpu["%idle"]), 2) if cpu else None,
        "memory_used_percent": float(memory["%memused"]) if memory else None,
        "load_1": float(queue["ldavg-1"]) if queue else None,
        "disk_read_bytes_s": float(disk["bread/s"]) * _SECTOR if disk else None,
        "disk_written_bytes_s": float(disk["bwrtn/s"]) * _SECTOR if disk else None,
        "network_received_bytes_s": round(sum(float(one["rxkB/s"]) for one in wires) * _KB, 1) if wires else None,
        "network_sent_bytes_s": round(sum(float(one["txkB/s"]) for one in wires) * _KB, 1) if wires else None,
    }
    return Sample(at=at, **{key: value for key, value in found.items() if value is not None})


def _seconds(day: date, lines: Sequence[str]) -> Iterator[tuple[datetime, Tables]]:
    """The tables of each second. A table begins after an empty line with the names of its columns."""
    header: list[str] = []
    tables: dict[str, list[Mapping[str, str]]] = {}
    at: datetime | None = None
    for line in lines:
        words = line.split()
        if not words or words[0] == "Average:":
            header = []
        elif not line.endswith("\n"):
            break
        elif not header:
            header = words[1:]
        else:
            now = datetime.combine(day, time.fromisoformat(words[0]), UTC)
            if at is not None and now < at - timedelta(hours=12):  # past midnight
                day, now = day + timedelta(days=1), now + timedelta(days=1)
            if at is not None and now != at:
                yield at, tables
                tables = {}
            at = now
            tables.setdefault(header[0], []).append(dict(zip(header, words[1:], strict=True)))
    if at is not None:
        yield at, tables


def _only(tables: Tables, name: str) -> Mapping[str, str]:
    return tables.get(name, [{}])[0]


def read(directory: Path) -> tuple[Samples, ...]:
    """The samples of a record, by host; empty where there are none. Raises SamplesError when one cannot be read."""
    found = []
    for path in sorted(directory.glob(name("*"))):
        try:
            found.append(Samples.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise SamplesError(f"{path.name}: {error.errors()[0]['msg']}") from error
    return tuple(found)
