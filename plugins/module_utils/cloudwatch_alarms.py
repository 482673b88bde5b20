"""Which alarms Amazon CloudWatch keeps for a service, and from when on they ring: from what is promised. Pure."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from .cloudwatch_data import ALL, BACKUP, DUMP, FLY, REPLICA, WAL

PERIOD_S = 300
PERIODS = 3
# three data points, and as long again until the first of them is published
DETECTS_S = (PERIODS + 1) * PERIOD_S


class Unreachable(ValueError):
    """An objective that no such alarm can keep; the message says what to do."""


def alarms(promise: "Mapping[str, Any]", more: "Mapping[str, Any]") -> "list[dict[str, Any]]":
    """The alarms of a service: arguments of M(amazon.aws.cloudwatch_metric_alarm) that differ from one to the next.

    `promise` is what M(pgrescue.runbooks.lint_service) takes, C(more) has C(dumps) [a store each], C(replica) {destination, limit_s}
    and C(fly) (the application's name there), each where there is one. Raises Unreachable when the recovery point cannot be kept.
    """
    service = promise["service"]
    return [
        {
            "name": " ".join(("pgrescue", service, repo, kind, metric)),
            "metric": metric,
            "dimensions": {"service": service, "repo": repo, "type": kind},
            "description": said,
            **_bound(metric, limit),
        }
        for metric, repo, kind, limit, said in _watched(promise, more)
    ]


def _bound(metric: str, limit: float) -> "dict[str, Any]":
    if metric.endswith("Success"):
        return {"statistic": "Minimum", "comparison": "LessThanThreshold", "threshold": float(limit)}
    return {"statistic": "Maximum", "comparison": "GreaterThanThreshold", "threshold": float(limit)}


def _watched(promise: "Mapping[str, Any]", more: "Mapping[str, Any]") -> "Iterator[tuple[str, str, str, float, str]]":
    physical = "physical" in promise["engines"]
    reaction_s = promise["reaction_s"]
    failed = "The newest attempt failed, or nobody says."
    yield "CollectorSuccess", ALL, ALL, 1, "Nothing that could be restored was seen, or nobody looks any more."
    if physical:
        point_s, late_s = recovery_point_s(promise), promise["backup_interval_s"] + reaction_s
        for number in range(1, len(promise["repositories"]) + 1):
            repo = str(number)
            yield (
                "RecoveryPointAge",
                repo,
                WAL,
                point_s,
                "What is written is not archived; the recovery point is about to be lost.",
            )
            yield "BackupAge", repo, BACKUP, late_s, "The newest backup is older than the schedule allows."
            yield "BackupSuccess", repo, BACKUP, 1, failed
    # no WAL replays on a dump: where there is nothing else its age is what would be lost
    dump_s = promise["dump_interval_s"] + reaction_s if physical else recovery_point_s(promise)
    for store in more.get("dumps") or []:
        yield "BackupAge", store, DUMP, dump_s, "The newest dump is older than it may be."
        yield "BackupSuccess", store, DUMP, 1, failed
    for bucket in promise["buckets"]:
        if bucket.get("limit_bytes"):
            yield "BucketBytes", bucket["store"], ALL, bucket["limit_bytes"], "The bucket holds more than it may."
    if more.get("replica"):
        replica = more["replica"]
        yield "ReplicationLag", replica["destination"], REPLICA, replica["limit_s"], "The replica is late."
    if more.get("fly"):
        yield "FailingChecks", more["fly"], FLY, 0, "A health check of the application at Fly.io does not pass."


def recovery_point_s(promise: "Mapping[str, Any]") -> float:
    """From which age on somebody must be told for the recovery point to be kept: before it is lost, not after."""
    rpo_s, reaction_s = float(promise["objectives"]["rpo_s"]), float(promise["reaction_s"])
    limit = rpo_s - reaction_s - DETECTS_S
    if limit <= 0:
        raise Unreachable(
            "A recovery point of %g s cannot be kept by CloudWatch: its alarm takes up to %d s, and somebody %g s to act on it "
            "(protection_reaction_s). Shorten that, or watch this objective with Prometheus. Nothing was changed."
            % (rpo_s, DETECTS_S, reaction_s)
        )
    return limit
