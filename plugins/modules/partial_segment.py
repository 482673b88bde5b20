#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Let archiving go on past a partial segment that the archive holds from another server."""

from __future__ import annotations

DOCUMENTATION = """
module: partial_segment
short_description: Let archiving go on past a partial segment that the archive holds from another server
description:
  - A server that is promoted archives the last segment of the timeline that it leaves as C(.partial). Where another server was promoted from
    the same segment before, as when a failover is taken back, the archive holds one of that name and other bytes beyond the common end, and
    refuses this one for ever; nothing after it is archived.
  - Asks the engine to archive each such segment that waits. One that it refuses as a duplicate is noted as done. All that is valid of it
    is in the first segment of the new timeline, and the file itself stays until PostgreSQL recycles it. Any other segment is
    left to PostgreSQL's archiver; so is any other error, which is noted.
  - While a repository is silent nothing is asked, for the engine would wait for it and answer nothing else; that is noted.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  data_directory: {description: Data directory of the server., type: path, required: true}
  endpoints: {description: 'Number and C(host[:port]) of each repository''s object store.', type: dict, default: {}}
attributes:
  check_mode: {support: full, description: Says which segments wait, and archives nothing.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Let archiving go on past a segment that another server has archived
  pgrescue.runbooks.partial_segment:
    stanza: shop
    data_directory: /var/lib/postgresql/17/current
  become: true
  become_user: postgres
"""

RETURN = """
passed_over: {description: 'Partial segments that the archive has from another server; in check mode those that wait.', returned: success, type: list, elements: str}
"""

import contextlib
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import network, pgbackrest

WAITS = re.compile(r"^([0-9A-F]{24}\.partial)\.ready$")
NUMBERED = re.compile(r"\[\d{3}\]:")  # how pgBackRest writes an error; what follows may be a page
DUPLICATE = 45  # pgBackRest's exit code for a segment of that name and other content
PATIENCE_S = 60


def waiting(data_directory: str) -> "list[str]":
    """The partial segments that wait to be archived."""
    status = os.path.join(data_directory, "pg_wal/archive_status")
    found = [WAITS.match(name) for name in sorted(os.listdir(status))] if os.path.isdir(status) else []
    return [match.group(1) for match in found if match]


def asked(module: AnsibleModule, segment: str) -> "tuple[int, str]":
    """The engine's exit code for the segment, and its last word."""
    place = module.params["data_directory"]
    path = os.path.join(place, "pg_wal", segment)
    # the engine knows the place by another path, a link, and would take this one for one outside it
    push = ["archive-push", "--pg1-path=" + place, path]
    code, out, err = pgbackrest.run(module, module.params["stanza"], *push, limit_s=PATIENCE_S)
    said = (out + err).strip().splitlines()
    return code, next((line for line in said if NUMBERED.search(line)), (said or ["nothing"])[-1]).strip()


def main() -> None:
    """Ask the engine, note."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "data_directory": {"type": "path", "required": True},
            "endpoints": pgbackrest.ENDPOINTS,
        },
        supports_check_mode=True,
    )
    place = module.params["data_directory"]
    segments = waiting(place)
    if module.check_mode:
        module.exit_json(changed=bool(segments), passed_over=segments)
    silent = network.tls_problems(module.params["endpoints"]) if segments else {}
    if silent:
        said = "Whether the archive has %s from another server is not known while repository %s is silent" % (
            ", ".join(segments),
            ", ".join(sorted(silent)),
        )
        module.exit_json(changed=False, passed_over=[], journal=[{"event": "note", "detail": said}])
    answers = {segment: asked(module, segment) for segment in segments}
    refused = [segment for segment, (code, _said) in answers.items() if code == DUPLICATE]
    for segment in refused:
        note = os.path.join(place, "pg_wal/archive_status", segment)
        with contextlib.suppress(FileNotFoundError):  # the archiver was quicker
            os.rename(note + ".ready", note + ".done")
    said = "%s is in the archive as another server wrote it; archiving goes on with the new timeline, which has all that is valid of it"
    journal = [{"event": "decision", "detail": said % segment} for segment in refused]
    unclear = "Whether the archive has %s from another server is not known: the engine ended with %d: %s"
    for segment, (code, word) in answers.items():
        if code not in (0, DUPLICATE):
            journal.append({"event": "note", "detail": unclear % (segment, code, word)})
    module.exit_json(changed=bool(refused), passed_over=refused, journal=journal)


if __name__ == "__main__":
    main()
