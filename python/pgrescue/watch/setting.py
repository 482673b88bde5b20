"""What a watch is told by the inventory, through the playbook that equips it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgrescue import runner
from pgrescue.alerting import policy as alert_policy


class WatchError(Exception):
    """The watch cannot begin, or a look cannot be taken; the message says why, and that nothing was changed."""

    def __init__(self, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.code = code


LIMIT_S = 180.0  # for the playbook, on hosts that may hang


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


def read(service: str, inventory: str, equip: bool, say: Callable[[str], None]) -> Setting:
    """Lay down what places need, unless told not to, and read what the inventory says.

    A service that is ill may not let itself be equipped; it is watched with what its places have then. Raises
    WatchError when the playbook fails all the same, or the inventory says something that cannot be meant.
    """
    told, why, code = _handed_over(service, inventory, equip)
    if told is None and equip and code != runner.WRONG_USE:
        say(f"the places could not be equipped, and are watched with what they have: {why}")
        told, why, code = _handed_over(service, inventory, False)
    if told is None:
        raise WatchError(f"{why}. Nothing is watched.", code or 3)
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


def _handed_over(service: str, inventory: str, equip: bool) -> tuple[dict[str, Any] | None, str, int]:
    """What the playbook handed over, or None, why, and the exit code."""
    play = runner.start("playbooks/keep_watch.yml", inventory, {"service": service, "watch_equip": equip})
    failed = play.wait(LIMIT_S)
    said, code, found = play.failures(), play.exit_code() if failed else 0, play.results()
    play.forget()
    if failed or "watch" not in found:
        return None, "; ".join(said) or "The playbook keep_watch.yml handed nothing over", code
    return dict(found["watch"]), "", 0
