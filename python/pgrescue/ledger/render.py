"""Render a monthly report: a self-contained page, Markdown, JSON. Pure: the same report gives the same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import timedelta

from jinja2 import Environment, PackageLoader, StrictUndefined

from pgrescue import human
from pgrescue.ledger.charts import Drawn
from pgrescue.ledger.figures import Figure, Goal, Month, percent

_NAMED = 3  # records of those of which the same is to be said

DEFINITIONS = (
    (
        "RTO Achievement",
        "drills that kept the recovery time, of those that were held against it. One that failed did not keep it; a "
        "repair that stops no client and passed is no case.",
    ),
    ("RPO Achievement", "good backups that ended no later after the one before than the recovery point allows."),
    (
        "Backup freshness",
        "full minutes, from the first attempt on record, at which a good backup was no older than the recovery point "
        "allows. By backups alone: where WAL is archived, more can be brought back.",
    ),
    (
        "Actual RTO Achieved",
        "measured at the client by the recovery; where none measured it, from the last time clients were served until "
        "the watch saw them served again. Of several incidents the longest.",
    ),
    ("Data Loss", "the hours before an incident of which commits did not come back. Of several incidents the most."),
    (
        "Recovery success rate",
        "drills and incidents that were recovered and validated, in time or not; what was refused before it "
        "changed anything is no case.",
    ),
    (
        "Automate 90%",
        "steps that runs did by themselves, of these, the steps left out, and the times somebody went on by hand.",
    ),
    ("95% interval", "of a share, by Wilson's score: what few cases can say."),
)


def html(report: Month, drawings: Drawn) -> str:
    """The report as one page that fetches nothing."""
    last_day = f"{report.until - timedelta(microseconds=1):%Y-%m-%d}"
    page = _environment(escape=True).get_template("month.html.j2")
    return page.render(
        report=report,
        glance=_glance(report),
        drawings=drawings,
        tone=_tone(report),
        last_day=last_day,
        definitions=DEFINITIONS,
    )


def markdown(report: Month) -> str:
    """The report as Markdown; its first part is the report's template, line by line."""
    return _environment(escape=False).get_template("month.md.j2").render(report=report).rstrip("\n") + "\n"


def as_json(report: Month) -> str:
    """The report as JSON, as `docs/schema/month.schema.json` describes it."""
    return json.dumps(report.dump(), indent=2, ensure_ascii=False) + "\n"


def gathered(said: Sequence[str]) -> list[str]:
    """`RECORD: what is wrong` of each; what many have in common is one sentence, which names the first of them."""
    alike: dict[str, list[str]] = {}
    for one in said:
        alike.setdefault(re.sub(r"seal-\d+\.", "seal.", one.partition(": ")[2]), []).append(one)
    told = []
    for what, ones in alike.items():
        named = [one.partition(": ")[0] for one in ones[:_NAMED]]
        many = f"{len(ones)} records: {what}: {', '.join(named)} and {len(ones) - _NAMED} more"
        told += [many] if len(ones) > _NAMED else ones
    return told


def _environment(*, escape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("pgrescue"),
        autoescape=escape,  # noqa: S701 - off for Markdown only, whose words are made inert by `inert`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(moment=human.moment, gathered=gathered, inert=_inert, judged=_judged, percent=percent)
    return environment


def _inert(text: str) -> str:
    """What others wrote, on one line and without what Markdown and HTML obey."""
    plain = re.sub(r"([\\`*\[\]|]|(?<!\w)_|_(?!\w))", r"\\\1", re.sub(r"[\r\n]+", " ", text))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)


def _judged(goal: Goal) -> str:
    return f"{goal.state}: " if goal.state else ""


def _glance(report: Month) -> list[tuple[str, Figure]]:
    """The three shares that the month is judged by."""
    figures = {figure.name: figure for section in report.sections for figure in section.figures}
    return [
        ("Drills passed", figures["Drills Passed"]),
        ("Drills within the RTO", figures["RTO Achievement"]),
        ("Backups within the RPO", figures["RPO Achievement"]),
    ]


def _tone(report: Month) -> str:
    """The page's one colour: bad where something was altered or fell short; plain where there is nothing to say."""
    shares = [figure for _name, figure in _glance(report) if figure.of]
    if report.altered or report.problems or any((one.count or 0) < (one.of or 0) for one in shares):
        return "bad"
    return "good" if shares else "plain"
