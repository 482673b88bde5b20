#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""A PostgreSQL server that is thrown away, for a proof."""

from __future__ import annotations

DOCUMENTATION = """
module: scratch_server
short_description: A PostgreSQL server that is thrown away, for a proof
description:
  - Starts a server on a restored copy (C(started)), cuts it off when its replay is over (C(offline)), starts one on an empty cluster
    made for it (C(created)), which is cut off from the beginning, or removes it with all its data (C(absent)).
  - One that was made for a dump, loaded and compared can be marked so (C(loaded)); it runs on, and an attempt that is gone on with finds it.
    It can be kept (C(released)). It is stopped, written to disk, and no scratch server from then on; nothing
    here touches it again. Whoever keeps it presents the C(token) that it was made with, so that what was loaded and looked at is what is
    kept.
  - C(created) makes it anew where an attempt of the same run left one, running or not, unless that is loaded.
  - It archives nothing, follows no primary, runs no jobs, listens on no network address, and is reached over a socket that only its
    owner may open. One that is cut off can connect to nothing either, neither to an address nor to another server's socket.
  - While a copy replays it fetches WAL from the repositories; nothing else runs in it then. To cut it off it is started again.
  - It removes only what its own note says is a scratch server of the same run; C(evict) removes one that another run left. What was
    brought to C(place) with the ending C(.dump), to be restored into it, goes with it.
  - A copy begins to replay when it is started; M(pgrescue.runbooks.await_server) waits until it is done.
options:
  place: {description: 'The data directory; its socket and its log are beside it.', type: path, required: true}
  run: {description: The run it belongs to., type: str, required: true}
  state: {description: What shall be., type: str, choices: [created, started, offline, loaded, released, absent], required: true}
  evict: {description: Whether what another run left at the place may be removed., type: bool, default: false}
  token: {description: 'What C(created) answered; needed for C(loaded) and C(released). With it C(absent) leaves one that was made since.', type: str}
  note: {description: 'With C(loaded), what shall be known of it later, such as what was loaded.', type: dict, default: {}}
  settings:
    description:
      - Further settings, such as shared_buffers. They cannot undo its isolation. Of one that is C(released) what it is started with from
        then on, in C(postgresql.auto.conf).
    type: dict
    default: {}
  programs: {description: Folder of PostgreSQL's programs; Debian's for C(version) when left out., type: path}
  version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Says what would be done.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Start the restored copy, where nobody can reach it
  pgrescue.runbooks.scratch_server:
    place: /var/lib/postgresql/17/proof
    run: 20261124T012050Z-shop-prove
    state: started
    version: 17
  become: true
  become_user: postgres

- name: Cut it off, now that its replay is over
  pgrescue.runbooks.scratch_server:
    place: /var/lib/postgresql/17/proof
    run: 20261124T012050Z-shop-prove
    state: offline
    version: 17
  become: true
  become_user: postgres
"""

RETURN = """
socket_directory: {description: Where its socket is., returned: unless absent or released, type: str}
port: {description: Its port; the name of the socket holds it., returned: unless absent or released, type: int}
log: {description: Its log., returned: unless absent or released, type: str}
token: {description: Tells the server that was made from one that is made later at its place., returned: when created, type: str}
loaded: {description: Whether what is there was loaded and compared., returned: when created, type: bool}
note: {description: What was noted of it., returned: when created or released, type: dict}
released: {description: Whether what is there is none that is thrown away any more., returned: success, type: bool}
disproves: {description: 'Whether the server did not start and its log says that what it read is wrong.', returned: 'failure, when it is so', type: bool}
"""

import contextlib
import glob
import os
import secrets
import shlex
import shutil
import signal

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    locks,
    offline,
    places,
    postgres,
    records,
    scratch,
    standby_settings,
)

STATES = ["created", "started", "offline", "loaded", "released", "absent"]
PORT = 5432
STARTS_WITHIN_S = 10  # its first process, not its replay
OFFLINE_WITHIN_S = 60  # until it answers, with nothing to replay
STOPS_WITHIN_S = 3600  # what was replayed is written to disk
ENDS_WITHIN_S = 20  # what restores to the place


class Scratch:
    """The server at one place."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.place = module.params["place"].rstrip("/")
        self.socket_directory = self.place + ".socket"
        self.log = self.place + ".log"
        self.config = self.place + ".conf"
        self.programs = module.params["programs"] or postgres.BIN % module.params["version"]

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, or stop with what it said."""
        code, out, err = self.module.run_command([os.path.join(self.programs, program), *arguments])
        if code:
            raise guards.Stop("%s failed: %s" % (program, (err or out).strip()), guards.STEP_FAILED)

    def check(self) -> bool:
        """Whether something of this run is at the place; a refusal when it is another's."""
        there = [p for p in (self.place, places.marker_path(self.place)) if os.path.lexists(p)]
        run = places.marker(self.place).get("run")
        if there and run != self.module.params["run"] and not self.module.params["evict"]:
            whose = "run %s" % run if run else "nobody that left a note"
            raise guards.Stop(
                "%s belongs to %s. Nothing was changed. When that is over, have it removed: -e proof_evict=true"
                % (self.place, whose)
            )
        return bool(there)

    def create(self) -> str:
        """Make an empty cluster there; its token."""
        os.makedirs(os.path.dirname(self.place), exist_ok=True)
        token = secrets.token_hex(8)
        note = {"run": self.module.params["run"], "state": "created", "token": token}
        records.write_json(places.marker_path(self.place), note)
        self.run(
            "initdb", "--pgdata=" + self.place, "--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"
        )
        return token

    def start(self, cut_off: bool) -> None:
        """Start it, alone; replay may take long, so nobody waits here for that of one that is not cut off."""
        os.makedirs(self.socket_directory, mode=0o700, exist_ok=True)
        control = postgres.control_data(self.module, self.place, self.programs)
        values = scratch.settings(
            control, self.module.params["version"], self.socket_directory, self.module.params["settings"]
        )
        hba, ident = self.place + ".hba", self.place + ".ident"
        for path, content in ((hba, "local all all trust\n"), (ident, "")):
            with open(path, "w", encoding="ascii") as out:
                out.write(content)
        values.update(data_directory=self.place, hba_file=hba, ident_file=ident, port=str(PORT))
        with open(self.config, "w", encoding="utf-8") as out:
            out.write(scratch.text(values))
        # settings on the command line win over postgresql.auto.conf, which the backup brought along
        alone = " ".join("-c %s=%s" % (name, shlex.quote(str(value))) for name, value in sorted(values.items()))
        command = ["--pgdata=" + self.place, "--log=" + self.log, "--no-wait"]
        options = "--options=-c config_file=%s %s" % (self.config, alone)

        def begin() -> None:
            self.run("pg_ctl", "start", *command, options)

        if cut_off:
            offline.call(begin)
            started = postgres.wait_until(lambda: postgres.is_ready(self.place), OFFLINE_WITHIN_S)
        else:
            begin()
            started = postgres.wait_until(lambda: postgres.is_alive(self.place), STARTS_WITHIN_S)
        if not started:
            said = "The server did not start. Its log ends with: %s" % postgres.last_words(self.log)
            wrong = postgres.blames_content(postgres.last_words(self.log, 50))
            raise guards.Stop(said, guards.STEP_FAILED, wrong)

    def restoring(self) -> "list[int]":
        """Processes of a restore that is still under way, of a backup or of a dump."""
        files = [self.place + ".pgrescue.lock", *glob.glob(os.path.join(places.brought(self.place), "*.lock"))]
        return [pid for path in files for pid in locks.holders(path)]

    def cut_off(self) -> None:
        """Start it again, so that it can connect to nothing."""
        if os.path.exists(os.path.join(self.place, "recovery.signal")):
            said = "%s still replays, and needs its repository for that. Nothing was changed. Wait until it is over."
            raise guards.Stop(said % self.place, guards.PRECONDITION)
        self.stop()
        self.start(cut_off=True)

    def stop(self) -> None:
        """Stop it, with all it has written."""
        if postgres.is_alive(self.place):
            patience = "--timeout=%d" % STOPS_WITHIN_S
            self.run("pg_ctl", "stop", "--pgdata=" + self.place, "--mode=fast", "--wait", patience)

    def noted(self) -> "dict[str, object]":
        """What the note beside the place says."""
        return places.marker(self.place)

    def is_loaded(self) -> bool:
        """Whether it was loaded, and runs since; one that ended may not have written it all."""
        return self.noted().get("state") == "loaded" and postgres.is_alive(self.place)

    def check_token(self) -> None:
        """Refuse to speak of a server that was made at the place since."""
        if self.noted().get("token") != self.module.params["token"]:
            raise guards.Stop("Another server was made at %s since. Nothing was changed." % self.place)

    def mark_loaded(self) -> None:
        """Note that it was loaded and compared."""
        with locks.alone(self.place + ".pgrescue.lock", "a cluster of what is at %s" % self.place):
            self.check_token()
            records.write_json(
                places.marker_path(self.place), {**self.noted(), "state": "loaded", "note": self.module.params["note"]}
            )

    def release(self) -> None:
        """Make a cluster like any other of it; the note that says so is what counts, and comes last."""
        # who makes one at this place ends whoever holds its lock
        with locks.alone(self.place + ".pgrescue.lock", "a cluster of what is at %s" % self.place):
            self.check_token()
            self.stop()
            control = postgres.control_data(self.module, self.place, self.programs)
            if control.get("Database cluster state") != "shut down":
                said = "The server at %s did not end well (%s); what was loaded into it counts for nothing."
                raise guards.Stop(said % (self.place, control.get("Database cluster state")), guards.STEP_FAILED)
            path = os.path.join(self.place, "postgresql.auto.conf")
            with open(path, encoding="utf-8") as source:
                text = standby_settings.rewritten(source.read(), self.module.params["settings"])
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            os.unlink(os.path.join(self.place, "postmaster.opts"))  # which says how it was cut off
            self.run("initdb", "--sync-only", "--pgdata=" + self.place)
            note = {"run": self.module.params["run"], "state": "released", "note": self.noted().get("note") or {}}
            records.write_json(places.marker_path(self.place), note)
            self.clear()

    def clear(self) -> None:
        """Remove what it was started with."""
        if os.path.isdir(self.socket_directory):
            shutil.rmtree(self.socket_directory)
        for ending in (".log", ".conf", ".hba", ".ident"):
            if os.path.exists(self.place + ending):
                os.unlink(self.place + ending)

    def remove(self) -> None:
        """Stop it and remove it with all its data."""
        for pid in self.restoring():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if not postgres.wait_until(lambda: not self.restoring(), ENDS_WITHIN_S):
            raise guards.Stop("A restore to %s does not end." % self.place, guards.STEP_FAILED)
        if postgres.is_alive(self.place):
            self.run("pg_ctl", "stop", "--pgdata=" + self.place, "--mode=immediate")
        beside = (places.tablespaces(self.place), places.brought(self.place), places.wal(self.place))
        for path in (self.place, *beside):
            if os.path.isdir(path):
                shutil.rmtree(path)
        self.clear()
        for ending in (".pgrescue.lock", ".pgrescue.json"):  # the note last
            if os.path.exists(self.place + ending):
                os.unlink(self.place + ending)


def main() -> None:
    """Guard, then act."""
    module = AnsibleModule(
        argument_spec={
            "place": {"type": "path", "required": True},
            "run": {"type": "str", "required": True},
            "state": {"type": "str", "choices": STATES, "required": True},
            "token": {"type": "str", "no_log": False},
            "note": {"type": "dict", "default": {}},
            "evict": {"type": "bool", "default": False},
            "settings": {"type": "dict", "default": {}},
            "programs": {"type": "path"},
            "version": {"type": "int", "required": True},
        },
        required_if=[("state", "released", ["token"]), ("state", "loaded", ["token"])],
        supports_check_mode=True,
    )
    server, state = Scratch(module), module.params["state"]
    reached = {"socket_directory": server.socket_directory, "port": PORT, "log": server.log, "released": False}
    try:
        there = server.check()
        noted = server.noted()
        if noted.get("state") == "released":
            if state not in ("created", "loaded", "released"):
                said = "%s was made for a dump, and is in use since. Nothing was changed."
                raise guards.Stop(said % server.place)
            module.exit_json(changed=False, released=True, loaded=True, note=noted.get("note") or {})
        if state == "created" and server.is_loaded():
            module.exit_json(changed=False, loaded=True, token=noted["token"], note=noted["note"], **reached)
        alive = postgres.is_alive(server.place)
        if state == "absent":
            there = there and module.params["token"] in (None, noted.get("token"))
            if there and not module.check_mode:
                server.remove()
            module.exit_json(changed=there, released=False)
        if state in ("loaded", "released"):
            if not there:
                raise guards.Stop("There is nothing at %s." % server.place, guards.PRECONDITION)
            if not module.check_mode:
                (server.release if state == "released" else server.mark_loaded)()
            module.exit_json(changed=True, released=state == "released", note=server.noted().get("note") or {})
        done = alive and state == "started"  # whether it is cut off cannot be told from here
        if module.check_mode or done:
            module.exit_json(changed=not done, **reached)
        if state == "offline":
            server.cut_off()
            module.exit_json(changed=True, **reached)
        if state == "created":
            if there:
                server.remove()  # what an attempt that was interrupted left
            reached.update(token=server.create(), loaded=False, note={})
        server.start(cut_off=state == "created")
    except guards.Stop as stop:
        guards.fail(module, stop)
    module.exit_json(changed=True, **reached)


if __name__ == "__main__":
    main()
