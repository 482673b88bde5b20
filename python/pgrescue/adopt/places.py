"""Hosts of a cluster that was found: what each is, and whether together they are one service. Pure."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgrescue.core import adoption, network

HOME = "home"  # the region of hosts for which none is named
_PLACE = re.compile(
    r"^(?:(?P<user>[^@,]+)@)?(?P<host>\[[^\]]+\]|[^:,@]+)(?::(?P<port>\d+))?(?:,region=(?P<region>[a-z0-9_-]+))?$"
)
_KEPT_AT_LEAST = {"max_wal_senders": 10, "max_replication_slots": 10}  # what protect.yml sets; more than that stays


class PlaceError(Exception):
    """Hosts that cannot be taken for one service; the message says why and what to do."""


@dataclass(frozen=True)
class Place:
    """Where a host is reached."""

    host: str
    user: str | None = None
    port: int | None = None
    region: str = HOME

    def variables(self) -> dict[str, Any]:
        """As Ansible knows it."""
        login = {"ansible_user": self.user, "ansible_port": self.port}
        return {"ansible_host": self.host, **{key: value for key, value in login.items() if value}}


@dataclass(frozen=True)
class Host:
    """A host as the inventory has it; `seen` is what discover.yml found there."""

    name: str
    place: Place
    address: str
    seen: Mapping[str, Any]

    @property
    def fqdn(self) -> str:
        """The name that its certificate should have: its own where that has a domain, else what it is reached by."""
        name = str(self.seen.get("name") or "")
        return name if "." in name and not name.startswith("localhost") else self.place.host


@dataclass(frozen=True)
class Cluster:
    """What the hosts are together."""

    version: int
    port: int
    primary: str
    hosts: Mapping[str, Host]
    standbys: Mapping[str, int]  # by region
    settings: Mapping[str, str]  # of the operator's, to be kept
    tls: Mapping[str, str | None]
    data_bytes: int
    databases: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)  # what protect.yml will refuse, and what was not asked


def parse(text: str) -> Place:
    """`user@host:port,region=name`, of which all but the host may be left out. Raises PlaceError."""
    found = _PLACE.match(text)
    if not found:
        raise PlaceError(f"{text} names no host: USER@HOST[:PORT][,region=NAME].")
    port = found["port"]
    return Place(found["host"].strip("[]"), found["user"], int(port) if port else None, found["region"] or HOME)


def resolved(host: str) -> str:
    """The address of a host; the host itself where it has none that this machine knows."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        return host


def named(
    places: Mapping[str, Place], found: Mapping[str, Any], resolve: Callable[[str], str] = resolved
) -> dict[str, Host]:
    """Each host by the first label of its own name, as long as that tells them apart, else by its address."""
    labels = {key: str(found[key].get("name") or "").partition(".")[0] for key in places}
    apart = len(set(labels.values())) == len(labels) and all(labels.values()) and "localhost" not in labels.values()
    names = {key: labels[key] if apart else places[key].host.replace(":", "-") for key in places}
    return {names[key]: Host(names[key], place, resolve(place.host), found[key]) for key, place in places.items()}


def cluster(hosts: Mapping[str, Host]) -> Cluster:
    """The service that they are. Raises PlaceError when they are none, or more than one."""
    running = {
        name: [one for one in host.seen["clusters"] if one["running"] or one["problem"]] for name, host in hosts.items()
    }
    for name, those in running.items():
        if len(those) > 1:
            listed = ", ".join(f"{one['version']}/{one['name']}" for one in those)
            raise PlaceError(
                f"{name} runs {listed}: a database host serves one service. Give the cluster a host of its own."
            )
        if those and those[0]["problem"]:
            raise PlaceError(f"The server of {name} cannot be asked: {those[0]['problem']}.")
    there = {name: those[0] for name, those in running.items() if those}
    primaries = sorted(name for name, one in there.items() if one["role"] == "primary")
    if len(primaries) != 1:
        what = f"{' and '.join(primaries)} both take writes" if primaries else "no host has a primary that runs"
        raise PlaceError(
            f"{what[0].upper()}{what[1:]}. Name the hosts of one cluster with --ssh, its primary among them."
        )
    first = there[primaries[0]]
    strangers = sorted(n for n, one in there.items() if one["system_identifier"] != first["system_identifier"])
    if strangers:
        raise PlaceError(f"{', '.join(strangers)} has another database than {primaries[0]}. Leave it out.")
    regions: dict[str, int] = {}
    for name, one in there.items():
        region = hosts[name].place.region
        regions[region] = regions.get(region, 0) + (one["role"] == "standby")
    return Cluster(
        version=first["version"],
        port=first["port"],
        primary=primaries[0],
        hosts=hosts,
        standbys=regions,
        settings=_kept(list(there.values())),
        tls=_tls(first["settings"]),
        data_bytes=first["data_bytes"],
        databases=first["databases"],
        notes=_notes(hosts, there, primaries[0]),
    )


def _kept(clusters: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the operator set higher, or narrower, than protect.yml would."""
    kept = {}
    for name, ours in _KEPT_AT_LEAST.items():
        most = max(int(one["settings"][name]) for one in clusters)
        if most > ours:
            kept[name] = str(most)
    if any(one["settings"]["wal_level"] == "logical" for one in clusters):
        kept["wal_level"] = "logical"
    return kept


def _tls(settings: Mapping[str, Any]) -> dict[str, str | None]:
    """The certificate that clients see now, where it is one of the operator's."""
    own = settings["ssl"] == "on" and adoption.SNAKEOIL not in settings["ssl_cert_file"]
    return {
        "tls_ca": settings["ssl_ca_file"] or None,
        "tls_cert": settings["ssl_cert_file"] if own else None,
        "tls_key": settings["ssl_key_file"] if own else None,
    }


def _notes(hosts: Mapping[str, Host], there: Mapping[str, Mapping[str, Any]], primary: str) -> list[str]:
    first = there[primary]
    current = f"/var/lib/postgresql/{first['version']}/current"
    wanted = {name: {"version": first["version"], "port": first["port"], "current": current} for name in hosts}
    said = adoption.obstacles({name: host.seen for name, host in hosts.items()}, wanted)
    notes = [f"{name}: {sentence}." for name, sentences in said.items() for sentence in sentences]
    for name, one in there.items():
        if one["archived_by"]:
            notes.append(
                f"{name}: its WAL is archived by {one['archived_by']}. protect.yml takes that over only with "
                "-e postgres_replace_archive_command=true, and that tool's backups end there."
            )
        listen = one["settings"]["listen_addresses"]
        if listen != "*" and not network.listens_alone(listen):
            notes.append(
                f"{name}: it listens on {listen}; after its next restart on all. "
                f"To keep it: postgres_settings: {{listen_addresses: '{listen}'}} among the variables of this host."
            )
    for name, host in hosts.items():
        if host.seen["pgbackrest"]:
            notes.append(
                f"{name}: pgBackRest is configured there for {', '.join(host.seen['pgbackrest'])}. protect.yml refuses "
                "to replace that unless told -e pgbackrest_replace_configuration=true."
            )
    known = {host.address for host in hosts.values()} | {host.place.host for host in hosts.values()}
    for sender in first["senders"]:
        if sender["address"] and sender["address"] not in known:
            notes.append(f"{sender['address']} ({sender['name']}) streams from {primary} and was not named with --ssh.")
    return notes
