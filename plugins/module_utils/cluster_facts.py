"""Ask a host what it has of a PostgreSQL cluster, whether its server runs or not. Runs there."""

from __future__ import annotations

import os
from typing import Any, Optional

from . import managers, observation, places, postgres

QUESTIONS = rf"""
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN pg_is_in_recovery() THEN {postgres.FOLLOWED_TIMELINE}
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_current_wal_lsn() END::text AS lsn,
       CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END AS received,
       substring(current_setting('primary_conninfo') FROM '(?:^|\s)host\s*=\s*''?([^\s'']+)') AS upstream,
       extract(epoch FROM pg_last_xact_replay_timestamp())::float8 AS replayed_s,
       current_setting('data_directory') AS data_directory,
       (SELECT sum(pg_database_size(oid))::bigint FROM pg_database) AS data_bytes,
       (SELECT coalesce(json_agg(application_name), '[]') FROM pg_stat_replication WHERE state = 'streaming') AS replicas,
       (SELECT coalesce(json_agg(slot_name), '[]') FROM pg_replication_slots) AS slots,
       (SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming') > 0 AS streaming,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
       (SELECT json_object_agg(name, setting) FROM pg_settings
         WHERE name IN ('archive_mode', 'archive_command', 'archive_timeout', 'data_checksums', 'ssl', 'primary_slot_name',
                        'recovery_min_apply_delay', 'listen_addresses'))
           AS settings,
       (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart) AS pending_restart
"""


def observe(module: Any, in_use: "Optional[str]", questions: str = QUESTIONS) -> "dict[str, Any]":
    """Its state, as M(cluster_state) answers it; `in_use` is the path by which the server should know its data.

    `module` has PostgreSQL's connection arguments. A server that does not answer is an observation, not an error.
    """
    import psycopg
    from psycopg.rows import dict_row

    facts: "dict[str, Any]" = {"running": False, "problem": None}
    try:
        with postgres.connect(module, row_factory=dict_row) as connection:
            facts.update(connection.execute(questions).fetchone(), running=True)
    except psycopg.OperationalError as error:
        managed = postgres.in_use(module) if managers.manages(in_use) else None
        directory = managed or postgres.data_directory(module)
        control = postgres.control_data(module, directory) if directory else {}
        facts.update(
            problem=str(error).strip().splitlines()[0],
            data_directory=directory,
            system_identifier=observation.system_identifier(control),
            timeline=observation.timeline(control),
            lsn=observation.checkpoint(control),
            alive=bool(directory and postgres.is_alive(directory)),
            was_standby=bool(directory and os.path.exists(os.path.join(directory, "standby.signal"))),
            fenced=not managed and postgres.start_word(module.params["version"]) == "disabled",
            unstarted=places.unstarted(os.path.realpath(directory)) if directory else {},
        )
    if facts["data_directory"]:
        facts["place"] = os.path.realpath(facts["data_directory"])
        links = os.path.join(facts["place"], "pg_tblspc")
        facts["tablespaces"] = bool(os.path.isdir(links) and os.listdir(links))
        facts["managed_by"] = managers.manages(facts["place"])
    facts["ready"] = bool(facts["data_directory"]) and facts["data_directory"] == in_use
    return observation.state(facts)
