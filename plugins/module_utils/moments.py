"""The last good moment of a table: what is asked while WAL is replayed, and what the answers say. Pure.

A boundary `k` is the state after the first `k` transactions of the WAL that was read, and before transaction `k`, whose commit record
is left out. A recovery whose target is that record's position, exclusively, ends there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Iterable, List, Mapping, Optional, Sequence, Tuple

from . import lsn, times
from .guards import PRECONDITION, STEP_FAILED, Stop
from .waldump import DELETED, INSERTED, UPDATED, Changes, History, Transaction, add

DAMAGES = ("rows_gone", "table_dropped", "bad_update")
ENDED = re.compile(r"error in WAL record at .*")
POSITION = re.compile(r"\b[0-9A-F]+/[0-9A-F]+\b")
GONE = "gone"  # what is said of a table that is not there
DEFINITION = 1 << 40  # the weight of a transaction that changed what the table is: more than any number of rows

# What is asked. The operator's own words are put in as they are: the copy is read only, and cut off from everything.
QUESTIONS = {
    "truth": "SELECT coalesce(bool_and(good), false)::text FROM (SELECT (%(expect)s)::boolean AS good FROM %(table)s%(where)s) asked",
    "presence": "SELECT coalesce(to_regclass(%(literal)s)::oid = %(oid)s, false)::text",  # another of its name is not the table
    "rows": "SELECT count(*)::text FROM %(table)s%(where)s",
    "content": "SELECT md5(string_agg(said, chr(10) ORDER BY said)) FROM (SELECT t::text AS said FROM %(table)s t%(where)s) asked",
}

# One answer: the boundary it was given at, and the words; None where a transaction held the table locked.
Answer = Tuple[int, Optional[str]]


def instant(text: Optional[str], option: str) -> Optional[datetime]:
    """The instant that an option names; None when it names none."""
    if not text:
        return None
    try:
        found = times.moment(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        said = "%s=%s is no time with its zone, such as 2026-11-24T22:00:00Z. Nothing was changed."
        raise Stop(said % (option, text), PRECONDITION)
    return found


def before(
    candidates: "Sequence[Mapping[str, Any]]", since: Optional[datetime], until: Optional[datetime]
) -> "list[dict[str, Any]]":
    """The backups that the search may begin with, newest first."""
    limit = since or until
    fit = [dict(b) for b in candidates if limit is None or times.moment(b["stopped"]) <= limit]
    if not fit:
        oldest = min((b["stopped"] for b in candidates), default=None)
        there = "The oldest one was complete at %s" % oldest if oldest else "There is none"
        when = " before %s" % limit.isoformat() if limit else ""
        raise Stop("No backup was complete%s. %s. Nothing was changed." % (when, there), PRECONDITION)
    return fit


def reading(damage: str, condition: Optional[str], expect: Optional[str]) -> str:
    """How the damage is recognised: by a key of QUESTIONS, or by the `size` of what a transaction wrote."""
    if expect:
        return "truth"
    if damage == "table_dropped":
        return "presence"
    if damage == "rows_gone":
        return "rows"
    return "content" if condition else "size"


def question(how: str, table: str, oid: int, condition: Optional[str], expect: Optional[str]) -> str:
    """The statement that is asked at each boundary; empty where WAL alone decides."""
    where = " WHERE (%s)" % condition if condition else ""
    literal = "'%s'" % table.replace("'", "''")
    parts = {"table": table, "literal": literal, "oid": oid, "where": where, "expect": expect}
    return QUESTIONS[how] % parts if how in QUESTIONS else ""


def chain(names: "Iterable[str]", start: str, segment_bytes: int) -> "list[str]":
    """The segments that are replayed from `start` on, up to the first one that is missing."""
    last = lsn.contiguous_end(names, start, segment_bytes)
    if last is None:
        return []
    found: "list[str]" = []
    there: "dict[int, list[str]]" = {}
    for name in names:
        there.setdefault(lsn.segment_number(name, segment_bytes), []).append(name)
    timeline = lsn.segment_timeline(start)
    for number in range(lsn.segment_number(start, segment_bytes), lsn.segment_number(last, segment_bytes) + 1):
        found.append(max(name for name in there[number] if lsn.segment_timeline(name) >= timeline))
        timeline = lsn.segment_timeline(found[-1])
    return found


def needed(names: "Sequence[str]", stored: "Mapping[str, int]", until: Optional[datetime]) -> "list[str]":
    """The segments of a chain that hold everything up to an instant: one that was stored later holds all that came before."""
    if until is None:
        return list(names)
    for number, name in enumerate(names):
        if stored[name] >= until.timestamp():
            return list(names[: number + 1])
    return list(names)


def reaches(stored: "Mapping[str, int]", names: "Sequence[str]", until: Optional[datetime]) -> bool:
    """Whether a chain of segments holds everything up to an instant."""
    return until is not None and stored[names[-1]] >= until.timestamp()


def check_end(code: int, said: str, names: "Sequence[str]", segment_bytes: int) -> None:
    """Refuse WAL that pg_waldump could not read up to its last segment, where it ends anywhere: that one may not be full."""
    if code == 0:
        return
    stood = [lsn.parse_lsn(at) for line in ENDED.findall(said) for at in POSITION.findall(line)]
    if not stood or max(stood) // segment_bytes < lsn.segment_number(names[-1], segment_bytes):
        words = (said.strip().splitlines() or ["it ended with %d" % code])[-1]
        raise Stop("The WAL up to %s cannot be read: %s. Nothing was changed." % (names[-1], words), STEP_FAILED)


def check_window(
    transactions: "Sequence[Transaction]",
    bounds: "tuple[int, int]",
    names: "Sequence[str]",
    gap: "Optional[Mapping[str, str]]",
) -> None:
    """Refuse a search in which no transaction committed."""
    if bounds[0] < bounds[1]:
        return
    there = "; the last one that was archived committed at %s" % transactions[-1].time if transactions else ""
    said = (
        "No transaction committed in the time that is searched, in the WAL up to segment %s%s. %sNothing was changed."
    )
    raise Stop(said % (names[-1], there, broken(gap)), PRECONDITION)


def broken(gap: "Optional[Mapping[str, str]]") -> str:
    """What is to be said of a gap; empty without one."""
    if not gap:
        return ""
    return (
        "WAL is missing in the archive after segment %(after)s and before %(until)s: what came later cannot be searched from this "
        "backup. For that, begin with a backup taken after the gap: -e moment_since. " % gap
    )


def window(
    transactions: "Sequence[Transaction]", consistent: int, since: Optional[datetime], until: Optional[datetime]
) -> "tuple[int, int]":
    """The first and the last boundary of the search."""
    first = next((k for k, t in enumerate(transactions) if t.lsn >= consistent), len(transactions))
    if since:
        later = (k for k, t in enumerate(transactions) if k >= first and times.moment(t.time) >= since)
        first = next(later, len(transactions))
    last = len(transactions)
    if until:
        last = max((k + 1 for k, t in enumerate(transactions) if times.moment(t.time) <= until), default=first)
    return first, max(first, last)


@dataclass
class Table:
    """Everything that is known to belong to a table: the files of it and of its partitions, and their numbers in the catalog."""

    database: str
    files: "set[str]"
    relations: "set[int]"

    def weights(self, transactions: "Sequence[Transaction]", how: str, condition: Optional[str]) -> "list[int]":
        """How many rows each transaction may have damaged; what a change of definition made becomes the table's own.

        Rather too many than too few: a transaction that is looked at in vain costs one more question.
        """
        kinds = {"presence": (), "rows": (DELETED, UPDATED) if condition else (DELETED,), "size": (UPDATED,)}
        return [self._weight(t, kinds.get(how, (INSERTED, UPDATED, DELETED))) for t in transactions]

    def _weight(self, t: Transaction, kinds: "Sequence[int]") -> int:
        rows = sum(self.rows(t, kind) for kind in kinds)
        if self.relations & set(t.relations) or self.files & set(t.dropped) or self.database in t.databases:
            self.files |= set(t.created)
            return rows + DEFINITION
        return rows

    def rows(self, t: Transaction, kind: int) -> int:
        """How many rows of the table a transaction inserted, updated or deleted."""
        return sum(counts[kind] for file, counts in t.changes.items() if file in self.files)


def boundaries(first: int, last: int, weights: "Sequence[int]", limit: int, spread: bool) -> "list[int]":
    """Where to ask: at every boundary if there are few, else around what may have done most.

    With `spread` also evenly over all that may have done anything, or over all when those are few: the most is not always what is
    looked for, and what is asked may have to do with another table.
    """
    if last - first <= limit:
        return list(range(first, last + 1))
    touching = [k for k in range(first, last) if weights[k]]
    many = 2 * len(touching) > limit
    most = sorted(touching, key=lambda k: -weights[k])[: limit // 4 if many else len(touching)]
    asked = {first, last, *most, *(k + 1 for k in most)}
    if spread:
        among: "Sequence[int]" = touching if many else range(first, last)
        asked.update(among[number * len(among) // (limit // 2)] for number in range(limit // 2))
    return sorted(asked)


def damaged_between(how: str, answers: "Sequence[Answer]", weights: "Sequence[int]") -> "Optional[tuple[int, int]]":
    """The two boundaries, next to each other among those that answered, between which the damage was done; None when it was not.

    By `rows` where one transaction may have taken away most, otherwise the last time that good became bad, or that the content changed.
    """
    told = [(k, said) for k, said in answers if said is not None]
    pairs = [(told[n], told[n + 1]) for n in range(len(told) - 1)]
    if how == "rows":
        # what many took away one after the other is not the damage
        losses = [(min(int_of(a) - int_of(b), max(weights[k:j])), k, j) for (k, a), (j, b) in pairs]
        loss, k, j = max(losses, default=(0, 0, 0))
        return (k, j) if loss > 0 else None
    if how == "content":
        found = [(k, j) for (k, a), (j, b) in pairs if a != b]
    else:
        found = [(k, j) for (k, a), (j, b) in pairs if a == "true" and b != "true"]
    return found[-1] if found else None


def int_of(said: str) -> int:
    """A count of rows; a table that is not there has none."""
    return 0 if said == GONE else int(said)


def is_decided(between: "tuple[int, int]", answers: "Sequence[Answer]") -> bool:
    """Whether the damage is the last transaction in between: it is the only one, or nothing was told at any boundary between.

    The table is locked there by the one that changes it, so that no other one can have.
    """
    first, last = between
    return {k for k, said in answers if first < k < last and said is None} == set(range(first + 1, last))


def largest(weights: "Sequence[int]", first: int, last: int) -> "Optional[int]":
    """The transaction that updated most rows of the table, the last one of such; None when none updated any."""
    found = max(range(first, last), key=lambda k: (weights[k] % DEFINITION, k), default=None)
    return found if found is not None and weights[found] % DEFINITION else None


def named(changes: "Mapping[str, List[int]]", names: "Mapping[str, str]") -> "dict[str, dict[str, int]]":
    """Counts of rows by the names of their tables; files of the catalogs and of indexes have no name and are left out."""
    total: Changes = {}
    for file, counts in changes.items():
        if file in names:
            add(total, {names[file]: counts})
    return {
        name: {"inserted": counts[INSERTED], "updated": counts[UPDATED], "deleted": counts[DELETED]}
        for name, counts in sorted(total.items())
    }


def summary(transactions: "Sequence[Transaction]", names: "Mapping[str, str]") -> "dict[str, Any]":
    """How many transactions, and what they did, by table."""
    total: Changes = {}
    for t in transactions:
        add(total, t.changes)
    emptied = sorted({names[file] for t in transactions for file in t.dropped if file in names})
    return {"transactions": len(transactions), "tables": named(total, names), "emptied": emptied}


def known(t: Transaction) -> "dict[str, Any]":
    """What names a transaction to a reader."""
    return {"xid": t.xid, "lsn": lsn.format_lsn(t.lsn), "time": t.time}


def target(
    label: str,
    point: "Mapping[str, Any]",
    at: int,
    history: History,
    bounds: "tuple[int, int]",
    names: "Mapping[str, str]",
) -> "dict[str, Any]":
    """A point to recover to, at boundary `at`: what it would keep and lose of the transactions from the beginning of the search on."""
    kept, lost = history.transactions[bounds[0] : at], history.transactions[at:]
    seconds = times.epoch_s(lost[-1].time) - times.epoch_s(lost[0].time) if lost else 0.0
    return {
        "name": label,
        "recovery_target": dict(point),
        "kept": summary(kept, names),
        "lost": {**summary(lost, names), "seconds": round(max(seconds, 0.0), 3)},
    }


def targets(
    history: History, bounds: "tuple[int, int]", damage: int, names: "Mapping[str, str]", nearest: int = 3
) -> "list[dict[str, Any]]":
    """The points that are worth a thought: just before the damage, the nearest named ones before it, and the end."""
    at = history.transactions[damage].lsn
    exclusive = {"type": "lsn", "value": lsn.format_lsn(at), "inclusive": False}
    found = [target("just before the damage", exclusive, damage, history, bounds, names)]
    from_lsn = history.transactions[bounds[0]].lsn
    # replay stops at the first point of a name
    first = {point.name: point for point in reversed(history.points)}
    before = sorted((p for p in first.values() if from_lsn <= p.lsn < at), key=lambda p: -p.lsn)
    for point in before[:nearest]:
        reached = sum(t.lsn < point.lsn for t in history.transactions)
        words = {"type": "name", "value": point.name, "inclusive": True}
        found.append(target("restore point %s" % point.name, words, reached, history, bounds, names))
    end = target("the end, damage included", {"type": "default"}, len(history.transactions), history, bounds, names)
    return [*found, end]


def found(
    history: History, bounds: "tuple[int, int]", damage: int, table: Table, names: "Mapping[str, str]"
) -> "dict[str, Any]":
    """The last transaction before the damage, the one that did it, and where one could recover to."""
    transaction = history.transactions[damage]
    of_table = transaction.relations and table.relations & set(transaction.relations)
    return {
        "good": known(history.transactions[damage - 1]) if damage else None,
        "damaging": {
            **known(transaction),
            "changes": named(transaction.changes, names),
            "emptied": sorted({names[file] for file in transaction.dropped if file in names}),
            "changed_definition": bool(of_table) or table.database in transaction.databases,
        },
        "targets": targets(history, bounds, damage, names),
    }


def unseen(how: str, answers: "Sequence[Answer]") -> str:
    """Why nothing was found, and what could be done."""
    told = [said for _k, said in answers if said is not None]
    if how in ("truth", "presence") and told and told[0] != "true":
        return "It was so already at the beginning of the search. Look earlier: say moment_since as a time before the damage"
    if how in ("truth", "presence"):
        return "It never came to be so in what was searched. Say what no longer holds with moment_expect, or look later or earlier"
    what = {"rows": "lost no row", "content": "did not change", "size": "was not updated"}[how]
    return (
        "The table %s in what was searched. Look earlier with moment_since, or at other rows with moment_condition"
        % what
    )


def around(
    answers: "Sequence[Answer]", damage: int, transactions: "Sequence[Transaction]", near: int = 5
) -> "list[dict[str, Any]]":
    """What was told next to the damage, and at the beginning and the end of the search."""
    place = next((n for n, (k, _said) in enumerate(answers) if k > damage), len(answers))
    chosen = {0, len(answers) - 1, *range(max(place - near, 0), min(place + near, len(answers)))} if answers else set()
    return [
        {
            "before": known(transactions[answers[n][0]]) if answers[n][0] < len(transactions) else None,
            "answer": answers[n][1],
        }
        for n in sorted(chosen)
    ]


def searched(
    transactions: "Sequence[Transaction]", bounds: "tuple[int, int]", gap: "Optional[Mapping[str, str]]"
) -> "dict[str, Any]":
    """What was looked at: the first and the last transaction, and how many there are."""
    first, last = bounds
    return {
        "first": known(transactions[first]),
        "last": known(transactions[last - 1]),
        "transactions": last - first,
        "gap": dict(gap) if gap else None,
    }
