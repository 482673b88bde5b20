#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Measure what the objects below a prefix take in object stores."""

from __future__ import annotations

DOCUMENTATION = """
module: bucket_usage
short_description: Measure what the objects below a prefix take in object stores
description:
  - Counts objects and bytes exactly - current and noncurrent versions, delete markers, and the parts of uploads that were begun and
    never ended, which no ordinary listing shows and which are paid for.
  - Reads every listing to its last page. Nothing below the prefix is 0. Only looks.
  - A store that does not answer is an observation, told in C(problem).
options:
  prefix: {description: What to count; everything when empty., type: str, default: ''}
extends_documentation_fragment: [pgrescue.runbooks.stores]
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Measure what the records take
  pgrescue.runbooks.bucket_usage:
    stores: "{{ record_stores }}"
    prefix: runs/
  delegate_to: localhost
  register:
    records_usage: _task.result.usage
"""

RETURN = """
usage:
  description:
    - One entry for each store. C(versions) is enabled, suspended, off, or C(not kept by this store), where the store knows of none.
      C(unfinished.oldest_s) is when the oldest unfinished upload was begun, in epoch seconds.
    - C(ends) says what lifecycle rules of the bucket end below the prefix - noncurrent (versions), unfinished (uploads); null where
      the store does not say.
  returned: always
  type: list
  elements: dict
  sample: [{store: https://s3.example.org/orders-backups, problem: null, versions: enabled, current: {objects: 12, bytes: 4096},
            noncurrent: {objects: 3, bytes: 1024}, delete_markers: 1,
            unfinished: {uploads: 1, parts: 2, bytes: 5242890, oldest_s: 1795556600.0}, total_bytes: 5248010, ends: [unfinished]}]
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.pgrescue.runbooks.plugins.module_utils import bucket_usage, stores


def main() -> None:
    """Measure the stores side by side."""
    module = AnsibleModule(
        argument_spec={"stores": stores.ARGUMENT, "prefix": {"type": "str", "default": ""}}, supports_check_mode=True
    )
    wanted = {stores.label(store): store for store in module.params["stores"]}
    try:
        answers, failed = stores.side_by_side(
            (name, partial(bucket_usage.usage, store, module.params["prefix"])) for name, store in wanted.items()
        )
    except ImportError:  # what was protected before this was asked for may lack it
        answers, failed = {}, dict.fromkeys(wanted, missing_required_lib("boto3"))
    found = [{"store": name, "problem": failed.get(name), **answers.get(name, {})} for name in wanted]
    module.exit_json(changed=False, usage=found)


if __name__ == "__main__":
    main()
