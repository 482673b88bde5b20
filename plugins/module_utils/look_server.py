"""What a database host says of itself at a look: its server, its disks, its last words. Cheap enough to be asked every second."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from typing import Any, Optional, Sequence

from . import cluster_facts, postgres

# Of M(cluster_state)'s questions without those that read every file; and what tells why clients are not served.
QUESTIONS = rf"""
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery() THEN {postgres.FOLLOWED_TIMELINE}
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END::text AS lsn,
       CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END AS received,
       substring(current_setting('primary_conninfo') FROM '(?:^|\s)host\s*=\s*''?([^\s'']+)') AS upstream,
       extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS replayed_s,
       current_setting('data_directory') AS data_directory,
       (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') > 0 AS streaming,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
       (SELECT json_object_agg(name, setting) FROM pg_settings
         WHERE name IN ('archive_mode', 'default_transaction_read_only', 'max_connections', 'superuser_reserved_connections',
                        'synchronous_standby_names', 'recovery_min_apply_delay')) AS settings,
       (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state,
                        'lag_bytes', pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint)), '[]')
          FROM pg_stat_replication WHERE NOT pg_is_in_recovery()) AS followers,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_current_snapshot()::text END AS snapshot,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS sessions,
       (SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND clock_timestamp() - state_change > '2 s') AS unconfirmed,
       (SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND clock_timestamp() - state_change > '2 s') AS blocked,
       (SELECT json_build_object('archived_s', extract(epoch FROM last_archived_time)::float8,
                                 'failed_s', extract(epoch FROM last_failed_time)::float8) FROM pg_stat_archiver) AS archiver,
       (SELECT coalesce(sum(checksum_failures), 0)::bigint FROM pg_stat_database) AS checksum_failures
"""
LOG = "/var/log/postgresql/postgresql-%s-main.log"
TAIL = 65_536  # bytes of the log that are read
RECENT_S = 300.0
ASKED_WITHIN_S = 15.0  # what clients ask for now
STAMP = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)")
TELLING = re.compile(
    r"PANIC|FATAL|could not |invalid page|corrupt|checksum|No space left|read-only|too many clients|terminated by"
)
MISSING = re.compile(r'ERROR: .*relation "[^"]*" does not exist')


def look(module: Any, in_use: "Optional[str]", log: "Optional[str]" = None) -> "dict[str, Any]":
    """Its state, as M(cluster_state) says it, and what it is doing; a server that cannot be asked is an observation."""
    began = time.monotonic()
    facts = cluster_facts.observe(module, in_use, QUESTIONS)
    place = facts.get("place")
    facts["took_s"] = round(time.monotonic() - began, 4)
    facts["status"] = status(place) if place else None
    facts["disks"] = disks([place, os.path.join(place, "pg_wal")] if place else [])
    lines, idle_s = tail(log or LOG % module.params["version"])
    facts["says"] = telling(lines, idle_s)
    facts["misses"] = telling(lines, idle_s, MISSING, ASKED_WITHIN_S)
    return facts


def status(place: str) -> Optional[str]:
    """What the server last wrote into its pid file: `starting`, `stopping`, `ready` or `standby`; None when it does not run."""
    try:
        with open(os.path.join(place, "postmaster.pid"), encoding="utf-8") as pid:
            lines = pid.read().splitlines()
    except OSError:
        return None
    return lines[7].strip() if len(lines) > 7 and postgres.is_alive(place) else None


def disks(folders: "Sequence[str]") -> "list[dict[str, Any]]":
    """Free and whole size of the disks that hold these folders, in bytes and inodes, each disk once."""
    found: "dict[int, dict[str, Any]]" = {}
    for folder in folders:
        if os.path.isdir(folder):
            disk = os.statvfs(folder)
            size = {"free_bytes": disk.f_bavail * disk.f_frsize, "bytes": disk.f_blocks * disk.f_frsize}
            size.update(free_inodes=disk.f_favail, inodes=disk.f_files)
            found.setdefault(os.stat(folder).st_dev, {"folder": folder, **size})
    return list(found.values())


def tail(path: str) -> "tuple[list[str], float]":
    """The last lines of a log, and how long ago it was written to, in seconds; none where it cannot be read."""
    try:
        with open(path, "rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - TAIL, 0))
            text = log.read().decode(errors="replace")
            return text.splitlines(), time.time() - os.fstat(log.fileno()).st_mtime
    except OSError:
        return [], 0.0


def telling(
    lines: "Sequence[str]", idle_s: float, wanted: "re.Pattern[str]" = TELLING, within_s: float = RECENT_S
) -> "list[str]":
    """Those of a log's lines that match and are recent, the newest last, at most ten; it was written to `idle_s` ago. Pure.

    A line's age is told by how long it stands before the newest one, so that it does not matter in which time zone the server logs.
    """
    stamped = [(match.group(1), line) for line in lines for match in [STAMP.match(line)] if match]
    if not stamped:
        return []
    newest = _naive(stamped[-1][0])
    kept = [
        line[:300]
        for stamp, line in stamped
        if wanted.search(line) and (newest - _naive(stamp)).total_seconds() + idle_s <= within_s
    ]
    return kept[-10:]


def _naive(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp if "." not in stamp else (stamp + "000000")[:26])
