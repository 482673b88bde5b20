"""What a watch is told by the inventory, through the playbook that equips it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgrescue import runner
from pgrescue.alerting import policy as alert_policy


class WatchError(Exception):
    """The watch cannot begin, or a look cannot be taken; the message says why, and that nothing was changed."""

    def __init__(self, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Setting:
    """Promise, places, power commands, alerts, and what may be done alone."""

    service: str
    inventory: str
    promise: Mapping[str, Any]
    places: Mapping[str, list[str]]  # the command of each
    interval_s: float
    patience_s: float
    power: Mapping[str, Mapping[str, Any]]  # of each database host: argv, off
    alerts: alert_policy.Policy
    alone: Mapping[str, Any] = field(default_factory=dict)  # what may be done without asking, by action


def read(service: str, inventory: str, equip: bool) -> Setting:
    """Lay down what places need, unless told not to, and read what the inventory says.

    Raises WatchError when the playbook fails, or the inventory says something that cannot be meant.
    """
    play = runner.start("playbooks/keep_watch.yml", inventory, {"service": service, "watch_equip": equip})
    failed = play.wait()
    said, code, found = play.failures(), play.exit_code() if failed else 0, play.results()
    play.forget()
    if failed or "watch" not in found:
        raise WatchError(
            f"{'; '.join(said) or 'The playbook keep_watch.yml handed nothing over'}. Nothing is watched.", code or 3
        )
    told = found["watch"]
    try:
        alerts = alert_policy.read(told["alerts"])
    except alert_policy.PolicyError as error:
        raise WatchError(f"{error} Nothing is watched.", 2) from error
    return Setting(
        service,
        inventory,
        told["promise"],
        told["places"],
        float(told["interval_s"]),
        float(told["patience_s"]),
        told["power"],
        alerts,
        told.get("alone") or {},
    )
