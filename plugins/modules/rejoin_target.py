#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Refuse to take a host back into its service while it may be needed as it is."""

from __future__ import annotations

DOCUMENTATION = """
module: rejoin_target
short_description: Refuse to take a host back into its service while it may be needed as it is
description:
  - Refuses (exit code 4) the present primary, a host of another database system, and one that is the way back of a run whose commit
    window is open (C(window.json) in its directory). Fails with exit code 3 where there is no primary to follow, or no cluster here.
  - Only looks. Runs on the controller.
options:
  host: {description: The host., type: str, required: true}
  states: {description: What was observed on each host that answers., type: dict, required: true}
  runs_dir: {description: Where runs are kept., type: path, required: true}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Refuse while its old data may be needed
  pgrescue.runbooks.rejoin_target:
    host: db1
    states: {db1: {role: stopped, system_identifier: "7"}, db2: {role: primary, system_identifier: "7"}}
    runs_dir: runs
  delegate_to: localhost
"""

RETURN = """
primary: {description: The primary that it shall follow., returned: success, type: str}
"""

import glob
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, records, ways, windows


def open_windows(runs_dir: str, host: str) -> "list[dict[str, Any]]":
    """Commit windows that are open and keep this host as it is. A later run that moved traffic has left the way back behind."""
    found = [windows.read(run) for run in sorted(glob.glob(os.path.join(runs_dir, "*"))) if not os.path.islink(run)]
    kept = [window for window in found if window and host in window["old_side"]]
    return [w for w in kept if windows.state(w) == windows.OPEN and not left_behind(runs_dir, w["run"])]


def left_behind(runs_dir: str, run: str) -> bool:
    """Whether a later run of the same service moved traffic after it had validated another server."""

    def plan_of(folder: str) -> "dict[str, Any]":
        validated = os.path.exists(os.path.join(folder, "checks.json"))
        plan: "dict[str, Any]" = records.read_json(os.path.join(folder, "plan.json")) if validated else {}
        return plan

    plan = plan_of(os.path.join(runs_dir, run))
    later = [
        plan_of(path)
        for path in glob.glob(os.path.join(runs_dir, "*"))
        if os.path.basename(path) > run and not os.path.islink(path)
    ]
    moves = (ways.PROMOTE, ways.RESTORE, ways.LOGICAL, ways.RETURN)
    return any(one.get("service") == plan.get("service") and one.get("method") in moves for one in later)


def primary_of(host: str, states: "dict[str, dict[str, object]]") -> str:
    """The primary that the host can follow."""
    primary = next((name for name, seen in sorted(states.items()) if seen["role"] == "primary"), None)
    if primary is None:
        raise guards.Stop("No primary answers: there is nobody to follow. Nothing was changed.", guards.PRECONDITION)
    if host == primary:
        raise guards.Stop("%s is the primary. Nothing was changed. Name the host that shall follow it." % host)
    seen = states.get(host)
    if seen is None:
        raise guards.Stop("%s does not answer. Nothing was changed. Start its host first." % host, guards.PRECONDITION)
    if seen["role"] == "spare":
        raise guards.Stop(
            "%s holds no cluster. Nothing was changed. Build a standby: playbooks/rebuild_standbys.yml." % host,
            guards.PRECONDITION,
        )
    if seen["system_identifier"] not in (None, states[primary]["system_identifier"]):
        raise guards.Stop(
            "%s holds database system %s and %s is %s: another database. Nothing was changed."
            % (host, seen["system_identifier"], primary, states[primary]["system_identifier"])
        )
    return primary


def main() -> None:
    """Look, and refuse."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "runs_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        primary = primary_of(p["host"], p["states"])
        for window in open_windows(p["runs_dir"], p["host"]):
            raise guards.Stop(
                "%s is the way back of run %s until %s. Nothing was changed. Wait, or close its commit window first."
                % (p["host"], window["run"], window["closes"])
            )
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=False, primary=primary)


if __name__ == "__main__":
    main()
