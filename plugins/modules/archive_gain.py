#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""See which timelines the archive of a stanza holds, and whether a proof has added one."""

from __future__ import annotations

DOCUMENTATION = """
module: archive_gain
short_description: See which timelines the archive of a stanza holds, and whether a proof has added one
description:
  - Lists timelines and history files of each repository. With C(before) it also returns the check that nothing was gained but WAL
    on the timeline of the server that the archive belongs to. That check fails when no repository answers to compare with.
  - A repository that does not answer is named. Without C(before) it fails with exit code 3 when none answers.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  endpoints: {description: "Number and C(host[:port]) of each repository's object store.", type: dict, required: true}
  before: {description: What an earlier call listed., type: dict}
  timeline: {description: The timeline of the production server; needed with C(before)., type: int}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 15}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: See what the archive holds
  pgrescue.runbooks.archive_gain: {stanza: shop, endpoints: {1: store-east.example.org}}
  become: true
  become_user: postgres
"""

RETURN = """
listing:
  description: Repository, and what it holds.
  returned: always
  type: dict
  sample: {"1": ["timeline 1"]}
silent_repositories: {description: 'Repositories that did not answer, each with the reason.', returned: always, type: dict}
checks: {description: The checks., returned: when before is given, type: list, elements: dict}
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, network, pgbackrest, proofs

SEGMENTS = re.compile(r"(?:^|/)([0-9A-F]{8})[0-9A-F]{8}(?:$|/)")  # the folder of a timeline's segments
HISTORY = re.compile(r"(?:^|/)([0-9A-F]{8}\.history)$")


def names(listing: "dict[str, object]") -> "list[str]":
    """Timelines and history files among the names of an archive."""
    timelines = {"timeline %d" % int(m.group(1), 16) for m in map(SEGMENTS.search, listing) if m}
    return sorted(timelines | {m.group(1) for m in map(HISTORY.search, listing) if m})


def main() -> None:
    """List, and compare when there is something to compare with."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "endpoints": {"type": "dict", "required": True},
            "before": {"type": "dict"},
            "timeline": {"type": "int"},
            "timeout_s": {"type": "int", "default": 15},
        },
        required_by={"before": ["timeline"]},
        supports_check_mode=True,
    )
    p = module.params
    silent = network.tls_problems(p["endpoints"])
    engine = pgbackrest.Repositories(module)
    listing = {}
    for repo in [str(repo) for repo in p["endpoints"] if str(repo) not in silent]:
        try:
            listing[repo] = names(engine.files(int(repo), "archive/" + p["stanza"]))
        except guards.Stop as stop:
            silent[repo] = str(stop)
    answer = {"listing": listing, "silent_repositories": silent}
    if p["before"] is not None:
        found = [
            proofs.archive_gained(p["before"], listing, p["timeline"]),
            proofs.archive_unseen(p["before"], listing),
        ]
        answer["checks"] = [{**line, "host": os.uname().nodename} for line in found]
    elif not listing:
        said = "; ".join("repository %s: %s" % item for item in sorted(silent.items()))
        stop = guards.Stop("No archive can be listed (%s). Nothing was changed." % said, guards.PRECONDITION)
        guards.fail(module, stop, **answer)
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
