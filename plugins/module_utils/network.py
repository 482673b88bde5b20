"""Whether hosts answer, asked side by side: a host that is gone costs one time-out, not one each."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Iterator, Mapping, Optional

# Longer than a second, for the kernel repeats a lost request after one.
PATIENCE_S = 1.3


def listens_alone(listen_addresses: "Optional[str]") -> bool:
    """Whether a server that listens to these reaches nobody but its own host; not where that is unknown."""
    if listen_addresses is None:
        return False
    return {name.strip() for name in listen_addresses.split(",")} <= {"", "localhost", "127.0.0.1", "::1"}


def answers(address: str, port: int, timeout_s: float = PATIENCE_S, greeting: bytes = b"") -> bool:
    """Whether a TCP connection is accepted and, if asked for, greets as it should: a frozen host accepts too."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            return not greeting or connection.recv(len(greeting)) == greeting
    except OSError:
        return False


def knock(address: str, port: int, timeout_s: float = PATIENCE_S) -> str:
    """What a port does: `accepted`, `refused` (its host says that nobody listens) or `silent`, which a cut path is as well."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s):
            return "accepted"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"


def greet(address: str, port: int, timeout_s: float = PATIENCE_S) -> str:
    """What a PostgreSQL server does when it is asked for TLS: `well` when it says yes or no, else `refused` or `silent`.

    A server that hangs accepts connections and says nothing. Source: PostgreSQL documentation, "SSL Session Encryption".
    """
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(struct.pack("!ii", 8, 80877103))
            return "well" if connection.recv(1) in (b"S", b"N") else "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"


def greetings(address: str, port: int, interval_s: float, timeout_s: float) -> "Iterator[tuple[float, str]]":
    """Greet again and again, every `interval_s`, whether the last one was answered or not: when it was greeted (monotonic clock) and what
    it did, in the order in which it was greeted.
    """
    asked: "deque[tuple[float, list[str], threading.Thread]]" = deque()
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            said: "list[str]" = []
            # a daemon, so that nobody waits for the one that is still out when enough was seen
            one = threading.Thread(target=lambda said=said: said.append(greet(address, port, timeout_s)), daemon=True)
            asked.append((time.monotonic(), said, one))
            one.start()
            due = max(due + interval_s, time.monotonic())
        at, said, one = asked[0]
        one.join(max(due - time.monotonic(), 0.0))
        if not one.is_alive():
            asked.popleft()
            if said[0] == "well" or not any(later == ["well"] for _at, later, _one in asked):
                yield at, said[0]  # one that is silent counts for nothing where a later one has been answered already
            if not asked:
                time.sleep(max(due - time.monotonic(), 0.0))  # greetings have a rhythm


def knocks(hosts: Mapping[str, str], port: int, timeout_s: float = PATIENCE_S) -> "dict[str, str]":
    """What the port of each of `hosts` (names and addresses) does, by name; all asked side by side."""
    with ThreadPoolExecutor(max_workers=len(hosts) or 1) as pool:
        return dict(zip(hosts, pool.map(lambda name: knock(hosts[name], port, timeout_s), hosts)))


def answering(
    hosts: "Mapping[str, tuple[str, int]]", timeout_s: float = PATIENCE_S, greeting: bytes = b""
) -> "list[str]":
    """The names, sorted, of those `hosts` (names, each with its address and port) that answer."""
    names = sorted(hosts)
    with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
        found = pool.map(lambda name: answers(*hosts[name], timeout_s, greeting), names)
        return [name for name, yes in zip(names, found) if yes]


def tls_problem(endpoint: str, timeout_s: float) -> Optional[str]:
    """Why an endpoint (`host` or `host:port`) does not begin to speak TLS; None when it does.

    Whose certificate it is does not matter here: whoever talks to it then checks that. A store that hangs accepts
    connections and says nothing, so a connection alone proves little.
    """
    host, _colon, port = endpoint.partition(":")
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((host, int(port or 443)), timeout=timeout_s) as connection:
            context.wrap_socket(connection, server_hostname=host).close()
            return None
    except OSError as error:
        return "%s: %s" % (endpoint, error)


def tls_problems(endpoints: Mapping[str, str], timeout_s: float = 5) -> "dict[str, str]":
    """The endpoints that do not answer, by name, each with the reason; all asked side by side.

    One without a host is no store behind a network, as a repository on a disk is none, and counts as answering.
    """
    asked = [name for name in endpoints if endpoints[name]]
    with ThreadPoolExecutor(max_workers=len(asked) or 1) as pool:
        found = pool.map(lambda name: tls_problem(endpoints[name], timeout_s), asked)
        return {str(name): problem for name, problem in zip(asked, found) if problem}
