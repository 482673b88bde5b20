"""What all places see of a service at one time, as the rules of a situation ask for it. Pure."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

UNREACHABLE = "unreachable"  # the key of a look that could not be taken, with the reason
NO_ROOM = "53100"
TOO_MANY = "53300"
READ_ONLY = "25006"
DAMAGED = re.compile(
    r"invalid page|could not read blocks?|checksum verification failed|XX00[12]|missing chunk number|PANIC.*(corrupt|invalid)"
)
NO_TABLE = re.compile(r'relation "[^"]*" does not exist')
STARTING = re.compile(r"the database system is (starting up|in recovery mode|not yet accepting connections)")


class Scene:
    """A service's promise and the newest look of each host.

    `promise`: C(service), C(hosts) {database host: region, address, names}, C(places) {every host that looks: region}, C(addresses)
    {address: host} of the hosts, proxies left out, C(proxies) [address], C(limits).
    `looks`: by host, as M(service_look) returns them; a host that could not be asked says C(unreachable) and why.
    `known`: what earlier looks knew: C(primary), the last host seen as primary; C(power) {host: what its power is said to be};
    C(baseline) {place: {probe: usual seconds}}; C(checksum_failures) {host: count when the watch began}.
    """

    def __init__(
        self, promise: "Mapping[str, Any]", looks: "Mapping[str, Mapping[str, Any]]", known: "Mapping[str, Any]"
    ) -> None:
        self.promise, self.looks, self.known = promise, looks, known
        self.hosts: "Mapping[str, Mapping[str, Any]]" = promise["hosts"]
        self.limits: "Mapping[str, float]" = promise["limits"]

    # --- the database hosts

    def silent(self, host: str) -> bool:
        """Whether nobody could look there."""
        look = self.looks.get(host)
        return look is None or UNREACHABLE in look

    def server(self, host: str) -> "Mapping[str, Any]":
        """What a host's look says of its server; empty when it says nothing."""
        return self.looks.get(host, {}).get("server") or {}

    def states(self) -> "dict[str, Mapping[str, Any]]":
        """The state of each host that could be asked about its cluster, as M(cluster_state) says it."""
        return {host: self.server(host) for host in self.hosts if self.server(host).get("role")}

    def in_role(self, *roles: str) -> "list[str]":
        """The database hosts seen in one of these roles."""
        return [host for host, seen in self.states().items() if seen["role"] in roles]

    def hangs(self, host: str) -> bool:
        """Whether a host answers and its server does not, though it runs: the question is still out, or it was given up."""
        seen = self.server(host)
        return "unanswered_s" in seen or (
            seen.get("role") == "unresponsive" and seen.get("status") in ("ready", "standby")
        )

    def knocked(self, host: str) -> "dict[str, str]":
        """What the port of a host does, by each other place that greeted it."""
        return {
            place: str(look["ports"][host])
            for place, look in self.looks.items()
            if place != host and host in (look.get("ports") or {})
        }

    def serving(self, host: str) -> "list[str]":
        """The places from which the server of a host answers a greeting."""
        return sorted(place for place, did in self.knocked(host).items() if did == "well")

    def primary(self) -> Optional[str]:
        """The one primary, or the host that was it last, or the one that standbys stream from; None when nobody knows."""
        found = self.in_role("primary")
        if found:
            return found[0] if len(found) == 1 else None
        known = self.known.get("primary")
        if known in self.hosts:
            return str(known)
        above = {self.server(host).get("upstream") for host in self.in_role("standby")}
        named = sorted(host for host, facts in self.hosts.items() if above & set(facts["names"]))
        return named[0] if len(named) == 1 else None

    # --- the clients

    def writers(self) -> "dict[str, Mapping[str, Any]]":
        """What each place that writes through the service's name saw, as far as it could look."""
        found: "dict[str, Mapping[str, Any]]" = {}
        for place, look in self.looks.items():
            seen = look.get("write")
            if seen and "unasked" not in seen:  # a place without a driver sees nothing
                gone = {"ok": False, "problem": "no answer", "state": None, "server": None, "in_recovery": None}
                found[place] = {**gone, **seen}
        return found

    def refused_writes(self) -> "dict[str, Mapping[str, Any]]":
        """The places whose write failed."""
        return {place: seen for place, seen in self.writers().items() if not seen["ok"]}

    def calls(self) -> "dict[tuple[str, str], Mapping[str, Any]]":
        """What each place saw of each endpoint."""
        return {
            (place, name): seen if "unanswered_s" not in seen else {"ok": False, "problem": "no answer"}
            for place, look in self.looks.items()
            for name, seen in (look.get("http") or {}).items()
            if "unasked" not in seen
        }

    def failed_calls(self) -> "dict[tuple[str, str], Mapping[str, Any]]":
        """Those that were not well."""
        return {who: seen for who, seen in self.calls().items() if not seen.get("ok")}

    def complaints(self, pattern: "re.Pattern[str]") -> "dict[str, str]":
        """What clients and servers said that matches, by who said it first."""
        found: "dict[str, str]" = {}
        for place, seen in self.refused_writes().items():
            self._note(found, place, "its write", str(seen.get("problem")), pattern)
        for (place, name), seen in self.failed_calls().items():
            self._note(found, place, name, str(seen.get("problem")), pattern)
        for host in self.hosts:
            for line in [*(self.server(host).get("says") or []), str(self.server(host).get("problem") or "")]:
                self._note(found, host, "log", line, pattern)
        return found

    @staticmethod
    def _note(found: "dict[str, str]", who: str, what: str, said: str, pattern: "re.Pattern[str]") -> None:
        if pattern.search(said):
            found.setdefault("%s, %s" % (who, what), said)

    def led_to(self) -> "dict[str, list[str]]":
        """Where the service's name leads, by place: the hosts, or the addresses that are nobody's."""
        names = self.promise["addresses"]
        return {
            place: [names.get(address, address) for address in (look.get("name") or {}).get("addresses", [])]
            for place, look in self.looks.items()
            if "addresses" in (look.get("name") or {})
        }

    def hurt(self) -> bool:
        """Whether clients are not served: writes fail from two places (or from the only one), or an endpoint is not well from all."""
        return self.cannot_write() or self.cannot_call()

    def cannot_write(self) -> bool:
        """Whether writes fail from two places, or from every one."""
        failed, asked = self.refused_writes(), self.writers()
        return len(failed) >= 2 or (bool(failed) and len(failed) == len(asked))

    def cannot_call(self) -> bool:
        """Whether some endpoint is not well from two places, or from every one that calls it."""
        for name in {name for _place, name in self.calls()}:
            asked = [seen for (_place, called), seen in self.calls().items() if called == name]
            failed = [seen for seen in asked if not seen.get("ok")]
            if len(failed) >= 2 or (failed and len(failed) == len(asked)):
                return True
        return False

    # --- regions

    def region(self, name: str) -> str:
        """The region of a host."""
        return str(self.promise["places"].get(name) or self.hosts.get(name, {}).get("region", ""))

    def members(self, region: str) -> "list[str]":
        """The hosts of a region that look, or have a database."""
        return sorted({name for name in (*self.promise["places"], *self.hosts) if self.region(name) == region})

    def lost_regions(self) -> "list[str]":
        """The regions of which no host could be looked at, and whose servers answer nobody elsewhere; two hosts at least each."""
        regions = {self.region(host) for host in self.hosts}
        return sorted(
            region
            for region in regions
            if len(self.members(region)) >= 2
            and all(self.silent(host) for host in self.members(region))
            and not any(self.serving(host) for host in self.members(region) if host in self.hosts)
        )
