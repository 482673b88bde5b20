"""What all places see of a service at one time, as the rules of a situation ask for it. Pure."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

UNREACHABLE = "unreachable"  # the key of a look that could not be taken, with the reason
NO_ROOM = "53100"
TOO_MANY = "53300"
NO_ANSWER = re.compile(r"timeout|timed out|no answer|No route to host|unreachable", re.IGNORECASE)
READ_ONLY = "25006"
_WRONG = r"(invalid page in block|could not read blocks? \d|page verification failed|missing chunk number|unexpected chunk number)"
# in a server's log only where the server itself says so: what a client sends is quoted there too
DAMAGED_LOG = re.compile(r"^(?!.*\b(FATAL|LOG|STATEMENT|DETAIL):).*\b(ERROR|PANIC|WARNING):\s+" + _WRONG)
DAMAGED_SAID = re.compile(r"^(ERROR:\s+)?" + _WRONG)
NO_TABLE = re.compile(r'relation "[^"]*" does not exist')
STARTING = re.compile(r"the database system is (starting up|in recovery mode|not yet accepting connections)")


class Scene:
    """A service's promise and the newest look of each host.

    `promise`: C(service), C(hosts) {database host: region, address, names}, C(places) {every host that looks: region}, C(writers)
    [place], C(addresses) {address: host} of the hosts, proxies left out, C(proxies) [address], C(limits).
    `looks`: by host, as M(service_look) returns them; a host that could not be asked says C(unreachable) and why.
    `known`: what earlier looks knew: C(primary), the last host seen as primary; C(standbys) that followed it; C(followed), whether one
    did when all was well; C(reaches) {place: hosts whose server it greeted then}; C(power) {host: what its power is said to be};
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
        """Whether a host answers and its server does not, though it runs: the question is still out, or it was given up.

        A server that refuses, for whatever reason, has answered.
        """
        seen = self.server(host)
        given_up = seen.get("role") == "unresponsive" and bool(NO_ANSWER.search(str(seen.get("problem"))))
        return "unanswered_s" in seen or (given_up and seen.get("status") in ("ready", "standby"))

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

    def lives(self, host: str) -> bool:
        """Whether a host gives a sign of life: it can be looked at, its kernel answers for a port, or its power is said to be on."""
        power = self.known.get("power", {}).get(host)
        knocked = any(did in ("well", "refused") for did in self.knocked(host).values())
        return not self.silent(host) or knocked or bool(power and power["on"])

    def deaf(self, host: str) -> "list[str]":
        """The places that do not reach the server of a host, and did while all was well."""
        reached = self.known.get("reaches", {})
        return [
            place
            for place, did in self.knocked(host).items()
            if did == "silent" and (place not in reached or host in reached[place])
        ]

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
        """What each place that writes through the service's name saw; one that is not equipped for it sees nothing."""
        found: "dict[str, Mapping[str, Any]]" = {}
        for place, look in self.looks.items():
            seen = look.get("write")
            if seen and "unasked" not in seen and not seen.get("unequipped"):
                gone = {"ok": False, "problem": "no answer", "state": None, "server": None, "in_recovery": None}
                found[place] = {**gone, **seen}
        return found

    def unequipped(self) -> "dict[str, str]":
        """Why places that should write cannot."""
        found = {}
        for place, look in self.looks.items():
            seen = look.get("write") or {}
            if seen.get("unasked") or seen.get("unequipped"):
                found[place] = str(seen.get("unasked") or seen.get("problem"))
        return found

    def nobody_writes(self) -> bool:
        """Whether places should write and none could look, while nobody sees the primary serve either."""
        if self.writers() or not self.promise.get("writers"):
            return False
        running = self.in_role("primary")
        return not (len(running) == 1 and self.serving(running[0]))

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

    def told(self, pattern: "re.Pattern[str]") -> "dict[str, str]":
        """What clients saw that matches, by the place that saw it."""
        found: "dict[str, str]" = {}
        for place, seen in self.refused_writes().items():
            if pattern.search(str(seen.get("problem"))):
                found.setdefault(place, str(seen["problem"]))
        for (place, name), seen in self.failed_calls().items():
            if pattern.search(str(seen.get("problem"))):
                found.setdefault(place, "%s: %s" % (name, seen["problem"]))
        return found

    def logged(self, host: str, pattern: "re.Pattern[str]") -> "list[str]":
        """The telling lines of a host's log that match."""
        return [line for line in self.server(host).get("says") or [] if pattern.search(line)]

    def led_to(self) -> "dict[str, list[str]]":
        """Where the service's name leads, by place: the hosts, or the addresses that are nobody's."""
        names = self.promise["addresses"]
        return {
            place: [names.get(address, address) for address in (look.get("name") or {}).get("addresses", [])]
            for place, look in self.looks.items()
            if "addresses" in (look.get("name") or {})
        }

    def hurt(self) -> bool:
        """Whether clients are not served: writes fail, no place could write, or an endpoint is not well from several places."""
        return self.cannot_write() or self.nobody_writes() or self.cannot_call()

    def writes_lost(self) -> bool:
        """Whether no place can write: what gives up a commit is not proposed for less."""
        failed = self.cannot_write() and len(self.refused_writes()) == len(self.writers())
        return failed or self.nobody_writes()

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
        """The regions of which no host could be looked at and no server gives a sign of life elsewhere; two hosts at least each."""
        regions = {self.region(host) for host in self.hosts}
        return sorted(
            region
            for region in regions
            if len(self.members(region)) >= 2
            and all(self.silent(host) for host in self.members(region))
            and not any(
                did in ("well", "refused") for host in self.members(region) for did in self.knocked(host).values()
            )
        )
