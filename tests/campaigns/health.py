"""An hour of health, in which nothing may fire: all rules, real Prometheus and Alertmanager, a watch, a proof, a drill.

usage: health.py [--minutes 60] [--report]     `make campaign-watch` runs it with --report

The rules' own waits are 30 times shorter than written, so that what is wrong for two seconds may fire, and what is
missing for an hour has fired after two minutes. That an alert would have come is seen at the end: an exporter is
stopped. The result goes to docs/campaigns/health.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import yaml

HOUSE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(HOUSE / "tests"))

from ill_states import Lab, until  # noqa: E402 - they lie where the tests are
from lab_hosts import podman, run  # noqa: E402
from watching import Sink, Watch, state, watching  # noqa: E402

from monitoring import RULES, LabPrometheus, see_dumps  # noqa: E402

CARRY_S = 10  # from one carrying of the files to the host that has node-exporter to the next
EXPORT_S = 300  # what the timer of `pgrescue metrics --print-units` waits
THERE = "/var/lib/prometheus/node-exporter"
CONTROLLER = "pgrescue-client1"  # node-exporter of the machine that controls runs stands here in the lab
EXPORTER = "pgrescue-exporter@shop.service"
ALWAYS, EVALUATED = "Watchdog", 1.9  # it is evaluated twice a minute


def carry(folder: Path) -> None:
    """What runs and the watch wrote, as node-exporter reads it on the machine that controls runs: each file whole."""
    for file in folder.glob("*.prom"):
        place = f"{THERE}/{file.name}"
        put = f"cat > {place}.new; mv {place}.new {place}"
        podman("exec", "-i", CONTROLLER, "sh", "-c", put, text=file.read_text())


def spend(minutes: float, folder: Path, watch: Watch) -> None:
    """Let the time pass; the machine does what its timers would."""
    began = exported = carried = time.monotonic()
    while time.monotonic() < began + 60 * minutes:
        if watch.process.poll() is not None:
            sys.exit("the watch has ended")
        if time.monotonic() > exported + EXPORT_S:
            run("pgrescue", "metrics", "--textfile", str(folder))
            exported = time.monotonic()
        if time.monotonic() > carried + CARRY_S:
            carry(folder)
            carried = time.monotonic()
        time.sleep(1)  # this is what is tested: that time passes and nothing fires


def prepare(runs: Path, folder: Path) -> None:
    """Bring about what would be missed: a proof, a drill, exporters, what the records say."""
    folder.mkdir()
    os.environ.update(PGRESCUE_RUNS=str(runs), PGRESCUE_TEXTFILE=str(folder))
    run("pgrescue", "prove", "-s", "shop")
    run("pgrescue", "drill", "switchover")
    run("pgrescue", "backup", "-s", "ledger")
    run("pgrescue", "prove", "-s", "ledger")
    run("pgrescue", "metrics", "--textfile", str(folder))
    carry(folder)


def hour(kept: Path, minutes: float) -> str:
    """Let the time pass while all is well, then stop an exporter; what was seen, or the end with what fired."""
    runs, folder = kept / "runs", kept / "textfile"
    prepare(runs, folder)
    lab, sink, measured = Lab(), Sink(), LabPrometheus()
    lab.play("lab/monitoring.yml")
    see_dumps(lab)
    measured.until_measured("ledger")
    with watching(runs) as watch:
        until("the service is well", lambda: state(runs) == "well", 60)
        carry(folder)
        until("nothing fires", lambda: not measured.firing(), 180)
        began = time.time()
        spend(minutes, folder, watch)
        fired, pending = (seen(measured, what, time.time() - began) for what in ("firing", "pending"))
        raised = [one["payload"] for one in sink.pages(began)]  # the end of what was before may still be told
        evaluated = fired.pop(ALWAYS, 0)
        stopped = time.time()
        lab.inside(lab.standbys[0], "systemctl", "stop", EXPORTER)
        until("the alert that would have come", lambda: sink.heard(stopped, "PgRescueExporterDown", "trigger"), 120)
        heard = time.time()
        lab.inside(lab.standbys[0], "systemctl", "start", EXPORTER)
        until("it is resolved", lambda: sink.heard(stopped, "PgRescueExporterDown", "resolve"), 240)
    if fired or raised or evaluated < EVALUATED * minutes:
        sys.exit(f"not an hour of health: {fired} fired, {raised} was told, evaluated {evaluated} times")
    waited = ", ".join(f"{name} ({count} looks)" for name, count in sorted(pending.items())) or "none"
    return (
        f"{minutes:.0f} minutes, a service of three database hosts and one that is dumped by its URL, "
        f"{alerts()} alerts besides the one that always fires, which was evaluated {evaluated} times, waits 30 times "
        f"shorter than written: none fired, {len(raised)} raised. True for a moment, shorter than its wait: {waited}. "
        f"An exporter was stopped afterwards; its alert came {heard - stopped:.1f} s later and was resolved."
    )


def alerts() -> int:
    """How many alerts there are, without the one that always fires."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return sum(rule.get("alert", ALWAYS) != ALWAYS for rule in rules)


def seen(measured: LabPrometheus, what: str, passed_s: float) -> dict[str, int]:
    """How often each alert was seen in a state."""
    asked = f'sum by (alertname) (count_over_time(ALERTS{{alertstate="{what}"}}[{passed_s:.0f}s]))'
    return {one["metric"]["alertname"]: int(one["value"][1]) for one in measured.ask(asked)}


def main() -> None:
    """Exit 1 when anything fired, anybody was told, or the rules were not evaluated throughout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--report", action="store_true", help="write docs/campaigns/health.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        print(said := hour(Path(kept), arguments.minutes))
    if arguments.report:
        head = f"{datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} shared {platform.machine()} cores."
        (HOUSE / "docs/campaigns/health.md").write_text(f"# An hour of health\n\n{head}\n\n{said}\n", "utf-8")


if __name__ == "__main__":
    main()
