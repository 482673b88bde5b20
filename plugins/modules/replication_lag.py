#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Measure how far the replica of a bucket is behind, by reading both."""

from __future__ import annotations

DOCUMENTATION = """
module: replication_lag
short_description: Measure how far the replica of a bucket is behind, by reading both
description:
  - Lists both buckets below a prefix and tells what the replica lacks and since when, whatever copies it.
  - An object that is there with another size is not there. Time is that of the source's own clock. Only looks.
options:
  prefix: {description: What to compare; everything when empty., type: str, default: ''}
  limit_s: {description: From which lag on in seconds the replica is late., type: float, default: 900}
extends_documentation_fragment: [pgrescue.runbooks.bucket_pair]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See how far the replica is behind
  pgrescue.runbooks.replication_lag:
    source: "{{ replication_source }}"
    destination: "{{ replication_destination }}"
    prefix: orders/
  delegate_to: localhost
  register:
    replica: _task.result.replica
"""

RETURN = """
replica:
  description:
    - What was seen. C(lag_s) is the age of the oldest object that is missing, 0 when none is; C(late) whether that is over the limit.
    - C(newest.took_s) is null where the replica's store keeps the source's time, as Amazon does.
    - Only C(problem) when a store did not answer.
  returned: always
  type: dict
  sample: {problem: null, source: orders-backups, destination: orders-copies, objects: 812, missing: [], lag_s: 0.0, late: false,
           newest: {key: orders/archive/x, written_s: 1795556600.0, there: true, took_s: 3.0}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import replication, stores

STORE = {"type": "dict", "required": True, "options": stores.ARGUMENT["options"]}


def main() -> None:
    """List both, and compare."""
    module = AnsibleModule(
        argument_spec={
            "source": STORE,
            "destination": STORE,
            "prefix": {"type": "str", "default": ""},
            "limit_s": {"type": "float", "default": 900},
        },
        supports_check_mode=True,
    )
    p = module.params
    from botocore.exceptions import BotoCoreError, ClientError

    names = {"source": p["source"]["bucket"], "destination": p["destination"]["bucket"]}
    try:
        # the replica first: what is written to the source meanwhile then counts as missing, never the other way round
        replica, _now = replication.listed(p["destination"], p["prefix"])
        source, now_s = replication.listed(p["source"], p["prefix"])
    except (BotoCoreError, ClientError) as error:
        module.exit_json(changed=False, replica={"problem": str(error), **names})
    seen = replication.lag(source, replica, now_s)
    module.exit_json(changed=False, replica={"problem": None, **names, **seen, "late": seen["lag_s"] > p["limit_s"]})


if __name__ == "__main__":
    main()
