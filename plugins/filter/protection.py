# Copyright: the pgrescue authors. Apache-2.0
"""What was observed of a service's hosts, folded into what M(pgrescue.runbooks.lint_service) asks for."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

NAMED = (
    "endpoint",
    "region",
    "bucket",
    "key",
    "retention_days",
    "retention_full",
)  # of a repository; nothing else is handed on

STORE = ("bucket", "region", "key", "secret", "ca_file")  # of a repository, and of any other store


def observed_hosts(hosts: Iterable[str], hostvars: Mapping[str, Any], answering: Iterable[str]) -> "dict[str, Any]":
    """Everything that was seen of each host, and whether it answered at all."""
    there = set(answering)
    return {host: _observed(hostvars[host], host in there) for host in sorted(hosts)}


def _observed(seen: Mapping[str, Any], answers: bool) -> "dict[str, Any]":
    state = seen.get("postgres_state") or {}
    problem = seen.get("protection_problem")
    if answers and not state:
        problem = problem or "it let nobody look at it"
    return {
        "region": seen.get("region"),
        "answers": answers,
        "problem": problem,
        "state": state,
        "server": seen.get("protection_server") or {},
        "capacity": seen.get("protection_room") or {},
        "timers": units(seen.get("protection_units") or ""),
    }


def units(said: str) -> "dict[str, dict[str, str]]":
    """Each unit by name, from what `systemctl show` says of several."""
    blocks = (dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in said.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def promised_repositories(repositories: Sequence[Mapping[str, Any]]) -> "list[dict[str, Any]]":
    """The repositories as the inventory names them, without their secrets."""
    return [
        {**{key: repo[key] for key in NAMED if key in repo}, "encrypted": bool(repo.get("cipher_pass"))}
        for repo in repositories
    ]


def repository_stores(repositories: Sequence[Mapping[str, Any]]) -> "list[dict[str, Any]]":
    """The repositories as M(pgrescue.runbooks.bucket_usage) wants stores."""
    return [
        {"url": "https://" + repo["endpoint"], **{key: repo[key] for key in STORE if key in repo}}
        for repo in repositories
    ]


def store_labels(stores: Sequence[Mapping[str, Any]]) -> "list[str]":
    """The stores by the names that observations give them."""
    return ["%(url)s/%(bucket)s" % store for store in stores]


def promised_buckets(
    stores: Mapping[str, Sequence[Mapping[str, Any]]], limits: Mapping[str, Any]
) -> "list[dict[str, Any]]":
    """Every bucket, what it holds and may take, without its secrets; `stores` by what they hold, `limits` by name of the bucket."""
    return [
        {"store": "%(url)s/%(bucket)s" % store, "holds": holds, "limit_bytes": limits.get(store["bucket"])}
        for holds, several in stores.items()
        for store in several
    ]


def one_to_ask(hosts: Mapping[str, Any]) -> str:
    """The host to ask about the repositories: the primary, else any that was configured; empty when there is none."""
    ready = [
        (host["state"].get("role") != "primary", name)
        for name, host in hosts.items()
        if host["state"].get("data_directory")
    ]
    return min(ready)[1] if ready else ""


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {
            "observed_hosts": observed_hosts,
            "promised_repositories": promised_repositories,
            "repository_stores": repository_stores,
            "store_labels": store_labels,
            "promised_buckets": promised_buckets,
            "one_to_ask": one_to_ask,
        }
