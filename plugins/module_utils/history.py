"""What earlier runs measured: how fast data was fetched and WAL replayed, and how long everything else took.

`folded` is pure; `read` brings the files of the runs. Nothing here guesses: what a run did not measure is absent.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Callable, Mapping, Optional, Sequence

from . import records
from .lsn import DEFAULT_SEGMENT_BYTES, parse_lsn, segment_number
from .times import epoch_s

STARTED = re.compile(r"^Start the (server|copy),")
REPLAYED = re.compile(r"replayed to ([0-9A-F]+/[0-9A-F]+)")
RESTORED = re.compile(r"^Backup (\S+) from repository \d+, .* restored")
LET_GO = (3, 4, 8)  # exit codes of runs that were refused or given up: they prove and disprove nothing


def folded(
    run: Mapping[str, Any],
    measurement: Mapping[str, Any],
    plan: Mapping[str, Any],
    checks: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
) -> "dict[str, Any]":
    """One run as the linter wants it."""
    ended = [event["wall"] for event in events if event["event"] == "end" and event.get("phase") is None]
    facts = {
        "id": run["id"],
        "kind": run["kind"],
        "procedure": run["procedure"],
        "method": "warm_restore" if plan.get("warm_from") else plan.get("method"),
        "result": run.get("result"),
        "exit_code": run.get("exit_code"),
        "ended_s": epoch_s(ended[-1]) if ended else None,
        "attempts": sum(e["event"] == "start" and not e.get("phase") and not e.get("step") for e in events) or None,
        "failed_checks": [check["name"] for check in checks if check["verdict"] == "failed"],
        **{
            key: measurement[key]
            for key in ("rta_s", "rpa_s", "detection_s", "phases", "data_bytes")
            if key in measurement
        },
        **_speeds(plan, events),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _speeds(plan: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> "dict[str, Any]":
    """Bytes and seconds of the fetch and of the replay, where the journal shows both ends of them in one attempt."""
    if (
        sum(event["event"] == "start" and event.get("phase") == "restore" and not event.get("step") for event in events)
        != 1
    ):
        return {}  # a phase that was interrupted and gone on with measures the interruption
    begun = _first(events, lambda e: e["event"] == "start" and e.get("phase") == "restore")
    restored = _first(events, lambda e: e["event"] == "milestone" and e.get("step") == "restored")
    started = _first(events, lambda e: e["event"] == "start" and bool(STARTED.match(e.get("step") or "")))
    writable = _first(events, lambda e: e["event"] == "milestone" and e.get("step") == "writable")
    said = [RESTORED.match(str(event.get("detail") or "")) for event in events if event["event"] == "decision"]
    labels = [match.group(1) for match in said if match]
    chosen = next((backup for backup in plan.get("candidates", []) if labels and backup["label"] == labels[0]), None)
    found: "dict[str, Any]" = {}
    if chosen and begun and restored:
        found.update(fetched_bytes=chosen["size_bytes"], fetch_s=epoch_s(restored["wall"]) - epoch_s(begun["wall"]))
    reached = REPLAYED.search(str(writable.get("detail") or "")) if writable else None
    if chosen and started and writable and reached:
        size = chosen.get("segment_bytes", DEFAULT_SEGMENT_BYTES)  # absent from older records
        from_byte = segment_number(chosen["wal_start"], size) * size
        found.update(
            replayed_bytes=max(parse_lsn(reached.group(1)) - from_byte, 0),
            replay_s=epoch_s(writable["wall"]) - epoch_s(started["wall"]),
        )
    return {key: round(value, 6) for key, value in found.items()}


def _first(
    events: Sequence[Mapping[str, Any]], wanted: "Callable[[Mapping[str, Any]], bool]"
) -> Optional[Mapping[str, Any]]:
    """The first such event."""
    return next(filter(wanted, events), None)


def read(directory: str, service: str) -> "tuple[list[dict[str, Any]], list[str]]":
    """Every run of the service, oldest first, and the names of those whose record cannot be read."""
    runs, unreadable = [], []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        folder = os.path.join(directory, name)
        if os.path.islink(folder) or not os.path.exists(os.path.join(folder, "run.json")):
            continue
        try:
            run = records.read_json(os.path.join(folder, "run.json"))
            if run["service"] == service:
                measurement, plan = _part(folder, "measurement", {}), _part(folder, "plan", {})
                runs.append(folded(run, measurement, plan, _part(folder, "checks", []), _events(folder)))
        except (ValueError, KeyError, TypeError):
            unreadable.append(name)
    return runs, unreadable


def _part(folder: str, name: str, empty: Any) -> Any:
    path = os.path.join(folder, name + ".json")
    return records.read_json(path) if os.path.exists(path) else empty


def _events(folder: str) -> "list[dict[str, Any]]":
    path = os.path.join(folder, "timeline.jsonl")
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a crash leaves half a line
