#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Promote a standby that gives up no more than is allowed, and read back the timeline that it made."""

from __future__ import annotations

DOCUMENTATION = """
module: promote_standby
short_description: Promote a standby that gives up no more than is allowed, and read back the timeline that it made
description:
  - Compares what the standby has received with the farthest that the old primary was seen, and the newest commit of the witness in it
    with what the witness saw acknowledged. Refuses (exit code 4) what is above a limit, or not known to be below it, unless somebody
    accepts it with a reason. Refuses also while the standby still hears from its primary.
  - Waits until what the standby received is replayed, which is not lost, promotes it, waits until it is out of recovery, makes a checkpoint, which
    pg_rewind of the old primary needs, and reads the new timeline back. Another one than expected is a failure (exit code 5).
  - A server that is the result of this very promotion already is left as it is. One that is a primary otherwise, or whose replay
    somebody paused, is refused (exit code 4).
  - While it is promoted it asks only repositories that answer for WAL; one that is cut off would hold it up for minutes.
  - Promotes with C(pg_promote()), or by the trigger file that PostgreSQL 15 and before look for where C(promote_trigger_file) is set.
options:
  seen:
    description: >-
      Sightings of the old primary, each with C(lsn), C(by) and, where known, C(at) (RFC 3339); such as the last observation and its
      control file. Those without C(lsn) are left out.
    type: list
    elements: dict
    default: []
  acknowledged: {description: What M(pgrescue.runbooks.witness_acknowledged) answers., type: dict}
  witness_database: {description: The database with the witness's table., type: str, default: postgres}
  limits: {description: 'What may be given up: C(bytes), C(transactions), C(seconds); what is left out has no limit.', type: dict, default: {}}
  accept_loss: {description: Why a person accepts more., type: str, default: ""}
  expected_timeline: {description: The timeline that it shall make; the next one of its own when left out., type: int}
  way: {description: How to promote., type: str, choices: [function, trigger_file], default: function}
  endpoints: {description: "Number and C(host[:port]) of each repository's object store.", type: dict, default: {}}
  replay_deadline_s: {description: How long the replay of what was received may take in seconds., type: int, default: 300}
  plan:
    description:
      - The plan of the recovery. With it the new primary is asked in the same call what M(pgrescue.runbooks.validate_cluster) asks, for
        clients wait meanwhile. C(acknowledged), C(accepted_losses) and C(witness_database) mean what they mean there.
    type: dict
  accepted_losses: {description: Tokens a person has given up by name., type: list, elements: int, default: []}
  deadline_s: {description: How long the promotion may take in seconds., type: int, default: 60}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Refuses what it would refuse and promotes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Promote
  pgrescue.runbooks.promote_standby:
    version: 17
    seen: [{lsn: 0/5000060, at: "2026-11-24T22:00:00Z", by: the last observation}]
    acknowledged: "{{ failover_acknowledged }}"
    limits: {seconds: 5}
  become: true
  become_user: postgres
"""

RETURN = """
promotion:
  description: How it was promoted, the new timeline, and the position (LSN) where it left the old one.
  returned: success
  type: dict
  sample: {way: function, timeline: 4, from_timeline: 3, left_at: 0/5000090, waited_s: 0.2}
loss:
  description: What it gives up; C(standby) and C(primary) are the positions compared, C(seen_by) says who saw the latter.
  returned: success, when there is anything to hold it against
  type: dict
  sample: {bytes: 24576, transactions: 3, seconds: 0.4, standby: 0/5000060, primary: 0/5006060, seen_by: the witness, said: "It would ..."}
checks: {description: 'What was checked of the new primary.', returned: 'success, with a plan, not in check mode', type: list, elements: dict}
reconciliation: {description: Acknowledged tokens against rows., returned: 'success, with a plan and acknowledged, not in check mode', type: dict}
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    cluster_validation,
    fetching,
    guards,
    losses,
    lsn,
    network,
    pgbackrest,
    postgres,
    promotion,
    timelines,
    validation,
)

STATE = f"""
SELECT pg_is_in_recovery() AS in_recovery,
       CASE WHEN pg_is_in_recovery() THEN {postgres.FOLLOWED_TIMELINE}
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
       CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
       coalesce(pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(), true) AS level,
       pg_last_wal_replay_lsn()::text AS replayed, pg_last_wal_receive_lsn()::text AS received,
       (SELECT max(last_msg_receipt_time)::text FROM pg_stat_wal_receiver) AS heard,
       current_setting('data_directory') AS data_directory, current_setting('promote_trigger_file', true) AS trigger_file
"""
WITNESS = "SELECT to_regclass('pgrescue.witness') IS NOT NULL AS there"
STORE_PATIENCE_S = 1.3  # clients wait
EARLIER = "It was promoted before; no traffic was moved."
TOKEN = "SELECT coalesce(max(token), 0) AS token FROM pgrescue.witness"


def observed(connection: object) -> "dict[str, object]":
    """The server as it is, with the history of its timeline when it is out of recovery."""
    state = connection.execute(STATE).fetchone()
    path = "pg_wal/%08X.history" % state["timeline"]
    asked = "SELECT convert_from(pg_read_binary_file(%s, 0, 1000000, true), 'UTF8') AS history"
    history = "" if state["in_recovery"] else connection.execute(asked, (path,)).fetchone()["history"] or ""
    return {**state, "history": history}


def replay(module: AnsibleModule, connection: object) -> "dict[str, object]":
    """Wait until what was received is replayed: a promotion ends the connection to the primary, not the replay. Where it is then."""
    latest = {}

    def level() -> bool:
        latest["seen"] = connection.execute(STATE).fetchone()
        return bool(latest["seen"]["level"])

    if not postgres.wait_until(level, module.params["replay_deadline_s"]):
        said = "The standby received up to %(received)s and has replayed up to %(replayed)s only" % latest["seen"]
        limit = module.params["replay_deadline_s"]
        raise guards.Stop("%s after %d s. Nothing was promoted." % (said, limit), guards.STEP_FAILED)
    return latest["seen"]


def judged(
    module: AnsibleModule, position: "dict[str, object]", then: str = "Nothing was promoted."
) -> "dict[str, object]":
    """What the promotion gives up, where anything is known to hold it against; a refusal where that is more than is allowed."""
    from psycopg.rows import dict_row

    p = module.params
    if not (p["seen"] or p["acknowledged"] or p["limits"]):
        return {}
    with postgres.connect(module, p["witness_database"], row_factory=dict_row) as connection:
        known = connection.execute(WITNESS).fetchone()["there"]
        token = connection.execute(TOKEN).fetchone()["token"] if known else None
    sightings = [one for one in p["seen"] if one.get("lsn")]
    given_up = losses.of({**position, "token": token}, sightings, p["acknowledged"])
    return {"loss": {**given_up, "said": losses.check(given_up, p["limits"], p["accept_loss"], then)}}


def promote(module: AnsibleModule, connection: object, state: "dict[str, object]") -> None:
    """Ask for the promotion. That pg_promote() answers false does not mean that it fails: whoever called looks again."""
    if module.params["way"] == promotion.FUNCTION:
        connection.execute("SELECT pg_promote(true, %s)", (module.params["deadline_s"],))
        return
    with open(os.path.join(str(state["data_directory"]), str(state["trigger_file"])), "w", encoding="ascii"):
        pass  # that it is there says it all


def await_promotion(module: AnsibleModule, connection: object) -> None:
    """Wait until it is out of recovery."""
    asked = "SELECT NOT pg_is_in_recovery() AS out"
    limit = module.params["deadline_s"]
    if not postgres.wait_until(lambda: connection.execute(asked).fetchone()["out"], limit, poll_s=0.05):
        said = "The standby was told to promote and is still in recovery after %d s. Run this again."
        raise guards.Stop(said % limit, guards.STEP_FAILED)


def answer(state: "dict[str, object]", way: str, began: float) -> "dict[str, object]":
    """What was made of the standby."""
    left = timelines.forks(str(state["history"]))
    before = max(left, default=None)
    at = lsn.format_lsn(left[before]) if before else None
    waited = round(time.monotonic() - began, 3)
    return {"way": way, "timeline": state["timeline"], "from_timeline": before, "left_at": at, "waited_s": waited}


def work(module: AnsibleModule) -> "dict[str, object]":
    """Look, promote, look again."""
    from psycopg.rows import dict_row

    began = time.monotonic()
    unknown = sorted(set(module.params["limits"]) - set(losses.LIMITS))
    if unknown:
        raise guards.Stop("There is no limit on %s." % ", ".join(unknown), guards.PRECONDITION)
    with ThreadPoolExecutor(max_workers=1) as pool, postgres.connect(module, row_factory=dict_row) as connection:
        silent = pool.submit(network.tls_problems, module.params["endpoints"], STORE_PATIENCE_S)
        state = observed(connection)
        expected = module.params["expected_timeline"] or state["timeline"] + int(state["in_recovery"])
        if promotion.already(state, expected):
            done = answer(state, "earlier", began)
            return {
                "changed": False,
                "promotion": done,
                **judged(module, {"received": done["left_at"], "replayed": None}, EARLIER),
            }
        promotion.check(state, expected)
        promotion.check_way(module.params["way"], module.params["version"], state["trigger_file"])
        if module.check_mode:
            way = {"way": module.params["way"], "timeline": expected}
            return {"changed": True, "promotion": way, **judged(module, state)}
        with fetching.from_those_that_answer(connection, module.params["endpoints"], silent.result()):
            replayed = replay(module, connection)
            promotion.check_quiet(state["heard"], replayed["heard"])
            given_up = judged(module, replayed)
            promote(module, connection, state)
            await_promotion(module, connection)
        state = observed(connection)
        promotion.check_result(int(state["timeline"]), expected)
        connection.execute(
            "CHECKPOINT"
        )  # until then pg_control knows the old timeline alone, and pg_rewind believes it
        return {"changed": True, "promotion": answer(state, module.params["way"], began), **given_up}


def asked_at_once(module: AnsibleModule) -> "dict[str, object]":
    """What must hold of the new primary; a failed check where it does not answer, for that it was promoted must be told."""
    import psycopg

    try:
        return cluster_validation.answers(module)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        return {"journal": [], "checks": [validation.check("the new primary can be asked", "answers", said, False)]}


def main() -> None:
    """Promote, and say so."""
    module = AnsibleModule(
        argument_spec={
            **postgres.CONNECTION_ARGUMENTS,
            "seen": {"type": "list", "elements": "dict", "default": []},
            "acknowledged": {"type": "dict"},
            "witness_database": {"type": "str", "default": "postgres"},
            "limits": {"type": "dict", "default": {}},
            "accept_loss": {"type": "str", "default": ""},
            "expected_timeline": {"type": "int"},
            "way": {
                "type": "str",
                "choices": [promotion.FUNCTION, promotion.TRIGGER_FILE],
                "default": promotion.FUNCTION,
            },
            "endpoints": pgbackrest.ENDPOINTS,
            "replay_deadline_s": {"type": "int", "default": 300},
            "plan": {"type": "dict"},
            "accepted_losses": {"type": "list", "elements": "int", "default": []},
            "deadline_s": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    try:
        done = work(module)
    except guards.Stop as stop:
        guards.fail(module, stop)
    told = [{"event": "decision", "detail": done["loss"]["said"]}] if "loss" in done else []
    if not module.check_mode:
        said = "promoted by %(way)s to timeline %(timeline)s, which left timeline %(from_timeline)s at %(left_at)s"
        told.append({"event": "milestone", "step": "writable", "detail": said % done["promotion"]})
    asked = asked_at_once(module) if module.params["plan"] and not module.check_mode else {"journal": []}
    module.exit_json(**{**done, **asked, "journal": told + asked["journal"]})


if __name__ == "__main__":
    main()
