"""The dashboards of Grafana, made from one description: `python -m pgrescue.dashboards monitoring/grafana/dashboards`.

What is coloured is a share of what the inventory promises, so that no limit is written here. What nobody measures is red: it is
no value, which takes the first threshold's colour, and `NO DATA` stands there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SCHEMA = 39  # of classic dashboards
WIDTH, HEIGHT = 24, 6
NO_DATA = "NO DATA"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HERE = '{cluster="$cluster"}'


def _steps(*above: tuple[float, str]) -> dict[str, Any]:
    """Red for no value at all; then a colour from each value on."""
    steps: list[dict[str, Any]] = [{"color": "red", "value": None}]
    return {"mode": "absolute", "steps": steps + [{"color": color, "value": value} for value, color in above]}


SHARE = _steps((0, "green"), (0.75, "orange"), (1, "red"))
NONE_IS_WELL = _steps((0, "green"), (1, "red"))
ONE_IS_WELL = _steps((0, "red"), (1, "green"), (2, "red"))
PLAIN = _steps((0, "blue"))


def _panel(
    kind: str, title: str, size: tuple[int, int], unit: str, thresholds: dict[str, Any], *queries: tuple[str, str]
) -> dict[str, Any]:
    """A panel; `queries` are expression and legend, the first being what the panel is about."""
    instant = kind != "timeseries"
    defaults = {
        "unit": unit,
        "noValue": NO_DATA,
        "thresholds": thresholds,
        "color": {"mode": "palette-classic" if kind == "timeseries" else "thresholds"},
        "mappings": [
            {"type": "special", "options": {"match": "null+nan", "result": {"text": NO_DATA, "color": "red"}}}
        ],
        "custom": {"fillOpacity": 0} if kind == "timeseries" else {},
    }
    targets = [
        {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend,
         "instant": instant, "range": not instant, **({"format": "table"} if kind == "table" else {})}
        for n, (expression, legend) in enumerate(queries)
    ]  # fmt: skip
    options: dict[str, Any] = {}
    if kind == "stat":
        options = {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    merged = [{"id": "merge", "options": {}}] if kind == "table" else []
    return {
        "type": kind, "title": title, "datasource": SOURCE, "gridPos": {"w": size[0], "h": size[1]},
        "fieldConfig": {"defaults": defaults, "overrides": []}, "options": options, "targets": targets,
        "transformations": merged,
    }  # fmt: skip


def _share(title: str, instant: str, objective: str, labels: str = _HERE) -> dict[str, Any]:
    """How much of what is allowed has gone by since an instant."""
    allowed = f'max by (cluster) (pgrescue_objective_seconds{{cluster="$cluster", objective="{objective}"}})'
    expression = f"(time() - max by (cluster) ({instant}{labels})) / on (cluster) {allowed}"
    return _panel("stat", title, (6, 4), "percentunit", SHARE, (expression, "of what is allowed"))


def service() -> dict[str, Any]:
    """One service."""
    runs = '{cluster="$cluster", kind=~"$kind"}'
    point = f"time() - pgrescue:recovery_point_timestamp_seconds{_HERE}"
    panels = [
        _share("Data loss window, of the RPO", "pgrescue:recovery_point_timestamp_seconds", "rpo"),
        _share("Backup age, of what is allowed", "pgrescue:backup_last_success_timestamp_seconds", "backup_age"),
        _share("Age of the last proof, of what is allowed", "pgrescue_restore_test_last_success_timestamp_seconds", "restore_test_age"),
        _share("Age of the last drill, of what is allowed", "pgrescue_drill_last_success_timestamp_seconds", "drill_age"),
        _panel("stat", "Hosts that take writes", (4, 4), "none", ONE_IS_WELL, (f"sum by (cluster) (pgrescue_server_primary{_HERE})", "primaries")),
        _panel("stat", "Standbys, of those that shall follow", (4, 4), "percentunit", _steps((0, "orange"), (1, "green")),
               (f"max by (cluster) (pgrescue_standbys_streaming{_HERE}) / on (cluster) (pgrescue_expected_standbys{_HERE} > 0)", "follow")),
        _panel("stat", "Segments missing in the archive", (4, 4), "none", NONE_IS_WELL, (f"max by (cluster) (pgrescue_wal_gap_segments{_HERE})", "missing")),
        _panel("stat", "Repositories that do not answer", (4, 4), "none", NONE_IS_WELL,
               (f"sum by (cluster) (1 - max by (cluster, repo) (pgrescue_repository_reachable{_HERE}))", "silent")),
        _panel("stat", "What cannot be measured", (4, 4), "none", NONE_IS_WELL, (f"sum by (cluster) (1 - pgrescue_collector_success{_HERE})", "collectors")),
        _panel("stat", "Open findings", (4, 4), "none", NONE_IS_WELL, (f"sum by (cluster) (pgrescue_finding_open{_HERE})", "open")),
        _panel("timeseries", "Data loss window", (12, 8), "s", PLAIN, (point, "would be lost now"),
               (f"pgrescue:reachable_rpo_seconds{_HERE}", "somebody is paged"), ('pgrescue_objective_seconds{cluster="$cluster", objective="rpo"}', "promised")),
        _panel("timeseries", "Age of backups", (12, 8), "s", PLAIN,
               (f"time() - max by (repo, type) (pgrescue_backup_last_success_timestamp_seconds{_HERE})", "{{type}} in repository {{repo}}"),
               ('pgrescue_objective_seconds{cluster="$cluster", objective="backup_age"}', "allowed")),
        _panel("stat", "Scheduled backups that succeeded, 30 days", (6, 4), "percentunit", _steps((0, "red"), (0.95, "orange"), (1, "green")),
               (f"pgrescue:backup_attempts_passed:30d{_HERE} / pgrescue:backup_attempts:30d{_HERE}", "succeeded")),
        _panel("stat", "of so many", (3, 4), "none", PLAIN, (f"pgrescue:backup_attempts:30d{_HERE}", "attempts")),
        _panel("stat", "Longest time without a backup, 30 days", (5, 4), "s", PLAIN, (f"pgrescue:backup_gap_seconds:30d{_HERE}", "longest")),
        _panel("stat", "Witness committed last, ago", (5, 4), "s", _steps((0, "green"), (60, "red")),
               ('time() - max by (cluster) (pgrescue_witness_last_success_timestamp_seconds{cluster="$cluster", probe="commit"})', "ago")),
        _panel("stat", "Watch heard of, ago", (5, 4), "s", _steps((0, "green"), (60, "orange")), (f"time() - max by (cluster) (pgrescue_watch_last_run_timestamp_seconds{_HERE})", "ago")),
        _panel("timeseries", "What standbys have yet to replay", (12, 8), "bytes", PLAIN, (f"max by (standby) (pgrescue_standby_lag_bytes{_HERE})", "{{standby}}")),
        _panel("timeseries", "Disks in use", (12, 8), "percentunit", SHARE, (f"pgrescue:disk_used_ratio{_HERE}", "{{host}} {{folder}}"),
               (f"pgrescue:disk_used_inodes_ratio{_HERE}", "{{host}} {{folder}} inodes")),
        _panel("stat", "Recovery time: the median run", (6, 4), "s", PLAIN, (f"quantile by (cluster) (0.5, pgrescue_run_rta_seconds{runs})", "median")),
        _panel("stat", "The worst run, of the RTO", (6, 4), "percentunit", SHARE,
               (f'max by (cluster) (pgrescue_run_rta_seconds{runs} / on (run_id) pgrescue_run_objective_seconds{{objective="rto"}})', "of the RTO")),
        _panel("stat", "Runs that measured it", (6, 4), "none", PLAIN, (f"count by (cluster) (pgrescue_run_rta_seconds{runs})", "runs")),
        _panel("stat", "Detection: the worst run", (6, 4), "s", PLAIN, (f"max by (cluster) (pgrescue_run_detection_seconds{runs})", "worst")),
        _panel("table", "Every run: recovery time, loss, passed", (24, 8), "s", PLAIN, (f"pgrescue_run_rta_seconds{runs}", "recovery time"),
               (f"pgrescue_run_rpa_seconds{runs}", "loss"), (f"pgrescue_run_success{runs}", "passed")),
        _panel("bargauge", "Phases of every run", (24, 8), "s", PLAIN, (f"pgrescue_run_phase_seconds{runs}", "{{run_id}} {{phase}}")),
    ]  # fmt: skip
    kind = {"name": "kind", "label": "Kind", "type": "custom", "query": "drill,incident,proof", "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"}}  # fmt: skip
    return _dashboard("pgrescue-service", "pgrescue: one service", panels, [_clusters(), kind])


def fleet() -> dict[str, Any]:
    """All services."""
    asked = 'count(up{job="pgrescue"} == 1)'
    firing = 'count(ALERTS{{alertname=~"PgRescue.*", alertstate="firing", severity="{}"}})'

    def share(instant: str, objective: str) -> str:
        return f'(time() - max by (cluster) ({instant})) / on (cluster) max by (cluster) (pgrescue_objective_seconds{{objective="{objective}"}})'

    loss, backup = (
        share("pgrescue:recovery_point_timestamp_seconds", "rpo"),
        share("pgrescue:backup_last_success_timestamp_seconds", "backup_age"),
    )
    panels = [
        _panel("stat", "Services that are measured, of those expected", (6, 4), "percentunit", _steps((0, "red"), (1, "green")),
               ("count(pgrescue:recovery_point_timestamp_seconds) / count(pgrescue_expected_cluster)", "measured")),
        _panel("stat", "Pages that are open", (6, 4), "none", NONE_IS_WELL, (f"({firing.format('page')} or vector(0)) and on () {asked}", "pages")),
        _panel("stat", "Tickets that are open", (6, 4), "none", NONE_IS_WELL, (f"({firing.format('ticket')} or vector(0)) and on () {asked}", "tickets")),
        _panel("stat", "Exporters that answer, of those expected", (6, 4), "percentunit", _steps((0, "red"), (1, "green")),
               (f"{asked} / count(pgrescue_expected_exporter)", "answer")),
        _panel("bargauge", "Data loss window, of the RPO: the ten nearest to it", (12, 10), "percentunit", SHARE, (f"topk(10, {loss})", "{{cluster}}")),
        _panel("bargauge", "Backup age, of what is allowed: the ten oldest", (12, 10), "percentunit", SHARE, (f"topk(10, {backup})", "{{cluster}}")),
        _panel("table", "Age of the last proof, of what is allowed", (12, 10), "percentunit", SHARE,
               (share("pgrescue_restore_test_last_success_timestamp_seconds", "restore_test_age"), "{{cluster}}")),
        _panel("table", "Age of the last drill, of what is allowed", (12, 10), "percentunit", SHARE,
               (share("pgrescue_drill_last_success_timestamp_seconds", "drill_age"), "{{cluster}}")),
        _panel("table", "Services without a primary, or with two", (12, 8), "none", ONE_IS_WELL, ("sum by (cluster) (pgrescue_server_primary)", "primaries")),
        _panel("table", "Watches: what they see", (12, 8), "none", PLAIN, ("max by (cluster, state) (pgrescue_watch_state)", "{{cluster}} {{state}}")),
    ]  # fmt: skip
    return _dashboard("pgrescue-fleet", "pgrescue: all services", panels, [])


def _clusters() -> dict[str, Any]:
    query = "label_values(pgrescue_expected_cluster, cluster)"
    return {
        "name": "cluster",
        "label": "Service",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "A"},
        "refresh": 2,
        "sort": 1,
    }


def _dashboard(uid: str, title: str, panels: list[dict[str, Any]], variables: list[dict[str, Any]]) -> dict[str, Any]:
    x = y = highest = 0
    for number, panel in enumerate(panels, 1):
        place = panel["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, highest = 0, y + highest, 0
        place.update(x=x, y=y)
        x, highest = x + place["w"], max(highest, place["h"])
        panel["id"] = number
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid, "title": title, "tags": ["pgrescue"], "schemaVersion": SCHEMA, "version": 1, "editable": True, "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"}, "timezone": "utc", "templating": {"list": [source, *variables]},
        "annotations": {"list": []}, "panels": panels,
    }  # fmt: skip


def main() -> None:
    """Write both into the folder named on the command line."""
    folder = Path(sys.argv[1])
    for made in (service(), fleet()):
        path = folder / f"{made['uid']}.json"
        path.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
