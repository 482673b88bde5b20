# Copyright: the pgrescue authors. Apache-2.0
"""Where standbys shall be built."""

from __future__ import annotations

from typing import Any, Iterable, Mapping


def standbys_to_build(hosts: Iterable[str], hostvars: Mapping[str, Any], wanted: Mapping[str, int]) -> "list[str]":
    """Spare hosts, in inventory order, that must become standbys so that each region has as many as are wanted.

    `hostvars` gives each host's `region` and `postgres_state`; hosts that were not observed are left alone.
    """
    observed = [host for host in hosts if "postgres_state" in hostvars[host]]
    build = []
    for region, count in wanted.items():
        here = [host for host in observed if hostvars[host]["region"] == region]
        standing = [host for host in here if hostvars[host]["postgres_state"]["role"] == "standby"]
        spare = [host for host in here if hostvars[host]["postgres_state"]["role"] == "spare"]
        build += spare[: max(int(count) - len(standing), 0)]
    return build


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {"standbys_to_build": standbys_to_build}
