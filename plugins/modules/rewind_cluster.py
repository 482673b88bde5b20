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
  source: {description: 'Connection string of the new primary, without a password; the account needs the functions of pg_rewind.', type: str, required: true}
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

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    places,
    postgres,
    primary_line,
    records,
    rewinding,
    standby_settings,
)
from ansible_collections.pgrescue.runbooks.plugins.module_utils.lsn import format_lsn


class Cluster:
    """The stopped cluster, and PostgreSQL's programs for it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.place = os.path.realpath(module.params["place"])
        self.control = postgres.control_data(module, self.place)
        self.config = module.params["config_file"]

    def run(self, program: str, *arguments: str, **more: object) -> "tuple[int, str, str]":
        """One of PostgreSQL's programs."""
        path = os.path.join(postgres.BIN % self.module.params["version"], program)
        answer = self.module.run_command([path, *arguments], environ_update={"LC_ALL": "C", "TZ": "UTC"}, **more)
        return int(answer[0]), str(answer[1]), str(answer[2])

    def at_home(self) -> "list[str]":
        """What tells the server's program where this cluster is."""
        config = ["-c", "config_file=" + self.config, "-c", "data_directory=" + self.place] if self.config else []
        return ["-D", self.place, *config]

    def line(self) -> "list[tuple[int, int]]":
        """The timelines that it went through."""
        own = rewinding.own_timeline(self.control)
        path = os.path.join(self.place, "pg_wal", "%08X.history" % own)
        history = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8") as text:
                history = text.read()
        return rewinding.line(own, history)

    def restore_command(self) -> str:
        """How it would bring a segment from the archive; what the caller says is written down where it says nothing."""
        _code, out, _err = self.run("postgres", *self.at_home(), "-C", "restore_command")
        wanted = self.module.params["restore_command"]
        if out.strip() or not wanted:
            return out.strip()
        if not self.module.check_mode:
            path = os.path.join(self.place, "postgresql.auto.conf")
            with open(path, encoding="utf-8") as text:
                before = text.read()
            records.write_text(path, before + "restore_command = %s\n" % standby_settings.quoted(wanted))
        return str(wanted)

    def fetch(self, name: str, into: str, command: str) -> bool:
        """Bring a segment from the cluster or, where it is gone there, from the archive; whether it is one of its own."""
        segment_bytes = int(self.control["Bytes per WAL segment"])
        source, target = os.path.join(self.place, "pg_wal", name), os.path.join(into, name)
        if os.path.exists(source):
            with open(source, "rb") as segment:
                if not rewinding.is_written(segment.read(64), name, segment_bytes):
                    return False
            records.copy_file(source, target)
            return True
        if not command:
            return False
        filled = command.replace("%f", name).replace("%p", target).replace("%r", name)
        code, _out, _err = self.module.run_command(["/bin/sh", "-c", filled], cwd=self.place)
        return code == 0 and os.path.exists(target)


def kept(cluster: Cluster, shared: "tuple[int, int]", command: str) -> "dict[str, object]":
    """Copy WAL from the parting on, with the list of its transactions; what was copied by an earlier attempt stays as it is."""
    timeline, position = shared
    folder = "%s.diverged-%d-%s" % (cluster.place, timeline, format_lsn(position).replace("/", "-"))
    listing = os.path.join(folder, "transactions.json")
    if os.path.exists(listing):
        return dict(records.read_json(listing))
    size = int(cluster.control["Bytes per WAL segment"])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    segments, transactions = [], []
    for number, start in [(timeline, position), *rewinding.later_timelines(cluster.line(), timeline)]:
        at = start // size
        while cluster.fetch(rewinding.segment_name(number, at, size), folder, command):
            segments.append(rewinding.segment_name(number, at, size))
            at += 1
        where = ["--path=" + folder, "--timeline=%d" % number, "--start=" + format_lsn(start), "--rmgr=Transaction"]
        # ends with an error where WAL ends, as it always does
        _code, out, _err = cluster.run("pg_waldump", *where)
        transactions += rewinding.commits(out)
    lost = {
        "timeline": timeline,
        "parted_at": format_lsn(position),
        "folder": folder,
        "segments": segments,
        "transactions": transactions,
    }
    records.write_json(listing, lost)
    return lost


def end_cleanly(cluster: Cluster) -> None:
    """Replay what a crash left, as pg_rewind would; here, for before version 15 it finds no configuration elsewhere."""
    if cluster.control["Database cluster state"] in rewinding.CLEAN:
        return
    if os.path.exists(os.path.join(cluster.place, "standby.signal")):
        raise CannotBeRewound("it is a standby that was killed, which only its own start makes whole")
    arguments = ["--single", "-F", *cluster.at_home(), "template1"]
    code, out, err = cluster.run("postgres", *arguments, data="")
    if code:
        raise CannotBeRewound("what its crash left could not be replayed: %s" % rewinding.first_line([err, out]))
    cluster.control = postgres.control_data(cluster.module, cluster.place)


class CannotBeRewound(Exception):
    """What keeps a cluster from being rewound; it must be built anew."""


def rewind(cluster: Cluster, source: "dict[str, object]", restore: bool) -> bool:
    """A dry run, then the rewind; whether one was needed."""
    module = cluster.module
    arguments = [
        "--target-pgdata=" + cluster.place,
        "--source-server=" + module.params["source"],
        "--no-ensure-shutdown",
    ]
    if cluster.config and module.params["version"] >= 15:
        arguments.append("--config-file=" + cluster.config)
    if restore and (module.params["version"] >= 15 or not cluster.config):
        arguments.append("--restore-target-wal")
    code, out, err = cluster.run("pg_rewind", "--dry-run", *arguments)
    if code:
        raise CannotBeRewound("pg_rewind would not do it: %s" % rewinding.first_line([err, out]))
    note = places.rewinding(cluster.place)
    wanted = rewinding.needed(out + err)
    if wanted and not module.check_mode:
        records.write_json(note, {"source": module.params["source"]})
        code, out, err = cluster.run("pg_rewind", *arguments)
        if code:
            said = rewinding.first_line([err, out])
            raise CannotBeRewound(
                "pg_rewind failed half way and %s cannot be used as it is: %s" % (cluster.place, said)
            )
    if not module.check_mode:
        know_the_way(cluster, source)
        if os.path.exists(note):  # also of an attempt that was killed after the control file, which comes last
            os.remove(note)
    return wanted


def know_the_way(cluster: Cluster, source: "dict[str, object]") -> None:
    """Lay the history file beside the WAL, so that replay leaves the old timeline where the new one does, not where it ends here."""
    path = os.path.join(cluster.place, "pg_wal", "%08X.history" % source["timeline"])
    if source["history"] and not os.path.exists(path):
        records.write_text(path, str(source["history"]))


def work(module: AnsibleModule) -> "dict[str, object]":
    """Look, keep, rewind."""
    cluster = Cluster(module)
    if not cluster.control:
        raise guards.Stop("%s holds no cluster. Nothing was changed." % cluster.place, guards.PRECONDITION)
    if postgres.is_alive(cluster.place):
        raise guards.Stop("A server runs on %s. Nothing was changed. Fence it first." % cluster.place)
    source = primary_line.ask(module.params["source"])
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
            lost = kept(cluster, shared, command)
        missing = rewinding.misses(cluster.control)
        if missing:
            raise CannotBeRewound("; ".join(missing))
        if module.check_mode and cluster.control["Database cluster state"] not in rewinding.CLEAN:
            return {"changed": True, "rewound": False, "rebuild": False, "why": [], "lost": lost}
        end_cleanly(cluster)
        rewound = rewind(cluster, source, bool(command))
    except CannotBeRewound as reason:
        return {"changed": bool(lost), "rewound": False, "rebuild": True, "why": [str(reason)], "lost": lost}
    return {"changed": rewound or bool(lost), "rewound": rewound, "rebuild": False, "why": [], "lost": lost}


def main() -> None:
    """Rewind, or say why not, and write down what is given up."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "int", "required": True},
            "place": {"type": "path", "required": True},
            "source": {"type": "str", "required": True},
            "config_file": {"type": "path"},
            "restore_command": {"type": "str", "default": ""},
        },
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
