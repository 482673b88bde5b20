"""Every panel asks what a real Prometheus answers, and shows that there is no data as bad."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pgrescue import dashboards
from pgrescue.core import series
from pgrescue.metrics import textfile
from postgres import until

import monitoring
from monitoring import HOUSE, Prometheus, promtool

MADE = (dashboards.service(), dashboards.fleet())
VALUES = {"$cluster": "shop", "$kind": ".*", "$__rate_interval": "1m"}
LABELS = {
    "cluster": "shop", "kind": "drill", "host": "db1", "phase": "restore", "probe": "commit", "engine": "pgbackrest",
    "repo": "1", "type": "full", "state": "well", "severity": "high", "run_id": "r1", "scenario": "complete_loss",
    "by": "commits", "folder": "/data", "standby": "db2", "collector": "server",
}  # fmt: skip


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for made in MADE:
        for panel in made["panels"]:
            yield f"{made['uid']}: {panel['title']}", panel


def expressions() -> Iterator[tuple[str, str, str]]:
    """Each panel's title, the letter of its query, and the query as Grafana would send it."""
    for title, panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VALUES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression, expression
            yield title, target["refId"], expression


def exported() -> bytes:
    """A sample of every series that an exporter, the records or a watch export."""
    now, found = time.time(), []
    for one in series.TABLE:
        if one.by == "rules":
            continue
        values = [LABELS] if one.name != "pgrescue_server_primary" else [LABELS, {**LABELS, "host": "db2"}]
        values = values if one.name != "pgrescue_server_running" else [LABELS, {**LABELS, "host": "db2"}]
        extra = {"objective": ("rto", "rpo"), "result": ("passed", "failed")}
        for labels in values:
            for word in next((extra[name] for name in one.labels if name in extra), ("",)):
                said = tuple({**labels, "objective": word, "result": word}[name] for name in one.labels)
                value = (
                    now
                    if "timestamp" in one.name
                    else 0.0
                    if labels["host"] == "db2" and "primary" in one.name
                    else 1.0
                )
                found.append(series.Sample(one.name, said, value))
    return textfile.exposition(found)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), exported())
    try:
        until(lambda: started.answers("pgrescue:backup_gap_seconds:30d"), 60, "it evaluates the rules")
        until(lambda: started.answers("pgrescue:backup_attempts:30d"), 60, "it has seen two scrapes")
        yield started
    finally:
        started.stop()


def test_the_files_are_those_that_are_made():
    """When this fails: python -m pgrescue.dashboards monitoring/grafana/dashboards."""
    folder = HOUSE / "monitoring/grafana/dashboards"
    assert sorted(path.stem for path in folder.glob("*.json")) == sorted(made["uid"] for made in MADE)
    for made in MADE:
        assert json.loads((folder / f"{made['uid']}.json").read_text()) == json.loads(json.dumps(made))


def test_a_dashboard_is_as_grafana_wants_it():
    for made in MADE:
        assert made["schemaVersion"] >= 39 and made["uid"] and "dashboard" not in made
        assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])
        assert made["templating"]["list"][0]["type"] == "datasource"
        taken: set[tuple[int, int]] = set()
        for panel in made["panels"]:
            assert "thresholds" not in panel, "they are in fieldConfig"
            assert panel["datasource"]["uid"] == "${datasource}"
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            taken |= cells


def test_what_nobody_measures_is_red_and_says_so():
    for title, panel in panels():
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"] == "NO DATA" and defaults["unit"], title
        assert defaults["thresholds"]["steps"][0] == {"color": "red", "value": None}, title
        (mapping,) = defaults["mappings"]
        assert mapping["options"]["result"] == {"text": "NO DATA", "color": "red"}, title


def test_no_limit_of_a_promise_is_written_in_a_dashboard():
    text = json.dumps(MADE)
    for promised in ("86400", "3600", "93600", "691200"):
        assert promised not in text


def test_a_standby_that_receives_nothing_does_not_follow(tmp_path: Path):
    (expression,) = (one for title, _ref, one in expressions() if "Standbys" in title)
    values = {**monitoring.well(), monitoring.series("standbys_streaming", **monitoring.of("db1")): "0x150"}
    assert monitoring.judged(tmp_path, values, expression, [{"labels": '{cluster="shop"}', "value": 0}]) == ""


def test_every_expression_is_one(tmp_path: Path):
    rules = [{"record": f"e:{n}", "expr": expression} for n, (_, _, expression) in enumerate(expressions())]
    (tmp_path / "expressions.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = promtool("check", "rules", str(tmp_path / "expressions.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) > 40
    rules[0]["expr"] += ")"
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    assert promtool("check", "rules", str(tmp_path / "wrong.yml")).returncode != 0


def test_every_expression_answers_and_none_does_when_nobody_measures(prometheus):
    silent = [f"{title} {letter}: {text}" for title, letter, text in expressions() if not prometheus.ask(text)]
    assert silent == []
    prometheus.stop_exporter()
    until(lambda: not prometheus.ask("pgrescue:backup_gap_seconds:30d"), 60, "what was measured is no longer there")
    until(lambda: not prometheus.ask('up{job="pgrescue"} == 1'), 60, "it is seen to be gone")
    until(lambda: not prometheus.ask("pgrescue:disk_used_ratio"), 60, "the rules follow")
    told = [f"{title}: {text}" for title, letter, text in expressions() if letter == "A" and prometheus.ask(text)]
    assert told == [], "it would be shown as good"


def test_provisioning_names_what_is_there():
    folder = HOUSE / "monitoring/grafana/provisioning"
    (provider,) = yaml.safe_load((folder / "dashboards/pgrescue.yml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources/pgrescue.yml").read_text())["datasources"]
    assert provider["type"] == "file" and source["type"] == "prometheus"
