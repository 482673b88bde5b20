"""Verbs that answer from records: reports of a run and of a month, and the ledger."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from sqlite3 import Row
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from pgrescue import files, record, recovery, runner, upkeep
from pgrescue.cli_evidence import given_key
from pgrescue.evidence.settings import EvidenceError
from pgrescue.ledger import attempts, index, monthly, pdf, render
from pgrescue.ledger.charts import Drawn
from pgrescue.ledger.figures import Month
from pgrescue.manifest import MANIFEST, verify_manifest
from pgrescue.options import LAB, Inventory, Json, RunName, Service, inventory_path, refuse

WRONG_USE, NOT_AS_IT_SHOULD_BE, PRECONDITION = 2, 1, 3
_WIDTH = 80


class Format(StrEnum):
    """What a monthly report is written as."""

    html = "html"
    md = "md"
    pdf = "pdf"
    json = "json"


class _OneRunUnlessNamed(TyperGroup):
    """`report RUN` and `report month YYYY-MM`: what is no verb is a run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        verbs = (*self.commands, "--help")
        return super().parse_args(ctx, args if args and args[0] in verbs else ["run", *args])


report = typer.Typer(cls=_OneRunUnlessNamed, help="How a run ended (report RUN); how a month went (report month).")
ledger = typer.Typer(no_args_is_help=True, help="The index of all records; they are the truth, it is made from them.")


@report.command("run")
def report_run(run: RunName = "latest", as_json: Json = False) -> None:
    """Say how a run ended, and whether its record is as its manifest says; exit 1 when not."""
    directory = record.find(runner.RUNS, run)
    found = record.load(directory)
    differences = verify_manifest(directory) if (directory / MANIFEST).exists() else []
    for difference in differences:
        typer.echo(f"The record is not as its manifest says: {difference}", err=True)
    if as_json:
        said = {"run": found.run.dump(), "measurement": found.measurement.dump(), "reason": found.outcome.reason}
        typer.echo(json.dumps(said, indent=2))
    else:
        recovery.report(directory, Console())
    raise typer.Exit(NOT_AS_IT_SHOULD_BE if differences else 0)


@report.command("month")
def report_month(
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month, in UTC.")],
    service: Service = "shop",
    form: Annotated[Format, typer.Option("--format", help="A PDF needs Chromium and --out.")] = Format.md,
    out: Annotated[Path | None, typer.Option(help="Write it to this folder, instead of printing it.")] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", help="A public key, in PEM, that must have sealed its records; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """How a month went: its report, review and goals. Exit 1 when a record of it was changed or cannot be read."""
    form = Format.json if as_json else form
    if form == Format.pdf and out is None:
        refuse("A PDF is written to a folder: --out DIR. Nothing was written.", WRONG_USE)
    try:
        keys = [given_key(path) for path in key or []]
        index.refresh(runner.RUNS)
        found, drawings = monthly.report(runner.RUNS, service, month, datetime.now(UTC), keys)
        content = _written(form, found, drawings)
    except ValueError as error:
        refuse(f"{error}. Nothing was written.", WRONG_USE)
    except EvidenceError as error:
        refuse(str(error), error.code)
    except (index.LedgerError, pdf.NoBrowserError) as error:
        refuse(str(error), PRECONDITION)
    if out is None:
        typer.echo(_wrapped(content.decode()) if form == Format.md else content.decode(), nl=False)
    else:
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{month}-{service}.{form.value}"
        files.write_bytes(path, content)
        typer.echo(str(path))
    for said in render.gathered(found.altered + found.problems):
        typer.echo(f"A record is not as it should be: {said}", err=True)
    raise typer.Exit(NOT_AS_IT_SHOULD_BE if found.altered or found.problems else 0)


@ledger.command()
def query(
    sql: Annotated[str, typer.Argument(help="A SELECT; the tables are in docs/reports.md.")], as_json: Json = False
) -> None:
    """Ask the ledger. It only reads. Example: pgrescue ledger query "SELECT id, result, rta_s FROM runs" """
    try:
        index.refresh(runner.RUNS)
        with index.asking(runner.RUNS) as asked:
            _print(asked.execute(sql), as_json)
    except index.LedgerError as error:
        refuse(str(error), PRECONDITION)


@ledger.command()
def collect(service: Service = "shop", inventory: Inventory = LAB) -> None:
    """Bring here what the hosts wrote of their attempts to back up, each once; exit 1 when a host was not asked."""
    code, said, found = upkeep.handed_over("collect_attempts", service, inventory_path(inventory), {})
    if code:
        refuse("\n".join(said), code)
    typer.echo(f"Attempts to back up {service} are in {runner.RUNS / attempts.FOLDER / service}.jsonl.")
    if found.get("not_asked"):
        typer.echo(f"Not asked, for they do not answer: {', '.join(found['not_asked'])}", err=True)
        raise typer.Exit(NOT_AS_IT_SHOULD_BE)


@ledger.command()
def rebuild(as_json: Json = False) -> None:
    """Make the index anew from the records, and name what cannot be read; exit 1 when there is such a thing."""
    try:
        done = index.refresh(runner.RUNS, rebuild=True)
        with index.asking(runner.RUNS) as asked:
            query = "SELECT path, says FROM problems JOIN sources ON sources.id = problems.source ORDER BY path, says"
            problems = [f"{row['path']}: {row['says']}" for row in asked.execute(query)]
    except index.LedgerError as error:
        refuse(str(error), PRECONDITION)
    for said in problems:
        typer.echo(f"Cannot be read: {said}", err=True)
    if as_json:
        typer.echo(json.dumps({"read": done.read, "problems": problems}, indent=2))
    else:
        typer.echo(f"Read {done.read} records into {runner.RUNS / index.NAME}.")
    raise typer.Exit(NOT_AS_IT_SHOULD_BE if problems else 0)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.add_typer(report, name="report")
    app.add_typer(ledger, name="ledger")


def _written(form: Format, found: Month, drawings: Drawn) -> bytes:
    if form == Format.json:
        return render.as_json(found).encode()
    if form == Format.md:
        return render.markdown(found).encode()
    page = render.html(found, drawings)
    return pdf.printed(page) if form == Format.pdf else page.encode()


def _wrapped(text: str) -> str:
    """Markdown for a terminal: what a list says goes on below itself."""
    lines = [textwrap.wrap(line, _WIDTH, subsequent_indent="  ") or [""] for line in text.splitlines()]
    return "".join(f"{part}\n" for line in lines for part in line)


def _print(rows: Iterable[Row], as_json: bool) -> None:
    """Row by row, so that an answer may be longer than memory: JSON lines, or columns with tabs between them."""
    for number, row in enumerate(rows):
        if as_json:
            sys.stdout.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
            continue
        if number == 0:
            sys.stdout.write("\t".join(row.keys()) + "\n")
        sys.stdout.write("\t".join("" if value is None else str(value) for value in row) + "\n")
