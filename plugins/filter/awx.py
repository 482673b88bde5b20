# Copyright: the pgrescue authors. Apache-2.0
"""What AWX is told of a runbook, and what it says of an approval."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.pgrescue.runbooks.plugins.module_utils import awx, guards


def awx_approval(nodes: "Iterable[Mapping[str, Any]]", identifier: str) -> int:
    """The id of the approval at a workflow's node."""
    try:
        return awx.approval_of(nodes, identifier)
    except guards.Stop as stop:
        raise AnsibleFilterError(str(stop)) from stop


def awx_verdict(approval: "Mapping[str, Any]", workflow_job: int) -> "dict[str, str]":
    """Who pressed the button, and which."""
    try:
        return awx.verdict(approval, workflow_job)
    except guards.Stop as stop:
        raise AnsibleFilterError(str(stop)) from stop


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> "dict[str, Any]":
        return {
            "awx_survey": awx.survey,
            "awx_nodes": awx.nodes,
            "awx_references": awx.references,
            "awx_approval": awx_approval,
            "awx_verdict": awx_verdict,
        }
