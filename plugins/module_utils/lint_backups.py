"""Rules about the repositories and what is in them."""

from __future__ import annotations

from typing import Any, Iterator

from .findings import finding
from .observed import Service

SETTLED_S = 300  # asynchronous archiving may store a segment before the one ahead of it
DAY_S = 86400


def places(service: Service) -> "Iterator[dict[str, Any]]":
    """Two repositories, in two regions, that one stolen key cannot both delete."""
    promised = service.promise.get("repositories") or []
    if len(promised) < 2:
        yield finding(
            "one-repository",
            "error",
            "protection",
            "There are fewer than two repositories: whoever or whatever damages it has damaged everything.",
            "Add a repository in another region to pgbackrest_repositories and run playbooks/protect.yml.",
            repositories=len(promised),
        )
        return
    if len({repo["region"] for repo in promised}) < 2:
        yield finding(
            "one-region",
            "error",
            "protection",
            "All repositories are in region %s." % promised[0]["region"],
            "Move one to another region.",
            repositories=len(promised),
        )
    if len({repo["key"] for repo in promised}) < len(promised):
        yield finding(
            "same-credentials",
            "error",
            "protection",
            "Repositories share their credentials: one stolen key deletes every copy.",
            "Make an access key for each repository, with rights on its own bucket alone.",
            keys=len({repo["key"] for repo in promised}),
            repositories=len(promised),
        )


def standby_region(service: Service) -> "Iterator[dict[str, Any]]":
    """Whether anything at all outlives the primary's region."""
    home = service.primary[1].get("region")
    if not home:
        return
    away = [host for host in service.in_role("standby", "spare").values() if host.get("region") != home]
    if not away:
        yield finding(
            "no-second-region",
            "error",
            "rto",
            "No standby and no spare is outside the primary's region %s." % home,
            "Add a host in another region to the inventory and run playbooks/protect.yml.",
        )


def answering(service: Service) -> "Iterator[dict[str, Any]]":
    """Each must answer, for a recovery may have only that one."""
    for repo in service.facts.get("repositories") or []:
        if repo.get("problem"):
            yield finding(
                "repository-silent",
                "error",
                "protection",
                "The repository cannot be asked: %s" % repo["problem"],
                "pgbackrest --stanza=%s --repo=%s info" % (service.name, repo["number"]),
                where="repository %s" % repo["number"],
            )
    if not service.facts.get("repositories"):
        yield finding(
            "repositories-unseen",
            "error",
            "protection",
            "No host could be asked what the repositories hold.",
            "Start a database host that playbooks/protect.yml has configured, and lint again.",
        )


def fresh(service: Service) -> "Iterator[dict[str, Any]]":
    """Every repository holds a backup, and one that is no older than the schedule allows."""
    interval = service.promise.get("backup_interval_s")
    for repo in service.repositories:
        where = "repository %s" % repo["number"]
        usable = [backup for backup in repo["backups"] if not backup["error"]]
        for backup in repo["backups"]:
            if backup["error"]:
                yield finding(
                    "backup-damaged",
                    "error",
                    "protection",
                    "pgBackRest found damaged pages when it took %s." % backup["label"],
                    "Find the damage on the primary with pg_amcheck, then take a full backup.",
                    where=where,
                )
        if not usable:
            yield finding(
                "no-backup",
                "error",
                "protection",
                "The repository holds no backup that can be used.",
                "ansible-playbook playbooks/protect.yml -e service=%s" % service.name,
                where=where,
            )
        elif interval:
            taken = max(backup["stopped_s"] - backup["started_s"] for backup in usable)
            age = service.now_s - usable[-1]["stopped_s"]
            allowed = interval + taken + (service.promise.get("reaction_s") or 0)
            if age > allowed:
                yield finding(
                    "backup-late",
                    "error",
                    "protection",
                    "The newest backup is older than the schedule allows.",
                    "See what the timer's service said: journalctl -u 'pgrescue-*' on the primary. Then take one.",
                    where=where,
                    age_s=age,
                    allowed_s=allowed,
                )


def retention(service: Service) -> "Iterator[dict[str, Any]]":
    """What is kept must reach back as far as the policy says: damage is often noticed days later."""
    needed = max(service.promise.get("retention_s") or 0, service.rpo_s or 0)
    for number, repo in enumerate(service.promise.get("repositories") or [], 1):
        kept = (repo.get("retention_days") or 0) * DAY_S
        if kept < needed:
            yield finding(
                "retention",
                "error",
                "protection",
                "Backups are expired before the policy allows.",
                "Set retention_days: %d for it in pgbackrest_repositories." % -(-needed // DAY_S),
                where="repository %d" % number,
                kept_s=kept,
                policy_s=needed,
            )


def encryption(service: Service) -> "Iterator[dict[str, Any]]":
    """Whoever reads the bucket reads the database."""
    for repo in service.repositories:
        if not repo["encrypted"]:
            yield finding(
                "unencrypted",
                "warning",
                "protection",
                "The repository is not encrypted by pgBackRest: whoever can read the bucket reads the database.",
                "Set cipher_pass for it in pgbackrest_repositories; what is there already needs a new bucket.",
                where="repository %s" % repo["number"],
            )


def speed(service: Service) -> "Iterator[dict[str, Any]]":
    """Two choices that look faster and seldom are."""
    cpus = (service.primary[1].get("capacity") or {}).get("cpus") or 1
    if service.promise.get("compression") == "none":
        yield finding(
            "uncompressed",
            "advice",
            "rto",
            "Backups are not compressed; over a network that makes most restores slower, not faster.",
            "Measure it here (bench/backup_and_restore.py), or set pgbackrest_compression: lz4.",
        )
    if 1 in (service.promise.get("processes") or []) and cpus > 1:
        yield finding(
            "one-process",
            "advice",
            "rto",
            "One file at a time is backed up or fetched, and the hosts have more processors.",
            "Set pgbackrest_processes and recovery_processes to 0: as many as there are.",
            cpus=cpus,
        )


def unbroken(service: Service) -> "Iterator[dict[str, Any]]":
    """What follows a gap in the archive cannot be replayed from a backup before it."""
    for repo in service.repositories:
        for gap in repo.get("gaps") or []:
            if service.now_s - gap["since_s"] > SETTLED_S:
                before = [backup for backup in repo["backups"] if backup["wal_stop"] <= gap["after"]]
                last = bool(repo["backups"]) and repo["backups"][-1] in before
                yield finding(
                    "wal-gap",
                    "error" if last else "warning",
                    "rpo",
                    "The archive breaks off after segment %s and goes on with %s." % (gap["after"], gap["until"]),
                    "Take a full backup to this repository now; restores to a time after the gap need it."
                    if last
                    else "Nothing can be restored to a time within the gap; backups after it are whole.",
                    where="repository %s" % repo["number"],
                    since_s=service.now_s - gap["since_s"],
                )


def timers(service: Service) -> "Iterator[dict[str, Any]]":
    """What is to happen on a schedule happens on one host at least, and ended well."""
    wanted = service.promise.get("timers") or []
    if not wanted:
        yield finding(
            "no-timer",
            "warning",
            "protection",
            "No timer is named that takes backups; nobody would notice that none is taken.",
            "Name the systemd timers in protection_timers.",
        )
    for name, host in service.hosts.items():
        seen = host.get("timers") or {}
        for unit in wanted if seen else []:
            timer = seen.get(unit) or {}
            if timer.get("LoadState") != "loaded" or timer.get("ActiveState") != "active":
                yield finding(
                    "timer-missing",
                    "error",
                    "protection",
                    "Timer %s is %s." % (unit, "stopped" if timer.get("LoadState") == "loaded" else "not installed"),
                    "systemctl enable --now %s" % unit,
                    where=name,
                )
            work = seen.get(unit.replace(".timer", ".service")) or {}
            if work.get("Result") not in (None, "", "success"):
                yield finding(
                    "timer-failed",
                    "error",
                    "protection",
                    "What timer %s starts ended badly: %s." % (unit, work["Result"]),
                    "journalctl -u %s" % unit.replace(".timer", ".service"),
                    where=name,
                )


def holds(service: Service) -> "Iterator[dict[str, Any]]":
    """While a recovery holds a repository nothing is expired and it grows; somebody must let it go again."""
    for repo in service.repositories:
        for hold in repo.get("holds") or []:
            if service.now_s - hold["since_s"] > DAY_S:
                yield finding(
                    "hold-forgotten",
                    "warning",
                    "protection",
                    "Run %s has kept the repository from expiring anything for more than a day." % hold["run"],
                    "When that recovery is over: playbooks/protect.yml -e service=%s -e let_go=%s"
                    % (service.name, hold["run"]),
                    where="repository %s" % repo["number"],
                    age_s=service.now_s - hold["since_s"],
                )


def replicas(service: Service) -> "Iterator[dict[str, Any]]":
    """Where a bucket is replicated, the replica is as young as is promised; nothing but reading both shows that."""
    for replica in service.facts.get("replicas") or []:
        where = "%s to %s" % (replica["source"], replica["destination"])
        if replica.get("problem"):
            yield finding(
                "replica-unseen",
                "error",
                "protection",
                "The replica could not be compared with its source: %s" % replica["problem"],
                "Put the address or the credentials right in bucket_replication_source and bucket_replication_destination.",
                where=where,
            )
        elif replica["late"]:
            yield finding(
                "replica-late",
                "error",
                "protection",
                "The replica lacks what was written to the source too long ago.",
                "See the rule's failures in the bucket's replication metrics; what was there before the rule needs "
                "bucket_replication_existing: true.",
                where=where,
                lag_s=replica["lag_s"],
                missing=len(replica["missing"]),
                objects=replica["objects"],
            )


RULES = (places, standby_region, answering, fresh, retention, encryption, speed, unbroken, timers, holds, replicas)
