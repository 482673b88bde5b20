#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Wait, with a deadline, until a starting server is where it should be."""

from __future__ import annotations

DOCUMENTATION = """
module: await_server
short_description: Wait until a starting server is writable, paused at its target, or streams from its primary
description:
  - Waits inside itself, asking every tenth of a second, and says at the deadline where the server stood. Only looks.
options:
  until:
    description:
      - What to wait for. A server that was promoted since is past its pause, and not waited for. C(answering) is either side of a promotion.
    type: str
    choices: [answering, following, paused, streaming, writable]
    required: true
  place: {description: 'Its data directory; when its server ends, that is said at once, with the end of its log.', type: path}
  log: {description: Its log; the one beside its data directory when left out., type: path}
  unit: {description: 'Its systemd unit; when that ends and no server was seen, that is said at once.', type: str}
  deadline_s: {description: How long to wait in seconds., type: int, required: true}
extends_documentation_fragment: [pgrescue.runbooks.connection]
attributes:
  check_mode: {support: full, description: Answers at once in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Wait until all archived WAL is replayed
  pgrescue.runbooks.await_server: {version: 17, until: writable, deadline_s: 2400}
  become: true
  become_user: postgres
"""

RETURN = """
waited_s: {description: How long it took in seconds., returned: success, type: float}
disproves: {description: 'Whether the server ended and its log says that what it read is wrong.', returned: 'failure, when it is so', type: bool}
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres

QUESTIONS = {
    "answering": "SELECT true, ''",
    "following": "SELECT pg_is_in_recovery(), coalesce('replayed to ' || pg_last_wal_replay_lsn(), 'nothing replayed')",
    "paused": "SELECT NOT pg_is_in_recovery() OR pg_get_wal_replay_pause_state() = 'paused',"
    " coalesce('replayed to ' || pg_last_wal_replay_lsn(), 'nothing replayed')",
    "writable": "SELECT NOT pg_is_in_recovery(), coalesce('replayed to ' || pg_last_wal_replay_lsn(), 'out of recovery')",
    "streaming": "SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),"
    " coalesce('replayed to ' || pg_last_wal_replay_lsn(), 'nothing replayed')",
}


SETTLED_S = 3.0  # a server that was told to start is alive by then, or has ended
RECENT_S = 10.0  # what its log says last is of this very start


def has_ended(log: str, began: float, began_s: float) -> bool:
    """Whether a server that was never seen alive has been, by what its log says last."""
    if time.monotonic() - began < SETTLED_S or not os.path.exists(log) or os.path.getmtime(log) < began_s - RECENT_S:
        return False
    return "database system is shut down" in postgres.last_words(log, 3)


def ended_unit(module: AnsibleModule, unit: "str | None", began: float) -> str:
    """What systemd says of a unit that started nothing; empty while it may yet, or where there is none."""
    if not unit or time.monotonic() - began < SETTLED_S:
        return ""
    _code, said, _err = module.run_command(["systemctl", "is-active", unit])
    return said.strip() if said.strip() in ("failed", "inactive") else ""


def main() -> None:
    """Ask until the answer is yes or the time is over."""
    spec = dict(postgres.CONNECTION_ARGUMENTS)
    spec["until"] = {"type": "str", "choices": sorted(QUESTIONS), "required": True}
    spec["deadline_s"] = {"type": "int", "required": True}
    spec["place"] = {"type": "path"}
    spec["log"] = {"type": "path"}
    spec["unit"] = {"type": "str"}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, waited_s=0.0)
    import psycopg

    place = module.params["place"]
    log = module.params["log"] or "%s.log" % place
    seen = {"stood": "it never answered", "ended": False, "alive": False, "unit": ""}
    began, began_s = time.monotonic(), time.time()

    def arrived() -> bool:
        try:
            with postgres.connect(module) as connection:
                seen["alive"] = True
                done, seen["stood"] = connection.execute(QUESTIONS[module.params["until"]]).fetchone()
                return bool(done)
        except psycopg.OperationalError as error:
            seen["stood"] = str(error).strip().splitlines()[0]
            alive = bool(place) and postgres.is_alive(place)
            # one that is about to start has not ended, and one that ended before it was first asked is told by its log
            seen["ended"] = not alive and (seen["alive"] or (bool(place) and has_ended(log, began, began_s)))
            seen["unit"] = "" if alive or seen["ended"] else ended_unit(module, module.params["unit"], began)
            seen["alive"] = alive
            return seen["ended"] or bool(seen["unit"])

    arrived_in_time = postgres.wait_until(arrived, module.params["deadline_s"])
    if seen["unit"]:
        unit = module.params["unit"]
        said = "No server was started: systemd says that %s is %s. Why: journalctl -u %s" % (unit, seen["unit"], unit)
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    if seen["ended"]:
        last = postgres.last_words(log, 50)
        # whoever asked meanwhile is in the log as well; the cause comes before
        causes = [line for line in last.split(" / ") if postgres.DAMAGE.search(line)][-3:]
        said = "The server ended before it was %s. Its log says: %s" % (
            module.params["until"],
            " / ".join(causes) or postgres.last_words(log),
        )
        wrong = postgres.blames_content(last)
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED, wrong))
    if not arrived_in_time:
        said = "The server was not %s within %d s; it stood at: %s." % (
            module.params["until"],
            module.params["deadline_s"],
            seen["stood"],
        )
        guards.fail(module, guards.Stop(said, guards.STEP_FAILED))
    milestone = (
        [{"event": "milestone", "step": "writable", "detail": seen["stood"]}]
        if module.params["until"] == "writable"
        else []
    )
    module.exit_json(changed=False, waited_s=round(time.monotonic() - began, 3), journal=milestone)


if __name__ == "__main__":
    main()
