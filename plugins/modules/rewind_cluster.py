#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Take a stopped cluster back to where it parted from the new primary, and keep what it wrote beyond."""

from __future__ import annotations

DOCUMENTATION = """
module: rewind_cluster
short_description: Take a stopped cluster back to where it parted from the new primary, and keep what it wrote beyond
description:
  - Of an old primary, or of a standby that received more than the one that was promoted. It must be stopped.
  - WAL from the parting on is copied to a folder beside the data directory first, with the list of the transactions in it. Then the
    cluster is made to end cleanly where it did not, a dry run of pg_rewind made, and pg_rewind run.
  - Where it cannot be done, C(rebuild) is true and C(why) says what is missing; the data directory is as it was then, unless
    pg_rewind itself failed half way. Another database system, or a server that runs, is refused (exit code 4).
  - Killed half way it goes on when run again. Run it as the user that owns the cluster.
options:
  version: {description: Major version of PostgreSQL., type: int, required: true}
  place: {description: The data directory., type: path, required: true}
  source: {description: 'Connection string of the new primary, without a password; the account needs the functions of pg_rewind.', type: str}
  primary:
    description: 'The new primary as it was seen, instead of C(source): C(system_identifier), C(timeline) and the text of its C(history).'
    type: dict
  keep_only: {description: Whether WAL is kept and nothing rewound, where another tool will rewind., type: bool, default: false}
  config_file: {description: 'Its postgresql.conf, where that is not in the data directory.', type: path}
  restore_command: {description: 'How WAL is brought from the archive, where the cluster does not say.', type: str, default: ""}
attributes:
  check_mode: {support: full, description: 'Refuses what it would refuse, saves nothing and rewinds nothing.'}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Rewind the old primary
  pgrescue.runbooks.rewind_cluster:
    version: 17
    place: /var/lib/postgresql/17/main
    source: host=db2.example.org port=5432 user=replicator dbname=postgres sslmode=verify-full passfile=/var/lib/postgresql/.pgpass
    config_file: /etc/postgresql/17/main/postgresql.conf
  become: true
  become_user: postgres
"""

RETURN = """
rewound: {description: Whether pg_rewind was run., returned: success, type: bool}
rebuild: {description: Whether it cannot be rewound and must be built anew at another place., returned: success, type: bool}
why: {description: What keeps it from being rewound., returned: success, type: list, elements: str}
lost:
  description: What was written beyond the parting and where it is kept; empty when nothing was.
  returned: success
  type: dict
  sample: {timeline: 1, parted_at: 0/5000090, folder: /var/lib/postgresql/17/main.diverged-1-0-5000090, segments: ["000000010000000000000005"],
           transactions: [{xid: 745, lsn: 0/50000C8, at: "2026-11-24 22:00:00.1 UTC"}]}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    postgres,
    primary_line,
    rewind_steps,
    rewinding,
)


def work(module: AnsibleModule) -> "dict[str, object]":
    """Look, keep, rewind."""
    cluster = rewind_steps.Cluster(module)
    if not cluster.control:
        raise guards.Stop("%s holds no cluster. Nothing was changed." % cluster.place, guards.PRECONDITION)
    if postgres.is_alive(cluster.place):
        raise guards.Stop("A server runs on %s. Nothing was changed. Fence it first." % cluster.place)
    source = module.params["primary"] or primary_line.ask(module.params["source"])
    ours = cluster.control["Database system identifier"]
    if ours != source["system_identifier"]:
        raise guards.Stop(
            "%s holds database system %s and the new primary is %s: another database. Nothing was changed."
            % (cluster.place, ours, source["system_identifier"])
        )
    if rewinding.own_timeline(cluster.control) > int(source["timeline"]):
        raise guards.Stop(
            "%s is on timeline %d and the primary to follow on %d: it was promoted later. Nothing was changed. Look at who should "
            "be primary." % (cluster.place, rewinding.own_timeline(cluster.control), source["timeline"])
        )
    shared = rewinding.parting(cluster.line(), rewinding.line(int(source["timeline"]), str(source["history"])))
    lost: "dict[str, object]" = {}
    try:
        command = cluster.restore_command()
        if shared and not module.check_mode:
            lost = rewind_steps.kept(cluster, shared, command)
        if module.params["keep_only"]:
            return {"changed": bool(lost), "rewound": False, "rebuild": False, "why": [], "lost": lost}
        missing = rewinding.misses(cluster.control)
        if missing:
            raise rewind_steps.CannotBeRewound("; ".join(missing))
        if module.check_mode and cluster.control["Database cluster state"] not in rewinding.CLEAN:
            return {"changed": True, "rewound": False, "rebuild": False, "why": [], "lost": lost}
        rewind_steps.end_cleanly(cluster)
        rewound = rewind_steps.rewind(cluster, source, bool(command))
    except rewind_steps.CannotBeRewound as reason:
        return {"changed": bool(lost), "rewound": False, "rebuild": True, "why": [str(reason)], "lost": lost}
    return {"changed": rewound or bool(lost), "rewound": rewound, "rebuild": False, "why": [], "lost": lost}


def main() -> None:
    """Rewind, or say why not, and write down what is given up."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "place": {"type": "path", "required": True},
            "source": {"type": "str"},
            "primary": {"type": "dict"},
            "keep_only": {"type": "bool", "default": False},
            "config_file": {"type": "path"},
            "restore_command": {"type": "str", "default": ""},
        },
        required_one_of=[("source", "primary")],
        required_if=[("keep_only", False, ["source"])],
        supports_check_mode=True,
    )
    try:
        done = work(module)
    except guards.Stop as stop:
        guards.fail(module, stop)
    said = [rewinding.sentence(done["lost"])] if done["lost"] else []
    said += ["It cannot be rewound and is built anew: %s" % "; ".join(done["why"])] if done["rebuild"] else []
    module.exit_json(**done, journal=[{"event": "decision", "detail": one} for one in said])


if __name__ == "__main__":
    main()
