"""Rules about proof: whether the promise was ever shown to hold, and whether it would hold now."""

from __future__ import annotations

from typing import Any, Iterator

from . import capacity
from .findings import finding
from .history import LET_GO
from .observed import Service
from .prediction import FAR, outgrown, predict
from .times import epoch_s

PROVE = "pgrescue prove -s %s"
HORIZON_DAYS = 365
READ_ONLY = ("verify", "verify_dump")  # they read every byte and restore nothing


def proven(service: Service) -> "Iterator[dict[str, Any]]":
    """A backup that was never restored is a hope."""
    ended = [run for run in service.runs if run.get("result") and run.get("exit_code") not in LET_GO]
    restored = [run for run in ended if run["procedure"] not in READ_ONLY]
    shown = [run["ended_s"] for run in restored if run["result"] == "passed" and "ended_s" in run]
    shown += [
        epoch_s(backup["proven"]) for backup in service.backups if backup["proof"] == "validated" and backup["proven"]
    ]
    prove = PROVE % service.name
    allowed = service.promise.get("proof_interval_s")
    if not shown:
        yield finding(
            "never-proven",
            "error",
            "protection",
            "Nothing was ever restored and validated: neither objective is proven.",
            prove,
            runs=len(service.runs),
        )
    elif allowed and service.now_s - max(shown) > allowed:
        yield finding(
            "proof-stale",
            "error",
            "protection",
            "The last restore that passed is older than the schedule of proofs allows.",
            prove,
            age_s=service.now_s - max(shown),
            allowed_s=allowed,
        )
    if ended and ended[-1]["result"] == "failed":
        failed = ended[-1].get("failed_checks") or []
        yield finding(
            "proof-failed",
            "error",
            "protection",
            "The last run, %s, did not pass%s." % (ended[-1]["id"], ": " + "; ".join(failed) if failed else ""),
            "Read its report, put the cause right, then: %s" % prove,
            exit_code=ended[-1].get("exit_code"),
        )


def proven_backups(service: Service) -> "Iterator[dict[str, Any]]":
    """Each repository may be the only one left, so each needs a proof of its own."""
    prove = PROVE % service.name
    for repo in service.repositories:
        where = "repository %s" % repo["number"]
        for backup in repo["backups"]:
            if backup["proof"] == "failed":
                yield finding(
                    "backup-disproven",
                    "error",
                    "protection",
                    "Backup %s was restored and did not pass; do not count on it." % backup["label"],
                    "Read the report of that proof, then take a full backup to this repository.",
                    where=where,
                )
        if repo["backups"] and not any(backup["proof"] == "validated" for backup in repo["backups"]):
            yield finding(
                "repository-unproven",
                "warning",
                "protection",
                "No backup of this repository was ever proven by a restore.",
                "%s -e proof_repository=%s" % (prove, repo["number"]),
                where=where,
                backups=len(repo["backups"]),
            )


def restore_time(service: Service) -> "Iterator[dict[str, Any]]":
    """What a recovery of the data as it is now would take, from what earlier ones measured."""
    data = service.data_bytes
    prove = PROVE % service.name
    if not data:
        return
    found = predict(service.runs, data, service.wal_bytes)
    if found is None:
        yield finding(
            "not-measured",
            "warning",
            "rto",
            "How long a restore takes was not measured yet, so nobody knows whether the objective can be kept.",
            prove,
            data_bytes=data,
        )
        return
    figures = {**found, "data_bytes": data, "wal_bytes": service.wal_bytes}
    budget = service.phases.get("restore")
    if budget and found["restore_p95_s"] > budget:
        yield finding(
            "restore-budget",
            "error" if found["restore_p50_s"] > budget else "warning",
            "rto",
            "A restore of what there is now would take longer than its budget.",
            "Fetch more files side by side (recovery_processes), back up more often so that less WAL is replayed, or raise the budget.",
            **figures,
            budget_s=budget,
        )
    if service.rto_s and found.get("back_p95_s", 0.0) > service.rto_s:
        yield finding(
            "restore-time",
            "error" if found["back_p50_s"] > service.rto_s else "warning",
            "rto",
            "A recovery by restore would take longer than the objective.",
            "Keep a standby to fail over to, fetch more files side by side (recovery_processes), or raise objectives.rto_s.",
            **figures,
            rto_s=service.rto_s,
        )
    if data > FAR * found["measured_bytes"]:
        yield finding(
            "measured-on-less",
            "warning",
            "rto",
            "Restores were measured on far less data than there is now.",
            prove,
            **figures,
        )
    yield from _outgrown(service, data)


def _outgrown(service: Service, data: float) -> "Iterator[dict[str, Any]]":
    growth = capacity.growth_per_day(capacity.sizes(service.backups))
    if not growth or not service.rto_s:
        return
    days = outgrown(service.runs, data, service.wal_bytes, growth, service.rto_s, HORIZON_DAYS)
    if days:
        yield finding(
            "objective-outgrown",
            "advice",
            "rto",
            "At the present growth a recovery by restore will take longer than the objective within a year.",
            "Plan for it: partition and archive old data, more throughput to the repositories, or standbys to fail over to.",
            days_left=days,
            growth_bytes_per_day=growth,
            data_bytes=data,
            rto_s=service.rto_s,
        )


RULES = (proven, proven_backups, restore_time)
