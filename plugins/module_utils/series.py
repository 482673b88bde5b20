"""The series that are measured: name, labels, what it says. Nothing exports one that is not here, or with other labels. Pure.

Instants are epoch seconds, so that an age is computed when it is asked for and grows while nobody measures. Base units, as the name
ends; no job and no state in a name.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Optional, Tuple


class Series(NamedTuple):
    """One series of the table."""

    name: str
    labels: "Tuple[str, ...]"
    help: str
    by: str  # exporter, records, watch: who exports it; rules: made by Prometheus from the inventory and from other series

    @property
    def kind(self) -> str:
        """Its type, as Prometheus calls it."""
        return "counter" if self.name.endswith("_total") else "gauge"


class Sample(NamedTuple):
    """A value of a series, with a value for each of its labels in their order."""

    name: str
    labels: "Tuple[str, ...]"
    value: float


_CLUSTER, _REPO, _HOST = ("cluster",), ("cluster", "engine", "repo"), ("cluster", "host")
_RUN = ("cluster", "run_id", "kind", "scenario")
TABLE = tuple(
    Series("pgrescue_" + name, labels, text, by)
    for name, labels, text, by in (
        ("backup_last_success_timestamp_seconds", (*_REPO, "type"), "When the newest usable backup ended.", "exporter"),
        ("backup_last_size_bytes", (*_REPO, "type"), "What a restore of that backup brings back.", "exporter"),
        ("backup_last_repo_size_bytes", (*_REPO, "type"), "What that backup added to its repository.", "exporter"),
        ("backup_last_duration_seconds", (*_REPO, "type"), "How long that backup took.", "exporter"),
        ("backup_proven_timestamp_seconds", _REPO, "When a backup that is there was last proven.", "exporter"),
        ("backup_last_attempt_timestamp_seconds", _REPO, "When the last attempt ended.", "exporter"),
        ("backup_last_attempt_success", _REPO, "Whether it took a backup.", "exporter"),
        ("backup_attempts_total", (*_REPO, "result"), "Attempts, each retry one more: by a host's timer, or to dump.", "exporter"),
        ("recovery_point_timestamp_seconds", ("cluster", "engine", "by"), "The newest commit that could be recovered now.", "exporter"),
        ("recovery_window_start_timestamp_seconds", ("cluster", "engine"), "The oldest moment that could be recovered to.", "exporter"),
        ("wal_gap_segments", _CLUSTER, "Segments that are missing within the archive.", "exporter"),
        ("repository_reachable", ("cluster", "repo"), "Whether a repository answered.", "exporter"),
        ("backup_unusable", ("cluster", "repo"), "Backups that are there and cannot be restored.", "exporter"),
        ("server_running", _HOST, "Whether the server on a database host answers.", "exporter"),
        ("server_primary", _HOST, "Whether it takes writes.", "exporter"),
        ("standby_lag_bytes", ("cluster", "host", "standby"), "WAL that a standby has yet to replay, as its primary sees it.", "exporter"),
        ("standbys_streaming", _HOST, "Standbys that stream from a primary.", "exporter"),
        ("standby_replayed_timestamp_seconds", _HOST, "When the last commit that a standby replayed was made.", "exporter"),
        ("archiver_last_success_timestamp_seconds", _HOST, "When the server last archived a segment.", "exporter"),
        ("archiver_last_failure_timestamp_seconds", _HOST, "When the server last failed to.", "exporter"),
        ("checksum_failures", _HOST, "Pages whose checksum was wrong when the server read them.", "exporter"),
        ("disk_free_bytes", (*_HOST, "folder"), "Room that the server's user may still fill.", "exporter"),
        ("disk_size_bytes", (*_HOST, "folder"), "Size of the filesystem.", "exporter"),
        ("disk_free_inodes", (*_HOST, "folder"), "Inodes that are left; absent where none are counted.", "exporter"),
        ("disk_inodes", (*_HOST, "folder"), "Inodes of the filesystem; absent where none are counted.", "exporter"),
        ("witness_last_success_timestamp_seconds", ("cluster", "probe"), "When a probe of the witness last succeeded.", "exporter"),
        ("collector_success", ("cluster", "host", "collector"), "Whether what a collector measures is fresh.", "exporter"),
        ("collector_last_run_timestamp_seconds", ("cluster", "host", "collector"), "When a collector last measured.", "exporter"),
        ("watch_last_run_timestamp_seconds", _CLUSTER, "When the watch last said that it lives.", "watch"),
        ("watch_state", ("cluster", "state"), "1 for what the watch sees.", "watch"),
        ("restore_test_last_success_timestamp_seconds", ("cluster", "engine"), "When a proof last passed.", "records"),
        ("restore_test_last_duration_seconds", ("cluster", "engine"), "How long that proof took.", "records"),
        ("restore_test_last_bytes", ("cluster", "engine"), "How much data that proof restored.", "records"),
        ("drill_last_success_timestamp_seconds", ("cluster", "scenario"), "When a drill last passed.", "records"),
        ("run_end_timestamp_seconds", _RUN, "When a run ended.", "records"),
        ("run_success", _RUN, "Whether it passed.", "records"),
        ("run_rta_seconds", _RUN, "The recovery time that clients saw.", "records"),
        ("run_rpa_seconds", _RUN, "The time of which commits were lost.", "records"),
        ("run_detection_seconds", _RUN, "From the first failure until it was detected, of incidents and blind drills.", "records"),
        ("run_phase_seconds", (*_RUN, "phase"), "How long a phase took.", "records"),
        ("run_objective_seconds", (*_RUN, "objective"), "What was promised when it ran.", "records"),
        ("finding_open", ("cluster", "severity"), "Findings that are open.", "records"),
        ("records_problems", (), "Records that cannot be read.", "records"),
        ("expected_cluster", _CLUSTER, "1 for each service of the inventory.", "rules"),
        ("expected_exporter", ("cluster", "instance"), "1 for each exporter that the inventory has.", "rules"),
        ("expected_database_hosts", _CLUSTER, "How many database hosts the inventory has: none where there is nothing but a URL.", "rules"),
        ("expected_standbys", _CLUSTER, "How many standbys the inventory wants.", "rules"),
        ("objective_seconds", ("cluster", "objective"), "What the inventory promises; phases as C(phase_NAME).", "rules"),
        ("response_seconds", _CLUSTER, "How long a person takes to put right what was paged.", "rules"),
        ("rpo_reaction_seconds", _CLUSTER, "How long before the objective is lost somebody must know: that, and the longest dump where there is nothing else.", "rules"),
    )
)  # fmt: skip
BY_NAME = {series.name: series for series in TABLE}


def sample(name: str, value: "Optional[float]", *labels: Any) -> "list[Sample]":
    """One sample, or none where the value is not known. Raises ValueError for a series or labels that are not in the table."""
    series = BY_NAME.get("pgrescue_" + name)
    if series is None or len(series.labels) != len(labels):
        raise ValueError("pgrescue_%s with %d labels is not in the table of series" % (name, len(labels)))
    return [] if value is None else [Sample(series.name, tuple(str(label) for label in labels), float(value))]


def families(samples: "Iterable[Sample]") -> "list[Any]":
    """Samples as what prometheus-client exports, in the order of the table."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    made = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    found: "dict[str, Any]" = {}
    for one in samples:
        series = BY_NAME[one.name]
        if one.name not in found:
            found[one.name] = made[series.kind](series.name, series.help, labels=series.labels)
        found[one.name].add_metric(one.labels, one.value)
    return [found[series.name] for series in TABLE if series.name in found]
