#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Promote a copy whose replay is paused, at the very position that was approved."""

from __future__ import annotations

DOCUMENTATION = """
module: promote_target
short_description: Promote a copy whose replay is paused, at the very position that was approved
description:
  - Refuses (exit code 4) when the replay stands anywhere else. One that was promoted already is left alone; the validation compares
    where its timeline began with what was approved.
  - Takes the target back out of the copy's settings, for a standby that is built from it would stop there as well.
options:
  approved: {description: The position that was approved., type: str, required: true}
  deadline_s: {description: How long it may take in seconds., type: int, default: 60}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Refuses what it would refuse and promotes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Promote it where it was inspected
  pgrescue.runbooks.promote_target: {version: 17, approved: 0/5000060}
  become: true
  become_user: postgres
"""

RETURN = """
promoted_at: {description: The position., returned: success, type: str}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, recovery_targets

STANDING = """
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE 'out of recovery' END
"""
LEFT = "SELECT name FROM pg_file_settings WHERE name = ANY (%s) AND sourcefile LIKE '%%/postgresql.auto.conf'"
OF_TARGET = [*recovery_targets.SETTINGS.values(), "recovery_target_inclusive", "recovery_target_action"]


def main() -> None:
    """Guard, promote, tidy up."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "approved": {"type": "str", "required": True},
            "deadline_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    import psycopg
    from psycopg import sql

    approved = module.params["approved"]
    try:
        with postgres.connect(module) as connection:
            in_recovery, lsn, state = connection.execute(STANDING).fetchone()
            if in_recovery and (lsn, state) != (approved, "paused"):
                raise guards.Stop(
                    "The copy stands at %s (%s), and %s was approved. Nothing was changed. Look at it again."
                    % (lsn, state, approved)
                )
            left = [name for (name,) in connection.execute(LEFT, (OF_TARGET,))]
            if not module.check_mode:
                if (
                    in_recovery
                    and not connection.execute(
                        "SELECT pg_promote(true, %s)", (module.params["deadline_s"],)
                    ).fetchone()[0]
                ):
                    said = "The copy was not promoted within %d s." % module.params["deadline_s"]
                    raise guards.Stop(said, guards.STEP_FAILED)
                for name in left:
                    connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
    except guards.Stop as stop:
        guards.fail(module, stop)
    except psycopg.OperationalError as error:
        said = "The copy cannot be asked: %s." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    said = [{"event": "milestone", "step": "writable", "detail": "replayed to %s, and promoted there" % approved}]
    changed = bool(in_recovery or left)
    module.exit_json(
        changed=changed, promoted_at=approved, journal=said if in_recovery and not module.check_mode else []
    )


if __name__ == "__main__":
    main()
