"""Run `pgrescue watch` against the lab and see what arrives at the stand-in for the vendors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from ill_states import until
from lab_hosts import HOUSE, variables


class Sink:
    """The stand-in on the lab's witness host."""

    def __init__(self) -> None:
        self.url = f"http://{variables('client1')['ansible_host']}:8099"

    def received(self, since_s: float) -> list[dict[str, Any]]:
        """What came since an instant, oldest first, with `at_s` in epoch seconds."""
        with urllib.request.urlopen(f"{self.url}/received", timeout=5) as answer:
            found = json.loads(answer.read())
        seen = [{**one, "at_s": datetime.fromisoformat(one["received"]).timestamp()} for one in found]
        return sorted((one for one in seen if one["at_s"] >= since_s), key=lambda one: one["at_s"])

    def pages(self, since_s: float) -> list[dict[str, Any]]:
        """The triggers that reached the pager since an instant."""
        there = [one for one in self.received(since_s) if one["channel"] == "pagerduty"]
        return [one for one in there if one["payload"].get("event_action") == "trigger"]

    def heard(self, since_s: float, alert: str, action: str) -> bool:
        """Whether the pager was told this of an alert, named as its summary begins; all it was told must conform."""
        found = [one for one in self.received(since_s) if one["channel"] == "pagerduty"]
        assert all(one["conforms"] is True for one in found), found
        events = [one["payload"] for one in found]
        raised = [one for one in events if one["event_action"] == "trigger"]
        keys = {one["dedup_key"] for one in raised if one["payload"]["summary"].startswith(alert)}
        return any(one["event_action"] == action and one["dedup_key"] in keys for one in events)

    def answer(self, channel: str, what: Any, times: int, **more: Any) -> None:
        """Decide how the next requests are answered."""
        body = json.dumps({"channel": channel, "answer": what, "times": times, **more}).encode()
        request = urllib.request.Request(f"{self.url}/control", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5):
            pass


class Watch:
    """A watch that runs, and what it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.lines = process, []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line.rstrip())
            print(f"    {line.rstrip()}", flush=True)

    def says(self, text: str, after: int = 0) -> bool:
        """Whether it has said something, from a line on."""
        return any(text in line for line in self.lines[after:])


@contextmanager
def watching(runs: Path, *more: str) -> Iterator[Watch]:
    """A watch over the lab's service, its records in a folder of its own; it is there when every place looks."""
    env = {**os.environ, "PGRESCUE_RUNS": str(runs), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["pgrescue", "watch", "--service", "shop", "--inventory", "inventories/lab", *more]
    with subprocess.Popen(
        command, cwd=HOUSE, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as one:
        watch = Watch(one)
        try:
            until("the watch has begun", lambda: watch.says("watching shop") or one.poll() is not None)
            until("every place looks", lambda: (runs / "watch/shop.json").exists() or one.poll() is not None)
            yield watch
        finally:
            one.send_signal(signal.SIGTERM)
            one.wait()


def state(runs: Path) -> str:
    """What the watch last said of the service."""
    said: dict[str, Any] = json.loads((runs / "watch/shop.json").read_text())
    return str(said["state"])
