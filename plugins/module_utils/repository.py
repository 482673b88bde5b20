"""What a pgBackRest repository offers to restore: pure folds over `pgbackrest info` and `repo-ls`."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any, Iterable, Mapping, Optional

from .guards import PRECONDITION, Stop
from .lsn import DEFAULT_SEGMENT_BYTES, contiguous_end, gaps, parse_lsn, segment_number, segment_size, segment_timeline
from .timelines import Line

# What a proof notes at a backup, in the repository itself: its outcome, and when.
PROOF, PROVEN = "pgrescue-proof", "pgrescue-proven"
# Folders of small notes beside archive and backups: runs for whose sake nothing is expired, and named points to recover to.
HOLDS, MARKS = "hold", "mark"


def _when(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def candidates(info: "list[dict[str, Any]]", unreachable: Iterable[int] = ()) -> "list[dict[str, Any]]":
    """Every backup of a stanza, newest first; among equally old ones the repository configured first.

    `info` is the answer of `pgbackrest info --output=json` for one stanza.
    """
    found = []
    for stanza in info:
        systems, sizes = _systems(stanza), _segment_sizes(stanza)
        for backup in stanza.get("backup", []):
            repo, noted = backup["database"]["repo-key"], backup.get("annotation", {})
            if repo in unreachable:
                continue
            found.append(
                {
                    "label": backup["label"],
                    "repo": repo,
                    "type": backup["type"],
                    "started": _when(backup["timestamp"]["start"]),
                    "stopped": _when(backup["timestamp"]["stop"]),
                    "wal_start": backup["archive"]["start"],
                    "wal_stop": backup["archive"]["stop"],
                    "lsn_stop": backup["lsn"]["stop"],
                    "segment_bytes": sizes[systems[(repo, backup["database"]["id"])]],
                    "size_bytes": backup["info"]["size"],
                    "stored_bytes": backup["info"]["repository"]["delta"],
                    "timeline": segment_timeline(backup["archive"]["stop"]),
                    "system_identifier": systems[(repo, backup["database"]["id"])],
                    "proof": noted.get(PROOF, "unproven"),
                    **({"proven": noted[PROVEN]} if PROVEN in noted else {}),
                    "error": bool(backup.get("error")),
                }
            )
    return sorted(found, key=lambda b: (b["stopped"], -b["repo"]), reverse=True)


def archives(
    info: "list[dict[str, Any]]", system_identifier: str, unreachable: Iterable[str] = ()
) -> "list[tuple[int, str]]":
    """Repository and id of every archive of one database system; what another system archived closes no gap."""
    return [
        (entry["database"]["repo-key"], entry["id"])
        for stanza in info
        for entry in stanza.get("archive", [])
        if str(entry["database"]["repo-key"]) not in unreachable
        and _systems(stanza)[entry["database"]["repo-key"], entry["database"]["id"]] == system_identifier
    ]


def _systems(stanza: Mapping[str, Any]) -> "dict[tuple[int, int], str]":
    """The system identifier behind each database of each repository."""
    return {(d["repo-key"], d["id"]): str(d["system-id"]) for d in stanza.get("db", [])}


def _segment_sizes(stanza: Mapping[str, Any]) -> "dict[str, int]":
    """The segment size of each system that there is a backup of."""
    systems = _systems(stanza)
    ends: "dict[str, list[tuple[int, str]]]" = {}
    for backup in stanza.get("backup", []):
        known = ends.setdefault(systems[backup["database"]["repo-key"], backup["database"]["id"]], [])
        known += [(parse_lsn(backup["lsn"][end]), backup["archive"][end]) for end in ("start", "stop")]
    return {system: segment_size(known) for system, known in ends.items()}


def segment_bytes(backups: "list[dict[str, Any]]", system_identifier: Optional[str]) -> int:
    """The segment size of a system, as its backups tell it."""
    sizes = [b["segment_bytes"] for b in backups if b["system_identifier"] == system_identifier]
    return sizes[0] if sizes else DEFAULT_SEGMENT_BYTES


def off_the_line(backup: Mapping[str, Any], line: Line) -> Optional[str]:
    """Why a recovery to the newest timeline cannot begin with a backup; None when it can.

    Such are the backups of an old primary that came back after a failover, and those from between the point that was
    recovered to and that recovery.
    """
    return line.misses(int(backup["timeline"]), parse_lsn(backup["lsn_stop"]))


def judge(
    backups: "list[dict[str, Any]]", system_identifier: Optional[str], segments: Iterable[str], line: Line
) -> "tuple[list[dict[str, Any]], list[dict[str, Any]]]":
    """Split backups into usable ones and those passed over, each with the reason, before a byte is fetched.

    `segments` are those that a recovery along `line` reads.
    """
    names = list(segments)
    usable, passed_over = [], []
    for backup in backups:
        reason = None
        if system_identifier and backup["system_identifier"] != system_identifier:
            reason = "belongs to system %s, not to %s" % (backup["system_identifier"], system_identifier)
        elif backup["error"]:
            reason = "pgBackRest found page checksum errors when it was taken"
        else:
            reason = off_the_line(backup, line)
            reached = contiguous_end(names, backup["wal_start"], backup["segment_bytes"])
            if not reason and not covers(reached, backup):
                reason = "WAL from %s to %s is not complete in the archive" % (backup["wal_start"], backup["wal_stop"])
        if reason:
            passed_over.append({"label": backup["label"], "repo": backup["repo"], "reason": reason})
        else:
            usable.append({**{k: v for k, v in backup.items() if k != "error"}, "reaches": reached})
    return usable, passed_over


def covers(reached: Optional[str], backup: Mapping[str, Any]) -> bool:
    """Whether replay that ends with segment `reached` makes a backup consistent."""
    size = backup["segment_bytes"]
    return reached is not None and segment_number(reached, size) >= segment_number(backup["wal_stop"], size)


def archive_end(segments: "Mapping[str, int]", backup: Mapping[str, Any]) -> "Optional[dict[str, str]]":
    """The last segment that can be replayed from a backup, and when it reached the archive.

    `segments` maps segment names to the time (epoch seconds) the repository stored them.
    """
    last = contiguous_end(segments, backup["wal_start"], backup["segment_bytes"])
    return {"segment": last, "time": _when(segments[last])} if last else None


def missing_segments(segments: Iterable[str], backup: Mapping[str, Any]) -> int:
    """How many segments are not in the archive between the beginning of a backup and the newest segment."""
    size = backup["segment_bytes"]
    broken = gaps(segments, backup["wal_start"], size)
    return sum(segment_number(after, size) - segment_number(before, size) - 1 for before, after in broken)


def newest_timeline(info: "list[dict[str, Any]]") -> int:
    """The newest timeline that a repository knows of the database system it serves now; 0 when it holds nothing."""
    newest = 0
    for stanza in info:
        current = max((d["id"] for d in stanza.get("db", [])), default=None)
        names = [a["max"] for a in stanza.get("archive", []) if a["database"]["id"] == current and a.get("max")]
        names += [b["archive"]["stop"] for b in stanza.get("backup", []) if b["database"]["id"] == current]
        newest = max([newest, *map(segment_timeline, names)])
    return newest


def served(info: "list[dict[str, Any]]") -> "dict[int, Optional[str]]":
    """The database system that each repository serves now; None where it serves none."""
    found: "dict[int, Optional[str]]" = {}
    for stanza in info:
        systems = _systems(stanza)
        for number in (repo["key"] for repo in stanza.get("repo", [])):
            newest = max((database for repo, database in systems if repo == number), default=None)
            found[number] = systems[number, newest] if newest is not None else None
    return found


def present_system(info: "list[dict[str, Any]]") -> Optional[str]:
    """The database system that every repository with any serves now; None where they serve none or do not agree."""
    systems = {system for system in served(info).values() if system}
    return systems.pop() if len(systems) == 1 else None


def single_system(backups: "list[dict[str, Any]]", expected: Optional[str]) -> str:
    """The one system identifier the repository holds; a repository with several needs to be told which."""
    systems = sorted({b["system_identifier"] for b in backups})
    if expected:
        return expected
    if len(systems) != 1:
        raise Stop(
            "The repositories hold backups of %d database systems (%s). Say which one is lost: -e system_identifier=<id>."
            % (len(systems), ", ".join(systems) or "none"),
            PRECONDITION,
        )
    return str(systems[0])


def newest(info: "list[dict[str, Any]]", number: int) -> "dict[str, Any]":
    """Of the newest backup in one repository: when it ended, its kind, what a restore brings back, what it added there."""
    taken = (b for stanza in info for b in stanza.get("backup", []) if b["database"]["repo-key"] == number)
    found = max(taken, key=lambda b: (b["timestamp"]["stop"], b["label"]))
    sizes = {"size_bytes": found["info"]["size"], "stored_bytes": found["info"]["repository"]["delta"]}
    return {"at": _when(found["timestamp"]["stop"]), "kind": found["type"], **sizes}


def reason(said: str) -> str:
    """The engine's first error, without its time stamp."""
    errors = [line for line in said.splitlines() if "ERROR" in line]
    return (errors or said.splitlines() or ["no reason given"])[0].partition("ERROR:")[2].strip()[:500] or said[:500]


def state(info: "list[dict[str, Any]]", number: int) -> "dict[str, Any]":
    """What one repository says of itself; `info` is the answer for it alone. Backups are in order of time."""
    for stanza in info:
        for repo in stanza.get("repo", []):
            if repo["key"] != number:
                continue
            systems, sizes = _systems(stanza), _segment_sizes(stanza)
            newest = max((d["id"] for d in stanza.get("db", []) if d["repo-key"] == number), default=None)
            archive = [
                a["id"]
                for a in stanza.get("archive", [])
                if (a["database"]["repo-key"], a["database"]["id"]) == (number, newest)
            ]
            fine = repo["status"]["code"] in (0, 2)  # 0 ok, 2 no valid backups
            return {
                "number": number,
                "problem": None if fine else repo["status"]["message"],
                "encrypted": repo.get("cipher", "none") != "none",
                "system_identifier": systems.get((number, newest)) if newest is not None else None,
                "archive_id": archive[0] if archive else None,
                "backups": [
                    _backup(b, sizes[systems[number, b["database"]["id"]]])
                    for b in stanza.get("backup", [])
                    if b["database"] == {"id": newest, "repo-key": number}
                ],
            }
    return {"number": number, "problem": "it knows no such stanza"}


def _backup(backup: Mapping[str, Any], segment_bytes: int) -> "dict[str, Any]":
    sizes = backup["info"]
    return {
        "label": backup["label"],
        "type": backup["type"],
        "started_s": backup["timestamp"]["start"],
        "stopped_s": backup["timestamp"]["stop"],
        "size_bytes": sizes["size"],
        "stored_bytes": sizes["repository"]["delta"],
        "wal_start": backup["archive"]["start"],
        "wal_stop": backup["archive"]["stop"],
        "lsn_stop": backup["lsn"]["stop"],
        "segment_bytes": segment_bytes,
        "timeline": segment_timeline(backup["archive"]["stop"]),
        "proof": backup.get("annotation", {}).get(PROOF, "unproven"),
        "proven": backup.get("annotation", {}).get(PROVEN),
        "error": bool(backup.get("error")),
    }


def tablespaces(manifest: str) -> "list[dict[str, Any]]":
    """Name, path and bytes of each tablespace of a backup, as its manifest tells them."""
    files = re.findall(r'^pg_tblspc/(\d+)/.*"size":(\d+)', manifest, re.MULTILINE)
    found = []
    for number, said in re.findall(r'^pg_tblspc/(\d+)=(\{.*"tablespace-name".*\})$', manifest, re.MULTILINE):
        target = json.loads(said)
        total = sum(int(size) for owner, size in files if owner == number)
        found.append({"name": target["tablespace-name"], "path": target["path"], "bytes": total})
    return found


def archive_state(stored: "Mapping[str, int]", backups: "list[dict[str, Any]]", line: Line) -> "dict[str, Any]":
    """How far one archive reaches, and where it breaks after the oldest backup it belongs to.

    `stored` maps the segments that a recovery along `line` reads to the time (epoch seconds) each was stored. Backups that
    such a recovery cannot begin with are told apart: a newer one of them must not hide that no other is taken.
    """
    apart = {b["label"]: off_the_line(b, line) for b in backups}
    backups = [b for b in backups if not apart[b["label"]]]
    newest = max(stored, key=lambda name: (stored[name], name), default=None)
    oldest = min(backups, key=lambda b: str(b["wal_start"]), default=None)
    broken = gaps(stored, oldest["wal_start"], oldest["segment_bytes"]) if oldest else []
    return {
        "backups": backups,
        "passed_over": [{"label": label, "reason": reason} for label, reason in apart.items() if reason],
        "newest_segment": newest,
        "newest_segment_s": stored[newest] if newest else None,
        "gaps": [{"after": before, "until": after, "since_s": stored[after]} for before, after in broken],
    }
