#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Decide from which backup, and where, the last good moment is searched for."""

from __future__ import annotations

DOCUMENTATION = """
module: plan_moment
short_description: Decide from which backup, and where, the last good moment is searched for
description:
  - Writes C(plan.json) of the run. The search goes to a clean host of the service and changes nothing that the service uses.
  - The newest backup is taken that was complete before C(since); the newest one of all when no time is given.
  - Runs on the controller.
options:
  run_dir: {description: Directory of the run., type: path, required: true}
  service: {description: The service., type: str, required: true}
  states: {description: What was seen on each host., type: dict, required: true}
  hosts: {description: 'Region, address and clusters'' folder of each host.', type: dict, required: true}
  catalog: {description: What can be restored; from M(pgrescue.runbooks.backup_catalog)., type: dict, required: true}
  since: {description: 'A time at which all was well, with its zone.', type: str}
  until: {description: 'A time by which the damage was done, with its zone.', type: str}
  target: {description: The host to search on; chosen when left out., type: str}
  postgres_version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Answers with the plan and writes nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Decide where to search
  pgrescue.runbooks.plan_moment:
    run_dir: "{{ run_dir }}"
    service: shop
    states: "{{ moment_states }}"
    hosts: "{{ moment_hosts }}"
    catalog: "{{ moment_catalog }}"
    since: "2026-11-24T22:00:00Z"
    postgres_version: 17
  delegate_to: localhost
"""

RETURN = """
plan: {description: 'The plan; its schema is docs/schema/plan.schema.json.', returned: success, type: dict}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, moments, plans, records


def make(p: "dict[str, object]") -> "dict[str, object]":
    """The plan of the search."""
    since, until = moments.instant(p["since"], "moment_since"), moments.instant(p["until"], "moment_until")
    catalog = p["catalog"]
    candidates = moments.before(catalog["candidates"], since, until)
    target = plans.choose_target(p["states"], p["hosts"], p["target"] or None, None)
    return {
        "schema_version": 1,
        "run": os.path.basename(p["run_dir"]),
        "procedure": "last_good_moment",
        "service": p["service"],
        "system_identifier": catalog["system_identifier"],
        "target_host": target,
        "target_address": p["hosts"][target]["address"],
        "data_directory": "%s/moment-%s" % (p["hosts"][target]["root"], p["service"]),
        "postgres_version": p["postgres_version"],
        "target_timeline": catalog["timeline"],
        "candidates": candidates,
        "passed_over": catalog["passed_over"],
        "unreachable": {str(repo): said for repo, said in catalog["unreachable"].items()},
        "archive_end": catalog["archive_end"],
        "changes": ["%s: a copy that is removed again" % target],
        "irreversible": [],
    }


def main() -> None:
    """Choose, write down, say so."""
    module = AnsibleModule(
        argument_spec={
            "run_dir": {"type": "path", "required": True},
            "service": {"type": "str", "required": True},
            "states": {"type": "dict", "required": True},
            "hosts": {"type": "dict", "required": True},
            "catalog": {"type": "dict", "required": True},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "target": {"type": "str"},
            "postgres_version": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        plan = make(module.params)
    except guards.Stop as stop:
        guards.fail(module, stop)
    if not module.check_mode:
        records.write_json(os.path.join(module.params["run_dir"], "plan.json"), plan)
    first = plan["candidates"][0]
    said = "Search on %s, from backup %s of repository %s on, which was complete at %s" % (
        plan["target_host"],
        first["label"],
        first["repo"],
        first["stopped"],
    )
    module.exit_json(changed=not module.check_mode, plan=plan, journal=[{"event": "decision", "detail": said}])


if __name__ == "__main__":
    main()
