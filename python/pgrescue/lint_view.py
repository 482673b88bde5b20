"""Draw what the linter found: at most 80 columns, a word beside every sign, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pgrescue.human import plural, size, span

_INDENT = 12
_LOOKS = {"error": ("!!", "bold red"), "warning": (" !", "yellow"), "advice": (" i", "cyan")}
_OBJECTIVES = {"rpo": "recovery point", "rto": "recovery time", "protection": "protection"}
_PERCENT = 100


def render(findings: Sequence[Mapping[str, Any]], service: str) -> Group:
    """All findings; what is said of several hosts in the same words is said once."""
    drawn: list[RenderableType] = [part for same in _grouped(findings) for part in _finding(same)]
    return Group(*drawn, summary(findings, service))


def summary(findings: Sequence[Mapping[str, Any]], service: str) -> Text:
    """One line: how many of each level."""
    counts = {level: sum(found["level"] == level for found in findings) for level in _LOOKS}
    if not findings:
        return Text(f"{service}: nothing was found that would break its promise.", style="green")
    words = [plural(counts["error"], "error"), plural(counts["warning"], "warning"), f"{counts['advice']} advice"]
    return Text(f"{service}: {', '.join(words)}", style="bold red" if counts["error"] else "bold")


def _grouped(findings: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    def words(found: Mapping[str, Any]) -> tuple[str, ...]:
        return (found["id"], found["says"], found["change"], str(found["because"]))

    for _words, same in groupby(findings, key=words):
        yield list(same)


def _finding(same: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    first = same[0]
    sign, style = _LOOKS[first["level"]]
    places = ", ".join(found["where"] for found in same if found["where"])
    head = Text.assemble((f"{sign} {first['level']:<8}", style), (first["id"], "bold"))
    head.append(f"  {_OBJECTIVES[first['objective']]}" + (f"  on {places}" if places else ""), style="dim")
    yield head
    yield _paragraph(Text(first["says"]))
    if first["because"]:
        figures = ", ".join(f"{_name(key)} {_value(key, value)}" for key, value in first["because"].items())
        yield _paragraph(Text(f"because: {figures}", style="dim"))
    yield _paragraph(Text(f"change:  {first['change']}"))
    yield Text()


def _paragraph(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, _INDENT), expand=False)


def _name(key: str) -> str:
    for unit in ("_bytes_per_day", "_s", "_bytes", "_share", "_days"):
        key = key.removesuffix(unit)
    return key.replace("_", " ")


def _value(key: str, value: Any) -> str:
    if key.endswith("_bytes_per_day"):
        return f"{size(round(value))} a day"
    if key.endswith("_bytes"):
        return size(round(value))
    if key.endswith("_s"):
        return span(value)
    if key.endswith("_share"):
        return f"{value * _PERCENT:.1f} %"
    return str(value)
