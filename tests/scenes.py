"""A service of three database hosts in two regions as all places see it while it is well, to be made ill by tests."""

from __future__ import annotations

import copy
from typing import Any

HOSTS = {
    "db1": {"region": "east", "address": "10.0.1.11", "names": ["db1", "10.0.1.11"], "root": "/var/lib/postgresql/17"},
    "db2": {"region": "east", "address": "10.0.1.12", "names": ["db2", "10.0.1.12"], "root": "/var/lib/postgresql/17"},
    "db3": {"region": "west", "address": "10.0.2.11", "names": ["db3", "10.0.2.11"], "root": "/var/lib/postgresql/17"},
    "spare1": {"region": "east", "address": "10.0.1.21", "names": ["spare1"], "root": "/var/lib/postgresql/17"},
}
PLACES = {
    "db1": "east",
    "db2": "east",
    "db3": "west",
    "spare1": "east",
    "app1": "east",
    "app2": "west",
    "client1": "edge",
}
LIMITS = {
    "disk_free_bytes": 64 << 20,
    "disk_free_share": 0.05,
    "slow_s": 1.0,
    "slow_factor": 5.0,
    "lag_bytes": 64 << 20,
}
PROMISE = {
    "service": "shop",
    "hosts": HOSTS,
    "places": PLACES,
    "addresses": {facts["address"]: host for host, facts in HOSTS.items()},
    "proxies": [],
    "writers": ["app1", "app2", "client1"],
    "limits": LIMITS,
}
SYSTEM = "7432"


def server(role: str, **more: Any) -> dict[str, Any]:
    """What a host's look says of its server."""
    standby = role == "standby"
    return {
        "role": role,
        "running": True,
        "in_recovery": standby,
        "system_identifier": SYSTEM,
        "timeline": 3,
        "lsn": "0/5000060",
        "received": "0/5000060" if standby else None,
        "upstream": "db1" if standby else None,
        "replayed_s": 990.0 if standby else None,
        "streaming": standby,
        "replay": "not paused" if standby else None,
        "status": "standby" if standby else "ready",
        "settings": {
            "max_connections": "60",
            "superuser_reserved_connections": "3",
            "recovery_min_apply_delay": "0",
            "synchronous_standby_names": "",
            "default_transaction_read_only": "off",
        },
        "followers": [] if standby else [{"name": "db2", "state": "streaming", "lag_bytes": 0}],
        "sessions": 12,
        "unconfirmed": 0,
        "blocked": 0,
        "archiver": {"archived_s": 900.0, "failed_s": None},
        "checksum_failures": 0,
        "problem": None,
        "says": [],
        "misses": [],
        "disks": [{"folder": "/var/lib/postgresql/17/main", "free_bytes": 50 << 30, "bytes": 100 << 30}],
        "place": "/var/lib/postgresql/17/main",
        "ready": True,
        "managed_by": None,
        **more,
    }


def spare() -> dict[str, Any]:
    """What a host's look says that holds no cluster."""
    return {
        "role": "spare",
        "running": False,
        "problem": "no server",
        "says": [],
        "misses": [],
        "disks": [],
        "ready": True,
        "status": None,
    }


def stopped(**more: Any) -> dict[str, Any]:
    """What a host's look says whose server does not run."""
    return {
        **server("primary"),
        "role": "stopped",
        "running": False,
        "problem": "connection refused",
        "alive": False,
        "status": None,
        **more,
    }


def well() -> dict[str, dict[str, Any]]:
    """The looks of all places while all is well; db1 is the primary."""
    looks: dict[str, dict[str, Any]] = {}
    for place in PLACES:
        looks[place] = {"place": place, "at": 1000.0}
        looks[place]["ports"] = {host: "refused" if host == "spare1" else "well" for host in HOSTS if host != place}
        looks[place]["name"] = {"addresses": ["10.0.1.11"], "problem": None}
    looks["db1"]["server"] = server("primary")
    looks["db2"]["server"] = server("standby")
    looks["db3"]["server"] = server("standby")
    looks["spare1"]["server"] = spare()
    for place in ("app1", "app2", "client1"):
        looks[place]["write"] = {
            "ok": True,
            "problem": None,
            "state": None,
            "server": "10.0.1.11",
            "in_recovery": False,
            "took_s": 0.02,
        }
        looks[place]["http"] = {
            name: {"ok": True, "problem": None, "status": 200, "age_s": None, "took_s": 0.01}
            for name in ("health", "products")
        }
    return copy.deepcopy(looks)


def cut(looks: dict[str, Any], *hosts: str, did: str = "silent") -> None:
    """Let nobody see these hosts any more."""
    for host in hosts:
        looks[host] = {"place": host, "unreachable": "Connection timed out"}
    for look in looks.values():
        look.get("ports", {}).update(dict.fromkeys(set(hosts) & set(look.get("ports", {})), did))


def fail_writes(looks: dict[str, Any], problem: str, state: str | None = None, **more: Any) -> None:
    """Let every write fail."""
    for look in looks.values():
        if "write" in look:
            look["write"].update(
                {"ok": False, "problem": problem, "state": state, "server": None, "in_recovery": None, **more}
            )


def fail_calls(
    looks: dict[str, Any], problem: str, names: tuple[str, ...] = ("health", "products"), **more: Any
) -> None:
    """Let endpoints fail."""
    for look in looks.values():
        for name, seen in look.get("http", {}).items():
            if name in names:
                seen.update({"ok": False, "status": 503, "problem": problem, **more})


def knock(looks: dict[str, Any], host: str, did: str) -> None:
    """Let the port of a host do this for everybody."""
    for look in looks.values():
        if host in look.get("ports", {}):
            look["ports"][host] = did
