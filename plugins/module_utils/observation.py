"""What one host says about its PostgreSQL: pure folds over the output of PostgreSQL's own tools."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

ROLES = ("primary", "standby", "unresponsive", "stopped", "spare")


def parse_controldata(text: str) -> "dict[str, str]":
    """`pg_controldata` output (run with LC_ALL=C) as a mapping of its labels."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {label.strip(): value.strip() for label, value in pairs}


def system_identifier(control: Mapping[str, str]) -> Optional[str]:
    """The identifier initdb gave this database system, or None without a control file."""
    return control.get("Database system identifier")


def timeline(control: Mapping[str, str]) -> Optional[int]:
    """The timeline of the latest checkpoint."""
    text = control.get("Latest checkpoint's TimeLineID")
    return int(text) if text else None


def checkpoint(control: Mapping[str, str]) -> Optional[str]:
    """Where the latest checkpoint is: a cluster that does not run reaches at least as far."""
    return control.get("Latest checkpoint location")


def configured_data_directory(settings: str) -> Optional[str]:
    """The `data_directory` the last matching line of a configuration text sets."""
    found = re.findall(r"^\s*data_directory\s*=?\s*'([^']+)'", settings, flags=re.MULTILINE)
    return found[-1] if found else None


def role_of(running: bool, in_recovery: Optional[bool], has_cluster: bool, alive: bool = False) -> str:
    """What a host is to its service.

    `primary`, `standby`, `unresponsive` (a server that runs and cannot be asked), `stopped` (a cluster whose server does not
    run) or `spare` (no cluster at all).
    """
    if running:
        return "standby" if in_recovery else "primary"
    if alive:
        return "unresponsive"
    return "stopped" if has_cluster else "spare"


def state(facts: Mapping[str, Any]) -> "dict[str, Any]":
    """The facts of a host with the role that follows from them."""
    return {
        **facts,
        "role": role_of(
            facts["running"],
            facts.get("in_recovery"),
            facts.get("system_identifier") is not None,
            bool(facts.get("alive")),
        ),
    }
