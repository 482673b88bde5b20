# Copyright: the pgrescue authors. Apache-2.0
"""Which alarms a service has at Amazon CloudWatch."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgrescue.runbooks.plugins.module_utils import cloudwatch_alarms


class FilterModule:
    """Filters of the collection; the sentence of a refusal is what Ansible prints."""

    def filters(self) -> "dict[str, Any]":
        return {"cloudwatch_alarms": cloudwatch_alarms.alarms}
