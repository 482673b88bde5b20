"""Other tools that decide who is primary. Two that do so undo each other's work, so a runbook goes through them or refuses."""

from __future__ import annotations

import os
from typing import Any, Iterable, Mapping, Optional

from .guards import Stop

PATRONI = "Patroni"
# what each leaves in a data directory (source: their documentation), and how one fails over with it
MARKS = {"patroni.dynamic.json": PATRONI, "postgresql-auto-failover.conf": "pg_auto_failover"}
COMMANDS = {
    PATRONI: "patronictl switchover, or patronictl failover when the primary is lost",
    "pg_auto_failover": "pg_autoctl perform switchover, or pg_autoctl perform failover",
}
DRIVEN = (PATRONI,)  # through these a runbook can promote
INVENTORY = " Or let it be driven through it: say postgres_manager: %s in the inventory." % PATRONI


def manager(names: Iterable[str]) -> Optional[str]:
    """Who manages the cluster whose data directory holds files of these names; None when nobody does."""
    return next((MARKS[name] for name in sorted(names) if name in MARKS), None)


def manages(place: Optional[str]) -> Optional[str]:
    """Who manages the cluster in a data directory; None where nobody does, or none is there."""
    return manager(os.listdir(place)) if place and os.path.isdir(place) else None


def check(states: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to work on a cluster that another tool manages, for what cannot go through it."""
    agreed(states, "", through="")


def agreed(states: Mapping[str, Mapping[str, Any]], named: str, through: str = INVENTORY) -> None:
    """Refuse where what was seen to manage the cluster is not what the inventory has `named`; "" when it names nobody."""
    if named and named not in DRIVEN:
        raise Stop("postgres_manager is %s; nothing here knows how to go through it. Nothing was changed." % named)
    found = {host: str(seen["managed_by"]) for host, seen in states.items() if seen.get("managed_by")}
    others = sorted(host for host, tool in found.items() if tool != named)
    if others:
        tool = found[others[0]]
        raise Stop(
            "%s manages the cluster on %s: it would promote, restart and demote against what is done here. Nothing was changed. "
            "Use it: %s. To take the cluster out of its hands, stop it on every host and remove %s from the data directories.%s"
            % (
                tool,
                ", ".join(others),
                COMMANDS[tool],
                next(name for name in MARKS if MARKS[name] == tool),
                through if tool in DRIVEN and not named else "",
            )
        )
    alone = sorted(h for h, seen in states.items() if named and seen["role"] != "spare" and not seen.get("managed_by"))
    if alone:
        raise Stop(
            "The inventory says that %s manages the cluster, and on %s nothing shows that it does. Nothing was changed. Start it "
            "there, or take postgres_manager out of the inventory." % (named, ", ".join(alone))
        )
