"""What pg_waldump prints, folded into the transactions that committed and what each did. Pure.

Source: PostgreSQL's rmgrdesc (xactdesc.c, heapdesc.c, smgrdesc.c), whose words differ a little from version to version.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from .lsn import parse_lsn

# What is asked for; the rest, of indexes above all, is not printed. Before 15 pg_waldump takes one alone: all is printed then.
MANAGERS = ("Heap", "Heap2", "Transaction", "Storage", "XLOG", "Database")
MANY_SINCE = 15

RECORD = re.compile(
    r"^rmgr: (\w+)\s+len \(rec/tot\):\s*\d+/\s*\d+, tx:\s*(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), prev [0-9A-F]+/[0-9A-F]+, "
    r"desc: (\S+) ?(.*)$"
)
BLOCK = re.compile(r"blkref #0: rel \d+/(\d+)/(\d+)")
MANY = re.compile(r"(\d+) tuples|ntuples: (\d+)")
COMMITTED = re.compile(r"^(?:(\d+): )?(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?) UTC")
FILE = re.compile(r"(?:base/|/)(\d+)/(\d+)$")
# The row of a database in pg_database is marked as invalid in place, then deleted, then the files are dropped.
DATABASE_ROW = re.compile(r"off:? (\d+).*blkref #0: rel \d+/0/1262 (?:fork \w+ )?blk (\d+)")
RELCACHE = re.compile(r"relcache (\d+)")
DROPPED_DATABASE = re.compile(r"\d+/(\d+)")
ENGINE = "pgBackRest "  # makes restore points of its own, of one name, with each check
INSERTED, UPDATED, DELETED = range(3)
KINDS = {"INSERT": INSERTED, "UPDATE": UPDATED, "HOT_UPDATE": UPDATED, "DELETE": DELETED, "MULTI_INSERT": INSERTED}

# A table's file, as `<oid of the database>/<number>`, and how many rows were inserted, updated and deleted in it.
Changes = Dict[str, List[int]]


@dataclass
class Transaction:
    """A transaction that committed; `lsn` is where its commit record begins, in bytes.

    Of one that drops a database it is where it begins to: that is not undone by leaving its commit out.
    """

    lsn: int
    xid: int
    time: str
    changes: Changes = field(default_factory=dict)
    created: List[str] = field(default_factory=list)
    dropped: List[str] = field(default_factory=list)
    relations: List[int] = field(default_factory=list)  # whose definition it changed
    databases: List[str] = field(default_factory=list)  # dropped ones


@dataclass(frozen=True)
class Point:
    """A named restore point."""

    name: str
    lsn: int


@dataclass
class Work:
    """What a transaction has done so far."""

    changes: Changes = field(default_factory=dict)
    created: List[str] = field(default_factory=list)
    databases: List[str] = field(default_factory=list)
    began_to_drop: Optional[int] = None


@dataclass
class History:
    """All of a stretch of WAL: its transactions in the order of their commits, and its restore points."""

    transactions: List[Transaction] = field(default_factory=list)
    points: List[Point] = field(default_factory=list)

    def as_dict(self) -> "dict[str, Any]":
        """The same as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: "Mapping[str, Any]") -> "History":
        """What `as_dict` gave."""
        return cls([Transaction(**t) for t in values["transactions"]], [Point(**p) for p in values["points"]])


def arguments(version: int) -> "list[str]":
    """Options that leave out what is of no use here."""
    return ["--rmgr=" + manager for manager in MANAGERS] if version >= MANY_SINCE else []


def add(into: Changes, more: "Mapping[str, Iterable[int]]") -> None:
    """Add counts to counts."""
    for file, counts in more.items():
        there = into.setdefault(file, [0, 0, 0])
        for kind, count in enumerate(counts):
            there[kind] += count


def read(lines: "Iterable[str]") -> History:
    """Fold the lines of pg_waldump, from where every transaction of interest begins."""
    open_work: "dict[int, Work]" = {}
    history = History()
    marked: "Tuple[Any, int]" = (None, 0)  # the row of pg_database that was changed in place last, and where
    for line in lines:
        match = RECORD.match(line)
        if not match:
            continue
        manager, xid, lsn, what, rest = match.groups()
        work = open_work.setdefault(int(xid), Work()) if int(xid) else Work()
        operation = what.partition("+")[0].rstrip(",")
        if manager in ("Heap", "Heap2") and operation in KINDS:
            _count(work, operation, rest)
            row = DATABASE_ROW.search(rest) if operation == "DELETE" else None
            if row and row.groups() == marked[0]:
                work.began_to_drop = marked[1]
        elif manager == "Heap" and operation == "INPLACE":
            row = DATABASE_ROW.search(rest)
            marked = (row.groups(), parse_lsn(lsn)) if row else marked
        elif manager == "Storage" and operation == "CREATE":
            work.created += _files(rest)
        elif manager == "Database" and operation == "DROP":
            work.databases += DROPPED_DATABASE.findall(rest)
            work.began_to_drop = work.began_to_drop or parse_lsn(lsn)
        elif manager == "XLOG" and operation == "RESTORE_POINT" and not rest.startswith(ENGINE):
            history.points.append(Point(rest.split(";")[0].strip(), parse_lsn(lsn)))
        elif manager == "Transaction" and operation in ("COMMIT", "COMMIT_PREPARED"):
            done = _commit(parse_lsn(lsn), int(xid), rest, open_work)
            if done:
                history.transactions.append(done)
        elif manager == "Transaction" and operation in ("ABORT", "ABORT_PREPARED"):
            _end(int(xid), rest, open_work)
    history.transactions.sort(key=lambda t: t.lsn)
    return history


def _count(work: Work, operation: str, rest: str) -> None:
    block = BLOCK.search(rest)
    if not block:
        return
    many = MANY.search(rest) if operation == "MULTI_INSERT" else None
    counts = [0, 0, 0]
    counts[KINDS[operation]] = int(many.group(1) or many.group(2)) if many else 1
    add(work.changes, {"%s/%s" % block.groups(): counts})


def _end(xid: int, rest: str, open_work: "dict[int, Work]") -> "Tuple[Optional[re.Match[str]], int, Work]":
    """The end of a transaction with its subtransactions: what it says of itself, its number, and all that it did."""
    said = COMMITTED.match(rest)
    number = int(said.group(1)) if said and said.group(1) else xid
    parts = dict(part.strip().partition(": ")[::2] for part in rest.split(";"))
    work = Work()
    for one in (number, *map(int, parts.get("subxacts", "").split())):
        done = open_work.pop(one, Work())
        add(work.changes, done.changes)
        work.created += done.created
        work.databases += done.databases
        work.began_to_drop = work.began_to_drop or done.began_to_drop
    return said, number, work


def _commit(lsn: int, xid: int, rest: str, open_work: "dict[int, Work]") -> Optional[Transaction]:
    said, number, work = _end(xid, rest, open_work)
    if not said or not number:
        return None
    parts = dict(part.strip().partition(": ")[::2] for part in rest.split(";"))
    time = "%sT%sZ" % said.group(2, 3)
    dropped, relations = _files(parts.get("rels", "")), RELCACHE.findall(parts.get("inval msgs", ""))
    at = work.began_to_drop or lsn
    return Transaction(
        at, number, time, work.changes, work.created, dropped, sorted(set(map(int, relations))), work.databases
    )


def _files(text: str) -> "list[str]":
    """Files named by their paths: `base/5/16384`, or below `pg_tblspc`."""
    found = (FILE.search(path) for path in text.replace(",", " ").split())
    return ["%s/%s" % match.groups() for match in found if match]
