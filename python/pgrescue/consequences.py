"""What a plan means to people: what it changes, what is lost, what cannot be undone. From the plan alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pgrescue.human import moment, size, span


def loss(plan: Mapping[str, Any]) -> str:
    """What the chosen way loses at most: by its own words where the plan has ways, else by the end of the archive."""
    if plan.get("procedure") == "partial_loss":
        return "nothing: what is missing comes back, newer rows stay, others are replaced with -e partial_replace alone"
    ways = plan.get("ways") or []
    if ways:
        return way_loss(ways[0])
    end = (plan.get("archive_end") or {}).get("time")
    if not end:
        return "not known: the plan does not say how far it reaches"
    reach = datetime.fromisoformat(end)
    said = f"commits after {moment(reach)} that no archived segment holds"
    if plan.get("made"):
        age = (datetime.fromisoformat(plan["made"]) - reach).total_seconds()
        said += f", {span(max(0.0, age))} before it was planned"
    return said


def point(plan: Mapping[str, Any]) -> str | None:
    """The moment that was asked for; None where all of the archive is replayed."""
    wanted = plan.get("recovery_target") or {}
    if not wanted.get("value"):
        return None
    upto = "with it" if wanted.get("inclusive") else "without what came at it"
    return f"{wanted['type']} {wanted['value']}, {upto}"


def way_loss(way: Mapping[str, Any]) -> str:
    """What one way loses at most."""
    seconds, count = way.get("loses_s"), way.get("loses_bytes")
    figures = [
        *([span(seconds)] if seconds is not None else []),
        *([f"{size(count)} of WAL"] if count is not None else []),
    ]
    return f"at most {', '.join(figures)}" if figures else "not known"


def way_name(way: Mapping[str, Any]) -> str:
    """`promote a2`, `restore 20261124-010000F from repository 1` or `restore dump 20261124T010000Z`."""
    method = str(way.get("method", "restore"))
    words = ["restore dump" if method == "logical" else method, str(way.get("backup") or way.get("host") or "")]
    if way.get("repository"):
        words.append(f"from repository {way['repository']}")
    return " ".join(filter(None, words))


def way_time(way: Mapping[str, Any]) -> str:
    """How long it usually takes, and what all but one in twenty would not exceed."""
    if way.get("takes_s") is None:
        return "time not known"
    worst = way.get("takes_p95_s")
    return span(way["takes_s"]) + (f", at worst {span(worst)}" if worst is not None else "")


def prediction(plan: Mapping[str, Any], took_s: float | None) -> str | None:
    """What was predicted for the way that was taken, held against what it took; None where either is not known."""
    taken = next((way for way in ways(plan) if not way.get("closed")), None)
    if taken is None or taken.get("takes_s") is None or took_s is None:
        return None
    if taken.get("takes_p95_s") is None:
        return f"Predicted {way_time(taken)}; it took {span(took_s)}."
    verdict = "within that" if took_s <= taken["takes_p95_s"] else "longer than that"
    return f"Predicted {way_time(taken)}; it took {span(took_s)}, {verdict}."


def ways(plan: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The ways back that a plan looked at, the chosen one first; of one that knows only backups, its backups."""
    if plan.get("ways"):
        return list(plan["ways"])
    return [
        {"method": "restore", "backup": backup["label"], "repository": backup.get("repo")}
        for backup in plan.get("candidates") or []
    ] + [
        {"method": "restore", "backup": over["label"], "repository": over.get("repo"), "closed": over["reason"]}
        for over in plan.get("passed_over") or []
    ]


def way_lines(plan: Mapping[str, Any]) -> list[str]:
    """Each way in a line, the chosen one first."""
    lines = []
    for way in ways(plan):
        why_not = f"; not taken: {way['closed']}" if way.get("closed") else ""
        lines.append(f"{way_name(way)}, loses {way_loss(way)}, {way_time(way)}{why_not}")
    return lines


def target(plan: Mapping[str, Any]) -> str:
    """Where it happens: host, address, directory."""
    return " ".join(str(plan[key]) for key in ("target_host", "target_address", "data_directory") if plan.get(key))
