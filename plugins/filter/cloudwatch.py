# Copyright: the pgrescue authors. Apache-2.0
"""Which alarms a service has at Amazon CloudWatch."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pgrescue.runbooks.plugins.module_utils import cloudwatch_alarms


def alarms(promise: "dict[str, Any]", more: "dict[str, Any]") -> "list[dict[str, Any]]":
    """As C(cloudwatch_alarms.alarms) says; what cannot be kept is a sentence."""
    try:
        return cloudwatch_alarms.alarms(promise, more)
    except cloudwatch_alarms.Unreachable as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {"cloudwatch_alarms": alarms}
