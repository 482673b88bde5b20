"""Asking name servers, side by side: one that is gone costs one time-out."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable

PATIENCE_S = 1.3  # as long as any host gets to answer


def place(server: str) -> "tuple[str, int]":
    """Address and port of a server given as `address` or `address@port`."""
    host, _at, port = server.partition("@")
    found = socket.getaddrinfo(host, int(port or 53), type=socket.SOCK_DGRAM)[0][4]
    return str(found[0]), int(found[1])


def ask(server: str, name: str, kind: str, recursive: bool) -> "dict[str, Any]":
    """What a server answers for a name: its values and how long they may be kept, or the problem."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype

    query = dns.message.make_query(name, kind)
    if not recursive:
        query.flags &= ~dns.flags.RD
    try:
        address, port = place(server)
        answer, _tcp = dns.query.udp_with_fallback(query, address, timeout=PATIENCE_S, port=port)
    except (OSError, dns.exception.DNSException) as error:
        return {"values": [], "ttl": 0, "problem": str(error) or type(error).__name__}
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return {"values": [], "ttl": 0, "problem": "it answers " + dns.rcode.to_text(answer.rcode())}
    found = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
    values = sorted(value.to_text() for rrset in found for value in rrset)
    return {"values": values, "ttl": min((rrset.ttl for rrset in found), default=0), "problem": None}


def ask_all(servers: Iterable[str], name: str, kind: str, recursive: bool = True) -> "dict[str, dict[str, Any]]":
    """What each of the servers answers."""
    named = list(servers)
    with ThreadPoolExecutor(max_workers=len(named) or 1) as pool:
        return dict(zip(named, pool.map(lambda server: ask(server, name, kind, recursive), named)))
