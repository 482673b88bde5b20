"""When what is seen counts: nothing is an incident that a second look does not see as well. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LOOKS = 2  # in a row, of every place that looks
SLOW_LOOKS = 5  # what is slow once is not slow
TICKET_LOOKS = 10  # what nobody is woken for may pass by itself
WELL_LOOKS = 3  # until it counts as over

OPENED, CHANGED, OVER = "opened", "changed", "over"


@dataclass
class Patience:
    """Counts looks in a row. A round is over when every place that looks has looked anew."""

    open: bool = False  # whether an incident is open
    state: str = "well"  # what it is about
    _candidate: str = field(default="well", init=False)
    _level: str = field(default="none", init=False)
    _rounds: int = field(default=0, init=False)
    _stamps: dict[str, float] = field(default_factory=dict, init=False)

    def see(self, state: str, level: str, stamps: Mapping[str, float]) -> str | None:
        """Take what was concluded into account; `stamps`: when each place that looks did so last.

        `opened` when an incident begins, `changed` when an open one is about something else or worse, `over` when all
        is well again. Any state that wakes people counts towards the same incident: while a host falls silent the state
        changes from look to look.
        """
        same = level == self._level if level == "page" else state == self._candidate
        if not same:
            self._rounds, self._stamps = 1, dict(stamps)
        elif all(at > self._stamps.get(place, float("-inf")) for place, at in stamps.items()):
            self._rounds, self._stamps = self._rounds + 1, dict(stamps)
        moved = state != self._candidate
        self._candidate, self._level = state, level
        if self._rounds < _needed(state, level):
            return None
        if level == "none":
            was, self.open, self.state = self.open, False, "well"
            return OVER if was else None
        if not self.open:
            self.open, self.state = True, state
            return OPENED
        if state != self.state and not moved:  # seen twice as this
            self.state = state
            return CHANGED
        return None


def _needed(state: str, level: str) -> int:
    if level == "none":
        return WELL_LOOKS
    if level == "ticket":
        return TICKET_LOOKS
    return SLOW_LOOKS if state == "slow" else LOOKS
