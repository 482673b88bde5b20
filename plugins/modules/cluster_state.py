#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Observe the PostgreSQL cluster of one host."""

from __future__ import annotations

DOCUMENTATION = """
module: cluster_state
short_description: Observe the PostgreSQL cluster of one host
description:
  - Answers, in one call, what runs on a host, which database system it is, which timeline it follows and how far it is.
  - Only looks. Run it as the user that owns the cluster, usually C(postgres).
options:
  in_use: {description: The link to the place in use; a host is ready for a restore when its server starts there., type: path}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Observe the host
  pgrescue.runbooks.cluster_state:
    version: 17
  become: true
  become_user: postgres
  register:
    postgres_state: _task.result.state
"""

RETURN = """
state:
  description:
    - What was seen. C(role) is primary, standby, unresponsive (it runs and cannot be asked), stopped or spare.
    - C(ready) says whether its server is configured to start on the place in use, where a restore is put.
    - C(replay) of a standby is C(not paused), C(pause requested) or C(paused); null of a primary.
    - C(received) of a standby is the WAL position up to which it holds WAL, replayed or not; C(replayed_s) when the last commit that
      it replayed was made, in seconds since 1970.
    - C(managed_by) is the other tool that decides who is primary, C(Patroni) or C(pg_auto_failover); null when there is none.
    - C(upstream) is the host, as its configuration names it, that a standby streams from.
    - C(lsn) of a stopped cluster is where its last checkpoint is.
    - C(place) is where the data really are, C(data_directory) the path by which the server knows them.
    - C(unstarted) names the run and the place of a restore that is whole and was never started.
  returned: always
  type: dict
  sample: {role: primary, running: true, in_recovery: false, system_identifier: "7432", timeline: 3, lsn: 0/5000060, replay: null,
           data_directory: /var/lib/postgresql/17/main, data_bytes: 24117248, replicas: [], slots: [], settings: {}}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import managers, observation, places, postgres

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
                        'recovery_min_apply_delay'))
           AS settings,
       (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart) AS pending_restart
"""


def main() -> None:
    """Ask everything at once; a server that does not answer is an observation, not an error."""
    spec = {**postgres.CONNECTION_ARGUMENTS, "in_use": {"type": "path"}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    import psycopg
    from psycopg.rows import dict_row

    facts = {"running": False, "problem": None}
    try:
        with postgres.connect(module, row_factory=dict_row) as connection:
            facts.update(connection.execute(QUESTIONS).fetchone(), running=True)
    except psycopg.OperationalError as error:
        directory = postgres.data_directory(module)
        control = postgres.control_data(module, directory) if directory else {}
        facts.update(
            problem=str(error).strip().splitlines()[0],
            data_directory=directory,
            system_identifier=observation.system_identifier(control),
            timeline=observation.timeline(control),
            lsn=observation.checkpoint(control),
            alive=bool(directory) and postgres.is_alive(directory),
            unstarted=places.unstarted(os.path.realpath(directory)) if directory else {},
        )
    if facts["data_directory"]:
        facts["place"] = os.path.realpath(facts["data_directory"])
        facts["managed_by"] = managers.manager(os.listdir(facts["place"])) if os.path.isdir(facts["place"]) else None
    facts["ready"] = bool(facts["data_directory"]) and facts["data_directory"] == module.params["in_use"]
    module.exit_json(changed=False, state=observation.state(facts))


if __name__ == "__main__":
    main()
