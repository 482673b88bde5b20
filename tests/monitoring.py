"""Prometheus' own programs, the lab's Prometheus, and series of a service that is well, to break in tests."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml
from ill_states import Lab, until
from lab_hosts import variables
from modules import collection
from postgres import free_port
from serving import Answers, served

HOUSE = Path(__file__).resolve().parents[1]
RULES = HOUSE / "monitoring/rules/pgrescue.yml"
NOW_S = 7200  # two hours after the epoch, which is where promtool's time begins
OBJECTIVES = {"rto_s": 3600, "rpo_s": 86400, "phases": {"detect": 300, "restore": 2220}}
MORE = {"response_s": 1800, "backup_age_s": 93600, "restore_test_age_s": 691200, "drill_age_s": 8640000}
HOSTS = {"databases": 2, "standbys": 1}
INSTANCES = ["10.0.0.1:9188", "10.0.0.2:9188", "10.0.0.9:9188"]
Values = dict[str, str | None]
STARTING = 503  # what it answers until it is ready
FOLLOWS = "0+60x150"  # an instant that is always now


def inventory_rules(**more: Any) -> dict[str, Any]:
    """The rules that the inventory becomes."""
    wanted = {"objectives": OBJECTIVES, "more": MORE, "hosts": HOSTS, "instances": INSTANCES, **more}
    made: dict[str, Any] = collection("plugins.module_utils.alert_rules").inventory_rules("shop", **wanted)
    return made


def promtool(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    return subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def series(name: str, **labels: Any) -> str:
    """A series as promtool names it; `pgrescue_` is left out of its name."""
    said = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name if name in ('up', 'node_textfile_mtime_seconds') else 'pgrescue_' + name}{{{said}}}"


def of(host: str) -> dict[str, str]:
    """The labels of what a database host exports."""
    return {"cluster": "shop", "host": host, "instance": f"10.0.0.{host[-1]}:9188"}


def well() -> Values:
    """Everything that is exported of a service that is well: db1 is primary, db2 follows, client9 has the witness."""
    run = {
        "cluster": "shop",
        "run_id": "20261124T012044Z-shop-complete_loss",
        "kind": "drill",
        "scenario": "complete_loss",
    }
    found: Values = {series("up", job="pgrescue", instance=instance): "1x150" for instance in INSTANCES}
    for host in ("db1", "db2"):
        here = of(host)
        found[series("server_running", **here)] = "1x150"
        found[series("server_primary", **here)] = "1x150" if host == "db1" else "0x150"
        found[series("checksum_failures", **here)] = "0x150"
        for what, free, size in (("", "6e10", "1e11"), ("inodes", "9e6", "1e7")):
            suffix = "_inodes" if what else "_bytes"
            found[series(f"disk_free{suffix}", folder="/data", **here)] = f"{free}x150"
            found[series("disk_inodes" if what else "disk_size_bytes", folder="/data", **here)] = f"{size}x150"
        labels = {"cluster": "shop", "engine": "pgbackrest", "instance": here["instance"]}
        how = "commits" if host == "db1" else "archive"
        found[series("recovery_point_timestamp_seconds", by=how, **labels)] = FOLLOWS if host == "db1" else "-60+60x150"
        found[series("recovery_window_start_timestamp_seconds", **labels)] = "-600000x150"
        found[series("wal_gap_segments", cluster="shop", instance=here["instance"])] = "0x150"
        for repo in (1, 2):
            where = {**labels, "repo": repo}
            found[series("backup_last_success_timestamp_seconds", type="full", **where)] = "-3600x150"
            found[series("backup_last_duration_seconds", type="full", **where)] = "600x150"
            found[series("backup_last_size_bytes", type="full", **where)] = "1e9x150"
            found[series("repository_reachable", cluster="shop", repo=repo, instance=here["instance"])] = "1x150"
            found[series("backup_unusable", cluster="shop", repo=repo, instance=here["instance"])] = "0x150"
        for collector in ("server", "repository", "backup"):
            found[series("collector_success", collector=collector, **here)] = "1x150"
    primary = of("db1")
    found[series("standbys_streaming", **primary)] = "1x150"
    found[series("standby_lag_bytes", standby="db2", **primary)] = "1024x150"
    found[series("archiver_last_success_timestamp_seconds", **primary)] = FOLLOWS
    found[series("archiver_last_failure_timestamp_seconds", **primary)] = "-9000x150"
    for repo in (1, 2):
        labels = {"cluster": "shop", "engine": "pgbackrest", "repo": repo, "instance": primary["instance"]}
        found[series("backup_last_attempt_timestamp_seconds", **labels)] = "-3600x150"
        found[series("backup_last_attempt_success", **labels)] = "1x150"
        found[series("backup_attempts_total", result="passed", **labels)] = "30x150"
        found[series("backup_attempts_total", result="failed", **labels)] = "0x150"
    witness = {"cluster": "shop", "instance": INSTANCES[2]}
    found[series("witness_last_success_timestamp_seconds", probe="commit", **witness)] = FOLLOWS
    found[series("collector_success", collector="witness", host="client9", **witness)] = "1x150"
    found[series("watch_last_run_timestamp_seconds", cluster="shop")] = FOLLOWS
    found[series("watch_state", cluster="shop", state="well")] = "1x150"
    for name, labels in (("restore_test", {"engine": "pgbackrest"}), ("drill", {"scenario": "complete_loss"})):
        found[series(f"{name}_last_success_timestamp_seconds", cluster="shop", **labels)] = "-86400x150"
    found[series("run_end_timestamp_seconds", **run)] = "-3600x150"
    found[series("run_success", **run)] = "1x150"
    found[series("run_rta_seconds", **run)] = "1200x150"
    found[series("run_rpa_seconds", **run)] = "2x150"
    found[series("run_detection_seconds", **run)] = "4x150"
    found[series("run_phase_seconds", phase="restore", **run)] = "600x150"
    for objective, seconds in (("rto", 3600), ("rpo", 86400)):
        found[series("run_objective_seconds", objective=objective, **run)] = f"{seconds}x150"
    found[series("finding_open", cluster="shop", severity="high")] = "0x150"
    found[series("records_problems")] = "0x150"
    found[series("node_textfile_mtime_seconds", file="/var/lib/x/pgrescue_records.prom")] = FOLLOWS
    return found


def well_dumped() -> Values:
    """The same of a service of which there is nothing but a URL: a host takes its dumps into two stores."""
    here = {"cluster": "shop", "instance": INSTANCES[0]}
    dumped = {**here, "engine": "dump"}
    found: Values = {
        series("up", job="pgrescue", instance=INSTANCES[0]): "1x150",
        series("collector_success", collector="dumps", host="dump1", **here): "1x150",
        series("recovery_point_timestamp_seconds", by="dump", **dumped): "-7200x150",
        series("recovery_window_start_timestamp_seconds", **dumped): "-600000x150",
        series("restore_test_last_success_timestamp_seconds", cluster="shop", engine="dump"): "-86400x150",
        series("watch_last_run_timestamp_seconds", cluster="shop"): FOLLOWS,
        series("records_problems"): "0x150",
        series("node_textfile_mtime_seconds", file="/var/lib/x/pgrescue_records.prom"): FOLLOWS,
    }
    for store in ("east", "west"):
        where = {**dumped, "repo": store}
        found[series("backup_last_success_timestamp_seconds", type="dump", **where)] = "-4800x150"
        found[series("backup_last_duration_seconds", type="dump", **where)] = "2400x150"
        found[series("repository_reachable", repo=store, **here)] = "1x150"
        found[series("backup_unusable", repo=store, **here)] = "0x150"
        records = {"cluster": "shop", "engine": "dump", "repo": store, "instance": "controller:9100"}
        found[series("backup_last_attempt_timestamp_seconds", **records)] = "-4800x150"
        found[series("backup_last_attempt_success", **records)] = "1x150"
    return found


def write_rules(folder: Path, **inventory: Any) -> list[str]:
    """The rules and what the inventory becomes, or has become (`rules`), in a folder; their names."""
    made = inventory.pop("rules", None) or inventory_rules(**inventory)
    (folder / "inventory.yml").write_text(yaml.safe_dump(made))
    (folder / "pgrescue.yml").write_text(RULES.read_text())
    return ["inventory.yml", "pgrescue.yml"]


def judged(
    folder: Path,
    values: Values,
    expression: str,
    expected: list[dict[str, Any]],
    at: str = "2h",
    slow: Sequence[str] = (),
    **inventory: Any,
) -> str:
    """What promtool has against an expression having these samples; empty when nothing. `inventory` as for its rules.

    With `slow` only the rules that record these are there, and an hour is the step instead of a minute.
    """
    step = "1h" if slow else "1m"
    rules = write_rules(folder, **inventory)
    if slow:
        groups = yaml.safe_load(RULES.read_text())["groups"]
        kept = [rule for group in groups for rule in group["rules"] if rule.get("record") in slow]
        (folder / "slow.yml").write_text(
            yaml.safe_dump({"groups": [{"name": "slow", "interval": step, "rules": kept}]})
        )
        rules = ["slow.yml"]
    inputs = [{"series": name, "values": value} for name, value in values.items() if value is not None]
    asked = {"expr": expression, "eval_time": at, "exp_samples": expected}
    test = {"interval": step, "input_series": inputs, "promql_expr_test": [asked]}
    document = {"rule_files": rules, "evaluation_interval": step, "tests": [test]}
    (folder / "test.yml").write_text(yaml.safe_dump(document))
    done = promtool("test", "rules", "test.yml", cwd=folder)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _asked(server: str, expression: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{server}/api/v1/query?{query}", timeout=10) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
        return found


class Served(Answers):
    """What an exporter would say, as text."""

    text = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(type(self).text)


class Prometheus:
    """A real one on a loopback address, with our rules evaluated every second, that scrapes one target."""

    def __init__(self, folder: Path, text: bytes) -> None:
        handler = type("Exporter", (Served,), {"text": text})
        self._exporter = ExitStack()
        target = self._exporter.enter_context(served(handler)).removeprefix("http://")
        for name, rules in (
            ("inventory.yml", inventory_rules(instances=[target])),
            ("pgrescue.yml", yaml.safe_load(RULES.read_text())),
        ):
            quick = {"groups": [{**group, "interval": "1s"} for group in rules["groups"]]}
            (folder / name).write_text(yaml.safe_dump(quick))
        scrape = {"job_name": "pgrescue", "static_configs": [{"targets": [target]}]}
        configured = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["inventory.yml", "pgrescue.yml"], "scrape_configs": [scrape],
        }  # fmt: skip
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configured))
        self.port = free_port()
        command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]
        self._process = subprocess.Popen(command, cwd=folder)

    def ask(self, expression: str) -> list[Any]:
        """What an expression answers now; raises HTTPError for what is no expression."""
        return _asked(f"http://127.0.0.1:{self.port}", expression)

    def answers(self, expression: str) -> bool:
        """Whether it answers with anything; not while it starts."""
        try:
            return bool(self.ask(expression))
        except urllib.error.HTTPError as error:
            if error.code != STARTING:
                raise
            return False
        except OSError:
            return False

    def stop_exporter(self) -> None:
        """As if the exporter, and the file of the records, were gone."""
        self._exporter.close()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


def see_dumps(lab: Lab, **more: Any) -> None:
    """Let the lab's Prometheus see the service of which there is nothing but a URL as well."""
    there: dict[str, Any] = {
        "monitor_on": "client1",
        "exporter_output": "/etc/prometheus/pgrescue",
        "exporter_hurry": 30,
    }
    # dumps not every five minutes, as the rules' waits are shorter
    there["exporter_every_s"] = {"server": 10, "repository": 60, "backup": 15, "witness": 15, "dumps": 15}
    lab.play("playbooks/monitor.yml", service="ledger", exporter_reload="prometheus.service", **there, **more)


class LabPrometheus:
    """The one on the lab's witness host, which lab/monitoring.yml runs."""

    def __init__(self) -> None:
        self._server = f"http://{variables('client1')['ansible_host']}:9090"

    def ask(self, expression: str) -> list[Any]:
        """What an expression answers now."""
        return _asked(self._server, expression)

    def firing(self) -> set[str]:
        """The alerts that fire, but for the one that always does."""
        asked = self.ask('ALERTS{alertstate="firing", alertname!="Watchdog"}')
        return {one["metric"]["alertname"] for one in asked}

    def until_measured(self, *more: str) -> None:
        """Wait until the rules are evaluated, every exporter is scraped, and each service has a recovery point."""
        expected = "pgrescue_expected_exporter"
        until("the rules are evaluated", lambda: self.ask(expected), 120)
        until("every exporter is scraped", lambda: not self.ask(f"{expected} unless on (instance) (up == 1)"), 120)
        for service in ("shop", *more):
            point = f'pgrescue:recovery_point_timestamp_seconds{{cluster="{service}"}}'
            until(f"the recovery point of {service} is known", lambda point=point: self.ask(point), 180)
