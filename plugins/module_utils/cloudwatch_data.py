"""What was observed of a service's backups, as data for Amazon CloudWatch: ages and results, failures too. Pure.

Every datum has the dimensions service, repo and type, for an alarm looks at exactly one series. What is not known is left out: an
alarm takes what is missing for bad, and a guess would silence it.
"""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Optional, Tuple

from .times import epoch_s

BACKUP, WAL, DUMP, REPLICA, FLY = "backup", "wal", "dump", "replica", "fly"
ALL = "all"

Fact = Mapping[str, Any]
Rows = Iterator[Tuple[str, str, str, float, str]]  # metric, repository, type, value, unit


def data(service: str, facts: "Mapping[str, Any]", now_s: float) -> "list[dict[str, Any]]":
    """The argument C(MetricData) of PutMetricData. `facts` are those that M(pgrescue.runbooks.publish_metrics) takes."""
    found = [
        *_repositories(facts, now_s),
        *_dumps(facts, now_s),
        *_buckets(facts.get("buckets") or []),
        *_replica(facts.get("replica") or {}),
        *_fly(facts.get("fly") or {}),
    ]
    seen = any(repo.get("problem") is None for repo in facts.get("repositories") or []) or bool(
        (facts.get("dumps") or {}).get("dumps")
    )
    found.append(("CollectorSuccess", ALL, ALL, float(seen), "None"))
    return [_datum(service, now_s, *one) for one in found]


def _datum(service: str, now_s: float, name: str, repo: str, kind: str, value: float, unit: str) -> "dict[str, Any]":
    named = (("service", service), ("repo", repo), ("type", kind))
    return {
        "MetricName": name,
        "Dimensions": [{"Name": key, "Value": said} for key, said in named],
        "Timestamp": now_s,
        "Value": float(value),
        "Unit": unit,
    }


def _repositories(facts: "Mapping[str, Any]", now_s: float) -> Rows:
    for repo in facts.get("repositories") or []:
        number = str(repo["number"])
        good = [b["stopped_s"] for b in repo.get("backups") or [] if not b.get("error") and b.get("proof") != "failed"]
        attempts = [(at, True) for at in good]
        attempts += list(_jobs(facts.get("jobs") or [], number))
        attempts += list(_noted(facts.get("attempts") or [], number))
        if good:
            yield "BackupAge", number, BACKUP, now_s - max(good), "Seconds"
        if repo.get("newest_segment_s"):
            yield "RecoveryPointAge", number, WAL, now_s - repo["newest_segment_s"], "Seconds"
        yield from _result(number, BACKUP, attempts)


def _result(repo: str, kind: str, attempts: "list[tuple[float, bool]]") -> Rows:
    """The newest attempt, 1 or 0. Of two at one instant the failed one counts."""
    if attempts:
        newest = max(attempts, key=lambda attempt: (attempt[0], not attempt[1]))
        yield "BackupSuccess", repo, kind, float(newest[1]), "None"


def _jobs(jobs: "Iterable[Fact]", number: str) -> "Iterator[tuple[float, bool]]":
    """What the scheduled backup wrote down on each host. One that ended before it was done failed for every repository it had not
    come to."""
    for job in jobs:
        at = job.get("finished") or job.get("started")
        done = (job.get("repositories") or {}).get(number)
        if at is None or (done is None and job.get("state") != "failed"):
            continue
        yield epoch_s((done or {}).get("finished") or at), (done or {}).get("state") == "taken"


def _noted(attempts: "Iterable[Fact]", repo: str, kind: "Optional[str]" = None) -> "Iterator[tuple[float, bool]]":
    """Attempts from C(runs/attempts); dumps are told apart by their kind."""
    for attempt in attempts:
        if attempt.get("repository") == repo and (attempt.get("kind") == DUMP) == (kind == DUMP):
            yield epoch_s(attempt["at"]), attempt["result"] == "passed"


def _dumps(facts: "Mapping[str, Any]", now_s: float) -> Rows:
    """A dump is of the instant at which it began, and counts in each store that holds it."""
    catalog = facts.get("dumps") or {}
    begun: "dict[str, list[tuple[float, float]]]" = {}
    for dump in catalog.get("dumps") or []:
        for store in dump["stores"]:
            begun.setdefault(store, []).append((epoch_s(dump["started"]), epoch_s(dump["finished"])))
    for store, times in sorted(begun.items()):
        yield "BackupAge", store, DUMP, now_s - max(times)[0], "Seconds"
        noted = list(_noted(facts.get("attempts") or [], store, DUMP))
        yield from _result(store, DUMP, [*((end, True) for _begin, end in times), *noted])


def _buckets(usage: "Iterable[Fact]") -> Rows:
    """Everything that is paid for, also what no listing shows: noncurrent versions, and parts of uploads that were never ended."""
    for one in usage:
        if one.get("problem") is None:
            for kind in ("current", "noncurrent", "unfinished"):
                yield "BucketBytes", one["store"], kind, one[kind]["bytes"], "Bytes"
            yield "BucketBytes", one["store"], ALL, one["total_bytes"], "Bytes"


def _replica(replica: Fact) -> Rows:
    if replica and replica.get("problem") is None:
        yield "ReplicationLag", replica["destination"], REPLICA, replica["lag_s"], "Seconds"
        yield "ReplicationMissing", replica["destination"], REPLICA, len(replica["missing"]), "Count"


def _fly(fly: Fact) -> Rows:
    """Of an application whose machines have no check nothing is known."""
    if fly and fly.get("problem") is None and fly["checks"]:
        failing = [check for check in fly["checks"] if check["status"] != "passing"]
        yield "FailingChecks", fly["app"], FLY, len(failing), "Count"
