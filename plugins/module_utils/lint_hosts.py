"""Rules about the hosts: who is there, whether a standby or a spare can take over, and whether there is room."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from . import capacity
from .findings import finding
from .observed import Service

# A standby that has less of one of these than its primary stops its replay.
AT_LEAST = (
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
)
STRAYED_S = 1.0  # of a clock


def answering(service: Service) -> "Iterator[dict[str, Any]]":
    """A host that is not seen is neither a standby nor a spare."""
    for name, host in service.hosts.items():
        if not host.get("answers"):
            yield finding(
                "host-silent",
                "error",
                "protection",
                "The host does not answer; whatever it is for, it cannot be counted on.",
                "Start it, or take it out of the inventory.",
                where=name,
            )
        elif host.get("problem"):
            yield finding(
                "host-unobserved",
                "error",
                "protection",
                "The host answers and could not be looked at: %s" % host["problem"],
                "Put that right and lint again.",
                where=name,
            )


def primaries(service: Service) -> "Iterator[dict[str, Any]]":
    """One host accepts writes, no more and no fewer."""
    found = sorted(service.in_role("primary"))
    if not found:
        yield finding(
            "no-primary",
            "error",
            "protection",
            "No host accepts writes.",
            "pgrescue recover, or playbooks/protect.yml for a service that never had a database.",
        )
    if len(found) > 1:
        yield finding(
            "two-primaries",
            "error",
            "protection",
            "More than one host accepts writes: %s." % ", ".join(found),
            "Stop all but the right one before anything else; what the others took is not in it.",
        )
    for name in sorted(service.in_role("unresponsive")):
        yield finding(
            "server-unresponsive",
            "error",
            "protection",
            "A server runs there and cannot be asked.",
            "Read its log; the reason it gave: %s" % service.hosts[name]["state"].get("problem"),
            where=name,
        )


def standbys(service: Service) -> "Iterator[dict[str, Any]]":
    """As many in each region as are promised."""
    for region, wanted in (service.promise.get("standbys") or {}).items():
        there = [name for name, host in service.in_role("standby").items() if host.get("region") == region]
        if len(there) < wanted:
            yield finding(
                "standby-missing",
                "error",
                "rto",
                "Region %s has fewer standbys than are promised." % region,
                "ansible-playbook playbooks/rebuild_standbys.yml -e service=%s" % service.name,
                where=region,
                standbys=len(there),
                promised=wanted,
            )
    for name, host in service.in_role("standby").items():
        if not host["state"].get("streaming"):
            yield finding(
                "standby-not-streaming",
                "warning",
                "rpo",
                "The standby does not stream; it has only what was archived.",
                "Read its log for the reason; a slot that was lost means playbooks/rebuild_standbys.yml.",
                where=name,
            )


def replay(service: Service) -> "Iterator[dict[str, Any]]":
    """A standby whose replay is paused falls behind, and its disk fills with what it has not replayed."""
    for name, host in service.in_role("standby").items():
        if host["state"].get("replay") in ("paused", "pause requested"):
            yield finding(
                "replay-paused",
                "warning",
                "rto",
                "The standby's replay is paused. A proof that runs now does that for moments; one that was killed leaves it so.",
                "When no proof runs and nobody else needs the pause: SELECT pg_wal_replay_resume() there. Then run the proof again.",
                where=name,
            )


def standby_parameters(service: Service) -> "Iterator[dict[str, Any]]":
    """Raised on standbys first and lowered on the primary first, or the replay stops."""
    ahead = service.settings
    for name, host in service.in_role("standby").items():
        own = (host.get("server") or {}).get("settings") or {}
        lower = [key for key in AT_LEAST if key in ahead and key in own and own[key] < ahead[key]]
        if lower:
            yield finding(
                "standby-parameters",
                "error",
                "rto",
                "The standby's replay stops as soon as the primary uses what it has more of: %s." % ", ".join(lower),
                "Set %s in postgres_settings for this host, run playbooks/protect.yml, restart it."
                % ", ".join("%s = %s" % (key, ahead[key]) for key in lower),
                where=name,
                **{"%s_here" % key: own[key] for key in lower},
                **{"%s_primary" % key: ahead[key] for key in lower},
            )


def libraries(service: Service) -> "Iterator[dict[str, Any]]":
    """Another collation library sorts text in another way: indexes are then wrong without a sign."""
    primary, seen = service.primary
    reference: "Mapping[str, Any]" = seen.get("capacity") or {}
    for name, host in service.in_role("standby", "spare", "stopped").items():
        own: "Mapping[str, Any]" = host.get("capacity") or {}
        for library in ("glibc", "icu"):
            if reference.get(library) and own.get(library) and own[library] != reference[library]:
                yield finding(
                    "collation-library",
                    "error",
                    "protection",
                    "%s is %s here and %s on %s: after a restore or a failover, indexes on text may be wrong."
                    % (library, own[library], reference[library], primary),
                    "Install the primary's release of the system here, or plan REINDEX of every text index as part of the recovery.",
                    where=name,
                )
    for database in service.server.get("databases") or []:
        collation = database.get("collation") or {}
        if collation.get("recorded") and collation.get("actual") and collation["recorded"] != collation["actual"]:
            yield finding(
                "collation-changed",
                "error",
                "protection",
                "Database %s was made with collation version %s and runs on %s: indexes on text may be wrong."
                % (database["name"], collation["recorded"], collation["actual"]),
                "REINDEX DATABASE, then ALTER DATABASE %s REFRESH COLLATION VERSION." % database["name"],
                where=primary,
            )


def programs(service: Service) -> "Iterator[dict[str, Any]]":
    """What is restored must find the same server, and every library its extensions load."""
    primary, seen = service.primary
    reference: "Mapping[str, Any]" = seen.get("capacity") or {}
    wanted = {name for database in service.server.get("databases") or [] for name in database["extensions"] or {}}
    for name, host in service.in_role("standby", "spare", "stopped").items():
        own: "Mapping[str, Any]" = host.get("capacity") or {}
        if not own:
            continue
        if not own.get("postgres"):
            yield finding(
                "postgres-missing",
                "error",
                "rto",
                "PostgreSQL is not installed here.",
                "Run playbooks/protect.yml: it installs what is missing.",
                where=name,
            )
        elif reference.get("postgres") and own["postgres"] != reference["postgres"]:
            major = own["postgres"].split(".")[0] != reference["postgres"].split(".")[0]
            yield finding(
                "postgres-major" if major else "postgres-minor",
                "error" if major else "warning",
                "rto",
                "PostgreSQL is %s here and %s on %s." % (own["postgres"], reference["postgres"], primary),
                "Install the primary's major version."
                if major
                else "Update standbys and spares first, the primary last.",
                where=name,
            )
        if reference.get("pgbackrest") and own.get("pgbackrest") != reference["pgbackrest"]:
            yield finding(
                "pgbackrest-version",
                "warning",
                "rto",
                "pgBackRest is %s here and %s on %s; they need not understand each other's files."
                % (own.get("pgbackrest") or "missing", reference["pgbackrest"], primary),
                "Install the same version on every host of the service.",
                where=name,
            )
        missing = sorted(wanted - set(own.get("extension_files") or []))
        if missing:
            yield finding(
                "extension-missing",
                "error",
                "rto",
                "What is restored here could not use these extensions: %s." % ", ".join(missing),
                "Install their packages here, in the primary's versions.",
                where=name,
            )


def spares(service: Service) -> "Iterator[dict[str, Any]]":
    """A restore goes to a clean host that has room for it."""
    found = service.in_role("spare")
    if not found:
        yield finding(
            "no-spare",
            "error",
            "rto",
            "No host is free for a restore: nothing is restored over what is there.",
            "Add a host without a cluster to the inventory and run playbooks/protect.yml.",
        )
    data = service.data_bytes
    for name, host in found.items():
        place = ((host.get("capacity") or {}).get("filesystems") or {}).get("restore")
        if data and place:
            need = capacity.restore_need(data, service.wal_bytes)
            if place["free_bytes"] < need:
                yield finding(
                    "spare-too-small",
                    "error",
                    "rto",
                    "The spare has no room for a restore.",
                    "Give %s at least the missing bytes." % place["mount"],
                    where=name,
                    free_bytes=place["free_bytes"],
                    data_bytes=data,
                    wal_bytes=service.wal_bytes,
                    needed_bytes=need,
                    missing_bytes=need - place["free_bytes"],
                )


def room(service: Service) -> "Iterator[dict[str, Any]]":
    """A full disk stops the primary; a full standby stops replaying."""
    growth = capacity.growth_per_day(capacity.sizes(service.backups))
    for name, host in service.hosts.items():
        for uses, filesystem in capacity.filesystems(host["capacity"]) if host.get("capacity") else []:
            grows = growth if "data" in uses and host["state"]["role"] in ("primary", "standby") else None
            used = capacity.used_share(filesystem)
            days = capacity.days_until(0, filesystem["free_bytes"], grows)
            figures = {
                "used_share": round(used, 4),
                "free_bytes": filesystem["free_bytes"],
                "growth_bytes_per_day": grows,
                "days_to_full": None if days is None else round(days, 1),
            }
            place = "%s (%s)" % (filesystem["mount"], uses)
            if days is not None and days < capacity.PAGE_DAYS:
                yield finding(
                    "days-to-full",
                    "error",
                    "protection",
                    "%s will be full within two days." % place,
                    "Add room now. Do not delete backups or WAL by hand; never remove files from pg_wal.",
                    where=name,
                    **figures,
                )
            elif used >= capacity.WARN_SHARE:
                yield finding(
                    "disk-filling",
                    "warning",
                    "protection",
                    "%s is more than four fifths full." % place,
                    "Add room, or lower retention by policy (pgbackrest expire --dry-run first); never remove files from pg_wal.",
                    where=name,
                    **figures,
                )
            if capacity.used_share(filesystem, "inodes") >= capacity.WARN_SHARE:
                yield finding(
                    "inodes-filling",
                    "warning",
                    "protection",
                    "%s has used more than four fifths of its inodes." % place,
                    "Find the folder with the many files; a filesystem cannot be given more inodes afterwards.",
                    where=name,
                    used_share=round(capacity.used_share(filesystem, "inodes"), 4),
                    free_inodes=filesystem["free_inodes"],
                )


def clocks(service: Service) -> "Iterator[dict[str, Any]]":
    """A restore to a point in time is as right as the clocks were."""
    for name, host in service.hosts.items():
        clock = (host.get("capacity") or {}).get("clock") or {}
        offset = clock.get("offset_s")
        strayed = offset is not None and abs(offset) > STRAYED_S
        if strayed or clock.get("synchronized") is False:
            yield finding(
                "clock",
                "warning" if strayed else "advice",
                "rpo",
                "The clock is wrong; a restore to a point in time would miss it."
                if strayed
                else "Nothing on the host says that its clock is kept right; a restore to a point in time rests on it.",
                "Let chrony keep it: apt install chrony.",
                where=name,
                offset_s=offset,
            )


def secrets(service: Service) -> "Iterator[dict[str, Any]]":
    """A password in a connection string is in the configuration, in every backup of it, and in pg_settings."""
    for name, host in service.hosts.items():
        if (host.get("server") or {}).get("conninfo_has_password"):
            yield finding(
                "secret-in-conninfo",
                "error",
                "protection",
                "primary_conninfo holds a password in clear text.",
                "Move it to a passfile (mode 0600) or use a certificate; then change the password.",
                where=name,
            )


RULES = (
    answering,
    primaries,
    standbys,
    replay,
    standby_parameters,
    libraries,
    programs,
    spares,
    room,
    clocks,
    secrets,
)
