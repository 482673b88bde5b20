"""Rewinding a stopped cluster, step by step, with PostgreSQL's own programs. What decides is in `rewinding`, and pure."""

from __future__ import annotations

import os
from typing import Any

from . import places, postgres, records, rewinding, standby_settings
from .lsn import format_lsn


class CannotBeRewound(Exception):
    """What keeps a cluster from being rewound; it must be built anew."""


class Cluster:
    """The stopped cluster, and PostgreSQL's programs for it."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.place = os.path.realpath(module.params["place"])
        self.control = postgres.control_data(module, self.place)
        self.config = module.params["config_file"]

    def run(self, program: str, *arguments: str, **more: Any) -> "tuple[int, str, str]":
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


def kept(cluster: Cluster, shared: "tuple[int, int]", command: str) -> "dict[str, Any]":
    """Copy WAL from the parting on, with the list of its transactions.

    What was copied before a rewind that was killed stays as it is, for that may have changed the WAL here. Otherwise it is copied
    again: somebody may have started the server since.
    """
    timeline, position = shared
    folder = "%s.diverged-%d-%s" % (cluster.place, timeline, format_lsn(position).replace("/", "-"))
    listing = os.path.join(folder, "transactions.json")
    if os.path.exists(listing) and os.path.exists(places.rewinding(cluster.place)):
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


def rewind(cluster: Cluster, source: "dict[str, Any]", restore: bool) -> bool:
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


def know_the_way(cluster: Cluster, source: "dict[str, Any]") -> None:
    """Lay the history file beside the WAL, so that replay leaves the old timeline where the new one does, not where it ends here."""
    path = os.path.join(cluster.place, "pg_wal", "%08X.history" % source["timeline"])
    if source["history"] and not os.path.exists(path):
        records.write_text(path, str(source["history"]))
