"""Put the monthly report of a service together, from the ledger and, for what they prove, the records themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pgrescue.evidence import brief
from pgrescue.evidence.envelope import PublicKey
from pgrescue.human import plural
from pgrescue.ledger import charts, goals, growth, index, month, period, recheck, review
from pgrescue.ledger.figures import Figure, Month, none
from pgrescue.ledger.questions import Questions
from pgrescue.manifest import verify_manifest

_SERVICES = (
    "SELECT service FROM runs UNION SELECT service FROM attempts UNION SELECT service FROM incidents"
    " UNION SELECT service FROM rehearsals ORDER BY 1"
)
_NAMED = 50  # problems that are named one by one


def report(
    runs: Path, service: str, text: str, now: datetime, keys: Sequence[PublicKey] = ()
) -> tuple[Month, charts.Drawn]:
    """The report of a month (`YYYY-MM`), and its drawings. The ledger must have been refreshed.

    `keys`: one of which must have signed each of its records, where some are given.

    Raises ValueError for what is no month, and LedgerError for one that has not begun or a service without a record.
    """
    whole = period.month(text)
    if whole.since >= now:
        raise index.LedgerError(f"{whole.name} has not begun. Nothing was written.")
    so_far = whole.cut(now)
    otherwise = recheck.month(runs, service, so_far)
    with index.asking(runs) as ledger:
        known = [row[0] for row in ledger.execute(_SERVICES)]
        if service not in known:
            there = f"there are {', '.join(known)}" if known else "nor of any other"
            raise index.LedgerError(f"No record of the service {service} is here; {there}. Nothing was written.")
        asked = Questions(ledger, service)
        altered, evidence = _evidence(asked, runs, so_far, keys)
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
            problems=otherwise + _problems(asked, so_far),
        )
        return found, charts.draw(asked, so_far)


def _evidence(
    asked: Questions, runs: Path, so_far: period.Period, keys: Sequence[PublicKey]
) -> tuple[list[str], Figure]:
    """Hold every closed record of the month against its manifest, and that against its newest seal.

    What is not as those say, and how many are; how many are sealed, how many signed, and with which keys.
    """
    name = "Records of this month"
    altered: list[str] = []
    closed = untouched = open_ = sealed = 0
    signers: Counter[str] = Counter()
    query = (
        "SELECT path, sealed, result FROM runs JOIN sources ON sources.id = runs.source"
        " WHERE service = :service AND started >= :since AND started < :until ORDER BY path"
    )
    for path, has_manifest, result in asked.rows(query, so_far):
        if not has_manifest:
            open_ += 1
            altered += [f"{path}: it has a result ({result}) and no manifest"] if result else []
            continue
        closed += 1
        seen = brief.of(runs / path, keys)
        wrong = [*map(str, verify_manifest(runs / path)), *([seen.wrong] if seen.wrong else [])]
        altered += [f"{path}: {one}" for one in wrong]
        untouched += not wrong
        sealed += seen.sealed
        signers.update([seen.signer] if seen.signer else [])
    if not closed and not open_:
        return altered, none(name)
    by = ", ".join(f"{keyid[:16]}: {many}" for keyid, many in sorted(signers.items()))
    text = f"{untouched} of {plural(closed, 'run')} as its manifest says; {sealed} sealed, {signers.total()} signed"
    text += (f" (key {by})" if by else "") + (f"; {open_} not closed" if open_ else "")
    return altered, Figure(name=name, text=text, count=untouched, of=closed)


def _problems(asked: Questions, so_far: period.Period) -> list[str]:
    """What could not be read: of this service's runs in the month, and whatever cannot say whose it is."""
    query = (
        "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source"
        " LEFT JOIN runs USING (source)"
        " WHERE runs.source IS NULL OR (runs.service = :service AND started >= :since AND started < :until)"
        " ORDER BY path, says LIMIT :most"
    )
    return [f"{path}: {says}" for path, says in asked.rows(query, so_far, most=_NAMED)]
