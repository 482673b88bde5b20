#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Cut the part of a run out of the witness's journal."""

from __future__ import annotations

DOCUMENTATION = """
module: witness_extract
short_description: Cut the part of a run out of the witness's journal
description:
  - Copies the journal's lines to a file that can be fetched. It begins some time before every probe had its last success before
    the run, for an outage may have begun long before anybody noticed, and goes on until now. The journal is left as it is.
options:
  journal: {description: Directory of the journal., type: path, required: true}
  run: {description: The run's id; it begins with the time the run was opened., type: str, required: true}
  lead_s: {description: Seconds from before the last successes that belong to the run., type: int, required: true}
  path: {description: The file to write., type: path, required: true}
attributes:
  check_mode: {support: full, description: Writes nothing in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Cut the run's part out of the witness's journal
  pgrescue.runbooks.witness_extract:
    journal: /var/lib/pgrescue/witness/shop
    run: 20261124T012050Z-shop-complete_loss
    lead_s: 900
    path: /var/lib/pgrescue/extracts/20261124T012050Z-shop-complete_loss.jsonl
"""

RETURN = """
lines: {description: How many lines were copied., returned: success, type: int}
"""

import os
from datetime import datetime, timedelta, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import witness_files


def main() -> None:
    """Copy lines by their time; lines are short and the text is never parsed as a whole."""
    module = AnsibleModule(
        argument_spec={
            "journal": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "lead_s": {"type": "int", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    opened = datetime.strptime(p["run"][:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    well = witness_files.last_successes(p["journal"], opened)
    since = min([opened, *well.values()]) - timedelta(seconds=p["lead_s"])
    if module.check_mode:
        module.exit_json(changed=True, lines=0)
    os.makedirs(os.path.dirname(p["path"]), exist_ok=True)
    kept = witness_files.copy_since(p["journal"], since, p["path"])
    module.exit_json(changed=True, lines=kept)


if __name__ == "__main__":
    main()
