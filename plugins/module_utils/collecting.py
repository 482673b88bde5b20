"""Measure again and again, beside whoever asks: a scrape never waits, and what is no longer fresh is not exported."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Iterator, Sequence

from .series import Sample, families, sample

FRESH = 3  # measurements that may be missed before a value is no longer told


class Collector:
    """Measures one thing every so many seconds, in a thread of its own: one that hangs keeps nothing else from being told."""

    def __init__(self, name: str, every_s: float, measure: "Callable[[], Sequence[Sample]]") -> None:
        self.name, self._every_s, self._measure = name, every_s, measure
        self._at, self._took_s, self._found, self._well = 0.0, 0.0, [], False  # type: float, float, Sequence[Sample], bool

    def run(self, stop: threading.Event) -> None:
        """Measure until told to stop. What fails is said, on the exporter's own output and by C(collector_success)."""
        while True:
            self.once()
            if stop.wait(self._every_s):
                return

    def once(self) -> None:
        """Measure once."""
        began = time.time()
        try:
            found = list(self._measure())
        except BaseException as error:  # a module's guard may end by SystemExit; told, not swallowed
            self._well = False
            print("%s could not be measured: %s: %s" % (self.name, type(error).__name__, error), flush=True)
            return
        self._at, self._took_s, self._found, self._well = began, time.time() - began, found, True

    def samples(self, cluster: str, host: str, now: float) -> "list[Sample]":
        """Whether it measures, when it last did, and what it found unless that is too old or the last try failed."""
        # the next one begins so long after the end of the last, which a slow store may have drawn out
        fresh = self._well and now - self._at <= FRESH * (self._every_s + self._took_s)
        told = sample("collector_success", fresh, cluster, host, self.name)
        told += sample("collector_last_run_timestamp_seconds", self._at or None, cluster, host, self.name)
        return told + list(self._found if fresh else ())


class Exported:
    """What prometheus-client asks at every scrape."""

    def __init__(self, cluster: str, host: str, collectors: "Sequence[Collector]") -> None:
        self._cluster, self._host, self._collectors = cluster, host, collectors

    def collect(self) -> "Iterator[Any]":
        """All families, as fresh as the collectors have them."""
        now = time.time()
        told = [one for collector in self._collectors for one in collector.samples(self._cluster, self._host, now)]
        return iter(families(told))
