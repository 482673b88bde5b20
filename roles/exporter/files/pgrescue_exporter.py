#!/usr/bin/python3
"""Export what can only be measured on this host, for Prometheus: docs/metrics.md.

    pgrescue_exporter.py /etc/pgrescue/metrics-shop.json         measure and serve until told to stop
    pgrescue_exporter.py /etc/pgrescue/metrics-shop.json --once  measure once and print; 1 when something could not be measured

Only looks. It asks the server on this host, lists what repositories and stores hold, and reads what the scheduled backup and the witness wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any, Callable, Sequence

from pgrescue_core import catalogs, dump_store, dumps, guards, look_server, measures, pgbackrest, records, witness_files
from pgrescue_core.collecting import Collector, Exported
from pgrescue_core.host_program import Host
from pgrescue_core.lsn import parse_lsn
from pgrescue_core.recovery_point import RecoveryPoint, Written
from pgrescue_core.series import Sample
from pgrescue_core.stores import label
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

STALE_DAYS = 30  # after which a proof is stale; nothing that is measured here asks


class Measuring:
    """What the configuration of a service on this host wants measured."""

    def __init__(self, wanted: "dict[str, Any]") -> None:
        self._wanted = wanted
        self._cluster, self._host = wanted["cluster"], wanted["host"]
        self._point = RecoveryPoint()
        self._successes = witness_files.Successes(wanted["collectors"].get("witness", {}).get("journal", ""))

    def collectors(self) -> "list[Collector]":
        """One for each part that is wanted."""
        known: "dict[str, Callable[[], Sequence[Sample]]]" = {
            "server": self._server, "repository": self._repository, "backup": self._backup, "witness": self._witness,
            "dumps": self._dumps,
        }  # fmt: skip
        return [Collector(name, part["every_s"], known[name]) for name, part in self._wanted["collectors"].items()]

    def _look(self) -> "dict[str, Any]":
        part = self._wanted["collectors"]["server"]
        module = Host({**part["connection"], "in_use": part["in_use"]})
        return look_server.look(module, part["in_use"], part.get("log"))

    def _server(self) -> "Sequence[Sample]":
        return measures.of_server(self._cluster, self._host, self._look())

    def _repository(self) -> "Sequence[Sample]":
        part = self._wanted["collectors"]["repository"]
        primary = (
            self._primary()
        )  # before the archive is listed: it then holds what was written until this look, or more
        unreachable: "dict[str, str]" = {}
        try:
            catalog = catalogs.observe(pgbackrest.Repositories(Host(part)), None, unreachable)
        except guards.Stop as stop:
            if not isinstance(stop, catalogs.NoBackup) and set(part["endpoints"]) - set(unreachable):
                raise  # one was asked and did not tell what it has
            catalog = {"candidates": [], "passed_over": [], "unreachable": unreachable}
        reaches = measures.archived_lsn(catalog)
        measured = self._point.newest(reaches) if primary and reaches is not None else None
        numbers = [int(number) for number in part["endpoints"]]
        return measures.of_catalog(self._cluster, catalog, numbers, measured)

    def _primary(self) -> bool:
        """Whether this is the primary; what it has written by now is kept then."""
        if "server" not in self._wanted["collectors"]:
            return False
        began, seen = time.time(), self._look()
        if seen["role"] != "primary":
            return False
        self._point.note(Written(began, parse_lsn(seen["lsn"]), seen["snapshot"]), seen["timeline"])
        return True

    def _backup(self) -> "Sequence[Sample]":
        path = self._wanted["collectors"]["backup"]["result"]
        try:
            return measures.of_job(self._cluster, records.read_json(path))
        except FileNotFoundError:
            return []  # no backup was due here yet

    def _dumps(self) -> "Sequence[Sample]":
        part = self._wanted["collectors"]["dumps"]
        handed = os.environ.get("CREDENTIALS_DIRECTORY")
        if handed is None:
            raise ValueError(
                "the stores' keys are root's, and handed over by systemd: CREDENTIALS_DIRECTORY has their folder"
            )
        stores = records.read_json(os.path.join(handed, "stores"))
        if not stores:
            raise ValueError("no store is named")
        copies, unreachable = dump_store.offered(stores, self._cluster, part["public_keys"])
        found = dumps.catalog(copies, datetime.now(timezone.utc), STALE_DAYS)
        seen = {**found, "copies": copies, "unreachable": unreachable}
        return measures.of_dumps(self._cluster, seen, [label(store) for store in stores])

    def _witness(self) -> "Sequence[Sample]":
        return measures.of_witness(self._cluster, self._successes.until(datetime.now(timezone.utc)))


def main() -> int:
    """Serve until told to stop, or print once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configuration", help="JSON, as the role exporter writes it")
    parser.add_argument("--once", action="store_true", help="measure once, print, and end")
    arguments = parser.parse_args()
    with open(arguments.configuration, encoding="utf-8") as source:
        wanted = json.load(source)
    collectors = Measuring(wanted).collectors()
    registry = CollectorRegistry()
    exported = Exported(wanted["cluster"], wanted["host"], collectors)
    if arguments.once:
        for collector in collectors:
            collector.once()
        registry.register(exported)
        sys.stdout.write(generate_latest(registry).decode())
        told = [one for each in collectors for one in each.samples(wanted["cluster"], wanted["host"], time.time())]
        return int(any(one.name == "pgrescue_collector_success" and not one.value for one in told))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    registry.register(exported)
    start_http_server(wanted["listen"]["port"], wanted["listen"]["address"], registry)
    for collector in collectors:
        threading.Thread(target=collector.run, args=(stop,), name=collector.name, daemon=True).start()
    stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
