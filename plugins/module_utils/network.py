"""Whether hosts answer, asked side by side: a host that is gone costs one time-out, not one each."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Mapping

# Longer than a second, for the kernel repeats a lost request after one.
PATIENCE_S = 1.3


def answers(address: str, port: int, timeout_s: float = PATIENCE_S, greeting: bytes = b"") -> bool:
    """Whether a TCP connection is accepted and, if asked for, greets as it should: a frozen host accepts too."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            connection.settimeout(timeout_s)
            return not greeting or connection.recv(len(greeting)) == greeting
    except OSError:
        return False


def answering(hosts: Mapping[str, str], port: int, timeout_s: float = PATIENCE_S, greeting: bytes = b"") -> "list[str]":
    """The names, sorted, of those `hosts` (names and addresses) that answer on a port."""
    names = sorted(hosts)
    with ThreadPoolExecutor(max_workers=len(names) or 1) as pool:
        found = pool.map(lambda name: answers(hosts[name], port, timeout_s, greeting), names)
        return [name for name, yes in zip(names, found) if yes]
