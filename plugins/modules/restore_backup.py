#!/usr/bin/python
# Copyright: the pgrescue authors. Apache-2.0
"""Restore the newest backup that verifies to a new place."""

from __future__ import annotations

DOCUMENTATION = """
module: restore_backup
short_description: Restore the newest backup that verifies to a new place
description:
  - Restores the first of C(candidates) whose every file matches its checksum while it is fetched; a candidate that does not is
    passed over, and the result says why. When a repository stops answering, its other candidates are passed over too.
  - Refuses (exit code 4) a place that holds anything this run did not put there, that a server runs on, or a backup of another
    database system. Nothing is changed then.
  - A restore that was interrupted goes on where it was when the same run asks again; one that is complete is left alone.
  - Run it as the user that owns the cluster.
options:
  stanza: {description: Name of the stanza., type: str, required: true}
  place: {description: The new data directory., type: path, required: true}
  link:
    description: A link to point at the new place when it is complete; refused while a server runs on what it points at.
    type: path
  warm_from:
    description:
      - An older copy of the same cluster on this host, whose server is stopped. It is copied to the new place first, so that only
        what differs is fetched; every file is compared with the backup's checksum. It stays as it is. Refused with tablespaces.
    type: path
  run: {description: Who restores; only the same run may go on with a place it began., type: str, required: true}
  system_identifier: {description: The database system that must be restored., type: str, required: true}
  candidates: {description: Backups in the order to try them, from M(pgrescue.runbooks.backup_catalog)., type: list, elements: dict, required: true}
  type:
    description:
      - What the restored cluster shall become. C(default) is a primary at the end of the archive, C(immediate) one as soon as it
        is consistent; C(lsn), C(time), C(xid) and C(name) one at C(target).
    type: str
    choices: [default, immediate, lsn, time, xid, name, standby]
    default: default
  target: {description: Where replay shall end; needed with C(lsn) C(time) C(xid) and C(name)., type: str}
  inclusive:
    description: Whether what begins at C(target) is still replayed. A state seen at an LSN is met again when it is not.
    type: bool
    default: true
  action:
    description: What the restored server does at C(target). One that pauses can be read, moved on to a target further ahead, and promoted.
    type: str
    choices: [promote, pause]
    default: promote
  apart:
    description: Whether tablespaces go beside C(place) instead of where the original has them; for a copy on a host of the service.
    type: bool
    default: false
  archive: {description: Whether the restored cluster may archive; C(false) writes archive_mode = off., type: bool, default: true}
  alone:
    description: Whether WAL is fetched from the backup's own repository only, as when it is the only one left.
    type: bool
    default: false
  timeline: {description: The timeline to follow; the newest when left out., type: int}
  recovery_options: {description: Further recovery settings as pgBackRest writes them., type: dict, default: {}}
  silent_repositories: {description: Repositories known not to answer., type: list, elements: int, default: []}
  endpoints:
    description: Number and C(host[:port]) of each repository's object store. One that stops answering is given up early.
    type: dict
    default: {}
  timeout_s: {description: How long a repository may stay silent in seconds., type: int, default: 20}
  patience_s:
    description: How long to wait, in seconds, for a restore to the same place that a killed controller left running.
    type: int
    default: 3600
  processes: {description: How many files to fetch at once; the number of processors when 0., type: int, default: 0}
  version: {description: Major version of PostgreSQL., type: int, required: true}
attributes:
  check_mode: {support: full, description: Guards are checked and the candidate is named; nothing is restored.}
author: [The pgrescue authors]
"""

EXAMPLES = """
- name: Restore to a new place
  pgrescue.runbooks.restore_backup:
    stanza: shop
    place: /var/lib/postgresql/17/20261124T012050Z-shop-complete_loss
    run: 20261124T012050Z-shop-complete_loss
    system_identifier: "7432"
    candidates: "{{ recovery_catalog.candidates }}"
    version: 17
  become: true
  become_user: postgres
"""

RETURN = """
backup: {description: The candidate that was restored., returned: success, type: dict}
passed_over: {description: Candidates that did not verify, each with the reason., returned: always, type: list, elements: dict}
data_directory: {description: The new place., returned: success, type: str}
disproves: {description: 'Whether the engine found wrong bytes in each candidate.', returned: 'failure, when it is so', type: bool}
"""

import os
from contextlib import contextmanager
from typing import Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    guards,
    journal,
    locks,
    observation,
    pgbackrest,
    places,
    postgres,
    records,
    repository,
)

TYPES = ["default", "immediate", "lsn", "time", "xid", "name", "standby"]
SPARE_BYTES = 256 * 1024**2  # for WAL while it is replayed

# What pgBackRest says when the bytes are there and wrong, as against a repository that cannot be reached.
CORRUPT = (
    "ChecksumError",
    "FormatError",
    "does not match",
    "decompress",
    "CryptoError",
    "missing file",
    "unable to load info",
    "[029]",
    "[095]",
    "[082]",
)


def corrupt(said: str) -> bool:
    """Whether the engine found wrong bytes, rather than no repository."""
    return any(sign in said for sign in CORRUPT)


def check_room(p: "dict[str, object]", backup: "dict[str, object]", manifest: str) -> None:
    """Refuse a restore that would fill a disk, each tablespace counted where it goes.

    What an earlier attempt left counts as room. So does a tablespace's place then, which the engine writes anew.
    """
    place = str(p["place"])
    there = repository.tablespaces(manifest)
    apart = places.tablespaces(place) if p["apart"] else None
    wanted = {os.path.join(apart, t["name"]) if apart else t["path"]: t["bytes"] for t in there}
    wanted[place] = int(str(backup.get("size_bytes") or 0)) - sum(t["bytes"] for t in there) + SPARE_BYTES
    places.check_room(wanted, os.path.isdir(place), "backup %s" % backup["label"])


def check_link(link: "str | None", place: str, left: "str | None" = None) -> None:
    """Refuse to point `link` away from a place in use; from one that was `left` when no server lives there."""
    if left and link and os.path.realpath(link) == os.path.realpath(left) and not postgres.is_alive(left):
        return
    if (
        link
        and os.path.exists(os.path.join(link, "postmaster.pid"))
        and os.path.realpath(link) != os.path.realpath(place)
    ):
        raise guards.Stop(
            "A server runs, or ran until it was killed, on %s. Stop and keep it first. Nothing was changed."
            % os.path.realpath(link)
        )


def point(link: "str | None", place: str) -> None:
    """Point `link` at `place`, in one step."""
    if link and not (os.path.islink(link) and os.readlink(link) == place):
        partial = link + ".partial"
        if os.path.lexists(partial):
            os.unlink(partial)
        os.symlink(place, partial)
        os.replace(partial, link)


def check_place(module: AnsibleModule, place: str, run: str, system: str) -> "dict[str, object]":
    """The run's own marker of the place (empty for a new place), or a refusal that leaves it untouched."""
    marker = places.marker(place)
    if os.path.exists(os.path.join(place, "postmaster.pid")) and marker.get("state") != "restored":
        raise guards.Stop("A server runs, or ran, on %s. A restore goes to a new place. Nothing was changed." % place)
    if marker and marker["run"] != run:
        raise guards.Stop("%s belongs to run %s. Nothing was changed." % (place, marker["run"]))
    if not marker and os.path.isdir(place) and os.listdir(place):
        found = observation.system_identifier(postgres.control_data(module, place))
        whose = "the cluster of system %s" % found if found else "files"
        other = " (another system than %s)" % system if found and found != system else ""
        raise guards.Stop(
            "%s is not empty: it holds %s%s. A restore goes to a new place. Nothing was changed."
            % (place, whose, other)
        )
    return marker


@contextmanager
def place_held(place: str, patience_s: float) -> "Iterator[int]":
    """Hold the place against another restore to it, such as one that a killed controller left running on this host.

    The engine inherits the descriptor, so that the place is held for as long as it works, whatever becomes of this process.
    """
    os.makedirs(os.path.dirname(place), exist_ok=True)
    refusal = guards.Stop(
        "Another restore still works on %s after %d s. Nothing was changed." % (place, patience_s), guards.STEP_FAILED
    )
    with locks.held(place.rstrip("/") + ".pgrescue.lock", patience_s, refusal) as descriptor:
        yield descriptor


def engine(module: AnsibleModule, backup: "dict[str, object]", held: int, *arguments: str) -> "tuple[int, str]":
    """Run the engine on the backup's repository: its exit code and what it said. It is ended when the store falls silent."""
    p, silent = module.params, []
    more = {"pass_fds": [held]}
    endpoint = p["endpoints"].get(str(backup["repo"]))
    if endpoint:
        more["before_communicate_callback"] = pgbackrest.ended_when_silent(endpoint, silent)
    common = ["--repo=%d" % backup["repo"], "--io-timeout=%d" % p["timeout_s"], "--log-level-console=warn"]
    code, out, err = pgbackrest.run(module, p["stanza"], *common, *arguments, **more)
    return code, (silent[0] if silent else err + out).strip()


def manifest(module: AnsibleModule, backup: "dict[str, object]", held: int) -> "tuple[int, str]":
    """The engine's list of what a backup holds, of which it keeps two copies."""
    path = "backup/%s/%s/backup.manifest" % (module.params["stanza"], backup["label"])
    code, said = engine(module, backup, held, "repo-get", path)
    return engine(module, backup, held, "repo-get", path + ".copy") if code and corrupt(said) else (code, said)


def check_warm(old: "str | None") -> None:
    """Refuse an older copy that cannot be taken from without harm to it."""
    if not old:
        return
    if postgres.is_alive(old):
        raise guards.Stop("A server runs on %s. Stop and keep it first. Nothing was changed." % old)
    if not os.path.exists(os.path.join(old, "PG_VERSION")):
        raise guards.Stop("%s holds no cluster to take anything from. Nothing was changed." % old)
    if os.listdir(os.path.join(old, "pg_tblspc")):
        raise guards.Stop(
            "%s has tablespaces, whose places a second copy on this host would share and overwrite. Nothing was changed. Restore "
            "on a clean host: -e recovery_method=restore." % old
        )


def warm_up(module: AnsibleModule, place: str, held: int) -> None:
    """Fill a new place with an older copy, so that the engine fetches only what differs. It compares bytes, not times.

    What copies holds the place, as the engine does: left behind by a killed controller, it would write over what was restored since.
    """
    old = module.params["warm_from"]
    if not old or os.path.exists(os.path.join(place, "PG_VERSION")):  # without it the engine takes nothing for a copy
        return
    left = ("postmaster.pid", "postmaster.opts")  # of the old server; a restore that was never started has none
    entries = [os.path.join(old, name) for name in sorted(os.listdir(old)) if name not in left]
    command = ["cp", "--archive", "--reflink=auto", "--target-directory=" + place, *entries]
    _code, _out, err = module.run_command(command, pass_fds=[held])
    if not os.path.exists(os.path.join(place, "PG_VERSION")):
        said = (
            "%s could not be copied (%s). %s must not be started. Restore on a clean host: -e recovery_method=restore."
        )
        raise guards.Stop(said % (old, " ".join(err.split())[:200], place), guards.STEP_FAILED)


def restore(module: AnsibleModule, backup: "dict[str, object]", alone: bool, held: int) -> "tuple[int, str]":
    """Fetch one backup; the engine's exit code (0 when every file verified), and what it said.

    `alone`: fetch WAL from the backup's repository only, for another one would be waited for in vain at each segment.
    """
    p = module.params
    if alone:
        fetch = 'pgbackrest --stanza=%s --repo=%d --pg1-path=%s archive-get %%f "%%p"'
        command = fetch % (p["stanza"], backup["repo"], p["place"])
        p["recovery_options"] = {**p["recovery_options"], "restore_command": command}
    timeline = ["--target-timeline=%d" % p["timeline"]] if p["timeline"] and p["type"] != "standby" else []
    target = ["--target=" + p["target"]] if p["target"] else []
    if p["type"] not in ("default", "standby"):
        target.append("--target-action=" + p["action"])
    if p["target"] and not p["inclusive"]:
        target.append("--target-exclusive")
    if not p["archive"]:
        target.append("--archive-mode=off")
    if p["apart"]:
        target.append("--tablespace-map-all=" + places.tablespaces(p["place"]))
    options = ["--recovery-option=%s=%s" % item for item in sorted(p["recovery_options"].items())]
    processes = p["processes"] or os.cpu_count() or 1
    begun = ["--delta"] if os.listdir(p["place"]) else []  # of this run: the place's marker was checked
    # one retry at once, for the network's sake; wrong bytes do not get better
    effort = ["--process-max=%d" % processes, "--job-retry=1"]
    what = ["--set=" + str(backup["label"]), "--type=" + p["type"], *timeline, *target]
    where = ["--pg1-path=" + p["place"], *begun, *options]
    return engine(module, backup, held, *effort, *what, *where, "restore")


def first_verifying(
    module: AnsibleModule, note: "dict[str, object]", held: int
) -> "tuple[dict[str, object], list[dict[str, object]]]":
    """Restore candidates in turn until one verifies."""
    place, passed_over, silent = module.params["place"], [], set(module.params["silent_repositories"])
    wrong = []
    for backup in module.params["candidates"]:
        if str(backup["system_identifier"]) != module.params["system_identifier"]:
            raise guards.Stop(
                "Backup %s belongs to system %s, the plan to %s. Nothing was changed."
                % (backup["label"], backup["system_identifier"], module.params["system_identifier"])
            )
        if backup["repo"] in silent:
            passed_over.append({**name(backup), "reason": "its repository had stopped answering"})
            continue
        code, said = manifest(module, backup, held)
        if code == 0 or corrupt(said):  # one without a manifest fails in the engine's own words
            check_room(module.params, backup, "" if code else said)
            os.makedirs(place, mode=0o700, exist_ok=True)
            begun = {"state": "restoring", "label": backup["label"], "begun": journal.now()}
            records.write_json(places.marker_path(place), {**note, **begun})
            warm_up(module, place, held)
            code, said = restore(module, backup, module.params["alone"] or bool(silent), held)
        if code == 0:
            check_link(
                module.params["link"], place, module.params["warm_from"]
            )  # somebody may have started it meanwhile
            records.write_json(
                places.marker_path(place), {**note, "state": "restored", "backup": backup, "passed_over": passed_over}
            )
            point(module.params["link"], place)
            return backup, passed_over
        wrong.append(corrupt(said))
        if not wrong[-1]:
            silent.add(backup["repo"])
        passed_over.append({**name(backup), "reason": repository.reason(said)})
    reasons = "; ".join("%s in repository %s: %s" % (b["label"], b["repo"], b["reason"]) for b in passed_over)
    raise guards.Stop(
        "No backup could be restored (%s). %s holds a partial copy that must not be started. When the cause is gone, the same "
        "run goes on from there." % (reasons, place),
        guards.STEP_FAILED,
        disproves=len(wrong) == len(passed_over) and all(wrong),
    )


def name(backup: "dict[str, object]") -> "dict[str, object]":
    """What names a candidate to a reader."""
    return {"label": backup["label"], "repo": backup["repo"]}


def decisions(backup: "dict[str, object]", passed_over: "list[dict[str, object]]", kind: str) -> "list[dict[str, str]]":
    """What the timeline shall say."""
    said = [
        {"event": "decision", "detail": "Backup %(label)s in repository %(repo)s passed over: %(reason)s" % b}
        for b in passed_over
    ]
    chosen = (
        "Backup %(label)s from repository %(repo)s, taken until %(stopped)s, restored; every file matched its checksum"
        % backup
    )
    milestone = [{"event": "milestone", "step": "restored"}] if kind != "standby" else []
    return said + [{"event": "decision", "detail": chosen}] + milestone


def main() -> None:
    """Guard, then act."""
    module = AnsibleModule(
        argument_spec={
            "stanza": {"type": "str", "required": True},
            "place": {"type": "path", "required": True},
            "link": {"type": "path"},
            "warm_from": {"type": "path"},
            "run": {"type": "str", "required": True},
            "system_identifier": {"type": "str", "required": True},
            "candidates": {"type": "list", "elements": "dict", "required": True},
            "type": {"type": "str", "choices": TYPES, "default": "default"},
            "target": {"type": "str"},
            "inclusive": {"type": "bool", "default": True},
            "action": {"type": "str", "choices": ["promote", "pause"], "default": "promote"},
            "apart": {"type": "bool", "default": False},
            "archive": {"type": "bool", "default": True},
            "alone": {"type": "bool", "default": False},
            "timeline": {"type": "int"},
            "recovery_options": {"type": "dict", "default": {}},
            "silent_repositories": {"type": "list", "elements": "int", "default": []},
            "endpoints": pgbackrest.ENDPOINTS,
            "timeout_s": {"type": "int", "default": 20},
            "patience_s": {"type": "int", "default": 3600},
            "processes": {"type": "int", "default": 0},
            "version": {"type": "int", "required": True},
        },
        required_if=[("type", kind, ["target"]) for kind in ("lsn", "time", "xid", "name")],
        supports_check_mode=True,
    )
    p = module.params
    place, link = p["place"], p["link"]

    def guarded() -> "dict[str, object]":
        """The marker of the place, once it is sure that it may be written."""
        marker = check_place(module, place, p["run"], p["system_identifier"])
        check_link(link, place, p["warm_from"])
        if not marker:
            check_warm(p["warm_from"])
        return marker

    def answer_if_restored(marker: "dict[str, object]") -> None:
        if marker.get("state") == "restored":
            if not module.check_mode:
                point(link, place)  # a kill may have come between the restore and the link
            found = {"backup": marker["backup"], "passed_over": marker["passed_over"]}
            module.exit_json(changed=False, data_directory=place, **found)

    try:
        answer_if_restored(guarded())
        if module.check_mode:
            module.exit_json(changed=True, backup=p["candidates"][0], passed_over=[], data_directory=place)
        with place_held(place, p["patience_s"]) as held:
            answer_if_restored(guarded())
            note = {"run": p["run"], "system_identifier": p["system_identifier"]}
            backup, passed_over = first_verifying(module, note, held)
    except guards.Stop as stop:
        guards.fail(module, stop, passed_over=[])
    module.exit_json(
        changed=True,
        backup=backup,
        passed_over=passed_over,
        data_directory=place,
        journal=decisions(backup, passed_over, p["type"]),
    )


if __name__ == "__main__":
    main()
