#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Say what the promotion of this standby would give up, and refuse more than is allowed."""

from __future__ import annotations

DOCUMENTATION = """
module: promotion_loss
short_description: Say what the promotion of this standby would give up, and refuse more than is allowed
description:
  - Compares what the standby has received with the farthest that the old primary was seen, and the newest commit of the witness in it
    with what the witness saw acknowledged. What is received and not replayed is waited for first; it is not lost.
  - Answers bytes, transactions and seconds; what cannot be known is null. Refuses (exit code 4) what is above a limit, or not known to
    be below it, unless somebody accepts it with a reason. Only looks. Runs on the standby's host.
options:
  seen:
    description: >-
      Sightings of the old primary, each with C(lsn), C(by) and, where known, C(at) (RFC 3339); such as the last observation and its
      control file. Those without C(lsn) are left out.
    type: list
    elements: dict
    required: true
  acknowledged: {description: What M(pgrescue.runbooks.witness_acknowledged) answers., type: dict}
  witness_database: {description: The database with the witness's table., type: str, default: postgres}
  limits: {description: 'What may be given up: C(bytes), C(transactions), C(seconds); what is left out has no limit.', type: dict, default: {}}
  accept: {description: Why a person accepts more., type: str, default: ""}
  deadline_s: {description: How long to wait for the replay of what is received in seconds., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Say what would be lost
  pgrescue.runbooks.promotion_loss:
    version: 17
    seen: [{lsn: 0/5000060, at: "2026-11-24T22:00:00Z", by: the last observation}]
    acknowledged: "{{ failover_acknowledged }}"
    limits: {seconds: 5}
  become: true
  become_user: postgres
"""

RETURN = """
loss:
  description: What would be given up; C(standby) and C(primary) are the positions compared, C(seen_by) says who saw the latter.
  returned: success
  type: dict
  sample: {bytes: 24576, transactions: 3, seconds: 0.4, standby: 0/5000060, primary: 0/5006060, seen_by: the witness, said: "It would ..."}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, losses, postgres

POSITION = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed,
       coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), true) AS level
"""
WITNESS = "SELECT to_regclass('pgrescue.witness') IS NOT NULL AS there"
TOKEN = "SELECT coalesce(max(token), 0) AS token FROM pgrescue.witness"


def position(module: AnsibleModule) -> "dict[str, object]":
    """Where the standby is once what it received is replayed, or the time is over."""
    from psycopg.rows import dict_row

    with postgres.connect(module, row_factory=dict_row) as connection:
        latest = {"at": connection.execute(POSITION).fetchone()}
        if not latest["at"]["in_recovery"]:
            raise guards.Stop("This server is no standby: there is nothing to promote here.", guards.PRECONDITION)

        def level() -> bool:
            latest["at"] = connection.execute(POSITION).fetchone()
            return bool(latest["at"]["level"])

        postgres.wait_until(level, module.params["deadline_s"])
    with postgres.connect(module, module.params["witness_database"], row_factory=dict_row) as connection:
        known = connection.execute(WITNESS).fetchone()["there"]
        token = connection.execute(TOKEN).fetchone()["token"] if known else None
    return {**latest["at"], "token": token}


def main() -> None:
    """Ask, compare, refuse."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "seen": {"type": "list", "elements": "dict", "required": True},
            "acknowledged": {"type": "dict"},
            "witness_database": {"type": "str", "default": "postgres"},
            "limits": {"type": "dict", "default": {}},
            "accept": {"type": "str", "default": ""},
            "deadline_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        unknown = sorted(set(p["limits"]) - set(losses.LIMITS))
        if unknown:
            raise guards.Stop("There is no limit on %s." % ", ".join(unknown), guards.PRECONDITION)
        sightings = [one for one in p["seen"] if one.get("lsn")]
        loss = losses.of(position(module), sightings, p["acknowledged"])
        said = losses.check(loss, p["limits"], p["accept"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, loss={**loss, "said": said}, journal=[{"event": "decision", "detail": said}])


if __name__ == "__main__":
    main()
