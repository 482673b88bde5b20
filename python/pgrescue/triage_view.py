"""Facts and choices as a person reads them at three in the morning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pgrescue.human import plural, size, span

SHOWN = 12  # facts; the rest is in --json
LOOKS = {"page": ("!!", "bold red"), "ticket": (" !", "yellow"), "none": ("ok", "green")}


def headline(service: str, situation: Mapping[str, Any], degraded: Sequence[str]) -> tuple[str, str, str]:
    """Sign, sentence and style of the first line, which contradicts nothing that follows."""
    sign, style = LOOKS[situation["level"]]
    if situation["level"] != "none" or not degraded:
        return sign, f"{service}: {situation['says']}", style
    sign, style = LOOKS["ticket"]
    be = "is" if len(degraded) == 1 else "are"
    return sign, f"{service}: clients are served; {plural(len(degraded), 'thing')} {be} degraded.", style


def render(found: Mapping[str, Any]) -> Group:
    """All of it, in the order in which it is needed."""
    situation = found["situation"]
    degraded = found.get("standing", {}).get("degraded", [])
    sign, says, style = headline(found["service"], situation, degraded)
    about = f"  ({situation['about']})" if situation["about"] and situation["level"] != "none" else ""
    head = Text.assemble((f"{sign} {says}{about}", style))
    parts: list[RenderableType] = [head, *_facts(situation)]
    for sentence in degraded[situation["level"] != "none" :]:  # the first of them is the head line then
        parts.append(Padding(Text(f" ! {sentence}", style="yellow"), (0, 0, 0, 2)))
    if "proposed" in found:
        parts += _proposed(found["proposed"])
        parts += _others(found["not_offered"], situation)
    parts.append(Text(f"looked for {found['took_s']:.1f} s; nothing was changed", style="dim"))
    return Group(*parts)


def _facts(situation: Mapping[str, Any]) -> Iterator[RenderableType]:
    facts: dict[str, list[str]] = {}  # what is said in the same words by several is said once
    for said in situation["facts"]:
        facts.setdefault(said["says"], []).append(said["by"])
    if facts:
        yield Text("FACTS", style="bold")
    for number, (says, by) in enumerate(list(facts.items())[:SHOWN], 1):
        yield Padding(Text(f"{number:>2} {', '.join(by)}: {says}"), (0, 0, 0, 2))
    if len(facts) > SHOWN:
        yield Padding(Text(f"   and {len(facts) - SHOWN} more (--json)", style="dim"), (0, 0, 0, 2))
    for said in situation["doubts"]:
        yield Padding(Text(f" ? {said['by']} alone: {said['says']}", style="yellow"), (0, 0, 0, 2))


def _proposed(ways: list[dict[str, Any]]) -> Iterator[RenderableType]:
    if ways:
        yield Text("PROPOSED", style="bold")
    for number, way in enumerate(ways, 1):
        yield Padding(Text.assemble((f"[{number}] {way['do']}", "bold"), f"  {way['says']}"), (0, 0, 0, 2))
        figures = "; ".join(_figures(way))
        if figures:
            yield Padding(Text(figures), (0, 0, 0, 6))
        yield Padding(Text(way["command"], style="cyan", no_wrap=True, overflow="fold"), (0, 0, 0, 6))


def _figures(way: Mapping[str, Any]) -> Iterator[str]:
    if "takes_s" in way:
        worst = f", at worst {span(way['takes_p95_s'])}" if "takes_p95_s" in way else ""
        yield f"takes about {span(way['takes_s'])}{worst}"
    elif way["destructive"]:
        yield "how long was never measured"
    if "loses_s" in way:
        yield f"loses at most {span(way['loses_s'])} of commits"
    elif way.get("loses_bytes") is not None:
        yield f"loses at most {size(way['loses_bytes'])} of WAL"
    if way["destructive"]:
        yield "commits that are not there are given up"


def _others(ways: list[dict[str, Any]], situation: Mapping[str, Any]) -> Iterator[RenderableType]:
    if situation["level"] == "none":
        return
    if ways:
        yield Text("NOT OFFERED", style="bold")
    for way in ways:
        yield Padding(Text(f"{way['do']}: {way['why']}", style="dim"), (0, 0, 0, 2))
    refuted = [
        one
        for one in situation["refuted"]
        if one["state"] in ("region_gone", "everything_lost", "host_gone", "damaged")
    ]
    if refuted:
        yield Text("REFUTED", style="bold")
    for one in refuted:
        yield Padding(Text(f"{one['state'].replace('_', ' ')}: {one['why']}", style="dim"), (0, 0, 0, 2))
