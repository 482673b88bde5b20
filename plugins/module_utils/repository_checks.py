"""What must hold of a repository: pure judgements on what the engine and its listings say."""

from __future__ import annotations

import re
from statistics import median
from typing import Any, Iterable, Mapping, Sequence

from .lsn import contiguous_end, segment_number
from .lsn import gaps as breaks
from .repository import covers, off_the_line
from .timelines import Line
from .validation import SHOULD, check

# How far the size of a backup may be from the median of the earlier ones of its type.
SIZE_TOLERANCE = 0.3
COMPLAINT = re.compile(r"(?:checksum invalid|size invalid|missing|other): [1-9]|status: (?:error|invalid)|ERROR:|WARN:")


def judge_verify(repo: int, code: int, said: str) -> "dict[str, Any]":
    """The engine has read every file of every backup and of the archive. Its exit code is 0 whatever it finds."""
    problems = [" ".join(line.split()) for line in said.splitlines() if COMPLAINT.search(line)]
    if code and not problems:
        problems = ["the engine ended with %d: %s" % (code, said.strip()[-300:])]
    named = "every file of repository %d matches its checksum" % repo
    return check(named, "no complaint", "; ".join(problems)[:600] or "no complaint", not problems)


def judge_pairs(repo: int, pairs: "Mapping[str, tuple[str, str]]") -> "dict[str, Any]":
    """The engine keeps its own lists twice, takes the second silently when the first is damaged, and verifies neither.

    `pairs` maps the path of a list to the digests of both; C(repo-get) failing counts as a digest of its own.
    """
    differing = sorted(path for path, (first, second) in pairs.items() if first != second)
    named = "both copies of the engine's lists in repository %d are the same" % repo
    return check(named, "%d alike" % len(pairs), ", ".join(differing) or "%d alike" % len(pairs), not differing)


def pairs(names: Iterable[str]) -> "list[str]":
    """The files kept twice: of `x` and `x.copy`, the first, whichever of the two is there."""
    return sorted({name[: -len(".copy")] for name in names if name.endswith(".copy")})


def judge_wal(repo: int, backups: "Sequence[Mapping[str, Any]]", segments: Iterable[str]) -> "list[dict[str, Any]]":
    """WAL is there without a gap, from the oldest backup to the newest segment: any instant in between is promised."""
    names = sorted(segments)
    if not backups:
        return [check("repository %d holds a backup" % repo, "at least one", "none", False)]
    gaps = []
    for backup in sorted(backups, key=lambda b: str(b["stopped"])):
        reached = contiguous_end(names, backup["wal_start"], backup["segment_bytes"])
        if not covers(reached, backup):
            gaps.append("%s cannot be made consistent: its WAL ends at %s" % (backup["label"], reached or "nothing"))
    size = backups[0]["segment_bytes"]
    oldest = min((b["wal_start"] for b in backups), key=lambda name: segment_number(name, size))
    gaps += ["replay ends at %s, the archive goes on with %s" % broken for broken in breaks(names, oldest, size)]
    named = "WAL in repository %d has no gap" % repo
    return [check(named, "no gap", "; ".join(gaps) or "no gap", not gaps)]


def judge_line(repo: int, backups: "Sequence[Mapping[str, Any]]", line: Line) -> "dict[str, Any]":
    """No backup lies where a recovery to the newest timeline never comes by. One that was left behind on purpose may."""
    apart = ["%s: %s" % (b["label"], why) for b in backups for why in [off_the_line(b, line)] if why]
    named = "every backup in repository %d is on the way to the newest timeline" % repo
    return check(named, "all are", "; ".join(apart)[:600] or "all are", not apart, tier=SHOULD)


def judge_size(repo: int, backups: "Sequence[Mapping[str, Any]]") -> "list[dict[str, Any]]":
    """The newest full backup is about as large as the ones before it; nothing is said before there are three."""
    fulls = sorted((b for b in backups if b["type"] == "full"), key=lambda b: str(b["stopped"]))
    if len(fulls) < 3:
        return []
    usual, newest = median(b["size_bytes"] for b in fulls[:-1]), fulls[-1]["size_bytes"]
    near = usual * (1 - SIZE_TOLERANCE) <= newest <= usual * (1 + SIZE_TOLERANCE)
    found = check(
        "the newest full backup in repository %d is as large as usual" % repo,
        "%d bytes +- 30 %%" % usual,
        "%d bytes" % newest,
        near,
        tier=SHOULD,
    )
    return [found]
