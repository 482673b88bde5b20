#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Name another target, further ahead, to a copy whose replay is paused."""

from __future__ import annotations

DOCUMENTATION = """
module: move_target
short_description: Name another target, further ahead, to a copy whose replay is paused
description:
  - Writes the new target into the copy's settings. It takes effect when the server is started again, and the replay pauses there.
  - Refuses (exit code 4) a copy that was promoted, and a target that the replay has passed; fails with exit code 3 while it replays.
  - The new target is written before the old one is taken back. A server that is started in between refuses to start; it never goes
    on without a target.
options:
  to: {description: 'The target, C(time:...), C(xid:...), C(lsn:...) or C(name:...).', type: str, required: true}
  exclusive: {description: Whether what begins at the target is left out., type: bool, default: false}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Refuses what it would refuse and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Go on to just before the bad transaction
  pgrescue.runbooks.move_target: {version: 17, to: "xid:74321", exclusive: true}
  become: true
  become_user: postgres
"""

RETURN = """
target: {description: 'The target, with C(type), C(value) and C(inclusive).', returned: success, type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, recovery_targets

STANDING = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_replay_lsn()::text AS lsn,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END AS paused,
       to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time
"""


def write(connection: "object", wanted: "dict[str, str | None]") -> None:
    """Write the settings, what is set first: two targets keep a server from starting, none would let it go on to the end."""
    from psycopg import sql

    for name, value in sorted(wanted.items(), key=lambda item: item[1] is None):
        what = sql.SQL("RESET {}") if value is None else sql.SQL("SET {} = {}")
        arguments = [sql.Identifier(name)] + ([] if value is None else [sql.Literal(value)])
        connection.execute(sql.SQL("ALTER SYSTEM ") + what.format(*arguments))


def main() -> None:
    """Guard, then write."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "to": {"type": "str", "required": True},
            "exclusive": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    import psycopg
    from psycopg.rows import dict_row

    try:
        target = recovery_targets.parse(module.params["to"], module.params["exclusive"])
        if target["type"] == "default":
            raise guards.Stop(
                "The end of the archive is no target to pause at. Approve the point where it stands, or name one further ahead. "
                "Nothing was changed.",
                guards.PRECONDITION,
            )
        wanted = recovery_targets.settings(target)
        with postgres.connect(module, row_factory=dict_row) as connection:
            standing = connection.execute(STANDING).fetchone()
            if not standing["in_recovery"]:
                raise guards.Stop("The server was promoted and replays no more. Nothing was changed.")
            if not standing["paused"]:
                raise guards.Stop(
                    "The server still replays, to %s so far. Nothing was changed. Try again when it is paused at its target."
                    % standing["lsn"],
                    guards.PRECONDITION,
                )
            now = {
                name: connection.execute("SELECT current_setting(%s) AS v", (name,)).fetchone()["v"] for name in wanted
            }
            changed = any((value or "") != now[name] for name, value in wanted.items())
            if changed:
                recovery_targets.check_ahead(target, standing)
                if not module.check_mode:
                    write(connection, wanted)
    except guards.Stop as stop:
        guards.fail(module, stop)
    except psycopg.OperationalError as error:
        said = "The copy cannot be asked: %s. Nothing was changed." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    said = "Replay goes on from %s to %s" % (standing["lsn"], recovery_targets.in_words(target))
    module.exit_json(changed=changed, target=target, journal=[{"event": "decision", "detail": said}] if changed else [])


if __name__ == "__main__":
    main()
