"""Rules about the WAL: whether it leaves the host in time, and whether keeping it can fill the disk."""

from __future__ import annotations

from typing import Any, Iterator

from .archiving import NOTHING
from .findings import finding
from .observed import Service
from .trend import quantile

UNLIMITED = -1
SHORTEST_S = 10  # archive_timeout; each forced segment is a whole one, so a shorter one costs more than a standby


def loss_without_wal(service: Service) -> "Iterator[dict[str, Any]]":
    """With backups alone a failure just before the next one ends loses everything since the last began."""
    if not service.settings or service.settings.get("archive_mode") != "off":
        return
    taken = [backup["stopped_s"] - backup["started_s"] for backup in service.backups]
    interval = service.promise.get("backup_interval_s") or 0
    duration = quantile(taken, 0.95) if taken else 0.0
    worst = interval + duration + (service.promise.get("reaction_s") or 0)
    late = service.rpo_s is not None and worst > service.rpo_s
    yield finding(
        "archive-off",
        "error" if late or not interval else "warning",
        "rpo",
        "WAL is not archived: a failure just before the next backup ends loses everything since the last one began.",
        "Set archive_mode = on and an archive_command (playbooks/protect.yml writes both), then restart the server.",
        backup_interval_s=interval or None,
        backup_p95_s=duration if taken else None,
        reaction_s=service.promise.get("reaction_s"),
        worst_loss_s=worst,
        worst_loss_after_one_failed_backup_s=worst + interval,
        rpo_s=service.rpo_s,
    )


def archive_command(service: Service) -> "Iterator[dict[str, Any]]":
    """A command that does nothing, or always fails, archives nothing."""
    settings = service.settings
    if not settings or settings.get("archive_mode") == "off" or settings.get("archive_library"):
        return
    if settings.get("archive_command", "").strip() in NOTHING:
        yield finding(
            "archive-command",
            "error",
            "rpo",
            "archive_command archives nothing: it is '%s'." % settings.get("archive_command", ""),
            "ALTER SYSTEM RESET archive_command, when no recovery is at work; otherwise run playbooks/protect.yml.",
            where=service.primary[0],
        )


def confirmed(service: Service) -> bool:
    """Whether a standby has each commit before the client is told of it."""
    senders = service.server.get("senders") or []
    return any(sender["sync_state"] in ("sync", "quorum") and sender["state"] == "streaming" for sender in senders)


def archive_timeout(service: Service) -> "Iterator[dict[str, Any]]":
    """A segment that is not full leaves the host after archive_timeout at the latest; never, when that is 0."""
    timeout, rpo = service.settings.get("archive_timeout"), service.rpo_s
    if timeout is None or service.settings.get("archive_mode") == "off":
        return
    if timeout == 0 or (rpo is not None and SHORTEST_S <= rpo < timeout):
        wanted = int(min(60, max(rpo / 2, SHORTEST_S))) if rpo else 60
        yield finding(
            "archive-timeout",
            "warning" if confirmed(service) else "error",
            "rpo",
            "A quiet database may keep commits out of the archive for longer than is promised."
            if timeout
            else "A quiet database may keep commits out of the archive without end: archive_timeout is off.",
            "Set postgres_archive_timeout: %ds and run playbooks/protect.yml." % wanted,
            archive_timeout_s=timeout,
            rpo_s=rpo,
        )


def synchronous_standby(service: Service) -> "Iterator[dict[str, Any]]":
    """An archive cannot be made to keep less than some seconds: a standby has to have the commit before the client is told."""
    timeout, rpo = service.settings.get("archive_timeout"), service.rpo_s
    if not timeout or rpo is None or rpo >= min(timeout, SHORTEST_S) or confirmed(service):
        return
    names = [sender["name"] for sender in service.server.get("senders") or []]
    yield finding(
        "synchronous-standby",
        "error",
        "rpo",
        "No standby confirms commits, and the archive alone loses more than is promised.",
        "Set synchronous_standby_names to any one of several standbys, such as 'ANY 1 (%s)'." % ", ".join(names),
        rpo_s=rpo,
        archive_timeout_s=timeout,
        standbys=len(names),
    )


def archiver(service: Service) -> "Iterator[dict[str, Any]]":
    """What waits to be archived is lost with the host. A command that ends above 125 is not counted as failed, so both are asked."""
    seen, room = service.server.get("archiver") or {}, service.primary[1].get("capacity") or {}
    waits, count = room.get("oldest_ready_s") or 0.0, room.get("ready_count") or 0
    patience = max(2 * (service.settings.get("archive_timeout") or 0), 120)
    command = (
        "SELECT * FROM pg_stat_archiver; the server's log names the reason. Then: pgbackrest --stanza=%s check"
        % service.name
    )
    figures = {"waiting_segments": count, "oldest_waits_s": waits, "rpo_s": service.rpo_s}
    if seen.get("failing"):
        yield finding(
            "archiver-failing",
            "error",
            "rpo",
            "Archiving fails: segment %s did not reach the archive." % seen.get("last_failed_wal"),
            command,
            where=service.primary[0],
            failed_count=seen.get("failed_count"),
            **figures,
        )
    elif waits > patience or (service.rpo_s and waits > service.rpo_s):
        yield finding(
            "archive-lag",
            "error" if service.rpo_s and waits + patience > service.rpo_s else "warning",
            "rpo",
            "WAL waits to be archived; it would be lost with the host.",
            command,
            where=service.primary[0],
            **figures,
        )


def wal_level(service: Service) -> "Iterator[dict[str, Any]]":
    """Neither standbys nor archives can be made of minimal WAL."""
    if service.settings.get("wal_level") == "minimal":
        yield finding(
            "wal-level",
            "error",
            "protection",
            "wal_level is minimal: WAL cannot be archived or streamed.",
            "Set wal_level = replica and restart the server.",
            where=service.primary[0],
        )


def slots(service: Service) -> "Iterator[dict[str, Any]]":
    """A slot whose standby is gone keeps WAL until the disk is full, or is given up and takes the standby with it."""
    found = service.server.get("slots") or []
    limit = service.settings.get("max_slot_wal_keep_size")
    if limit == UNLIMITED:
        yield finding(
            "slot-limit",
            "warning" if found else "advice",
            "protection",
            "An absent standby can fill the primary's disk with WAL: max_slot_wal_keep_size is unlimited.",
            "Set postgres_slot_ceiling: 4GB, or as much as pg_wal may hold, and run playbooks/protect.yml.",
            where=service.primary[0],
            slots=len(found),
        )
    for slot in found:
        drop = "SELECT pg_drop_replication_slot('%s'), and playbooks/rebuild_standbys.yml" % slot["name"]
        if slot["wal_status"] in ("lost", "unreserved"):
            yield finding(
                "slot-lost",
                "error",
                "protection",
                "Slot %s has given up WAL that its standby needs." % slot["name"],
                drop,
                where=service.primary[0],
                retained_bytes=slot.get("retained_bytes"),
            )
        elif not slot["active"]:
            yield finding(
                "slot-inactive",
                "warning",
                "protection",
                "Nobody reads slot %s; it keeps WAL for a standby that is not there." % slot["name"],
                "Start the standby; if it is gone: %s" % drop,
                where=service.primary[0],
                retained_bytes=slot.get("retained_bytes"),
            )


def crash_safety(service: Service) -> "Iterator[dict[str, Any]]":
    """What makes a crash, or a byte that flips on disk, go unnoticed."""
    for name, wanted in (("fsync", "on"), ("full_page_writes", "on")):
        if service.settings.get(name, wanted) != wanted:
            yield finding(
                name.replace("_", "-"),
                "error",
                "protection",
                "%s is off: a crash of the host can damage the database without a sign." % name,
                "Set %s = on and reload." % name,
                where=service.primary[0],
            )
    if service.settings.get("data_checksums", "on") == "off":
        yield finding(
            "checksums-off",
            "error",
            "protection",
            "Data checksums are off: damaged pages are backed up and restored without a word.",
            "Stop a standby, run pg_checksums --enable on it, start it and switch over to it; then the others.",
            where=service.primary[0],
        )


def unlogged_tables(service: Service) -> "Iterator[dict[str, Any]]":
    """They are empty after a crash, a restore and a promotion."""
    counts = {
        database["name"]: database["unlogged"]
        for database in service.server.get("databases") or []
        if database["unlogged"]
    }
    if counts:
        yield finding(
            "unlogged-tables",
            "warning",
            "rpo",
            "Unlogged tables come back empty from every restore and every failover: in %s." % ", ".join(sorted(counts)),
            "ALTER TABLE ... SET LOGGED for each, or know that their content is lost.",
            tables=sum(counts.values()),
        )


def pending_restart(service: Service) -> "Iterator[dict[str, Any]]":
    """Settings that are written and not in force."""
    waiting = service.server.get("pending_restart") or []
    if waiting:
        yield finding(
            "pending-restart",
            "warning",
            "protection",
            "Settings are written but wait for a restart: %s." % ", ".join(waiting),
            "Restart the server in a quiet hour.",
            where=service.primary[0],
        )


RULES = (
    loss_without_wal,
    archive_command,
    archive_timeout,
    synchronous_standby,
    archiver,
    wal_level,
    slots,
    crash_safety,
    unlogged_tables,
    pending_restart,
)
