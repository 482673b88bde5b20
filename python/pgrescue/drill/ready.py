"""The checklist before a drill: what can be found out is, and people are asked for the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from pydantic import Field

from pgrescue import procedures
from pgrescue.drill.checklist import SAMPLING, Item, item
from pgrescue.human import plural, size
from pgrescue.models import Model
from pgrescue.programme import past, reviews
from pgrescue.programme.plan import Programme, ServicePlan
from pgrescue.watch import rehearsal

BEFORE = {
    "date_free": "the day is not blocked",
    "participants": "everybody who takes part was told and has acknowledged",
    "parity": "the environment was held against production",
    "runbook_reviewed": "the runbook was reviewed as it is",
    "page_proven": "the way of an alert is proven",
    "tools": "the tools are there",
    "credentials": "the credentials are good",
    SAMPLING: "every host can be sampled each second",
}
OPTIONAL = (SAMPLING,)  # what a reason leaves out, although it could be had


class Context(Model):
    """What the items before a drill are found out from."""

    programme: Programme
    service: str
    procedures: tuple[str, ...]  # all that may be needed
    runs: Path
    inventory: Path
    who: str
    now: datetime
    acknowledged: tuple[str, ...] = ()
    told: Mapping[str, str] = Field(default_factory=dict)  # what came of telling those who have a channel

    @property
    def plan(self) -> ServicePlan | None:
        """What the programme knows of the service."""
        return self.programme.services.get(self.service)


def before(context: Context, reasons: Mapping[str, str]) -> list[Item]:
    """Every item before the drill, looked at now. `reasons`: items that the drill goes on without, and why.

    Raises ValueError for a reason that names no item.
    """
    unknown = sorted(set(reasons) - set(BEFORE))
    if unknown:
        raise ValueError(f"The checklist has no item {', '.join(unknown)}; it has {', '.join(BEFORE)}")
    standing = context.plan.going_without if context.plan else {}
    items = []
    for name, text in BEFORE.items():
        wanted = name not in OPTIONAL or not (reasons.get(name) or standing.get(name))
        done, said = _LOOKS[name](context) if wanted else (False, "left out")
        reason = None if done else reasons.get(name) or standing.get(name)
        always = reason is not None and reason == standing.get(name)
        items.append(item(name, "before", text, (done, said), context.who, context.now, reason, always))
    return items


def missing(items: Sequence[Item]) -> list[Item]:
    """Items that are not done and that nobody gave a reason for."""
    return [one for one in items if not one.done and not one.reason]


def _date_free(context: Context) -> tuple[bool, str]:
    why = context.programme.why_blocked(context.now.date())
    return not why, f"blocked: {why}" if why else f"{context.now.date()} is free"


def _participants(context: Context) -> tuple[bool, str]:
    wanted = [one.name for one in context.plan.participants] if context.plan else []
    if not wanted:
        return False, "the programme names nobody who takes part"
    silent = sorted(set(wanted) - set(context.acknowledged))
    said = f"not acknowledged by {', '.join(silent)}" if silent else f"{', '.join(wanted)} acknowledged"
    return not silent, "; ".join([said, *(f"{name} {came}" for name, came in context.told.items())])


def _parity(context: Context) -> tuple[bool, str]:
    production = context.plan.production if context.plan else None
    if production is None:
        return False, "the programme says nothing of production"
    runs = past.runs(context.runs, context.service)
    if not runs:
        return False, "no run says how large and of which version this environment is"
    version = next((one.postgresql for one in reversed(runs) if one.postgresql), None)
    data = next((d for one in reversed(runs) if (d := _data_bytes(context.runs / one.run))), None)
    here = past.extensions(context.runs, [one.run for one in reversed(runs)])
    if data is None:
        return False, "no run measured how much data is here"
    if version is None:
        return False, "no run says which version is here"
    if here is None:
        return False, "no census says which extensions are here"
    absent = sorted(set(production.extensions) - {name.rpartition(".")[2] for name in here})
    said = [
        f"PostgreSQL {version} here, {production.postgresql} in production",
        f"{size(data)} here, {size(production.data_bytes)} in production ({data / production.data_bytes:.2%})",
        f"extensions missing here: {', '.join(absent)}" if absent else "no extension is missing here",
    ]
    return True, "; ".join(said)


def _data_bytes(directory: Path) -> int | None:
    path = directory / "measurement.json"
    found = json.loads(path.read_text(encoding="utf-8")).get("data_bytes") if path.exists() else None
    return int(found) if found else None


def _runbook_reviewed(context: Context) -> tuple[bool, str]:
    known, today, days = reviews.load(), context.now.date(), context.programme.review_days
    found = {
        name: reviews.problem(known.get(name), procedures.digest(name), today, days) for name in context.procedures
    }
    wrong = [f"{name}: {problem}" for name, problem in found.items() if problem]
    good = [f"{name} by {known[name].by} on {known[name].reviewed}" for name in found if name in known]
    return not wrong, "; ".join(wrong) or f"reviewed: {', '.join(good)}"


def _page_proven(context: Context) -> tuple[bool, str]:
    there = sorted((context.runs / rehearsal.FOLDER).glob(f"*-{context.service}-rehearsal.json"), reverse=True)
    # a name may end as another one does: shop, web-shop
    said = (json.loads(path.read_text(encoding="utf-8")) for path in there)
    found = next((one for one in said if one["service"] == context.service), None)
    if found is None:
        return False, f"nobody rehearsed it: pgrescue watch --rehearse -s {context.service}"
    at = datetime.fromisoformat(found["at"])
    if not found["passed"]:
        return False, f"the rehearsal of {at.date()} did not pass"
    if context.now - at > timedelta(days=context.programme.page_days):
        return False, f"last proven on {at.date()}, longer ago than {context.programme.page_days} days"
    return True, f"proven on {at.date()}: {', '.join(found['channels'])}"


def _tools(context: Context) -> tuple[bool, str]:
    absent = [name for name in context.programme.tools if shutil.which(name) is None]
    return not absent, f"not found: {', '.join(absent)}" if absent else ", ".join(
        context.programme.tools
    ) or "none named"


def _credentials(context: Context) -> tuple[bool, str]:
    if not context.inventory.exists():
        return False, f"the inventory {context.inventory} is not there"
    today: date = context.now.date()
    named = context.plan.credentials if context.plan else []
    expired = [f"{one.name} since {one.expires}" for one in named if one.expires < today]
    if not named:
        return False, "the programme lists none with a date"
    good = f"{plural(len(named), 'credential')} with a date; the steady state proves the way to the hosts"
    return not expired, f"expired: {', '.join(expired)}" if expired else good


def _sampling(_: Context) -> tuple[bool, str]:
    return True, "begins before the fault; a host of which nothing comes stops the drill"


_LOOKS: Mapping[str, Callable[[Context], tuple[bool, str]]] = {
    "date_free": _date_free,
    "participants": _participants,
    "parity": _parity,
    "runbook_reviewed": _runbook_reviewed,
    "page_proven": _page_proven,
    "tools": _tools,
    "credentials": _credentials,
    SAMPLING: _sampling,
}
