"""The way of an alert, tried: real looks in which a failure is planted go through the rules to every channel."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgrescue import incidents
from pgrescue.alerting import delivery
from pgrescue.alerting.message import Message
from pgrescue.core import records, scene, situations
from pgrescue.models import rfc3339
from pgrescue.watch.patience import OPENED, Patience
from pgrescue.watch.places import Place
from pgrescue.watch.setting import Setting

FOLDER = "rehearsals"
PLANTED = "planted by a rehearsal"


def run(setting: Setting, runs: Path) -> dict[str, Any]:
    """Rehearse; what came of it is kept in `runs/rehearsals/` and returned.

    `passed`, `noticed`, and `channels`: of each the seconds it took, or why it did not take it.
    """
    places = {
        name: Place(name, command, setting.interval_s, setting.patience_s) for name, command in setting.places.items()
    }
    for place in places.values():
        place.start()
    pause = threading.Event()
    while not all(place.settled() for place in places.values()):
        pause.wait(0.1)
    looks = {name: place.look() for name, place in places.items()}
    for place in places.values():
        place.stop()
    began = time.monotonic()
    noticed = notices(setting.promise, looks)
    at = incidents.now()
    key = f"{at:%Y%m%dT%H%M%SZ}-{setting.service}-rehearsal"
    said = (
        "A failure was planted to try the way of an alert. Nothing is wrong."
        if noticed
        else "The rules did not notice."
    )
    message = Message(key, "rehearsal", "info", setting.service, said, (), (), at)
    channels: dict[str, float | str] = {}
    for name in dict.fromkeys(name for level in setting.alerts.levels for name in level.channels):
        sent = delivery.deliver(message, [name], setting.alerts, {})
        channels[name] = round(time.monotonic() - began, 3) if sent.delivered else "; ".join(sent.reasons)
        if sent.delivered:  # a pager goes on ringing otherwise
            ended = Message(key, "resolved", "info", setting.service, "The rehearsal is over.", (), (), incidents.now())
            delivery.deliver(ended, [name], setting.alerts, {})
    passed = noticed and bool(channels) and all(isinstance(took, float) for took in channels.values())
    found = {
        "schema_version": 1,
        "service": setting.service,
        "at": rfc3339(at),
        "passed": passed,
        "noticed": noticed,
        "channels": channels,
    }
    (runs / FOLDER).mkdir(parents=True, exist_ok=True)
    records.write_json(str(runs / FOLDER / f"{key}.json"), found)
    return found


def notices(promise: Mapping[str, Any], looks: Mapping[str, Any]) -> bool:
    """Whether writes that fail from every place are an incident after two looks."""
    patience, ill = Patience(), planted(looks)
    if ill == looks:
        return False  # no place writes or calls, so that nothing could be planted
    for later in (0.0, 1.0):
        found = situations.judge(scene.Scene(promise, ill, {}))
        stamps = {name: later for name, look in ill.items() if "at" in look}
        seen = patience.see(found["state"], found["level"], stamps, later)
    return seen == OPENED and found["level"] == "page"


def planted(looks: Mapping[str, Any]) -> dict[str, Any]:
    """The looks with a failure in them."""
    ill: dict[str, Any] = copy.deepcopy(dict(looks))
    for look in ill.values():
        if isinstance(look.get("write"), dict):
            look["write"].update(ok=False, problem=PLANTED, state=None)
        for call in (look.get("http") or {}).values():
            call.update(ok=False, problem=PLANTED)
    return ill
