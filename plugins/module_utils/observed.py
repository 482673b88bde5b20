"""What is promised of a service and what was seen of it, as the linter's rules ask for it. Pure."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .lsn import segment_number


class Service:
    """One service: its promise, and the facts of one look at it."""

    def __init__(self, promise: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        self.promise = promise
        self.facts = facts
        self.now_s: float = facts["now_s"]
        self.objectives: "Mapping[str, Any]" = promise.get("objectives") or {}
        self.rpo_s: "Optional[float]" = self.objectives.get("rpo_s")
        self.rto_s: "Optional[float]" = self.objectives.get("rto_s")
        self.phases: "Mapping[str, float]" = self.objectives.get("phases") or {}
        self.hosts: "Mapping[str, Mapping[str, Any]]" = facts.get("hosts") or {}
        self.name = str(promise.get("service", "SERVICE"))
        # how it is protected: physical (pgBackRest), dump, or both
        self.engines: "list[str]" = list(promise.get("engines") or ["physical"])
        self.catalog: "Mapping[str, Any]" = facts.get("dumps") or {}
        self.dumps: "list[Mapping[str, Any]]" = self.catalog.get("dumps") or []  # newest first
        self.buckets: "dict[str, Mapping[str, Any]]" = {seen["store"]: seen for seen in facts.get("buckets") or []}
        self.runs: "list[Mapping[str, Any]]" = facts.get("runs") or []

    def in_role(self, *roles: str) -> "dict[str, Mapping[str, Any]]":
        """The hosts seen in one of these roles."""
        return {name: host for name, host in self.hosts.items() if (host.get("state") or {}).get("role") in roles}

    @property
    def primary(self) -> "tuple[str, Mapping[str, Any]]":
        """The one primary by name; nameless and empty when there is none, or more than one."""
        found = self.in_role("primary")
        return next(iter(found.items())) if len(found) == 1 else ("", {})

    @property
    def settings(self) -> "Mapping[str, Any]":
        """The primary's settings; empty when they were not seen."""
        return self.server.get("settings") or {}

    @property
    def server(self) -> "Mapping[str, Any]":
        """What the primary's server says; empty when it was not seen."""
        return self.primary[1].get("server") or {}

    @property
    def repositories(self) -> "list[Mapping[str, Any]]":
        """The repositories that answered."""
        return [repo for repo in self.facts.get("repositories") or [] if not repo.get("problem")]

    @property
    def backups(self) -> "list[Mapping[str, Any]]":
        """Every backup that can be used, of every repository, oldest first."""
        found = [backup for repo in self.repositories for backup in repo["backups"] if not backup["error"]]
        return sorted(found, key=lambda backup: float(backup["stopped_s"]))

    @property
    def data_bytes(self) -> "Optional[float]":
        """The size of the cluster now, as it is on the primary's disk, else as the newest backup found it."""
        sizes = [(self.primary[1].get("capacity") or {}).get("cluster_bytes")]
        sizes += [backup["size_bytes"] for backup in self.backups[-1:]]
        return next((float(size) for size in sizes if size), None)

    @property
    def wal_bytes(self) -> float:
        """The most WAL that lay between a backup and the next one, or lies since the newest: what a restore replays."""
        segment_bytes = int(self.server.get("segment_bytes") or 16777216)
        longest = 0
        for repo in self.repositories:
            starts = [segment_number(backup["wal_start"], segment_bytes) for backup in repo["backups"]]
            if starts and repo.get("newest_segment"):
                starts.append(segment_number(repo["newest_segment"], segment_bytes) + 1)
            longest = max([longest, *(starts[at] - starts[at - 1] for at in range(1, len(starts)))])
        return float(longest * segment_bytes)
