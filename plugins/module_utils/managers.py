"""Other tools that decide who is primary. Two that do so undo each other's work, so a runbook leaves such a cluster alone. Pure."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Optional

from .guards import Stop

# what each leaves in a data directory (source: their documentation), and how one fails over with it
MARKS = {"patroni.dynamic.json": "Patroni", "postgresql-auto-failover.conf": "pg_auto_failover"}
COMMANDS = {
    "Patroni": "patronictl switchover, or patronictl failover when the primary is lost",
    "pg_auto_failover": "pg_autoctl perform switchover, or pg_autoctl perform failover",
}


def manager(names: Iterable[str]) -> Optional[str]:
    """Who manages the cluster whose data directory holds files of these names; None when nobody does."""
    return next((MARKS[name] for name in sorted(names) if name in MARKS), None)


def check(states: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to work on a cluster that another tool manages."""
    found = {host: str(seen["managed_by"]) for host, seen in states.items() if seen.get("managed_by")}
    if found:
        tool = sorted(found.values())[0]
        raise Stop(
            "%s manages the cluster on %s: it would promote, restart and demote against what is done here. Nothing was changed. "
            "Use it: %s. To take the cluster out of its hands, stop it on every host and remove %s from the data directories."
            % (tool, ", ".join(sorted(found)), COMMANDS[tool], next(name for name in MARKS if MARKS[name] == tool))
        )
