#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Wait until the witness, where the clients stand, sees the service healthy again."""

from __future__ import annotations

DOCUMENTATION = """
module: watch_service
short_description: Wait until the witness sees the service healthy again
description:
  - Follows the witness's journal until every probe has succeeded twice in a row from now on, commits on the expected server. Only looks.
  - At the deadline it fails with exit code 9 and says what each probe saw last.
options:
  journal: {description: Directory of the journal., type: path, required: true}
  server: {description: Address that must acknowledge the commits., type: str, required: true}
  deadline_s: {description: How long to wait in seconds., type: int, required: true}
attributes:
  check_mode: {support: full, description: Answers at once in check mode.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Watch the service from its client's side
  pgrescue.runbooks.watch_service:
    journal: /var/lib/pgrescue/witness/shop
    server: 10.0.0.21
    deadline_s: 120
"""

RETURN = """
healthy_at: {description: 'End of the success that completed the picture (RFC 3339).', returned: success, type: str}
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, postgres, times, witness_files


def last_two(directory: str, server: str, since: datetime) -> "dict[str, list[dict[str, object]]]":
    """The two newest results of each probe since an instant, in the order their attempts started.

    Commits that another server took count as failures.
    """
    seen: "dict[str, list[dict[str, object]]]" = {probe: [] for probe in witness_files.PROBES}
    for line in witness_files.lines(directory, since, '"result"'):
        if line["event"] == "result" and times.moment(line["start"]) >= since:
            right = line["probe"] != "commit" or line.get("server") == server
            seen[line["probe"]].append({**line, "ok": line["ok"] and right})
    return {probe: sorted(results, key=lambda r: r["start"])[-2:] for probe, results in seen.items()}


def main() -> None:
    """Look until every probe is well."""
    module = AnsibleModule(
        argument_spec={
            "journal": {"type": "path", "required": True},
            "server": {"type": "str", "required": True},
            "deadline_s": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        module.exit_json(changed=False)
    seen: "dict[str, list[dict[str, object]]]" = {}
    since = datetime.now(timezone.utc)  # what was well before the endpoint was switched proves nothing

    def healthy() -> bool:
        seen.update(last_two(p["journal"], p["server"], since))
        return all(len(results) == 2 and all(r["ok"] for r in results) for results in seen.values())

    if not postgres.wait_until(healthy, p["deadline_s"]):
        last = {
            probe: (results[-1].get("error") or results[-1]["ok"]) if results else "nothing"
            for probe, results in seen.items()
        }
        said = "After %d s the client does not see the service healthy: %s." % (p["deadline_s"], last)
        guards.fail(module, guards.Stop(said, guards.NEEDS_A_PERSON))
    at = max(str(results[0]["end"]) for results in seen.values())
    module.exit_json(
        changed=False,
        healthy_at=at,
        journal=[{"event": "milestone", "step": "service_healthy", "detail": "seen by the witness at " + at}],
    )


if __name__ == "__main__":
    main()
