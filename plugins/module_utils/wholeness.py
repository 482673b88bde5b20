"""Whether a service is whole, by one look at each of its database hosts. Pure."""

from __future__ import annotations

from typing import Any, Mapping

WHOLE, DEGRADED, DOWN = "whole", "degraded", "down"


def judge(
    states: "Mapping[str, Mapping[str, Any]]",
    regions: "Mapping[str, str]",
    wanted: "Mapping[str, int]",
    archiver: "Mapping[str, Any]",
) -> "dict[str, Any]":
    """State of a service, and in sentences what is missing.

    `states`: what M(cluster_state) said of each host, empty of one that could not be looked at; `regions`: where each is; `wanted`:
    standbys in each region; `archiver`: what the primary said of its archiving, empty where it was not asked.
    """
    roles = {host: seen.get("role") for host, seen in states.items()}
    primaries = sorted(host for host, role in roles.items() if role == "primary")
    silent = sorted(host for host, role in roles.items() if role is None)
    said = ["%s could not be looked at" % host for host in silent]
    if len(primaries) > 1:
        said.insert(0, "%s both take writes" % " and ".join(primaries))
    elif not primaries:
        said.insert(0, "no primary is seen")
    for region, count in wanted.items():
        there = sum(role == "standby" and regions[host] == region for host, role in roles.items())
        if there < int(count):
            said.append("%d of %d standbys in %s" % (there, int(count), region))
    idle = sorted(host for host, role in roles.items() if role == "standby" and not states[host].get("streaming"))
    said += ["%s streams from nobody" % host for host in idle]
    if archiver.get("failing"):
        said.append("WAL is not archived: %s" % (archiver.get("last_failed_wal") or "no segment is named"))
    for host in primaries:
        if (states[host].get("settings") or {}).get("archive_mode") == "off":
            said.append("%s archives no WAL" % host)
    state = DOWN if len(primaries) != 1 else DEGRADED if said else WHOLE
    return {"state": state, "says": said}
