# Copyright: the pgrescue authors. Apache-2.0
"""What places see of a service: gathered, judged, and what can be done about it."""

from __future__ import annotations

import shlex
from typing import Any, Iterable, Mapping, Optional

from ansible import constants
from ansible.plugins.loader import connection_loader
from ansible_collections.pgrescue.runbooks.plugins.module_utils import (
    proposals,
    restart_plans,
    scene,
    situations,
    standing,
)
from ansible_collections.pgrescue.runbooks.plugins.module_utils.times import epoch_s

SSH = (
    "-T",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=5",
    "-o",
    "ServerAliveInterval=2",
    "-o",
    "ServerAliveCountMax=2",
)


def named_probes(endpoints: "Mapping[str, str]") -> "dict[str, dict[str, str]]":
    """Endpoints, name and URL, as probes that want status 200 and JSON without an error."""
    return {name: {"url": url} for name, url in endpoints.items()}


def watch_promise(
    service: str,
    places: "Iterable[str]",
    hostvars: "Mapping[str, Any]",
    hosts: "Mapping[str, Any]",
    more: "Mapping[str, Any]",
) -> "dict[str, Any]":
    """What a scene needs to know of a service. `hosts` as the filter C(service_hosts) gives them; `more`: C(limits), C(proxies), C(writers)."""
    return {
        "service": service,
        "hosts": dict(hosts),
        "places": {place: hostvars[place]["region"] for place in places},
        "addresses": {facts["address"]: host for host, facts in hosts.items()},
        "proxies": list(more.get("proxies") or []),
        "writers": sorted(more.get("writers") or []),
        "limits": {key: float(value) for key, value in more["limits"].items()},
    }


def watch_looks(places: "Iterable[str]", hostvars: "Mapping[str, Any]", answering: "Iterable[str]") -> "dict[str, Any]":
    """The look of each place; of one that could not be looked at, why."""
    there, found = set(answering), {}
    for place in places:
        seen = hostvars[place].get("watch_seen") or {}
        gone = {
            "place": place,
            "unreachable": "it could not be looked at" if place in there else "no answer on its SSH port",
        }
        found[place] = seen if seen.get("place") else gone
    return found


def situation(looks: "Mapping[str, Any]", promise: "Mapping[str, Any]", known: "Mapping[str, Any]") -> "dict[str, Any]":
    """What has happened, with the facts for it and what was refuted."""
    return situations.judge(scene.Scene(promise, looks, known))


def seen_states(looks: "Mapping[str, Any]", promise: "Mapping[str, Any]") -> "dict[str, Any]":
    """The state of each database host that answered, as M(pgrescue.runbooks.cluster_state) says it."""
    return dict(scene.Scene(promise, looks, {}).states())


def proposed(found: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "dict[str, Any]":
    """What can be done about a situation, ranked, and why other things are not offered."""
    return proposals.propose(found, request)


def standing_of(found: "Mapping[str, Any]", request: "Mapping[str, Any]") -> "dict[str, Any]":
    """How recoverable the service is at this moment."""
    return standing.standing(found, request)


def newest_instant(instants: "Mapping[str, str]") -> "float | None":
    """The newest of several instants, in epoch seconds; None when there is none."""
    return max((epoch_s(instant) for instant in instants.values()), default=None)


def ssh_commands(
    places: "Iterable[str]",
    hostvars: "Mapping[str, Any]",
    of_postgres: "Optional[Iterable[str]]",
    program: "Iterable[str]",
) -> "dict[str, list[str]]":
    """How a program is run on each place over SSH that is told everything Ansible would tell it: of the inventory, its
    configuration and its environment.

    It runs as the owner of the cluster on those C(of_postgres), else as the user that the role makes; without C(of_postgres) as
    who logs in.
    """
    found = {}
    for place in places:
        known = hostvars[place]
        told = _told(known)
        port = ["-p", str(told["port"])] if told["port"] else []
        key = ["-i", str(told["private_key_file"])] if told["private_key_file"] else []
        more = shlex.split("%s %s" % (told["ssh_common_args"], told["ssh_extra_args"]))  # a ProxyCommand is one word
        who = str(told["remote_user"] or "")
        address = str(known.get("ansible_host", place))
        owner = "" if of_postgres is None else "postgres" if place in of_postgres else "pgrescue"
        become = ["sudo", "-n", "-u", owner] if owner else []
        found[place] = [
            "ssh",
            *SSH,
            *port,
            *key,
            *more,
            "%s@%s" % (who, address) if who else address,
            *become,
            *program,
        ]
    return found


def _told(known: "Mapping[str, Any]") -> "dict[str, Any]":
    """What Ansible's own connection by SSH is told of a host, wherever that is said."""
    connection_loader.get("ssh", class_only=True)  # its options are known from then on
    names = ("port", "private_key_file", "remote_user", "ssh_common_args", "ssh_extra_args")
    asked = {"plugin_type": "connection", "plugin_name": "ssh", "variables": known}
    return {name: constants.config.get_config_value(name, **asked) for name in names}


def power_commands(hosts: "Iterable[str]", hostvars: "Mapping[str, Any]") -> "dict[str, dict[str, Any]]":
    """How the controller asks for the power of each host, where the inventory says so and it is asked from there."""
    asked = {host: hostvars[host] for host in hosts}
    return {
        host: {"argv": [str(word) for word in known["fence_power_state"]], "off": str(known["fence_power_state_off"])}
        for host, known in asked.items()
        if known.get("fence_power_state") and known.get("fence_power_on_host", "localhost") == "localhost"
    }


def hangs(state: "Mapping[str, Any]") -> bool:
    """Whether a server runs and does not answer, by what M(pgrescue.runbooks.cluster_state) says; one that refuses has answered."""
    return bool(state) and restart_plans.hangs(state)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> "dict[str, Any]":
        """Their names."""
        return {
            "named_probes": named_probes,
            "watch_promise": watch_promise,
            "watch_looks": watch_looks,
            "situation": situation,
            "seen_states": seen_states,
            "proposed": proposed,
            "newest_instant": newest_instant,
            "standing_of": standing_of,
            "ssh_commands": ssh_commands,
            "power_commands": power_commands,
            "hangs": hangs,
        }
