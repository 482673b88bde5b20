# Copyright: the pgrescue authors. Apache-2.0
"""Many services at once, from what their hosts were seen to be."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgrescue.runbooks.plugins.module_utils import wholeness


def checked_services(
    services: "Iterable[str]", groups: "Mapping[str, Any]", hostvars: "Mapping[str, Any]"
) -> "dict[str, Any]":
    """Of each service its C(state) and what it C(says), from C(watch_state) and C(watch_archiver) of its database hosts."""
    databases = set(groups.get("postgres", []))
    found = {}
    for service in services:
        known = {host: hostvars[host] for host in groups[service] if host in databases}
        # Ansible puts a host's variables together anew whenever one is asked for
        states = {host: mine.get("watch_state") or {} for host, mine in known.items()}
        regions = {host: str(mine.get("region", "")) for host, mine in known.items()}
        first = next(iter(known.values()))
        archiver = next(
            (known[host].get("watch_archiver") or {} for host, seen in states.items() if seen.get("role") == "primary"),
            {},
        )
        found[service] = wholeness.judge(states, regions, first.get("service_standbys") or {}, archiver)
    return found


class FilterModule:
    """The filters of this file."""

    def filters(self) -> "dict[str, Any]":
        """Their names."""
        return {"checked_services": checked_services}
