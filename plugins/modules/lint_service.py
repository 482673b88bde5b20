#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Judge how a service is protected against what it promises."""

from __future__ import annotations

DOCUMENTATION = """
module: lint_service
short_description: Judge how a service is protected against what it promises
description:
  - Compares a promise with what was observed and answers what is wrong, worst first, each with the change that would put it right.
  - Only thinks. Run it anywhere; what it is told, it believes. What was not seen is either a finding of its own or passed over.
options:
  promise:
    description:
      - Objectives and settings from the inventory, without secrets - C(service), C(engines) (physical, dump), C(objectives), C(standbys)
        wanted in each region, C(endpoint.ttl_s), C(repositories) (region, key, retention_days), C(backup_interval_s),
        C(dump_interval_s), C(compression), C(processes), C(retention_s), C(proof_interval_s), C(reaction_s), C(timers) and
        C(buckets) (store, holds - backups, dumps or records -, and limit_bytes, null for none).
    type: dict
    required: true
  facts:
    description:
      - What was observed - C(hosts) by name (region, answers, problem, and state, server, capacity and timers as
        M(pgrescue.runbooks.cluster_state), M(pgrescue.runbooks.server_settings), M(pgrescue.runbooks.host_capacity) and systemctl tell
        them), C(repositories) of M(pgrescue.runbooks.repository_state), C(runs) of M(pgrescue.runbooks.run_history), C(replicas) of
        M(pgrescue.runbooks.replication_lag), C(buckets) of M(pgrescue.runbooks.bucket_usage), and C(dumps), the catalogue of dumps.
      - C(now_s), epoch seconds, is the clock of this host when left out.
    type: dict
    required: true
  strict: {description: Fail with exit code 3 when there is a finding of level error., type: bool, default: false}
attributes:
  check_mode: {support: full, description: Changes nothing at any time.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Judge
  pgrescue.runbooks.lint_service:
    promise: {service: shop, objectives: {rto_s: 3600, rpo_s: 300}}
    facts: {hosts: {}, repositories: [], runs: []}
  delegate_to: localhost
  register:
    protection_findings: _task.result.findings
"""

RETURN = """
findings:
  description: What is wrong, worst first. Figures in C(because) end in their unit.
  returned: always
  type: list
  elements: dict
  sample: [{id: archive-timeout, level: error, objective: rpo, where: "", says: A quiet database may keep commits out of the archive.,
            because: {archive_timeout_s: 0, rpo_s: 300}, change: 'Set postgres_archive_timeout: 60s and run playbooks/protect.yml.'}]
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import guards, lint


def main() -> None:
    """Judge, and fail where that was asked for."""
    module = AnsibleModule(
        argument_spec={
            "promise": {"type": "dict", "required": True},
            "facts": {"type": "dict", "required": True},
            "strict": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    found = lint.findings(module.params["promise"], {"now_s": time.time(), **module.params["facts"]})
    errors = [one for one in found if one["level"] == "error"]
    if errors and module.params["strict"]:
        said = "The service is not protected as it promises: %s Nothing was changed." % " ".join(
            one["says"] for one in errors
        )
        guards.fail(module, guards.Stop(said, guards.PRECONDITION), findings=found)
    module.exit_json(changed=False, findings=found)


if __name__ == "__main__":
    main()
