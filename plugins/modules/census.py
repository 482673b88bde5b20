#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Count everything that a copy of a cluster must hold again."""

from __future__ import annotations

DOCUMENTATION = """
module: census
short_description: Count everything that a copy of a cluster must hold again
description:
  - Counts rows, sequences, definitions, grants, owners, roles and whatever else a restored copy must hold, database by database.
  - Only looks, and needs no superuser. What may not be read is named in C(unreadable), and fails the comparison.
  - With O(pause_replay) a standby is counted exactly at C(lsn). A restore reaches the same state with C(recovery_target_lsn) set
    to it and C(recovery_target_inclusive) off.
options:
  databases: {description: Databases to count; all that accept connections and are no templates when left out., type: list, elements: str}
  fingerprint_tables:
    description: Tables, as C(schema.table), whose content is summed too, so that one changed row is found. In each database that has them.
    type: list
    elements: str
    default: []
  pause_replay:
    description: Hold replay still meanwhile when the server is a standby. It goes on afterwards whatever happens.
    type: bool
    default: false
  pause_deadline_s: {description: How long replay may take to stand still in seconds., type: int, default: 30}
extends_documentation_fragment: [pgrescue.runbooks.server]
attributes:
  check_mode: {support: full, description: Changes nothing at any time; in check mode replay is not paused and nothing is counted.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Count what a restore must bring back
  pgrescue.runbooks.census:
    version: 17
    pause_replay: true
    fingerprint_tables: [public.orders]
  become: true
  become_user: postgres
  register:
    proof_expected: _task.result.census
"""

RETURN = """
census:
  description:
    - C(taken), C(lsn) (null unless replay was paused), C(timeline), C(cluster) and C(databases), a mapping by name.
    - Every aspect of a database, such as C(tables), C(indexes) or C(grants), is a mapping of names and what was found there.
  returned: success, not in check mode
  type: dict
  sample: {taken: "2026-11-24T01:20:50.123456Z", lsn: 0/5000060, timeline: 3, cluster: {server_version_num: 170010},
           databases: {shop: {tables: {public.orders: 1200}, unreadable: {}}}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import census_taking, guards, postgres


def main() -> None:
    """Count, on a standby while replay stands still."""
    module = AnsibleModule(
        argument_spec={
            **postgres.SERVER_ARGUMENTS,
            "databases": {"type": "list", "elements": "str"},
            "fingerprint_tables": {"type": "list", "elements": "str", "default": []},
            "pause_replay": {"type": "bool", "default": False},
            "pause_deadline_s": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    p = module.params
    import psycopg

    try:
        if p["pause_replay"]:
            found = census_taking.take_still(module, p["databases"], p["fingerprint_tables"], p["pause_deadline_s"])
        else:
            found = census_taking.take(module, p["databases"], p["fingerprint_tables"])
    except guards.Stop as stop:
        guards.fail(module, stop)
    except psycopg.Error as error:
        said = "The census could not be taken: %s. Nothing was changed." % str(error).strip().splitlines()[0]
        guards.fail(module, guards.Stop(said, guards.PRECONDITION))
    rows = sum(sum(filter(None, about["tables"].values())) for about in found["databases"].values())
    where = ", with replay held still at %s" % found["lsn"] if found["lsn"] else ""
    said = "Counted %d rows in %d databases%s" % (rows, len(found["databases"]), where)
    module.exit_json(changed=False, census=found, journal=[{"event": "note", "detail": said}])


if __name__ == "__main__":
    main()
