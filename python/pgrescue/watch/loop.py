"""The watch itself: look, judge, and let follow what must. Everything that decides is elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pgrescue.core import records, scene, situations
from pgrescue.metrics import textfile
from pgrescue.models import rfc3339
from pgrescue.watch.memory import Memory
from pgrescue.watch.patience import CHANGED, OPENED, OVER, Patience
from pgrescue.watch.places import Place
from pgrescue.watch.setting import Setting

TICK_S = 0.5
HEARTBEAT_S = 10.0
POWER_AGAIN_S = 5.0
POWER_LIMIT_S = 5.0


class Watch:
    """Watches one service.

    `tell` is called with `opened`, `changed`, `over` or `looked`, the situation, and when clients were last served.
    """

    def __init__(
        self, setting: Setting, runs: Path, tell: Callable[[str, dict[str, Any], datetime | None], None]
    ) -> None:
        self._setting, self._tell = setting, tell
        self._heartbeat = runs / "watch" / f"{setting.service}.json"
        kept = records.read_json(str(self._heartbeat)) if self._heartbeat.exists() else {}
        self.memory = Memory(setting.promise, kept.get("known"))
        self.patience = Patience()
        self._places = {
            name: Place(name, command, setting.interval_s, setting.patience_s)
            for name, command in setting.places.items()
        }
        self._served: datetime | None = None
        self._beat_at = 0.0
        self._power_asked: dict[str, float] = {}
        self.situation: dict[str, Any] = {}

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        for place in self._places.values():
            place.start()
        try:
            while not stop.wait(TICK_S):
                if all(place.settled() for place in self._places.values()):
                    self.tick()
        finally:
            for place in self._places.values():
                place.stop()

    def tick(self) -> None:
        """Take the newest look of every place into account."""
        looks = {name: place.look() for name, place in self._places.items()}
        self._ask_power(looks)
        view = scene.Scene(self._setting.promise, looks, self.memory.known())
        found = situations.judge(view)
        self.situation = found
        well = found["level"] == "none"
        self.memory.learn(looks, well)
        served = not view.hurt() and bool(view.writers() or view.calls())
        stamps = {name: at for name, place in self._places.items() if (at := place.seen_at()) is not None}
        if served and stamps:  # by the clock of this machine: those of the places may be wrong
            self._served = datetime.now(UTC) - timedelta(seconds=time.monotonic() - min(stamps.values()))
        seen = self.patience.see(found["state"], found["level"], stamps, time.monotonic())
        if seen == OVER:
            self.memory.forgive(looks)
        started = None if served else self._served
        if seen in (OPENED, CHANGED, OVER):
            self._tell(seen, found, started)
        self._tell("looked", found, started)
        self._beat(looks)

    def _ask_power(self, looks: Mapping[str, Any]) -> None:
        """Ask for the power of database hosts that are silent, each in a thread, for it may take seconds."""
        for host, command in self._setting.power.items():
            if "unreachable" not in looks.get(host, {}):
                self.memory.power.pop(host, None)
                self._power_asked.pop(host, None)
            elif time.monotonic() - self._power_asked.get(host, -POWER_AGAIN_S) >= POWER_AGAIN_S:
                self._power_asked[host] = time.monotonic()
                threading.Thread(target=self._power, args=(host, command), daemon=True).start()

    def _power(self, host: str, command: Mapping[str, Any]) -> None:

        try:
            done = subprocess.run(command["argv"], capture_output=True, text=True, timeout=POWER_LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return  # nobody tells: then it is not known, which is what the rules take it for
        said = done.stdout.strip()
        if done.returncode == 0 and said and host in self._power_asked:
            self.memory.power[host] = {"on": not re.search(command["off"], said), "said": said[:200]}

    def _beat(self, looks: Mapping[str, Any]) -> None:
        """Say that the watch lives, what it knows and how the service is: to whoever asks, and to itself later."""
        if time.monotonic() - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = time.monotonic()
        silent = sorted(name for name, look in looks.items() if "unreachable" in look)
        said = {
            "service": self._setting.service,
            "at": rfc3339(datetime.now(UTC)),
            "state": self.situation["state"],
            "says": self.situation["says"],
            "silent": silent,
            "known": self.memory.known(),
        }
        try:
            self._heartbeat.parent.mkdir(parents=True, exist_ok=True)
            records.write_json(str(self._heartbeat), json.loads(json.dumps(said)))
            textfile.write_watch(said)
        except OSError as error:
            print(f"the heartbeat cannot be written: {error}", flush=True)
