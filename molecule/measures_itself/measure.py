"""Break the lab's service while a real Prometheus measures it: the pager hears each fault as its alert, and its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import Lab, until
from lab_hosts import run
from watching import Sink

from monitoring import LabPrometheus, see_dumps

ALERT_S, RESOLVED_S = 120, 240  # the rules' waits are 30 times shorter here; collectors and groups are not
# what this machine's records say, or do not: no watch runs here, and how long ago a proof or a drill was is no matter
OF_RECORDS = {"PgRescueWatchSilent", "PgRescueTextfileStale", "PgRescueRecordsMissing", "PgRescueRecordsUnreadable"}
OF_RECORDS |= {
    "PgRescueRestoreTestMissing",
    "PgRescueRestoreTestOverdue",
    "PgRescueDrillOverdue",
    "PgRescueDrillMissing",
    "PgRescueObjectiveMissed",
}
EXPORTER = "pgrescue-exporter@shop.service"


def reaches(sink: Sink, alerts: list[str], inject: Callable[[], Any], undo: Callable[[], Any]) -> None:
    """A fault is told as each of these alerts, and all are resolved when it is undone."""
    began = time.time()
    inject()
    for alert in alerts:
        until(f"{alert} is told", lambda alert=alert: sink.heard(began, alert, "trigger"), ALERT_S)
        print(f"{alert} told after {time.time() - began:.1f} s", flush=True)
    undo()
    for alert in alerts:
        until(f"{alert} is resolved", lambda alert=alert: sink.heard(began, alert, "resolve"), RESOLVED_S)


def main() -> None:
    """One fault after the other; before each, nothing fires that would hide it."""
    lab, sink, measured = Lab(), Sink(), LabPrometheus()
    lab.play("lab/monitoring.yml")
    run("pgrescue", "backup", "-s", "ledger")
    see_dumps(lab)
    measured.until_measured("ledger")
    until("nothing fires that the lab's service could do something about", lambda: measured.firing() <= OF_RECORDS, 120)

    standby = lab.standbys[0]
    reaches(
        sink, ["PgRescueExporterDown"],
        lambda: lab.inside(standby, "systemctl", "stop", EXPORTER),
        lambda: lab.inside(standby, "systemctl", "start", EXPORTER),
    )  # fmt: skip

    archive = lab.sql("SHOW archive_command")

    def archiver(command: str) -> None:
        lab.sql(f"ALTER SYSTEM SET archive_command = $${command}$$")
        lab.sql("SELECT pg_reload_conf(); SELECT pg_switch_wal()")

    reaches(sink, ["PgRescueArchiverFailing"], lambda: archiver("false"), lambda: reset_archiver(lab, archive))

    def limit(service: str) -> int:
        asked = f'time() - pgrescue:backup_last_success_timestamp_seconds{{cluster="{service}"}}'
        return round(float(measured.ask(asked)[0]["value"][1])) + 60

    reaches(
        sink, ["PgRescueBackupOverdue: The newest backup of shop"],
        lambda: lab.play("lab/monitoring.yml", exporter_backup_age_s=limit("shop")),
        lambda: run("pgrescue", "backup", "-s", "shop", "-e", "pgbackrest_backup_type=incr"),
    )  # fmt: skip
    lab.play("lab/monitoring.yml")
    reaches(
        sink, ["PgRescueBackupOverdue: The newest backup of ledger"],
        lambda: see_dumps(lab, exporter_dump_age_s=limit("ledger")),
        lambda: run("pgrescue", "backup", "-s", "ledger"),
    )  # fmt: skip
    see_dumps(lab)

    region = ["PgRescueExporterDown", "PgRescueStandbyLost"]
    region += [
        "PgRescueRepositoryUnreachable: Repository 2 of shop",
        "PgRescueRepositoryUnreachable: Repository https:",
    ]
    reaches(
        sink, region, lambda: lab.play("lab/faults/cut_region.yml", cut_region="west"), lambda: lab.play("lab/heal.yml")
    )


def reset_archiver(lab: Lab, before: str) -> None:
    """What was set stays out of the cluster's own file again."""
    lab.sql("ALTER SYSTEM RESET archive_command")
    lab.sql("SELECT pg_reload_conf(); SELECT pg_switch_wal()")
    until("it archives as before", lambda: lab.sql("SHOW archive_command") == before)


if __name__ == "__main__":
    main()
