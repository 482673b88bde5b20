# Copyright: the pgrescue authors. Apache-2.0
"""What Prometheus is given of an inventory."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible_collections.pgrescue.runbooks.plugins.module_utils import alert_rules


def exporters(hosts: "Iterable[str]", hostvars: "Mapping[str, Any]", port: "int | str") -> "list[str]":
    """Host and port of the exporter on each host."""
    found = []
    for host in hosts:
        seen = hostvars[host]
        address = seen.get("exporter_address") or seen.get("ansible_host") or host
        found.append("%s:%s" % (address, seen.get("exporter_port") or port))
    return found


class FilterModule:
    """The filters, by name."""

    def filters(self) -> "dict[str, Any]":
        """Their names in templates."""
        return {
            "exporters": exporters,
            "exporter_targets": alert_rules.targets,
            "hurried": alert_rules.hurried,
            "inventory_rules": alert_rules.inventory_rules,
        }
