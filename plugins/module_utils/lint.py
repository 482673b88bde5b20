"""Judge how a service is protected: what is promised, against what was seen. Pure.

A rule is a generator of findings. It is silent about what was not seen; that something was not seen is a finding of its own.
"""

from __future__ import annotations

from typing import Any, Mapping

from . import lint_backups, lint_buckets, lint_dumps, lint_hosts, lint_objectives, lint_proof, lint_wal
from .findings import worst_first
from .observed import Service

COMMON = (*lint_buckets.RULES, *lint_proof.RULES, *lint_objectives.RULES)
ENGINES = {"physical": (*lint_hosts.RULES, *lint_wal.RULES, *lint_backups.RULES), "dump": lint_dumps.RULES}


def findings(promise: Mapping[str, Any], facts: Mapping[str, Any]) -> "list[dict[str, Any]]":
    """Everything that is wrong, worst first."""
    service = Service(promise, facts)
    rules = [*(rule for engine in service.engines for rule in ENGINES[engine]), *COMMON]
    return worst_first(found for rule in rules for found in rule(service))
