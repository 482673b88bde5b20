"""The settings of a server that is thrown away: it archives, follows and runs nothing, and nobody reaches it but over its socket."""

from __future__ import annotations

from typing import Mapping

# What a server must have at least as much of as the one its WAL comes from, and its name in pg_controldata.
FLOORS = {
    "max_connections": "max_connections setting",
    "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting",
    "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}
ALONE = {
    "listen_addresses": "",
    "archive_mode": "off",
    "archive_cleanup_command": "",  # a backup's own commands would be run on what production uses
    "recovery_end_command": "",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "synchronous_standby_names": "",
    "shared_preload_libraries": "",  # no scheduler of jobs, no background worker of an extension
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "max_logical_replication_workers": "0",  # a subscription would begin to fetch
    "event_triggers": "off",
    "autovacuum": "off",  # what is examined stays as it was restored
    "logging_collector": "off",
    "ssl": "off",
    "hot_standby": "on",
    "unix_socket_permissions": "0700",
    "io_method": "worker",  # io_uring is refused to a server that is cut off
}
SINCE = {"event_triggers": 17, "io_method": 18}  # major version that knows it


def settings(
    control: Mapping[str, str], version: int, socket_directory: str, more: Mapping[str, str]
) -> "dict[str, str]":
    """What to start a scratch server with; `more` may add, and never undo its isolation."""
    floors = {name: control[label] for name, label in FLOORS.items() if control.get(label)}
    alone = {name: value for name, value in ALONE.items() if SINCE.get(name, 0) <= version}
    return {**floors, **more, **alone, "unix_socket_directories": socket_directory}


def text(values: Mapping[str, str]) -> str:
    """Settings as a configuration file."""
    quoted = ((name, str(value).replace("'", "''")) for name, value in sorted(values.items()))
    return "".join("%s = '%s'\n" % item for item in quoted)
