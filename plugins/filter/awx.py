# Copyright: the pgrescue authors. Apache-2.0
"""What AWX is told of a runbook, and what it says of an approval."""

from __future__ import annotations

from typing import Any

from ansible_collections.pgrescue.runbooks.plugins.module_utils import awx


class FilterModule:
    """Filters of the collection; the sentence of a refusal is what Ansible prints."""

    def filters(self) -> "dict[str, Any]":
        return {
            "awx_survey": awx.survey,
            "awx_nodes": awx.nodes,
            "awx_references": awx.references,
            "awx_approval": awx.approval_of,
            "awx_verdict": awx.verdict,
        }
