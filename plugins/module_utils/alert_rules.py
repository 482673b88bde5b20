"""What of the inventory becomes rules of Prometheus, and a target list. Pure.

The promises and what is expected are rules, not metrics of some exporter: whatever is lost, they are there to hold its absence against.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WAITS = ("for", "keep_firing_for")


def inventory_rules(
    service: str,
    objectives: Mapping[str, Any],
    more: Mapping[str, float],
    hosts: "Mapping[str, int]",
    instances: Iterable[str],
) -> "dict[str, Any]":
    """A rule file that says what is promised and expected of a service.

    `objectives` as the inventory has them; `more`: C(response_s), and further ages in seconds as C(NAME_s); `hosts`: how many
    C(databases) and C(standbys) there shall be; `instances`: host and port of each exporter.
    """
    found = [
        _constant("expected_cluster", 1, cluster=service),
        _constant("expected_database_hosts", hosts["databases"], cluster=service),
        _constant("expected_standbys", hosts["standbys"], cluster=service),
    ]
    found += [_constant("expected_exporter", 1, cluster=service, instance=instance) for instance in sorted(instances)]
    promised = {name[:-2]: objectives[name] for name in ("rto_s", "rpo_s")}
    promised.update({"phase_" + name: seconds for name, seconds in objectives.get("phases", {}).items()})
    promised.update({name[:-2]: seconds for name, seconds in more.items() if name != "response_s"})
    for name, seconds in promised.items():
        found.append(_constant("objective_seconds", seconds, cluster=service, objective=name))
    found.append(_constant("response_seconds", more["response_s"], cluster=service))
    return {"groups": [{"name": "pgrescue_inventory_" + service, "interval": "30s", "rules": found}]}


def _constant(name: str, value: float, **labels: str) -> "dict[str, Any]":
    return {"record": "pgrescue_" + name, "expr": "vector(%s)" % repr(float(value)), "labels": labels}


def targets(instances: Iterable[str]) -> "list[dict[str, Any]]":
    """What C(file_sd_configs) reads."""
    return [{"targets": sorted(instances)}]


def hurried(rules: Mapping[str, Any], times: float) -> "dict[str, Any]":
    """The same rules with waits that many times shorter, a second at least; their limits stay."""
    return {
        "groups": [{**group, "rules": [_hurried(rule, times) for rule in group["rules"]]} for group in rules["groups"]]
    }


def _hurried(rule: Mapping[str, Any], times: float) -> "dict[str, Any]":
    return {key: _shorter(value, times) if key in _WAITS else value for key, value in rule.items()}


def _shorter(text: str, times: float) -> str:
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h|d)", text))
    return "%ds" % max(round(seconds / times), 1)
