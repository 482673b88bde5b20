#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Observe how a running server is configured, and how its archiving and its replication fare."""

from __future__ import annotations

DOCUMENTATION = """
module: server_settings
short_description: Observe how a running server is configured, and how its archiving and its replication fare
description:
  - Answers, in few queries, the settings that protection rests on, what pg_stat_archiver, the slots and the senders say, and which
    extensions, unlogged tables and collation versions each database has.
  - Only looks. Says whether C(primary_conninfo) holds a password, never what it holds.
  - A server that does not answer is an observation, told in C(problem). Run it as the user that owns the cluster.
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See how the server is configured
  pgrescue.runbooks.server_settings: {version: 17}
  become: true
  become_user: postgres
  register:
    server_seen: _task.result.server
"""

RETURN = """
server:
  description: What was seen; only C(problem) when the server did not answer. Sizes in bytes, times in seconds.
  returned: always
  type: dict
  sample: {problem: null, version: "17.5", settings: {archive_mode: "on", archive_timeout: 60}, segment_bytes: 16777216,
           archiver: {failing: false, archived_count: 12, failed_count: 0, last_archived_s: 3.2, last_failed_wal: null},
           slots: [{name: db2, active: true, wal_status: reserved, retained_bytes: 0}],
           senders: [{name: db2, state: streaming, sync_state: async}], conninfo_has_password: false, pending_restart: [],
           databases: [{name: postgres, extensions: {plpgsql: "1.0"}, unlogged: 0, collation: {recorded: "2.41", actual: "2.41"}}]}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import postgres

NUMBERS = (
    "archive_timeout", "max_connections", "max_prepared_transactions", "max_locks_per_transaction", "max_wal_senders",
    "max_worker_processes", "max_slot_wal_keep_size", "max_replication_slots",
)  # fmt: skip
WORDS = (
    "archive_mode", "archive_command", "archive_library", "wal_level", "data_checksums", "fsync", "full_page_writes",
    "synchronous_commit", "synchronous_standby_names", "hot_standby", "ssl", "primary_slot_name",
)  # fmt: skip
FIRST_WITH_COLLATION = 150000  # before it a database did not record the version of its collation

SERVER = """
SELECT current_setting('server_version_num')::int AS number,
       split_part(current_setting('server_version'), ' ', 1) AS version,
       (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY (%(words)s)) AS words,
       (SELECT json_object_agg(name, setting::bigint) FROM pg_settings WHERE name = ANY (%(numbers)s)) AS numbers,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS segment_bytes,
       (SELECT json_build_object(
          'failing', coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false),
          'archived_count', archived_count, 'failed_count', failed_count, 'last_failed_wal', last_failed_wal,
          'last_archived_s', extract(epoch FROM clock_timestamp() - last_archived_time)) FROM pg_stat_archiver) AS archiver,
       (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'active', active, 'wal_status', wal_status,
          'retained_bytes', pg_wal_lsn_diff(
             CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)::bigint)
          ORDER BY slot_name), '[]') FROM pg_replication_slots) AS slots,
       (SELECT coalesce(json_agg(json_build_object('name', application_name, 'state', state, 'sync_state', sync_state)
          ORDER BY application_name), '[]') FROM pg_stat_replication) AS senders,
       coalesce(current_setting('primary_conninfo', true), '') ~* '(^|[ ?&])password *=|://[^/@]*:[^/@]*@' AS conninfo_has_password,
       (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart) AS pending_restart
"""

DATABASE = """
SELECT (SELECT json_object_agg(extname, extversion) FROM pg_extension) AS extensions,
       (SELECT count(*) FROM pg_class WHERE relpersistence = 'u' AND relkind IN ('r', 'p', 'm')) AS unlogged
"""

COLLATION = """
SELECT datcollversion AS recorded, pg_database_collation_actual_version(oid) AS actual, datlocprovider::text AS provider
  FROM pg_database WHERE datname = current_database()
"""


def database(module: AnsibleModule, name: str, number: int, **options: object) -> "dict[str, object]":
    """What only a connection to the database itself can see."""
    with postgres.connect(module, name, **options) as connection:
        facts = dict(connection.execute(DATABASE).fetchone(), name=name, collation=None)
        if number >= FIRST_WITH_COLLATION:
            facts["collation"] = connection.execute(COLLATION).fetchone()
    return facts


def main() -> None:
    """Ask the server, then each of its databases."""
    module = AnsibleModule(argument_spec=dict(postgres.CONNECTION_ARGUMENTS), supports_check_mode=True)
    import psycopg
    from psycopg.rows import dict_row

    try:
        with postgres.connect(module, row_factory=dict_row) as connection:
            seen = connection.execute(SERVER, {"words": list(WORDS), "numbers": list(NUMBERS)}).fetchone()
            names = connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1").fetchall()
        number, settings = seen.pop("number"), {**seen.pop("words"), **seen.pop("numbers")}
        databases = [database(module, row["datname"], number, row_factory=dict_row) for row in names]
    except psycopg.OperationalError as error:
        module.exit_json(changed=False, server={"problem": str(error).strip().splitlines()[0]})
    module.exit_json(changed=False, server={"problem": None, **seen, "settings": settings, "databases": databases})


if __name__ == "__main__":
    main()
