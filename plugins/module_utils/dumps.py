"""Logical backups: how a dump is named, what its manifest says, which dumps can be restored. All of it pure.

A dump is a folder `dumps/<service>/<id>/` in each store; its signed manifest is written last, so that a folder without one
is unfinished. docs/schema/dump.schema.json describes the manifest's payload.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any, Iterable, Mapping, Optional

from .guards import PRECONDITION, REFUSED, Stop
from .times import moment
from .validation import SHOULD, check

SCHEMA_VERSION = 1
MANIFEST = "manifest.dsse.json"
PROOF = "proof.json"  # what was done with the dump since: beside it, not part of it
HOLD = "hold.json"  # while it is there, nothing below its folder expires
HOLDS = "hold/"  # below it, one such note for each run that restores or proves the dump
GLOBALS = "globals.sql"
PROVEN = ("restored", "validated")
STATES = ("unproven", *PROVEN, "failed")

SIGNED = "the manifest is signed by a key we know"
PRESENT = "every file of the dump is there"
UNCHANGED = "every file is as it was written"
NOTHING_ELSE = "nothing else is in the dump's folder"
FLOOR = "the dump is not smaller than it may be"
USUAL = "the dump is like the ones before it"

_SERVICE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
_ID = re.compile(r"^\d{8}T\d{6}Z$")
_HELD = re.compile(r"^hold/([A-Za-z0-9][A-Za-z0-9_.-]*)\.json$")
_FILE = re.compile(r"^(?:globals\.sql|db/\d+/[A-Za-z0-9_][A-Za-z0-9_.-]*)$")
# One statement of a script that pg_dumpall wrote; it doubles quotes, and writes backslashes only in pairs.
_STATEMENT = re.compile(r"""\s*(?:--[^\n]*\n\s*|\\[^\n]*\n\s*)*((?:'[^']*'|"[^"]*"|[^;'"])*;)""")
_ROLE = re.compile(r'^(CREATE|ALTER|COMMENT ON) ROLE (?:"((?:[^"]|"")+)"|(\w+))')

Facts = Mapping[str, Any]


def service_prefix(service: str) -> str:
    """Where the dumps of a service are."""
    if not _SERVICE.match(service):
        raise Stop("%r is not a name of a service. Nothing was changed." % service)
    return "dumps/%s/" % service


def folder(service: str, dump: str) -> str:
    """Where one dump is."""
    if not _ID.match(dump):
        raise Stop("%r is not the id of a dump, such as 20261124T012050Z. Nothing was changed." % dump)
    return service_prefix(service) + dump + "/"


def hold(run: str) -> str:
    """The note beside a dump that keeps it for the sake of a run."""
    found = HOLDS + run + ".json"
    if not _HELD.match(found):
        raise Stop("%r is not the id of a run. Nothing was changed." % run)
    return found


def holder(name: str) -> Optional[str]:
    """The run that a note beside a dump keeps it for; None when the object is another one."""
    found = _HELD.match(name)
    return found.group(1) if found else None


def is_beside(name: str) -> bool:
    """Whether an object in a dump's folder is written about the dump, and is not part of it."""
    return name in (MANIFEST, PROOF, HOLD) or bool(_HELD.match(name))


def name(when: datetime) -> str:
    """The id of a dump begun then."""
    return when.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def began(dump: str) -> datetime:
    """When a dump was begun, from its id."""
    return datetime.strptime(dump, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)


def stamp(when: datetime) -> str:
    """A time as records have it."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def by_folder(sizes: "Mapping[str, int]", service: str) -> "dict[str, dict[str, int]]":
    """The objects of each dump, named as in its manifest, from a listing of the service's."""
    found: "dict[str, dict[str, int]]" = {}
    for key, size in sizes.items():
        dump, slash, rest = key[len(service_prefix(service)) :].partition("/")
        if slash and _ID.match(dump):
            found.setdefault(dump, {})[rest] = size
    return found


# -- writing ------------------------------------------------------------------------------------------------------------


def compression(wanted: str, tool_major: int) -> "tuple[str, Optional[str]]":
    """What to ask of pg_dump, and why it is not what was wanted. Before 16 it knew gzip only."""
    method, _colon, level = wanted.partition(":")
    if tool_major >= 16:
        return "--compress=" + wanted, None
    if method == "none":
        return "--compress=0", None
    if method == "gzip":
        return "--compress=" + (level or "6"), None
    return "--compress=6", "compressed with gzip: pg_dump %d does not know %s" % (tool_major, method)


def database_entry(
    facts: Facts, number: int, census: Facts, snapshot: Facts, files: "Mapping[str, Facts]"
) -> "dict[str, Any]":
    """What a manifest says of one database. `files` are named below the database's own folder."""
    named = [{"name": "db/%d/%s" % (number, name), **files[name]} for name in sorted(files)]
    size, dumped = int(facts["size_bytes"]), sum(int(f["bytes"]) for f in named)
    return {
        **facts,
        "census": census,
        "snapshot": snapshot,
        "files": named,
        "dump_bytes": dumped,
        "compression_ratio": round(size / dumped, 3),
    }


def manifest(service: str, begun: datetime, ended: datetime, **parts: Any) -> "dict[str, Any]":
    """The payload to sign."""
    return {
        "schema_version": SCHEMA_VERSION,
        "service": service,
        "id": name(begun),
        "started": stamp(begun),
        "finished": stamp(ended),
        "duration_s": round((ended - begun).total_seconds(), 3),
        **parts,
    }


def promised(payload: Facts) -> "dict[str, Any]":
    """What a manifest says that its databases hold, as a census."""
    databases = {entry["name"]: entry["census"] for entry in payload["databases"]}
    return {"lsn": None, "cluster": payload["cluster_census"], "databases": databases}


def files(payload: Facts) -> "dict[str, dict[str, Any]]":
    """Size and digest of every file a manifest names."""
    found = {f["name"]: f for database in payload["databases"] for f in database["files"]}
    if payload.get("globals"):
        found[GLOBALS] = {"name": GLOBALS, **payload["globals"]}
    wrong = [name for name in found if not _FILE.match(name)]
    if wrong:
        raise Stop("The manifest names %r, which is not a file of a dump. Nothing was changed." % wrong[0])
    return {name: {"bytes": f["bytes"], "sha256": f["sha256"]} for name, f in found.items()}


def identity(payload: Facts, service: str, dump: str) -> Optional[str]:
    """Why a manifest does not belong where it was found; an older dump in a newer one's place is told by it."""
    if (payload["service"], payload["id"]) == (service, dump):
        return None
    return "its manifest is that of dump %s of %s" % (payload["id"], payload["service"])


# -- choosing -----------------------------------------------------------------------------------------------------------


def catalog(copies: "Iterable[Facts]", now: datetime, stale_after_days: int) -> "dict[str, list[dict[str, Any]]]":
    """What can be restored, newest first, and what cannot, with the reason.

    A copy is `{store, id, objects, payload or problem, proof, holds}`: what one store holds of one dump.
    """
    copies = list(copies)
    held = holds(copies)
    offered: "dict[str, dict[str, Any]]" = {}
    refused, unfinished = [], []
    for copy in sorted(copies, key=lambda c: (c["id"], c["store"]), reverse=True):
        where = {"id": copy["id"], "store": copy["store"], "holds": held.get(copy["id"], [])}
        if MANIFEST not in copy["objects"]:
            unfinished.append({**where, "objects": len(copy["objects"]), "bytes": sum(copy["objects"].values())})
            continue
        problem = copy["problem"] or _disagreement(offered.get(copy["id"]), copy) or _hole(copy)
        if problem:
            refused.append({**where, "reason": problem})
            continue
        entry = offered.setdefault(copy["id"], _offer(copy["payload"]))
        entry["stores"].append(copy["store"])
        entry["proofs"].append({**copy["proof"], "store": copy["store"]} if copy["proof"] else None)
    dumps = sorted(offered.values(), key=lambda d: str(d["id"]), reverse=True)
    newest = major_of(dumps[0]["server_version"]) if dumps else None
    for entry in dumps:
        entry["stores"].sort()
        entry["holds"] = held.get(entry["id"], [])
        entry["proof"] = proof_state(entry, entry.pop("proofs"), now, stale_after_days, newest)
        del entry["payload"]
    for earlier, entry in enumerate(dumps, 1):
        entry["anomalies"] = anomalies(entry, dumps[earlier:])
    return {"dumps": dumps, "refused": refused, "unfinished": unfinished}


def passed_over(found: Facts) -> "list[dict[str, str]]":
    """The copies that a catalog refuses, as a plan has them."""
    return [
        {"label": refused["id"], "reason": "in %(store)s: %(reason)s" % refused} for refused in found.get("refused", [])
    ]


def holds(copies: "Iterable[Facts]") -> "dict[str, list[dict[str, Any]]]":
    """What keeps each dump that is held: a hold in one store holds every copy, those that cannot be used included."""
    found: "dict[str, dict[str, dict[str, Any]]]" = {}
    for copy in copies:
        for note in copy["holds"]:
            found.setdefault(copy["id"], {}).setdefault(note.get("run", note.get("reason", "")), note)
    return {dump: [notes[key] for key in sorted(notes)] for dump, notes in found.items()}


def _offer(payload: Facts) -> "dict[str, Any]":
    kept = ("id", "started", "finished", "duration_s", "server_version", "system_identifier", "tools", "excluded")
    return {
        **{key: payload.get(key) for key in kept},
        "databases": [d["name"] for d in payload["databases"]],
        "size_bytes": sum(d["size_bytes"] for d in payload["databases"]),
        "dump_bytes": sum(d["dump_bytes"] for d in payload["databases"]),
        "stores": [],
        "proofs": [],
        "payload": payload,
    }


def _disagreement(entry: "Optional[Facts]", copy: Facts) -> Optional[str]:
    if entry and entry["payload"] != copy["payload"]:
        return "its manifest is another one than in %s" % entry["stores"][0]
    return None


def _hole(copy: Facts) -> Optional[str]:
    for name, facts in sorted(files(copy["payload"]).items()):
        if name not in copy["objects"]:
            return "%s is missing" % name
        if copy["objects"][name] != facts["bytes"]:
            return "%s has %d bytes, not %d" % (name, copy["objects"][name], facts["bytes"])
    return None


def proof_note(found: Any, name: str) -> "dict[str, Any]":
    """A note of a proof as it was read; one that says nothing certain proves nothing, and that is told."""
    if isinstance(found, dict) and found.get("state") in STATES and _instant(found.get("at")):
        kept = {"state": str, "at": str, "run": str, "checks": int}
        return {key: found[key] for key, kind in kept.items() if isinstance(found.get(key), kind)}
    return {"problem": "%s cannot be read" % name}


def hold_note(found: Any, name: str) -> "dict[str, Any]":
    """A note of a hold as it was read; whatever is in it, it holds."""
    said = found if isinstance(found, dict) else {"reason": None}
    kept = {key: said[key] for key in ("reason", "run") if isinstance(said.get(key), str)}
    if "reason" in said and "reason" not in kept:
        kept["reason"] = "%s cannot be read" % name
    return {**kept, **({"at": said["at"]} if _instant(said.get("at")) else {})}


def _instant(text: Any) -> bool:
    """Whether something names an instant."""
    try:
        return isinstance(text, str) and moment(text).tzinfo is not None
    except ValueError:
        return False


def major_of(server_version: str) -> int:
    """The major version of a server."""
    return int(re.findall(r"^\d+", server_version)[0])


def proof_state(
    dump: Facts, proofs: "Iterable[Optional[Facts]]", now: datetime, stale_after_days: int, major: Optional[int]
) -> "dict[str, Any]":
    """What the stores' notes, one each, say of a dump; `stale` when that is old or of another major version than is in use.

    A dump is proven while one store's copy is: `failed_in` are the others, whose copies did not pass since.
    """
    noted = [p for p in proofs if p]
    known = [p for p in noted if "state" in p and "at" in p]
    unreadable = "; ".join(p["problem"] for p in noted if "problem" in p)
    unread = {"problem": unreadable} if unreadable else {}
    if not known:
        return {"state": "unproven", "stale": False, **unread}
    proven = [p for p in known if p["state"] in PROVEN]
    newest = dict(max(proven or known, key=lambda p: moment(p["at"])))
    old = now - moment(newest["at"]) > timedelta(days=stale_after_days)
    newest["stale"] = bool(proven) and (old or major_of(dump["server_version"]) != major)
    failed = sorted(str(p.get("store")) for p in known if p["state"] == "failed")
    return {**newest, **unread, **({"failed_in": failed} if proven and failed else {})}


def ratio(dump: Facts) -> float:
    """How much smaller than the databases a dump is."""
    return float(dump["size_bytes"]) / max(1, int(dump["dump_bytes"]))


def anomalies(dump: Facts, earlier: "Iterable[Facts]", tolerance: float = 0.3) -> "list[str]":
    """What is unlike the dumps before it: the size, or data that suddenly does not compress, as noise and ciphertext do not."""
    before = list(earlier)[:7]
    if not before:
        return []
    said = []
    usual = median(int(d["dump_bytes"]) for d in before)
    change = int(dump["dump_bytes"]) / max(1, usual) - 1
    if abs(change) > tolerance:
        said.append(
            "%d bytes, %+.0f %% of the median of the %d before" % (dump["dump_bytes"], 100 * change, len(before))
        )
    usual_ratio = median(ratio(d) for d in before)
    if ratio(dump) < usual_ratio * (1 - tolerance):
        said.append(
            "compressed %.2f times; the median of the %d before is %.2f" % (ratio(dump), len(before), usual_ratio)
        )
    return said


# -- verifying ----------------------------------------------------------------------------------------------------------


def judge_copy(store: str, payload: Facts, seen: "Mapping[str, Facts]", floor: int) -> "list[dict[str, Any]]":
    """Judge what a store holds of a dump against its manifest; `seen` are its objects, read whole, with size and digest."""
    wanted = files(payload)
    missing = sorted(set(wanted) - set(seen))
    extra = sorted(name for name in set(seen) - set(wanted) if not is_beside(name))
    changed = [
        "%s (%d bytes, not %d)" % (name, seen[name]["bytes"], facts["bytes"])
        if seen[name]["bytes"] != facts["bytes"]
        else name
        for name, facts in sorted(wanted.items())
        if name in seen and dict(seen[name]) != facts
    ]
    size = sum(seen[name]["bytes"] for name in wanted if name in seen)
    found = [
        check(PRESENT, "%d files" % len(wanted), _named(missing, "missing") or "%d files" % len(wanted), not missing),
        check(UNCHANGED, "0 changed", _named(changed, "changed") or "0 changed", not changed),
        check(NOTHING_ELSE, "nothing", ", ".join(extra[:20]) or "nothing", not extra),
        check(FLOOR, ">= %d bytes" % floor, "%d bytes" % size, size >= floor),
    ]
    return [{**line, "host": store} for line in found]


def judge_usual(entry: Facts, earlier: "Iterable[Facts]") -> "dict[str, Any]":
    """Say whether a dump is like the ones before it: worth a look, no reason to refuse it."""
    said = anomalies(entry, earlier)
    return check(USUAL, "within 30 %", "; ".join(said) or "within 30 %", not said, tier=SHOULD)


def _named(names: "list[str]", what: str) -> str:
    return "%d %s: %s" % (len(names), what, ", ".join(names[:20])) if names else ""


# -- restoring ----------------------------------------------------------------------------------------------------------


def chosen(payload: Facts, wanted: "Optional[list[str]]", renamed: "Mapping[str, str]") -> "list[tuple[Facts, str]]":
    """The databases to restore, each with the name it shall have."""
    there = {d["name"]: d for d in payload["databases"]}
    absent = sorted((set(wanted or []) | set(renamed)) - set(there))
    if absent:
        raise Stop(
            "Dump %s holds no database %s; it holds %s. Nothing was changed."
            % (payload["id"], ", ".join(absent), ", ".join(there)),
            PRECONDITION,
        )
    return [(there[name], renamed.get(name, name)) for name in there if wanted is None or name in wanted]


def check_target(payload: Facts, server_version: str, existing: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a server that is older than the dump, and any name that is taken."""
    if major_of(server_version) < major_of(payload["server_version"]):
        raise Stop(
            "The server is PostgreSQL %s and the dump is of %s. A dump goes to the same major version or a newer one. "
            "Nothing was changed." % (server_version, payload["server_version"]),
            REFUSED,
        )
    taken = sorted(set(existing) & set(names))
    if taken:
        raise Stop(
            "The server already has a database %s. A dump is restored only into databases that do not exist: choose another "
            "server, or another name (rename). Nothing was changed." % ", ".join(taken),
            REFUSED,
        )


def statements(script: str) -> "list[str]":
    """The statements of a script that pg_dumpall wrote."""
    return [found.group(1) for found in _STATEMENT.finditer(script)]


def roles_made(script: str) -> "list[str]":
    """The roles a script makes."""
    found = [_ROLE.match(s) for s in statements(script)]
    return [_role(m) for m in found if m and m.group(1) == "CREATE"]


def role_statements(script: str, existing: Iterable[str]) -> "list[str]":
    """The statements that make the roles which are not there yet; existing ones are left as they are.

    Tablespaces belong to a host's disks and are not made.
    """
    kept, there = [], set(existing)
    for statement in statements(script):
        role = _ROLE.match(statement)
        if re.match(r"(CREATE|ALTER|COMMENT ON) TABLESPACE|(GRANT|REVOKE) .* ON TABLESPACE", statement):
            continue
        if role and _role(role) in there:
            continue
        kept.append(statement)
    return kept


def _role(found: "re.Match[str]") -> str:
    return found.group(2).replace('""', '"') if found.group(2) else str(found.group(3))
