"""When what is seen counts: nothing is an incident that a second look does not see as well. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LOOKS = 2  # in a row, of every place that looks
SLOW_LOOKS = 5  # what is slow once is not slow
TICKET_LOOKS = 10  # what nobody is woken for may pass by itself
WELL_LOOKS = 3  # until it counts as over
ROUND_S = 2.0  # how long a round takes where no place looks at all

OPENED, CHANGED, OVER = "opened", "changed", "over"


@dataclass
class Patience:
    """Counts rounds: one is over when every place that looks has looked anew."""

    open: bool = False  # whether an incident is open
    state: str = "well"  # what it is about
    level: str = "none"
    _rounds: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=TICKET_LOOKS), init=False)
    _stamps: dict[str, float] = field(default_factory=dict, init=False)
    _at: float = field(default=float("-inf"), init=False)

    def see(self, state: str, level: str, stamps: Mapping[str, float], at: float) -> str | None:
        """Take what was concluded at `at` into account; `stamps`: when the newest look of each place came, same clock.

        `opened` when an incident begins, `changed` when an open one is about something else or worse, `over` when all
        is well again. Any state that wakes people counts towards the same incident: while a host falls silent the state
        changes from look to look.
        """
        fresh = all(when > self._stamps.get(place, float("-inf")) for place, when in stamps.items())
        if not fresh or (not stamps and at - self._at < ROUND_S):
            return None
        self._stamps, self._at = dict(stamps), at
        self._rounds.append((state, level))
        return self._over() if level == "none" else self._ill(state, level)

    def _over(self) -> str | None:
        if not self.open or self._in_row(lambda _state, level: level == "none") < WELL_LOOKS:
            return None
        self.open, self.state, self.level = False, "well", "none"
        return OVER

    def _ill(self, state: str, level: str) -> str | None:
        same = self._in_row(lambda other, _level: other == state)
        if level == "ticket":
            enough = same >= TICKET_LOOKS
        elif state == "slow":
            enough = same >= SLOW_LOOKS
        else:
            enough = self._in_row(lambda other, its: its == "page" and other != "slow") >= LOOKS
        if not self.open and enough:
            self.open, self.state, self.level = True, state, level
            return OPENED
        if self.open and state != self.state and enough and same >= LOOKS:
            self.state, self.level = state, level
            return CHANGED
        return None

    def _in_row(self, like: Callable[[str, str], bool]) -> int:
        """How many of the newest rounds are like this."""
        count = 0
        for state, level in reversed(self._rounds):
            if not like(state, level):
                break
            count += 1
        return count
