"""What earlier looks knew and the newest one cannot tell: who was primary, which standbys there were, what is usual."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from pgrescue.core.scene import Scene

KEPT, ENOUGH = 300, 30  # looks that tell what is usual


class Memory:
    """Learns from looks while the service is well. `known` is what a scene wants of it, and outlives a restart."""

    def __init__(self, promise: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> None:
        known = known or {}
        self._promise = promise
        self.primary: str | None = known.get("primary")
        self.standbys: list[str] = [host for host in known.get("standbys", []) if host in promise["hosts"]]
        self.followed = bool(known.get("followed"))
        self._reaches: dict[str, list[str]] = {place: list(hosts) for place, hosts in known.get("reaches", {}).items()}
        self._checksums: dict[str, int] = dict(known.get("checksum_failures", {}))
        self._took: dict[str, dict[str, deque[float]]] = {}
        self._usual: dict[str, dict[str, float]] = {
            place: dict(probes) for place, probes in known.get("baseline", {}).items()
        }
        self._seen: Mapping[str, Any] = {}
        self.power: dict[str, dict[str, Any]] = {}

    def known(self) -> dict[str, Any]:
        """All of it."""
        return {
            "primary": self.primary,
            "standbys": self.standbys,
            "followed": self.followed,
            "reaches": self._reaches,
            "checksum_failures": self._checksums,
            "baseline": self._usual,
            "power": self.power,
        }

    def learn(self, looks: Mapping[str, Any], well: bool) -> None:
        """Take looks into account."""
        scene = Scene(self._promise, looks, {})
        primaries = scene.in_role("primary")
        if len(primaries) == 1:
            self.primary = primaries[0]
            self.standbys = [host for host in self.standbys if host != self.primary]  # it was promoted
        for host, seen in scene.states().items():
            self._checksums.setdefault(host, int(seen.get("checksum_failures") or 0))
        if not well or looks == self._seen:
            return
        self._seen = dict(looks)
        following = {host for host in scene.in_role("standby") if scene.server(host).get("streaming")}
        self.standbys = sorted({*self.standbys, *following})
        self.followed = bool(following)
        for place, look in looks.items():
            there = {host for host, did in (look.get("ports") or {}).items() if did == "well"}
            self._reaches[place] = sorted({*self._reaches.get(place, []), *there})
        for place, write in scene.writers().items():
            self._note(place, "write", write)
        for (place, name), call in scene.calls().items():
            self._note(place, name, call)

    def forgive(self, looks: Mapping[str, Any]) -> None:
        """An incident is over: what there is now is what there shall be, and what was counted is old news."""
        scene = Scene(self._promise, looks, {})
        self.standbys = sorted(host for host in scene.in_role("standby") if scene.server(host).get("streaming"))
        for host, seen in scene.states().items():
            self._checksums[host] = int(seen.get("checksum_failures") or 0)

    def _note(self, place: str, probe: str, seen: Mapping[str, Any]) -> None:
        if not seen.get("ok"):
            return
        took = self._took.setdefault(place, {}).setdefault(probe, deque(maxlen=KEPT))
        took.append(float(seen["took_s"]))
        if len(took) >= ENOUGH and len(took) % 10 == 0:
            self._usual.setdefault(place, {})[probe] = round(median(took), 4)
