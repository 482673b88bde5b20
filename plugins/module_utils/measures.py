"""What is measured, as samples: of a server, of the repositories, of the dumps, of the scheduled backup, of the witness. Pure."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from .lsn import segment_number
from .series import Sample, sample
from .times import epoch_s

ENGINE, DUMP = "pgbackrest", "dump"


def of_server(cluster: str, host: str, seen: Mapping[str, Any]) -> "list[Sample]":
    """Of what C(look_server.look) saw; a server that does not answer is measured too."""
    where = (cluster, host)
    primary = seen["role"] == "primary"
    found = sample("server_running", seen["running"], *where) + sample("server_primary", primary, *where)
    for disk in seen.get("disks", []):
        found += sample("disk_free_bytes", disk["free_bytes"], *where, disk["folder"])
        found += sample("disk_size_bytes", disk["bytes"], *where, disk["folder"])
        if disk["inodes"]:
            found += sample("disk_free_inodes", disk["free_inodes"], *where, disk["folder"])
            found += sample("disk_inodes", disk["inodes"], *where, disk["folder"])
    if not seen["running"]:
        return found
    found += sample("checksum_failures", seen["checksum_failures"], *where)
    if primary:
        streaming = [one for one in seen["followers"] if one["state"] == "streaming"]
        found += sample("standbys_streaming", len(streaming), *where)
        for name in sorted({one["name"] for one in streaming}):  # two that share a name are one series, the worse
            behind = [one["lag_bytes"] for one in streaming if one["name"] == name and one["lag_bytes"] is not None]
            found += sample("standby_lag_bytes", max(behind, default=None), *where, name)
        found += sample("archiver_last_success_timestamp_seconds", seen["archiver"]["archived_s"], *where)
        found += sample("archiver_last_failure_timestamp_seconds", seen["archiver"]["failed_s"], *where)
    else:
        found += sample("standby_replayed_timestamp_seconds", seen["replayed_s"], *where)
    return found


def of_catalog(
    cluster: str, catalog: Mapping[str, Any], repositories: Iterable[int], measured: "Optional[float]"
) -> "list[Sample]":
    """Of what C(catalogs.observe) found; `measured` is the recovery point as the primary's positions tell it, None elsewhere."""
    found: "list[Sample]" = []
    candidates, unreachable = catalog["candidates"], catalog["unreachable"]
    for number in repositories:
        found += sample("repository_reachable", str(number) not in unreachable, cluster, number)
        if str(number) in unreachable:
            continue
        unusable = [one for one in catalog["passed_over"] if one["repo"] == number]
        found += sample("backup_unusable", len(unusable), cluster, number)
        here = [one for one in candidates if one["repo"] == number]
        for kind in sorted({one["type"] for one in here}):
            newest = max((one for one in here if one["type"] == kind), key=lambda one: str(one["stopped"]))
            found += _of_backup(newest, (cluster, ENGINE, number, kind))
        proven = [epoch_s(one["proven"]) for one in here if one.get("proven") and one["proof"] == "validated"]
        found += sample("backup_proven_timestamp_seconds", max(proven, default=None), cluster, ENGINE, number)
    if candidates:
        oldest = min(epoch_s(one["stopped"]) for one in candidates)
        found += sample("recovery_window_start_timestamp_seconds", oldest, cluster, ENGINE)
        found += sample("wal_gap_segments", catalog["missing_segments"], cluster)
    if measured is not None:
        found += sample("recovery_point_timestamp_seconds", measured, cluster, ENGINE, "commits")
    elif catalog.get("archive_end"):
        stored = epoch_s(catalog["archive_end"]["time"])
        found += sample("recovery_point_timestamp_seconds", stored, cluster, ENGINE, "archive")
    return found


def _of_backup(backup: Mapping[str, Any], labels: "tuple[Any, ...]") -> "list[Sample]":
    ended = epoch_s(backup["stopped"])
    found = sample("backup_last_success_timestamp_seconds", ended, *labels)
    found += sample("backup_last_duration_seconds", ended - epoch_s(backup["started"]), *labels)
    found += sample("backup_last_size_bytes", backup["size_bytes"], *labels)
    return found + sample("backup_last_repo_size_bytes", backup.get("stored_bytes"), *labels)


def of_dumps(cluster: str, seen: Mapping[str, Any], stores: Iterable[str]) -> "list[Sample]":
    """Of the C(copies) in each store, what C(dumps.catalog) makes of them, and C(unreachable). A dump is of when it began."""
    found: "list[Sample]" = []
    for store in stores:
        found += sample("repository_reachable", store not in seen["unreachable"], cluster, store)
        if store in seen["unreachable"]:
            continue
        here = [one for one in seen["dumps"] if store in one["stores"]]
        good = [one for one in here if not _disproven(one, store)]
        refused = [one for one in seen["refused"] if one["store"] == store]
        found += sample("backup_unusable", len(refused) + len(here) - len(good), cluster, store)
        if good:
            newest = max(good, key=lambda one: epoch_s(one["started"]))
            labels = (cluster, DUMP, store, DUMP)
            found += sample("backup_last_success_timestamp_seconds", epoch_s(newest["finished"]), *labels)
            found += sample("backup_last_duration_seconds", newest["duration_s"], *labels)
            found += sample("backup_last_size_bytes", newest["size_bytes"], *labels)
            found += sample("backup_last_repo_size_bytes", newest["dump_bytes"], *labels)
        names = {one["id"] for one in good}
        proofs = [one["proof"] or {} for one in seen["copies"] if one["store"] == store and one["id"] in names]
        proven = [epoch_s(proof["at"]) for proof in proofs if proof.get("state") == "validated"]
        found += sample("backup_proven_timestamp_seconds", max(proven, default=None), cluster, DUMP, store)
    begun = [epoch_s(one["started"]) for one in seen["dumps"] if one["proof"]["state"] != "failed"]
    found += sample("recovery_window_start_timestamp_seconds", min(begun, default=None), cluster, DUMP)
    return found + sample("recovery_point_timestamp_seconds", max(begun, default=None), cluster, DUMP, DUMP)


def _disproven(dump: Mapping[str, Any], store: str) -> bool:
    """Whether the dump was restored and did not pass, or did from another store and not from this one."""
    return dump["proof"]["state"] == "failed" or store in (dump["proof"].get("failed_in") or [])


def archived_lsn(catalog: Mapping[str, Any]) -> "Optional[int]":
    """Where the last segment that can be replayed ends; None where there is none."""
    end = catalog.get("archive_end")
    if not end:
        return None
    size, name = int(catalog["candidates"][0]["segment_bytes"]), str(end["segment"])
    return (segment_number(name, size) + 1) * size


def of_job(cluster: str, result: Mapping[str, Any]) -> "list[Sample]":
    """Of what the scheduled backup of a host wrote down."""
    found: "list[Sample]" = []
    for number, done in sorted(result.get("repositories", {}).items()):
        labels = (cluster, ENGINE, number)
        if "ended" in done:
            found += sample("backup_last_attempt_timestamp_seconds", epoch_s(done["ended"]), *labels)
            found += sample("backup_last_attempt_success", done["state"] == "taken", *labels)
    for number, counts in sorted(result.get("attempts", {}).items()):
        for name in ("passed", "failed"):
            found += sample("backup_attempts_total", counts[name], cluster, ENGINE, number, name)
    return found


def of_witness(cluster: str, successes: "Mapping[str, Any]") -> "list[Sample]":
    """Of when (datetime) each of its probes last succeeded."""
    return [
        one
        for probe, at in sorted(successes.items())
        for one in sample("witness_last_success_timestamp_seconds", at.timestamp(), cluster, probe)
    ]
