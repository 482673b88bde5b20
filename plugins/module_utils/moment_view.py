"""What was found of the last good moment, as commands to use it and as a page of 80 columns. Pure."""

from __future__ import annotations

import shlex
import textwrap
from typing import Any, List, Mapping, Optional

WIDTH = 80
JUDGED = {
    "truth": "what was to be true, asked of a copy before and after",
    "presence": "whether the table was there, asked of a copy before and after",
    "rows": "where one transaction took away most rows, counted on a copy",
    "content": "where the rows changed last, compared on a copy",
    "size": "where one transaction updated most rows, by WAL alone",
}


def commands(found: "Mapping[str, Any]", target: "Mapping[str, Any]", inventory: str = "INVENTORY") -> "list[str]":
    """The runbooks that recover to a target, ready to be typed."""
    kind, value, service = target["type"], target.get("value"), found["service"]
    if kind == "default":
        return []
    runbook = "ansible-playbook playbooks/%%s.yml -i %s -e service=%%s " % shlex.quote(inventory).replace("%", "%%")
    what = "-e partial_tables=%s " % shlex.quote(found["table"])
    if found["database"] != service:
        what += "-e partial_database=%s " % shlex.quote(found["database"])
    exclusive = "" if target["inclusive"] else " -e recover_exclusive=true"
    partly = value if kind == "lsn" else "%s:%s" % (kind, value)
    return [
        runbook % ("partial_loss", service) + what + "-e partial_to=%s" % partly,
        runbook % ("corruption", service) + "-e recover_to=%s:%s%s" % (kind, value, exclusive),
    ]


def page(moment: "Mapping[str, Any]") -> "list[str]":
    """What a person reads."""
    good, bad, seen = moment["good"], moment["damaging"], moment["searched"]
    lines = [
        "LAST GOOD MOMENT  %s in database %s of service %s" % (moment["table"], moment["database"], moment["service"]),
        *_row("damage", _damage(moment)),
        *_row("good until", _transaction(good) if good else "the backup itself; nothing committed since"),
        *_row("damaged by", _transaction(bad)),
        *(line for words in _deeds(bad) for line in _row("", words)),
        *_row("judged by", JUDGED[moment["judged_by"]]),
        *_row("answered", _answers(moment)),
        *_row(
            "searched",
            "%d transactions, %s to %s" % (seen["transactions"], seen["first"]["time"], seen["last"]["time"]),
        ),
    ]
    if seen["gap"]:
        words = "WAL is missing after %(after)s and before %(until)s: what came later was not searched" % seen["gap"]
        lines += _row("GAP", words)
    lines += ["", "%-40s %12s %12s %12s" % ("recover to", "commits kept", "commits lost", "their span")]
    for target in moment["targets"]:
        kept, lost = target["kept"], target["lost"]
        span = "%.1f s" % lost["seconds"] if lost["transactions"] else "-"
        lines.append("%-40.40s %12d %12d %12s" % (target["name"], kept["transactions"], lost["transactions"], span))
        lines += _tables("kept", kept) + _tables("lost", lost)
    lines.append("The damage itself is among what is lost.")
    for target in moment["targets"]:
        if target["commands"]:
            lines += ["", "To recover to: %s" % target["name"]]
            lines += [line for command in target["commands"] for line in _folded(command)]
    return lines


def _row(name: str, words: str) -> "list[str]":
    return textwrap.wrap(words, WIDTH, initial_indent="%-13s" % name, subsequent_indent=" " * 13)


def _transaction(t: "Mapping[str, Any]") -> str:
    return "%s  transaction %s, commit at %s" % (t["time"], t["xid"], t["lsn"])


def _damage(moment: "Mapping[str, Any]") -> str:
    where = " where %s" % moment["condition"] if moment["condition"] else ""
    return "%s%s" % (moment["damage"].replace("_", " "), where)


def _deeds(bad: "Mapping[str, Any]") -> "list[str]":
    """What the transaction did, a table a line."""
    said = ["%s: %s" % (name, _counts(counts)) for name, counts in bad["changes"].items()]
    said += ["%s: its file was dropped with all rows" % name for name in bad["emptied"]]
    return said or (["it changed the table's definition"] if bad["changed_definition"] else [])


def _counts(counts: "Mapping[str, int]") -> str:
    return ", ".join("%d %s" % (counts[kind], kind) for kind in ("inserted", "updated", "deleted") if counts[kind])


def _answers(moment: "Mapping[str, Any]") -> str:
    """The answers just before and just after the damage; empty where nothing was asked."""
    at = moment["damaging"]["lsn"]
    told: "Optional[str]" = None
    for one in moment["answers"]:
        if one["before"] is None or _later(one["before"]["lsn"], at):
            return "%s before, %s after" % (_short(told), _short(one["answer"])) if told is not None else ""
        told = one["answer"] if one["answer"] is not None else told
    return ""


def _later(one: str, other: str) -> bool:
    return [int(part, 16) for part in one.split("/")] > [int(part, 16) for part in other.split("/")]


def _short(answer: "Optional[str]") -> str:
    return "nothing" if not answer else answer if len(answer) < 20 else answer[:8]


def _tables(what: str, summary: "Mapping[str, Any]") -> "List[str]":
    lines = []
    for name, counts in summary["tables"].items():
        lines += textwrap.wrap(
            "%s %s: %s" % (what, name, _counts(counts)), WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    for name in summary["emptied"]:
        lines.append("  %s %s: its file was dropped with all rows" % (what, name))
    return lines


def _folded(command: str) -> "list[str]":
    """A command in lines that a shell reads as one."""
    parts = command.replace(" -", "\n-").splitlines()
    lines = ["  " + parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append("    " + part)
        else:
            lines[-1] += " " + part
    return lines
