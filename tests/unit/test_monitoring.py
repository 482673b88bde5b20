"""What is laid down for Prometheus: by the runbook, for the lab; and the way of an alert to the pager."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from modules import collection
from postgres import free_port, until
from sinks import running

from monitoring import HOUSE, promtool

LAB = HOUSE / "lab/templates"


def test_the_runbook_writes_rules_and_targets_that_prometheus_takes(tmp_path):
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "playbooks/monitor.yml",
        "-i",
        "inventories/example",
    ]
    command += ["-e", "service=orders", "--limit", "localhost", "-e", f"exporter_output={tmp_path}"]
    command += ["-e", f"exporter_textfile={tmp_path}/textfile"]
    for changed in (True, False):
        done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert ("changed=0" not in done.stdout) is changed, "the second time nothing changes"
    checked = promtool("check", "rules", *map(str, sorted((tmp_path / "rules").glob("*.yml"))))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (group,) = yaml.safe_load((tmp_path / "rules/pgrescue_orders.yml").read_text())["groups"]
    said = {(rule["record"], rule["labels"].get("objective")): rule["expr"] for rule in group["rules"]}
    promised = yaml.safe_load((HOUSE / "inventories/example/group_vars/orders.yml").read_text())["objectives"]
    assert said["pgrescue_objective_seconds", "rpo"] == f"vector({float(promised['rpo_s'])})"
    assert said["pgrescue_response_seconds", None] == f"vector({float(min(1800, promised['rpo_s'] / 4))})"
    (target,) = json.loads((tmp_path / "targets/pgrescue_orders.json").read_text())
    instances = {
        rule["labels"]["instance"] for rule in group["rules"] if rule["record"] == "pgrescue_expected_exporter"
    }
    assert set(target["targets"]) == instances and "192.0.2.11:9188" in instances
    assert (tmp_path / "textfile").is_dir()


def test_a_service_with_nothing_but_a_url_is_seen_on_the_host_that_takes_its_dumps(tmp_path):
    variables = {"service_name": "orders", "postgres_version": 17, "dump_stores": [], "dump_public_keys": []}
    variables["protection_dump_interval_s"] = 43200  # of the service, and not of the machine that writes the rules
    variables["objectives"] = {"rto_s": 14400, "rpo_s": 86400, "phases": {"detect": 300}}
    hosts = {"dump1": {"ansible_host": "192.0.2.41"}}
    groups = {"orders": {"hosts": hosts, "vars": variables}, "dump": {"hosts": {"dump1": {}}}}
    local = {"localhost": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": local, "children": groups}}))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/monitor.yml", "-e", "service=orders"]
    command += ["-i", str(tmp_path / "hosts.yml"), "--limit", "localhost", "-e", f"exporter_output={tmp_path}"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "targets/pgrescue_orders.json").read_text()) == [{"targets": ["192.0.2.41:9188"]}]
    (group,) = yaml.safe_load((tmp_path / "rules/pgrescue_orders.yml").read_text())["groups"]
    said = {rule["record"]: rule["expr"] for rule in group["rules"]}
    ages = {rule["labels"].get("objective"): rule["expr"] for rule in group["rules"]}
    assert (ages["backup_age"], ages.get("dump_age")) == ("vector(50400.0)", None)
    assert (said["pgrescue_expected_database_hosts"], said["pgrescue_expected_standbys"]) == ("vector(0.0)",) * 2


def test_an_exporter_is_expected_where_it_is_scraped():
    exporters = collection("plugins.filter.monitoring").exporters
    hosts = {"a": {"ansible_host": "10.0.0.1"}, "b": {"exporter_address": "10.9.0.2", "exporter_port": 9200}, "c": {}}
    assert exporters(hosts, hosts, 9188) == ["10.0.0.1:9188", "10.9.0.2:9200", "c:9188"]


def test_the_core_that_is_laid_down_is_all_that_the_exporter_needs():
    tasks = yaml.safe_load((HOUSE / "roles/exporter/tasks/export.yml").read_text())
    laid = {
        name.removesuffix(".py")
        for name in next(t["vars"]["exporter_core"] for t in tasks if "exporter_core" in t.get("vars", {}))
    }
    needed: set[str] = set()
    waiting = [HOUSE / "roles/exporter/files/pgrescue_exporter.py"]
    while waiting:
        text = waiting.pop().read_text()
        found = re.findall(r"from (?:pgrescue_core)?\.?(\w+) import", text)
        for line in re.findall(r"from (?:pgrescue_core|\.) import ([\w, ]+)", text):
            found += [name.strip() for name in line.split(",")]
        for name in found:
            path = HOUSE / f"plugins/module_utils/{name}.py"
            if path.exists() and name not in needed:
                needed.add(name)
                waiting.append(path)
    assert laid == needed


def rendered(name: str, **values: Any) -> str:
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string((LAB / name).read_text()).render(**values)


def test_the_lab_s_prometheus_is_configured_as_it_wants_to_be(tmp_path):
    (tmp_path / "prometheus.yml").write_text(rendered("prometheus.yml.j2"))
    done = promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def alertmanager(tmp_path):
    """A real one, that tells the stand-in; its address, and the stand-in."""
    with running(tmp_path) as sink:
        configured = rendered("alertmanager.yml.j2", lab_alerts=sink.url)
        (tmp_path / "alertmanager.yml").write_text(configured)
        url = f"http://127.0.0.1:{free_port()}"
        command = ["prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", "--cluster.listen-address="]
        command += [f"--web.listen-address={url[7:]}", f"--storage.path={tmp_path}/data", "--log.level=error"]
        with subprocess.Popen(command, env={**os.environ, "no_proxy": "*"}) as process:
            try:
                until(lambda: _up(url), 30, "it serves")
                yield url, sink
            finally:
                process.terminate()


def _up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
            return True
    except OSError:
        return False


def post(url: str, name: str, *, over: bool) -> None:
    """What Prometheus sends of an alert."""
    ends = datetime.now(UTC) + timedelta(seconds=-1 if over else 600)
    starts = datetime.now(UTC) - timedelta(seconds=60)
    alert = {
        "labels": {"alertname": name, "cluster": "shop", "severity": "page"},
        "annotations": {"summary": "shop could only be recovered to 23h ago", "command": "pgrescue status -s shop"},
        "startsAt": starts.isoformat(), "endsAt": ends.isoformat(),
    }  # fmt: skip
    request = urllib.request.Request(
        f"{url}/api/v2/alerts", data=json.dumps([alert]).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5):
        pass


def test_an_alert_reaches_the_pager_as_its_schema_wants_it_and_resolves(alertmanager):
    url, sink = alertmanager

    def events(action: str) -> list[dict[str, Any]]:
        found = [one for one in sink.received() if one["channel"] == "pagerduty"]
        assert all(one["conforms"] is True for one in found), found
        return [one["payload"] for one in found if one["payload"]["event_action"] == action]

    began = time.time()
    post(url, "Watchdog", over=False)
    post(url, "PgRescueRecoveryPointStale", over=False)
    (event,) = until(lambda: events("trigger"), 30, "it is told")
    assert event["payload"]["summary"] == "PgRescueRecoveryPointStale: shop could only be recovered to 23h ago"
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["custom_details"]["command"] == "pgrescue status -s shop"
    post(url, "PgRescueRecoveryPointStale", over=True)
    (over,) = until(lambda: events("resolve"), 60, "it is resolved")
    assert over["dedup_key"] == event["dedup_key"]
    assert time.time() >= began
