"""Verbs for those who monitor: metrics of the records, and a check for those who poll."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pgrescue import check as checks
from pgrescue import runner, status, triage
from pgrescue.ledger.index import LedgerError
from pgrescue.metrics import batch, textfile
from pgrescue.options import LAB, Inventory, Service, inventory_path, refuse

PRECONDITION = 3
UNITS = """# /etc/systemd/system/pgrescue-metrics.service
[Unit]
Description=Metrics of pgrescue's records

[Service]
Type=oneshot
User={user}
ExecStart={program} metrics --textfile {folder}
Environment=PGRESCUE_RUNS={runs}

# /etc/systemd/system/pgrescue-metrics.timer
[Unit]
Description=Metrics of pgrescue's records, every five minutes

[Timer]
OnCalendar=*:0/5
Persistent=true

[Install]
WantedBy=timers.target
"""


def metrics(
    folder: Annotated[
        Path | None, typer.Option("--textfile", help="The folder that node-exporter reads; printed when left out.")
    ] = None,
    print_units: Annotated[
        bool, typer.Option("--print-units", help="Print a systemd service and timer for this, and end.")
    ] = False,
) -> None:
    """Export what the records say: last proof and drill, every run of the last 400 days, open findings."""
    if print_units:
        where = folder or Path("/var/lib/prometheus/node-exporter")
        program = Path(sys.executable).with_name("pgrescue")
        typer.echo(UNITS.format(user=getpass.getuser(), program=program, folder=where, runs=runner.RUNS), nl=False)
        return
    try:
        if folder is None:
            typer.echo(textfile.exposition(batch.samples(runner.RUNS, datetime.now(UTC))).decode(), nl=False)
            return
        typer.echo(str(textfile.write_records(runner.RUNS, folder)))
    except LedgerError as error:
        refuse(str(error), PRECONDITION)
    except OSError as error:
        refuse(f"The metrics could not be written: {error}. What was there is as it was.", PRECONDITION)


def check(service: Service = "shop", inventory: Inventory = LAB) -> None:
    """One line with measurements for those who poll; exit 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, as Nagios has it."""
    try:
        verdict = checks.judge(status.facts(service, inventory_path(inventory)))
    except triage.TriageError as error:
        verdict = checks.unknown(service, str(error))
    except typer.Exit:  # which inventory is missing was said already
        verdict = checks.unknown(service, f"there is no inventory {inventory}")
    typer.echo(verdict.line)
    raise typer.Exit(verdict.code)


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command()(metrics)
    app.command()(check)
