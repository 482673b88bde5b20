"""Reading the witness's journal where it lies. The format is in docs/contracts.md."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable, Iterator

from .times import moment

PROBES = ("commit", "health", "products", "videos")
LOSSES = "losses.jsonl"
EVER = datetime.fromtimestamp(0, timezone.utc)


def hourly_files(directory: str, since: datetime) -> "list[str]":
    """Journal files that may hold lines from `since` on, oldest first."""
    first = (since - timedelta(hours=1)).strftime("%Y%m%dT%H")
    names = sorted(name for name in os.listdir(directory) if name.endswith(".jsonl") and name != LOSSES)
    return [os.path.join(directory, name) for name in names if name[:11] > first]


def lines(directory: str, since: datetime, containing: str = "") -> "Iterator[dict[str, Any]]":
    """Journal lines of the hours from `since` on; a line that is being written at this moment is passed over."""
    return map(json.loads, texts(directory, since, containing))


def texts(directory: str, since: datetime, containing: str) -> "Iterator[str]":
    """The same lines as they are written: to parse the hundred thousand of two hours takes a second that a failover has not."""
    for path in hourly_files(directory, since):
        with open(path, encoding="utf-8") as journal:
            yield from (line for line in journal if containing in line and line.endswith("}\n"))


def last_successes(
    directory: str, before: datetime, probes: Iterable[str] = PROBES, since: datetime = EVER
) -> "dict[str, datetime]":
    """When each probe succeeded last before an instant, by the hours from `since` on; a probe that never did is left out."""
    found: "dict[str, datetime]" = {}
    wanted = set(probes)
    for path in reversed(hourly_files(directory, since)):
        with open(path, encoding="utf-8") as journal:
            newest_first = reversed(journal.readlines())
        for text in newest_first:
            if not wanted:
                return found
            if (
                '"ok":true' not in text
                or not text.endswith("}\n")
                or not any('"%s"' % probe in text for probe in wanted)
            ):
                continue
            line = json.loads(text)
            ended = moment(line["end"])
            if line["probe"] in wanted and ended < before:
                found[line["probe"]] = ended  # a result is written when it ends
                wanted.remove(line["probe"])
    return found


class Successes:
    """The same, asked again and again: a probe that fails, or that nobody wants, makes no look read a week of journal, but the first."""

    def __init__(self, directory: str) -> None:
        self._directory, self._read_to = directory, EVER
        self._found: "dict[str, datetime]" = {}

    def until(self, now: datetime) -> "dict[str, datetime]":
        """When each probe succeeded last."""
        self._found.update(last_successes(self._directory, now, since=self._read_to))
        self._read_to = now
        return dict(self._found)


def accepted_losses(directory: str) -> "list[list[int]]":
    """Token ranges that earlier recoveries of the service gave up."""
    path = os.path.join(directory, LOSSES)
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as losses:
        return [r for line in losses if line.endswith("}\n") for r in json.loads(line)["ranges"]]


def accept_losses(directory: str, run: str, ranges: "list[list[int]]") -> bool:
    """Note the tokens a recovery gave up, once per run; whether anything was written."""
    path = os.path.join(directory, LOSSES)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as losses:
            if any(json.loads(line)["run"] == run for line in losses if line.endswith("}\n")):
                return False
    with open(path, "a", encoding="utf-8") as losses:
        losses.write(json.dumps({"run": run, "ranges": ranges}) + "\n")
        losses.flush()
        os.fsync(losses.fileno())
    return True


def copy_since(directory: str, since: datetime, path: str) -> int:
    """Copy whole lines from `since` on, and every start of the witness, to `path`; how many there were."""
    text = since.strftime("%Y-%m-%dT%H:%M:%S")
    kept = 0
    with open(path + ".partial", "w", encoding="utf-8") as out:
        for line in lines(directory, since):
            if line.get("wall", line.get("end", "")) >= text:
                out.write(json.dumps(line, separators=(",", ":")) + "\n")
                kept += 1
        out.flush()
        os.fsync(out.fileno())
    os.replace(path + ".partial", path)
    return kept
