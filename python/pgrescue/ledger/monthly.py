"""Put the monthly report of a service together, from the ledger and, for what they prove, the records themselves."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pgrescue.human import plural
from pgrescue.ledger import charts, goals, growth, index, month, period, review
from pgrescue.ledger.figures import Figure, Month, none
from pgrescue.ledger.questions import Questions
from pgrescue.manifest import verify_manifest

_SERVICES = (
    "SELECT service FROM runs UNION SELECT service FROM attempts UNION SELECT service FROM incidents"
    " UNION SELECT service FROM rehearsals ORDER BY 1"
)
_NAMED = 50  # problems that are named one by one


def report(runs: Path, service: str, text: str, now: datetime) -> tuple[Month, charts.Drawn]:
    """The report of a month (`YYYY-MM`), and its drawings. The ledger must have been refreshed.

    Raises ValueError for what is no month, and LedgerError for one that has not begun or a service without a record.
    """
    whole = period.month(text)
    if whole.since >= now:
        raise index.LedgerError(f"{whole.name} has not begun. Nothing was written.")
    so_far = whole.cut(now)
    with index.asking(runs) as ledger:
        known = [row[0] for row in ledger.execute(_SERVICES)]
        if service not in known:
            there = f"there are {', '.join(known)}" if known else "nor of any other"
            raise index.LedgerError(f"No record of the service {service} is here; {there}. Nothing was written.")
        asked = Questions(ledger, service)
        altered, evidence = _evidence(asked, runs, so_far)
        quarter, year = period.quarter(whole), period.year(whole)
        found = Month(
            service=service,
            month=text,
            title=f"Database DR Report - {whole.name}",
            since=whole.since,
            until=so_far.until,
            complete=so_far.until == whole.until,
            sections=month.sections(asked, so_far),
            actions=month.actions(asked, so_far),
            findings_known=month.findings_known(asked, so_far),
            review=review.sections(asked, so_far),
            quarter=quarter.name,
            quarterly_goals=goals.quarterly(asked, quarter, so_far.until),
            year=year.name,
            annual_goals=goals.annual(asked, year, so_far.until),
            outgrown=growth.breaking_month(asked, so_far.until),
            evidence=evidence,
            altered=altered,
            problems=_problems(asked, so_far),
        )
        return found, charts.draw(asked, so_far)


def _evidence(asked: Questions, runs: Path, so_far: period.Period) -> tuple[list[str], Figure]:
    """Hold every sealed record of the month against its manifest; what is not as that says, and how many are."""
    name = "Records of this month"
    altered: list[str] = []
    sealed = untouched = unsealed = 0
    query = (
        "SELECT path, sealed FROM runs JOIN sources ON sources.id = runs.source"
        " WHERE service = :service AND started >= :since AND started < :until ORDER BY path"
    )
    for path, has_manifest in asked.rows(query, so_far):
        if not has_manifest:
            unsealed += 1
            continue
        sealed += 1
        differences = verify_manifest(runs / path)
        altered += [f"{path}: {difference}" for difference in differences]
        untouched += not differences
    if not sealed and not unsealed:
        return altered, none(name)
    text = f"{untouched} of {plural(sealed, 'run')} as its manifest says" + (
        f"; {unsealed} not closed yet" if unsealed else ""
    )
    return altered, Figure(name=name, text=text, count=untouched, of=sealed)


def _problems(asked: Questions, so_far: period.Period) -> list[str]:
    """What could not be read: of this service's runs in the month, and whatever cannot say whose it is."""
    query = (
        "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source"
        " LEFT JOIN runs USING (source)"
        " WHERE runs.source IS NULL OR (runs.service = :service AND started >= :since AND started < :until)"
        " ORDER BY path, says LIMIT :most"
    )
    return [f"{path}: {says}" for path, says in asked.rows(query, so_far, most=_NAMED)]
