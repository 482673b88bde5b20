"""Real name servers to test against: Knot, which takes updates signed by a key, and dnsmasq, which keeps answers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from postgres import free_port, until

ADDRESS = "127.0.0.1"
ZONE = "example.org"
KEY = {"name": "pgrescue", "algorithm": "hmac-sha256", "secret": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0Cg=="}
KNOT = """
server:
    listen: [ {address}@{port} ]
    rundir: "{folder}"
    user: root:root
database:
    storage: "{folder}"
log:
  - target: stderr
    any: warning
key:
  - id: {key[name]}
    algorithm: {key[algorithm]}
    secret: {key[secret]}
acl:
  - id: operators
    key: {key[name]}
    action: update
zone:
  - domain: {zone}
    storage: "{folder}"
    file: zone
    acl: operators
"""


@dataclass
class NameServer:
    """One server on a loopback address."""

    port: int

    @property
    def place(self) -> str:
        """How an inventory names it."""
        return f"{ADDRESS}@{self.port}"

    def ask(self, name: str) -> list[tuple[int, list[str]]]:
        """TTL and values that it gives for a name."""
        answer = dns.query.udp(dns.message.make_query(name, "A"), ADDRESS, timeout=2, port=self.port)
        return [(rrset.ttl, sorted(value.to_text() for value in rrset)) for rrset in answer.answer]

    def answers(self) -> bool:
        try:
            self.ask(f"ns.{ZONE}")
        except (dns.exception.DNSException, OSError):
            return False
        return True


@contextmanager
def _running(command: list[str], port: int) -> Iterator[NameServer]:
    server = NameServer(port)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(server.answers, 20, f"{command[0]} answers")
        yield server
    finally:
        process.terminate()
        process.wait()


@contextmanager
def authoritative(*records: str) -> Iterator[NameServer]:
    """A server of the zone with these records, that takes updates signed by the key."""
    folder = Path(tempfile.mkdtemp(prefix="pgrescue-knot-"))
    port = free_port()
    (folder / "knot.conf").write_text(KNOT.format(address=ADDRESS, port=port, folder=folder, key=KEY, zone=ZONE))
    head = [f"$ORIGIN {ZONE}.", "$TTL 60", "@ SOA ns hostmaster 1 3600 600 86400 1", "@ NS ns", f"ns A {ADDRESS}"]
    (folder / "zone").write_text("\n".join([*head, *records, ""]))
    try:
        with _running(["knotd", "-c", str(folder / "knot.conf")], port) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def caching(source: NameServer) -> Iterator[NameServer]:
    """A resolver that asks another server and keeps its answers for as long as their TTL says."""
    port = free_port()
    options = [
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--bind-interfaces",
    ]
    asked = [f"--listen-address={ADDRESS}", f"--port={port}", f"--server={ADDRESS}#{source.port}", "--user=root"]
    with _running(["dnsmasq", *options, *asked], port) as server:
        yield server
