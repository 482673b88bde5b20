"""A service that is protected as it promises, and the ways in which it can fail to be, each with what must be found.

The test of the linter plants each one. They are shown in docs/faults.md with those of `faults.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from faults import Fault

NOW, MINUTE, HOUR, DAY = 1_795_600_000.0, 60, 3600, 86400
GB, SEGMENT = 1_000_000_000, 16 * 1024 * 1024
Facts = dict[str, Any]

SETTINGS: Facts = {
    "archive_mode": "on",
    "archive_command": "pgbackrest --stanza=shop archive-push %p",
    "archive_library": "",
    "archive_timeout": 60,
    "wal_level": "replica",
    "data_checksums": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_standby_names": "",
    "max_connections": 100,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
    "max_wal_senders": 10,
    "max_worker_processes": 8,
    "max_slot_wal_keep_size": 4096,
}


def host(role: str, region: str) -> Facts:
    """A host as the playbook observes it."""
    disk = {"mount": "/srv", "used_bytes": 30 * GB, "free_bytes": 70 * GB, "used_inodes": 1_000, "free_inodes": 99_000}
    runs = role in ("primary", "standby")
    server = {
        "problem": None,
        "settings": dict(SETTINGS),
        "segment_bytes": SEGMENT,
        "archiver": {"failing": False, "failed_count": 0, "last_failed_wal": None},
        "slots": [],
        "senders": [],
        "conninfo_has_password": False,
        "pending_restart": [],
        "databases": [],
    }
    if role == "primary":
        server["slots"] = [{"name": "db2", "active": True, "wal_status": "reserved", "retained_bytes": 0}]
        server["senders"] = [{"name": "db2", "state": "streaming", "sync_state": "async"}]
        collation = {"recorded": "2.41", "actual": "2.41"}
        server["databases"] = [
            {"name": "shop", "extensions": {"plpgsql": "1.0"}, "unlogged": 0, "collation": collation}
        ]
    return {
        "region": region,
        "answers": True,
        "problem": None,
        "state": {"role": role, "streaming": role == "standby", "data_directory": "/srv/current", "problem": None},
        "server": server if runs else {},
        "capacity": {
            "filesystems": {use: {**disk, "device": 1} for use in ("data", "wal", "restore", "spool")},
            "cluster_bytes": 10 * GB if runs else 0,
            "wal_bytes": GB,
            "ready_count": 0,
            "oldest_ready_s": 0.0,
            "cpus": 2,
            "glibc": "2.41",
            "icu": "76",
            "postgres": "17.5",
            "pgbackrest": "2.55.1",
            "extension_files": ["plpgsql"],
            "clock": {"source": "chrony", "synchronized": True, "offset_s": 0.0002},
        },
        "timers": {
            "pgrescue-backup@shop.timer": {"LoadState": "loaded", "ActiveState": "active"},
            "pgrescue-backup@shop.service": {"Result": "success"},
        },
    }


def backup(days_ago: float, segment: int, size: float = 10 * GB) -> Facts:
    """A backup that took ten minutes."""
    stopped = NOW - days_ago * DAY
    return {
        "label": f"backup-{days_ago}",
        "type": "full",
        "started_s": stopped - 10 * MINUTE,
        "stopped_s": stopped,
        "size_bytes": size,
        "wal_start": f"0000000100000000000000{segment:02X}",
        "wal_stop": f"0000000100000000000000{segment + 1:02X}",
        "proof": "validated",
        "proven": "2026-11-24T12:00:00Z",
        "error": False,
    }


def repository(number: int) -> Facts:
    """A repository with a backup a day."""
    return {
        "number": number,
        "problem": None,
        "encrypted": True,
        "backups": [backup(2.1, 0x10), backup(1.1, 0x30), backup(0.1, 0x50)],
        "newest_segment": "000000010000000000000058",
        "newest_segment_s": NOW - 30,
        "gaps": [],
        "holds": [],
    }


def bucket(store: str) -> Facts:
    """What 100 GB take in a bucket whose rules end what is deleted."""
    return {
        "store": store,
        "problem": None,
        "versions": "enabled",
        "current": {"objects": 9_000, "bytes": 90 * GB},
        "noncurrent": {"objects": 1_000, "bytes": 10 * GB},
        "delete_markers": 1_000,
        "unfinished": {"uploads": 1, "parts": 2, "bytes": 1_000, "oldest_s": NOW - HOUR},
        "total_bytes": 100 * GB,
        "ends": ["noncurrent", "unfinished"],
    }


def run(days_ago: float = 1, **more: Any) -> Facts:
    """A drill that passed: 10 GB fetched in 100 s, 32 segments replayed in 30 s, back after 200 s."""
    return {
        "id": f"run-{days_ago}",
        "kind": "drill",
        "procedure": "complete_loss",
        "result": "passed",
        "exit_code": 0,
        "ended_s": NOW - days_ago * DAY,
        "failed_checks": [],
        "rta_s": 200.0,
        "fetched_bytes": 10 * GB,
        "fetch_s": 100.0,
        "replayed_bytes": 32 * SEGMENT,
        "replay_s": 30.0,
        **more,
    }


def sound() -> tuple[Facts, Facts]:
    """Promise and facts of a service in which there is nothing to find."""
    places = [
        {"region": "east", "key": "key-east", "retention_days": 30, "encrypted": True},
        {"region": "west", "key": "key-west", "retention_days": 30, "encrypted": True},
    ]
    phases = {"detect": 300, "decide": 300, "prepare": 300, "restore": 2000, "validate": 180, "resume": 120}
    promise = {
        "service": "shop",
        "objectives": {"rto_s": 3600, "rpo_s": 900, "phases": phases},
        "standbys": {"east": 1},
        "endpoint": {"name": "shop-db.example.org", "ttl_s": 5},
        "repositories": places,
        "backup_interval_s": DAY,
        "retention_s": 7 * DAY,
        "proof_interval_s": 7 * DAY,
        "reaction_s": HOUR,
        "timers": ["pgrescue-backup@shop.timer"],
        "buckets": [
            {"store": "east/backups", "holds": "backups", "limit_bytes": 200 * GB},
            {"store": "west/records", "holds": "records", "limit_bytes": None},
        ],
    }
    facts = {
        "now_s": NOW,
        "hosts": {
            "db1": host("primary", "east"),
            "db2": host("standby", "east"),
            "spare1": host("spare", "east"),
            "spare2": host("spare", "west"),
        },
        "repositories": [repository(1), repository(2)],
        "runs": [run()],
        "buckets": [bucket("east/backups"), bucket("west/records")],
        "dumps": {},
    }
    return promise, facts


def dump(days_ago: float, **more: Any) -> Facts:
    """A dump that took five minutes, as the catalogue lists it."""
    finished = datetime.fromtimestamp(NOW - days_ago * DAY, UTC)
    return {
        "id": f"dump-{days_ago}",
        "finished": finished.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "duration_s": 300.0,
        "size_bytes": GB,
        "stores": ["east", "west"],
        "proof": {"state": "validated", "stale": False},
        "holds": [],
        "anomalies": [],
        **more,
    }


def dumped() -> tuple[Facts, Facts]:
    """A service that is protected by dumps alone, and promises no more than they keep."""
    promise, facts = sound()
    promise.update(engines=["dump"], dump_interval_s=6 * HOUR, repositories=[], standbys={})
    promise["objectives"]["rpo_s"] = 8 * HOUR
    promise["buckets"][0]["holds"] = "dumps"
    catalog = {"dumps": [dump(0.1), dump(0.35), dump(0.6)], "refused": [], "unfinished": [], "unreachable": {}}
    return promise, {**facts, "hosts": {}, "repositories": [], "dumps": catalog}


def put(value: Any, *path: Any) -> Callable[[Facts, Facts], None]:
    """Plant by putting a value somewhere; the path begins with `promise` or `facts`."""

    def plant(promise: Facts, facts: Facts) -> None:
        place: Any = {"promise": promise, "facts": facts}
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return plant


def setting(name: str, value: Any, of: str = "db1") -> Callable[[Facts, Facts], None]:
    """Plant a setting of a server."""
    return put(value, "facts", "hosts", of, "server", "settings", name)


def capacity(name: str, value: Any, of: str = "spare1") -> Callable[[Facts, Facts], None]:
    """Plant something else that a host has."""
    return put(value, "facts", "hosts", of, "capacity", name)


def disk(use: str, of: str, **numbers: int) -> Callable[[Facts, Facts], None]:
    """Plant another filling of one filesystem, which the other uses do not share."""

    def plant(_promise: Facts, facts: Facts) -> None:
        facts["hosts"][of]["capacity"]["filesystems"][use].update(device=2, **numbers)

    return plant


def all_of(*plants: Callable[[Facts, Facts], None]) -> Callable[[Facts, Facts], None]:
    """Plant several things that only together are one fault."""

    def plant(promise: Facts, facts: Facts) -> None:
        for one in plants:
            one(promise, facts)

    return plant


def no_region_west(_promise: Facts, facts: Facts) -> None:
    facts["hosts"]["spare2"]["region"] = "east"


def no_spare(_promise: Facts, facts: Facts) -> None:
    for name in ("spare1", "spare2"):
        facts["hosts"][name]["state"] = {"role": "stopped", "data_directory": "/srv/current"}
    facts["hosts"]["db2"]["region"] = "west"
    _promise["standbys"] = {"west": 1}


def second_primary(_promise: Facts, facts: Facts) -> None:
    facts["hosts"]["db0"] = host("primary", "east")


def growing(per_day: float) -> Callable[[Facts, Facts], None]:
    """Plant the sizes of three days of backups that grow by so many bytes a day up to 10 GB."""

    def plant(_promise: Facts, facts: Facts) -> None:
        for repo in facts["repositories"]:
            for age, one in zip((2, 1, 0), repo["backups"], strict=True):
                one["size_bytes"] = 10 * GB - age * per_day

    return plant


def missing_standby(_promise: Facts, facts: Facts) -> None:
    facts["hosts"]["db2"]["region"] = "west"


GAP = {"after": "000000010000000000000052", "until": "000000010000000000000054", "since_s": NOW - HOUR}
OLD_GAP = {"after": "000000010000000000000020", "until": "000000010000000000000022", "since_s": NOW - DAY}
DB1 = ("facts", "hosts", "db1")
REPO1 = ("facts", "repositories", 0)
REPLICA = {
    "source": "a",
    "destination": "b",
    "problem": None,
    "objects": 10,
    "missing": [],
    "lag_s": 0.0,
    "late": False,
}
BUCKET = ("facts", "buckets", 0)
SLOT = (*DB1, "server", "slots", 0)
TIMER = (*DB1, "timers")

# the name of a fault: how it is planted in words and in deed, what must be found, at which level
# what a fault takes down with it
ALSO = {
    "two primaries": ["no-second-region"],
    "never proven": ["no-backup"],
    "only verified": ["no-backup", "not-measured"],
}

PLANTED: dict[str, tuple[str, Callable[[Facts, Facts], None], str, str]] = {
    "host down": ("a host does not answer", put(False, "facts", "hosts", "spare1", "answers"), "host-silent", "error"),
    "host half dead": ("a host fails the observation", put("no Python", *DB1, "problem"), "host-unobserved", "error"),
    "two primaries": ("another host accepts writes", second_primary, "two-primaries", "error"),
    "unresponsive server": (
        "a server runs and refuses connections",
        put({"role": "unresponsive", "problem": "too many clients"}, "facts", "hosts", "spare1", "state"),
        "server-unresponsive",
        "error",
    ),
    "standby in the wrong region": ("the standby moves to west", missing_standby, "standby-missing", "error"),
    "standby does not stream": (
        "its WAL receiver is gone",
        put(False, "facts", "hosts", "db2", "state", "streaming"),
        "standby-not-streaming",
        "warning",
    ),
    "replay left paused": (
        "a census was killed with -9",
        put("paused", "facts", "hosts", "db2", "state", "replay"),
        "replay-paused",
        "warning",
    ),
    **{
        f"smaller {name}": (
            f"the standby has one less of {name}",
            all_of(setting(name, 7), setting(name, 6, "db2")),
            "standby-parameters",
            "error",
        )
        for name in (
            "max_connections",
            "max_prepared_transactions",
            "max_locks_per_transaction",
            "max_wal_senders",
            "max_worker_processes",
        )
    },
    "other glibc": ("a spare has glibc 2.36", capacity("glibc", "2.36"), "collation-library", "error"),
    "other ICU": ("a standby has ICU 72", capacity("icu", "72", "db2"), "collation-library", "error"),
    "collation changed under a database": (
        "the library is newer than the indexes",
        put("2.36", *DB1, "server", "databases", 0, "collation", "recorded"),
        "collation-changed",
        "error",
    ),
    "other minor version": ("a spare has 17.4", capacity("postgres", "17.4"), "postgres-minor", "warning"),
    "other major version": ("a spare has 16.9", capacity("postgres", "16.9"), "postgres-major", "error"),
    "PostgreSQL missing": ("a spare has none", capacity("postgres", None), "postgres-missing", "error"),
    "other pgBackRest": ("a spare has 2.50", capacity("pgbackrest", "2.50"), "pgbackrest-version", "warning"),
    "extension files missing": (
        "a database uses postgis, a spare lacks it",
        all_of(
            put({"postgis": "3.5"}, *DB1, "server", "databases", 0, "extensions"),
            capacity("extension_files", ["plpgsql", "postgis"], "db2"),
            capacity("extension_files", ["plpgsql", "postgis"], "spare2"),
        ),
        "extension-missing",
        "error",
    ),
    "no spare": ("no host is without a cluster", no_spare, "no-spare", "error"),
    "small spare": (
        "a spare has 10 GB free for 10 GB of data",
        disk("restore", "spare1", free_bytes=10 * GB, used_bytes=0),
        "spare-too-small",
        "error",
    ),
    "disk four fifths full": (
        "80 of 100 GB used",
        disk("wal", "db1", used_bytes=80 * GB, free_bytes=20 * GB),
        "disk-filling",
        "warning",
    ),
    "inodes run out": (
        "90 % of the inodes used",
        disk("spool", "db1", used_inodes=90_000, free_inodes=10_000),
        "inodes-filling",
        "warning",
    ),
    "full in a day": (
        "7 GB free, growing by 4 GB a day",
        all_of(
            growing(4 * GB),
            disk("data", "db1", used_bytes=20 * GB, free_bytes=7 * GB),
            put({"rto_s": 9e9, "rpo_s": 900, "phases": {}}, "promise", "objectives"),
        ),
        "days-to-full",
        "error",
    ),
    "clock five seconds off": (
        "chrony says 5 s",
        capacity("clock", {"synchronized": True, "offset_s": -5.0}),
        "clock",
        "warning",
    ),
    "clock nobody keeps": (
        "systemd says it is not synchronised",
        capacity("clock", {"synchronized": False, "offset_s": None}),
        "clock",
        "advice",
    ),
    "password in conninfo": (
        "primary_conninfo of a standby holds one",
        put(True, "facts", "hosts", "db2", "server", "conninfo_has_password"),
        "secret-in-conninfo",
        "error",
    ),
    "archiving off": ("archive_mode = off", setting("archive_mode", "off"), "archive-off", "error"),
    "archive command does nothing": (
        "archive_command = /bin/true",
        setting("archive_command", "/bin/true"),
        "archive-command",
        "error",
    ),
    "archive timeout off": ("archive_timeout = 0", setting("archive_timeout", 0), "archive-timeout", "error"),
    "archive timeout too long": ("archive_timeout = 901", setting("archive_timeout", 901), "archive-timeout", "error"),
    "no standby confirms": (
        "5 s of loss are promised, all standbys are asynchronous",
        put(5, "promise", "objectives", "rpo_s"),
        "synchronous-standby",
        "error",
    ),
    "archiver fails": (
        "pg_stat_archiver says so",
        put(True, *DB1, "server", "archiver", "failing"),
        "archiver-failing",
        "error",
    ),
    "archive lags": ("a segment waits since 3 min", capacity("oldest_ready_s", 180.0, "db1"), "archive-lag", "warning"),
    "archive lags too far": (
        "a segment waits since 14 min",
        capacity("oldest_ready_s", 840.0, "db1"),
        "archive-lag",
        "error",
    ),
    "minimal WAL": ("wal_level = minimal", setting("wal_level", "minimal"), "wal-level", "error"),
    "slots without limit": (
        "max_slot_wal_keep_size = -1",
        setting("max_slot_wal_keep_size", -1),
        "slot-limit",
        "warning",
    ),
    "slot lost": ("wal_status = lost", put("lost", *SLOT, "wal_status"), "slot-lost", "error"),
    "slot nobody reads": ("a slot is inactive", put(False, *SLOT, "active"), "slot-inactive", "warning"),
    "fsync off": ("fsync = off", setting("fsync", "off"), "fsync", "error"),
    "torn pages": ("full_page_writes = off", setting("full_page_writes", "off"), "full-page-writes", "error"),
    "no checksums": ("data_checksums = off", setting("data_checksums", "off"), "checksums-off", "error"),
    "unlogged table": (
        "one table is unlogged",
        put(1, *DB1, "server", "databases", 0, "unlogged"),
        "unlogged-tables",
        "warning",
    ),
    "restart waits": (
        "a setting is not in force",
        put(["ssl"], *DB1, "server", "pending_restart"),
        "pending-restart",
        "warning",
    ),
    "one repository": (
        "the second one is taken away",
        put([{"region": "east", "key": "key-east", "retention_days": 30}], "promise", "repositories"),
        "one-repository",
        "error",
    ),
    "one region": (
        "both repositories in east",
        put("east", "promise", "repositories", 1, "region"),
        "one-region",
        "error",
    ),
    "one key": ("both with one key", put("key-east", "promise", "repositories", 1, "key"), "same-credentials", "error"),
    "nothing in another region": ("both spares in east", no_region_west, "no-second-region", "error"),
    "repository down": ("one answers nothing", put("timed out", *REPO1, "problem"), "repository-silent", "error"),
    "repositories not seen": ("no host could ask", put([], "facts", "repositories"), "repositories-unseen", "error"),
    "empty repository": ("it holds no backup", put([], *REPO1, "backups"), "no-backup", "error"),
    "backup late": (
        "the newest is of the day before yesterday",
        put([backup(1.6, 0x50)], *REPO1, "backups"),
        "backup-late",
        "error",
    ),
    "backup with bad pages": (
        "pgBackRest noted an error",
        put(True, *REPO1, "backups", 0, "error"),
        "backup-damaged",
        "error",
    ),
    "retention below the policy": (
        "kept for 6 days",
        put(6, "promise", "repositories", 0, "retention_days"),
        "retention",
        "error",
    ),
    "unencrypted": ("its cipher is none", put(False, *REPO1, "encrypted"), "unencrypted", "warning"),
    "uncompressed": ("compress-type = none", put("none", "promise", "compression"), "uncompressed", "advice"),
    "one process": ("process-max = 1 on two processors", put([1, 0], "promise", "processes"), "one-process", "advice"),
    "gap after the newest backup": ("a segment is missing", put([GAP], *REPO1, "gaps"), "wal-gap", "error"),
    "gap before the newest backup": ("a segment is missing", put([OLD_GAP], *REPO1, "gaps"), "wal-gap", "warning"),
    "no timer named": ("the promise names none", put([], "promise", "timers"), "no-timer", "warning"),
    "timer not installed": ("a unit is not found", put({"x.timer": {}}, *TIMER), "timer-missing", "error"),
    "timer stopped": (
        "a unit is inactive",
        put("inactive", *TIMER, "pgrescue-backup@shop.timer", "ActiveState"),
        "timer-missing",
        "error",
    ),
    "scheduled backup failed": (
        "its service failed",
        put("exit-code", *TIMER, "pgrescue-backup@shop.service", "Result"),
        "timer-failed",
        "error",
    ),
    "hold forgotten": (
        "a run holds a repository for two days",
        put([{"run": "run-1", "since_s": NOW - 2 * DAY}], *REPO1, "holds"),
        "hold-forgotten",
        "warning",
    ),
    "replica late": (
        "an object is missing since 20 minutes",
        put([{**REPLICA, "lag_s": 1200.0, "missing": ["b/1"], "late": True}], "facts", "replicas"),
        "replica-late",
        "error",
    ),
    "replica unseen": (
        "a bucket does not answer",
        put([{**REPLICA, "problem": "timed out"}], "facts", "replicas"),
        "replica-unseen",
        "error",
    ),
    "bucket silent": ("its store is down", put("timed out", *BUCKET, "problem"), "bucket-unmeasured", "warning"),
    "bucket nobody asked": ("no host answers", put([], "facts", "buckets"), "bucket-unmeasured", "warning"),
    "uploads left behind": (
        "one was begun two days ago",
        put(NOW - 2 * DAY, *BUCKET, "unfinished", "oldest_s"),
        "uploads-unfinished",
        "warning",
    ),
    "versions without an end": ("no lifecycle rule", put([], *BUCKET, "ends"), "versions-kept", "advice"),
    "versions outgrow what is there": (
        "91 GB of them, and the store knows no rules",
        all_of(put(None, *BUCKET, "ends"), put(91 * GB, *BUCKET, "noncurrent", "bytes")),
        "versions-kept",
        "warning",
    ),
    "bucket four fifths full": (
        "100 of 125 GB",
        put(125 * GB, "promise", "buckets", 0, "limit_bytes"),
        "bucket-filling",
        "warning",
    ),
    "bucket full in a day": (
        "100 of 110 GB, growing by a tenth a day",
        all_of(
            growing(GB),
            put(110 * GB, "promise", "buckets", 0, "limit_bytes"),
            put({"rto_s": 9e9, "rpo_s": 900, "phases": {}}, "promise", "objectives"),
        ),
        "bucket-filling",
        "error",
    ),
    "bucket over its limit": (
        "100 of 50 GB",
        put(50 * GB, "promise", "buckets", 0, "limit_bytes"),
        "bucket-filling",
        "error",
    ),
    "never proven": (
        "no run passed, no backup is proven",
        all_of(
            put([run(result="failed", exit_code=3)], "facts", "runs"),
            *(put("unproven", "facts", "repositories", n, "backups", at, "proof") for n in (0, 1) for at in (0, 1, 2)),
            put([], "facts", "repositories", 0, "backups"),
            put([], "facts", "repositories", 1, "backups"),
        ),
        "never-proven",
        "error",
    ),
    "only verified": (
        "every byte was read and compared, and nothing was restored",
        all_of(
            put(
                [run(2, procedure="verify", kind="proof"), run(1, procedure="verify_dump", kind="proof")],
                "facts",
                "runs",
            ),
            *(put("unproven", "facts", "repositories", n, "backups", at, "proof") for n in (0, 1) for at in (0, 1, 2)),
            put([], "facts", "repositories", 0, "backups"),
            put([], "facts", "repositories", 1, "backups"),
        ),
        "never-proven",
        "error",
    ),
    "proof stale": (
        "the last one is of eight days ago",
        all_of(
            put([run(8)], "facts", "runs"),
            *(
                put("2026-11-01T00:00:00Z", "facts", "repositories", n, "backups", at, "proven")
                for n in (0, 1)
                for at in (0, 1, 2)
            ),
        ),
        "proof-stale",
        "error",
    ),
    "last run failed": (
        "validation found something",
        put([run(2), run(1, result="failed", exit_code=6)], "facts", "runs"),
        "proof-failed",
        "error",
    ),
    "backup disproven": ("its proof failed", put("failed", *REPO1, "backups", 2, "proof"), "backup-disproven", "error"),
    "repository never proven": (
        "none of its backups was restored",
        all_of(*(put("unproven", *REPO1, "backups", at, "proof") for at in (0, 1, 2))),
        "repository-unproven",
        "warning",
    ),
    "nothing measured": (
        "the only run left no figures",
        put([{k: v for k, v in run().items() if k not in ("fetch_s", "replay_s")}], "facts", "runs"),
        "not-measured",
        "warning",
    ),
    "restore over its budget": (
        "the budget is 100 s, a restore takes 130 s",
        put(100, "promise", "objectives", "phases", "restore"),
        "restore-budget",
        "error",
    ),
    "restore over its budget at times": (
        "one run of thirteen took 2,100 s",
        put([*(run(days) for days in range(13, 1, -1)), run(1, fetch_s=2070.0, rta_s=2170.0)], "facts", "runs"),
        "restore-budget",
        "warning",
    ),
    "recovery over the objective": (
        "it takes 200 s, 150 s are promised",
        put({"rto_s": 150, "rpo_s": 900, "phases": {}}, "promise", "objectives"),
        "restore-time",
        "error",
    ),
    "measured on little data": (
        "1 GB was restored, there are 10 GB",
        put([run(fetched_bytes=GB, fetch_s=10.0)], "facts", "runs"),
        "measured-on-less",
        "warning",
    ),
    "objective outgrown within the year": (
        "it grows by 1 GB a day",
        growing(GB),
        "objective-outgrown",
        "advice",
    ),
    "no recovery time promised": (
        "rto_s is missing",
        put({"rpo_s": 900}, "promise", "objectives"),
        "objective-missing",
        "error",
    ),
    "budgets beyond the objective": (
        "the phases add up to 4,200 s",
        put(3000, "promise", "objectives", "phases", "restore"),
        "phase-budgets",
        "error",
    ),
    "budgets without margin": (
        "the phases add up to 3,600 s",
        put(2400, "promise", "objectives", "phases", "restore"),
        "phase-budgets",
        "error",
    ),
    "name lives too long": (
        "a time to live of 300 s",
        put(300, "promise", "endpoint", "ttl_s"),
        "endpoint-ttl",
        "error",
    ),
    "name lives long": ("a time to live of 100 s", put(100, "promise", "endpoint", "ttl_s"), "endpoint-ttl", "warning"),
}
NEWEST = ("facts", "dumps", "dumps", 0)
PLANTED_IN_DUMPS: dict[str, tuple[str, Callable[[Facts, Facts], None], str, str]] = {
    "dumps against four hours": (
        "a dump every six hours, four hours of loss are promised",
        put(4 * HOUR, "promise", "objectives", "rpo_s"),
        "dump-without-wal",
        "error",
    ),
    "no dump": ("the stores hold none", put([], "facts", "dumps", "dumps"), "no-dump", "error"),
    "dump late": ("the newest is of yesterday", put([dump(1)], "facts", "dumps", "dumps"), "dump-late", "error"),
    "bucket of dumps full in a day": (
        "100 of 110 GB, dumps grow by a third a day",
        all_of(
            put([dump(n + 0.1, size_bytes=(3 - n) * GB) for n in range(3)], "facts", "dumps", "dumps"),
            put(110 * GB, "promise", "buckets", 0, "limit_bytes"),
        ),
        "bucket-filling",
        "error",
    ),
    "dump in one store": ("a store lacks it", put(["east"], *NEWEST, "stores"), "dump-one-store", "error"),
    "dump unlike the others": ("its size", put(["10 bytes"], *NEWEST, "anomalies"), "dump-unusual", "warning"),
    "dump disproven": (
        "its proof failed",
        put({"state": "failed", "stale": False}, *NEWEST, "proof"),
        "dump-disproven",
        "error",
    ),
    "copy of a dump disproven": (
        "its proof failed in one store, after one in the other had passed",
        put({"state": "validated", "stale": False, "failed_in": ["west"]}, *NEWEST, "proof"),
        "dump-disproven",
        "error",
    ),
    "proof of a dump that cannot be read": (
        "a note beside a dump says nothing",
        put({"state": "unproven", "stale": False, "problem": "proof.json cannot be read"}, *NEWEST, "proof"),
        "dump-note-unreadable",
        "warning",
    ),
    "dumps unproven": (
        "none was ever restored",
        put([dump(0.1, proof={"state": "unproven", "stale": False})], "facts", "dumps", "dumps"),
        "dump-unproven",
        "warning",
    ),
    "proofs of dumps stale": (
        "all proofs are old",
        put([dump(0.1, proof={"state": "restored", "stale": True})], "facts", "dumps", "dumps"),
        "dump-proof-stale",
        "warning",
    ),
    "store of dumps down": (
        "one answers nothing",
        put({"west": "timed out"}, "facts", "dumps", "unreachable"),
        "dump-store-silent",
        "error",
    ),
    "dump changed": (
        "a copy is not as its manifest says",
        put([{"id": "d", "store": "west", "reason": "db/1/1.dat is missing"}], "facts", "dumps", "refused"),
        "dump-refused",
        "error",
    ),
    "hold of a dump forgotten": (
        "held since two days",
        put([{"at": "2026-11-22T00:00:00.000000Z", "reason": "an incident"}], *NEWEST, "holds"),
        "hold-forgotten",
        "warning",
    ),
    "hold of a dump by a run that died": (
        "a run holds a dump since two days",
        put([{"at": "2026-11-22T00:00:00.000000Z", "run": "run-1"}], *NEWEST, "holds"),
        "hold-forgotten",
        "warning",
    ),
    "hold on a dump that cannot be used": (
        "a run holds a dump without a manifest since two days",
        put(
            [{"id": "d", "store": "west", "holds": [{"at": "2026-11-22T00:00:00.000000Z", "run": "run-1"}]}],
            "facts",
            "dumps",
            "unfinished",
        ),
        "hold-forgotten",
        "warning",
    ),
    "hold on all dumps": (
        "somebody keeps every dump from expiring, nobody knows since when",
        put({"east": {"reason": "an incident"}}, "facts", "dumps", "held"),
        "hold-forgotten",
        "warning",
    ),
    "hold of a dump that cannot be read": (
        "the note of a run says nothing",
        put([{"reason": "hold/run-1.json cannot be read", "run": "run-1"}], *NEWEST, "holds"),
        "hold-forgotten",
        "warning",
    ),
}
LINT = {
    f"lint: {name}": Fault(words, found)
    for name, (words, _plant, found, _level) in {**PLANTED, **PLANTED_IN_DUMPS}.items()
}


def planted(name: str) -> tuple[Facts, Facts]:
    """Promise and facts of a sound service with one fault in it."""
    promise, facts = map(deepcopy, sound() if name in PLANTED else dumped())
    {**PLANTED, **PLANTED_IN_DUMPS}[name][1](promise, facts)
    return promise, facts
