# Copyright: the pgrescue authors. Apache-2.0
"""Hosts of a service, folded into what modules ask for."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Iterable, Mapping

from ansible.errors import AnsibleFilterError


def looked_up(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "dict[str, Mapping[str, Any]]":
    """The variables of each host. Ansible puts them together anew whenever they are asked for, so that is done once."""
    return {host: hostvars[host] for host in hosts}


def standbys_to_build(hosts: Iterable[str], hostvars: Mapping[str, Any], wanted: Mapping[str, int]) -> "list[str]":
    """Hosts that must become standbys so that each region has as many as are wanted.

    Those come first on which a standby of the present primary was restored and not started yet, for the controller was killed
    there; then spare ones that are ready for a restore, in inventory order. `hostvars` gives each host's `region` and `postgres_state`; hosts that were not
    observed are left alone. None where another tool manages the cluster, which makes its own.
    """
    seen = observed_states(hosts, hostvars)
    if any(state.get("managed_by") for state in seen.values()):
        return []
    begun = {"standby of " + host for host, state in seen.items() if state["role"] == "primary"}
    systems = {state.get("system_identifier") for state in seen.values() if state["role"] == "primary"}
    build = []
    for region, count in wanted.items():
        here = {host: state for host, state in seen.items() if hostvars[host]["region"] == region}
        standbys = {host: state.get("system_identifier") for host, state in here.items() if state["role"] == "standby"}
        # one of another system was left by a recovery from a dump
        standing = [host for host, system in standbys.items() if not systems or system in systems]
        unstarted = [host for host, state in here.items() if (state.get("unstarted") or {}).get("run") in begun]
        spare = [host for host, state in here.items() if state["role"] == "spare" and state.get("ready")]
        build += (unstarted + spare)[: max(int(count) - len(standing), 0)]
    return build


def not_following(hosts: Iterable[str], hostvars: Mapping[str, Any], primary: str) -> "list[str]":
    """Standbys that stream from another host than the present primary, or should from it and are on another timeline than it is.

    The latter may have followed a promotion that was taken back, out of the archive, and cannot return by themselves. Those fed by the
    archive alone find the new timeline there.
    """
    known = hostvars[primary]
    names = {primary, *(known.get(name) for name in ("postgres_fqdn", "postgres_address"))}
    seen = observed_states(hosts, hostvars)
    line = seen[primary].get("timeline")
    return [
        host
        for host, state in seen.items()
        if state["role"] == "standby"
        and state.get("system_identifier") == seen[primary].get("system_identifier")  # of another one it is no standby
        and not state.get("managed_by")  # whoever manages it lets it follow
        and state.get("upstream")
        and (state["upstream"] not in names or state.get("timeline") != line)
    ]


def observed_states(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "dict[str, Any]":
    """What was seen on each of the hosts that answered."""
    seen = {host: known.get("postgres_state") for host, known in looked_up(hosts, hostvars).items()}
    return {host: state for host, state in seen.items() if state}


def service_hosts(hosts: Iterable[str], hostvars: Mapping[str, Any], root: str) -> "dict[str, Any]":
    """Region, address, names and clusters' folder of each host, as M(pgrescue.runbooks.plan_recovery) wants them."""
    return {
        host: {
            "region": known["region"],
            "address": known["postgres_address"],
            "names": [host, known["postgres_address"], known.get("postgres_fqdn", host)],
            "root": root,
        }
        for host, known in looked_up(hosts, hostvars).items()
    }


def addresses(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "dict[str, str]":
    """The address of each host."""
    return {host: _address(host, hostvars) for host in hosts}


def ssh_places(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "dict[str, Any]":
    """Where the SSH of each host listens: not on another one's port, and not on the address of its database."""
    known = {host: hostvars[host] for host in hosts}
    return {
        host: {"address": said.get("ansible_host") or host, "port": said.get("ansible_port")}
        for host, said in known.items()
    }


def _address(host: str, hostvars: Mapping[str, Any]) -> str:
    """Where a host is reached; one without a database may have no `postgres_address`."""
    known = hostvars[host]
    return str(known.get("postgres_address") or known.get("ansible_host") or host)


def let_in(networks: Iterable[str], hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "list[str]":
    """Addresses for pg_hba.conf: those of the service's hosts, then the networks of its clients, each once.

    One that PostgreSQL would not understand is refused here: a server with such a line does not start again.
    """
    known = [_address(host, hostvars) for host in hosts]
    return list(dict.fromkeys(hba_address(str(one)) for one in [*known, *networks]))


def hba_address(said: str) -> str:
    """An address as pg_hba.conf has it: a network, a host name, or a word of PostgreSQL's."""
    try:
        return str(ipaddress.ip_network(said))
    except ValueError as error:
        if re.fullmatch(r"\.?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", said) and re.search(r"[A-Za-z]", said):
            return said
        raise AnsibleFilterError(
            "postgres_client_networks: %s. Nothing was changed here. Give a network such as 192.0.2.0/24." % error
        ) from error


def suspects(hosts: Iterable[str], states: Mapping[str, Any], target: str) -> "list[str]":
    """Hosts on which a client could still write: all but the target and those seen as standbys."""
    return [host for host in hosts if host != target and states.get(host, {}).get("role") != "standby"]


def lost_regions(hosts: Iterable[str], answering: Iterable[str], hostvars: Mapping[str, Any]) -> "list[str]":
    """Regions in which a service has hosts and none of them answers."""
    regions = {host: known["region"] for host, known in looked_up(hosts, hostvars).items()}
    return sorted(set(regions.values()) - {regions[host] for host in answering})


def serving(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "list[str]":
    """Where an application is started: its hosts but those that stand by, and those when no other is left."""
    here = list(hosts)
    return [host for host in here if not hostvars[host].get("application_stands_by")] or here


def ports_seen(places: Iterable[str], hostvars: Mapping[str, Any], host: str, look: str) -> "dict[str, str]":
    """What each of the `places` saw of the port of `host` in a look, which is a variable of theirs; such as {app1: silent}."""
    seen = {place: hostvars[place].get(look, {}) for place in places}
    return {place: ports[host] for place, ports in seen.items() if host in ports}


def seen_at_once(places: Iterable[str], hostvars: Mapping[str, Any], span: str) -> bool:
    """Whether there was an instant that lies in what each place saw; `span` is a variable of theirs, from when to when (s)."""
    spans = [known[span] for known in looked_up(places, hostvars).values() if known.get(span)]
    return bool(spans) and max(start for start, _end in spans) <= min(end for _start, end in spans)


def gone_since(hosts: Iterable[str], hostvars: Mapping[str, Any], watched: str) -> "list[str]":
    """Hosts that can tell nothing any more: the one whose failure was awaited, and places of that watch that did not come back."""
    told = {host: hostvars[host].get("recovery_failed_ports") for host in hosts}
    return [host for host in told if host == watched or (told[host] is not None and watched not in told[host])]


def answering_since(hosts: Iterable[str], hostvars: Mapping[str, Any], watched: str) -> "list[str]":
    """Hosts that can be asked over SSH: those that are not gone, and the one that failed where its host says that nobody listens."""
    there = list(hosts)
    gone = gone_since(there, hostvars, watched)
    refused = "refused" in ports_seen(there, hostvars, watched, "recovery_failed_ports").values()
    return [host for host in there if host not in gone or (host == watched and refused)]


def configured(states: Mapping[str, Any]) -> "list[str]":
    """Hosts that `protect.yml` has been to: a blank one does not know where the repositories are."""
    return [host for host, seen in states.items() if seen.get("data_directory")]


def hosts_that_are(states: Mapping[str, Any], role: str) -> "list[str]":
    """Hosts that were seen as C(role)."""
    return [host for host, seen in states.items() if seen["role"] == role]


def counted_on(states: Mapping[str, Any]) -> "list[str]":
    """Standbys in the order in which a census is taken on them: one that somebody paused, or that stays behind on purpose, last.

    The replay of one that stays behind waits within a record, and stands still for a census only when it has waited.
    """

    def unfit(host: str) -> "tuple[bool, bool]":
        state = states[host]
        delay_ms = int((state.get("settings") or {}).get("recovery_min_apply_delay") or 0)
        return state.get("replay") not in (None, "not paused"), delay_ms > 0

    return sorted(hosts_that_are(states, "standby"), key=unfit)


def acknowledging(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> "list[str]":
    """Hosts whose standby a commit can wait for: not one that stays behind on purpose, nor one fed by the archive alone."""
    return [
        host
        for host in hosts
        if hostvars[host].get("standby_source", "stream") == "stream"
        and str(hostvars[host].get("standby_delay", "0")) == "0"
    ]


def copied_from(
    hosts: Iterable[str], hostvars: Mapping[str, Any], tls: "list[Any]", current: str, port: int
) -> "dict[str, Any]":
    """How pgBackRest on another host reaches each host to copy from it; empty where that is not wanted.

    `tls` holds the files of the CA, the certificate and the key, and the port. Where the server and its data are is each host's
    own matter; `current` and `port` stand for those that were not asked.
    """
    return {
        host: {
            "host": hostvars[host]["postgres_fqdn"],
            "ca": tls[0],
            "cert": tls[1],
            "key": tls[2],
            "port": int(tls[3]),
            "data_directory": (hostvars[host].get("postgres_state") or {}).get("data_directory") or current,
            "postgres_port": int(hostvars[host].get("postgres_port", port)),
        }
        for host in hosts
        if tls
    }


def reached_by_standbys(
    hosts: Iterable[str], hostvars: Mapping[str, Any], port: int, ca: str, passfile: str
) -> "dict[str, dict[str, str]]":
    """How the standbys' account reaches each host; by its address too, for names may not be served when it matters."""
    return {
        host: {
            "host": hostvars[host]["postgres_fqdn"],
            "hostaddr": hostvars[host]["postgres_address"],
            "port": str(port),
            "user": "replicator",
            "passfile": passfile,
            "sslmode": "verify-full",
            "sslrootcert": ca,
        }
        for host in hosts
    }


def to_fence(states: Mapping[str, Any], target: str) -> "list[str]":
    """Hosts whose server must be stopped for good: every one that may accept writes, but the target of the recovery."""
    return [host for host, seen in states.items() if seen["role"] in ("primary", "unresponsive") and host != target]


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {
            "standbys_to_build": standbys_to_build,
            "not_following": not_following,
            "observed_states": observed_states,
            "service_hosts": service_hosts,
            "addresses": addresses,
            "ssh_places": ssh_places,
            "let_in": let_in,
            "suspects": suspects,
            "to_fence": to_fence,
            "lost_regions": lost_regions,
            "serving": serving,
            "ports_seen": ports_seen,
            "seen_at_once": seen_at_once,
            "gone_since": gone_since,
            "answering_since": answering_since,
            "configured": configured,
            "hosts_that_are": hosts_that_are,
            "counted_on": counted_on,
            "acknowledging": acknowledging,
            "copied_from": copied_from,
            "reached_by_standbys": reached_by_standbys,
        }
