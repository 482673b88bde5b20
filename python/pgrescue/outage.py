"""Find the outage that clients lived through, from what the witness saw.

A probe is in trouble from its first failure until the first of two consecutive successes, in the
order in which the attempts were started. A stretch without any success that is much longer than the
probe's own rhythm is trouble too: a commit that hangs for half a minute and then succeeds was half a
minute without service. The outage is all the trouble, of all probes, that hangs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from statistics import median

from pgrescue.witness_journal import PROBES, Result, WitnessLog

SHORTEST_GAP_S = 1.0
GAP_RHYTHMS = 4


@dataclass(frozen=True)
class Trouble:
    """One probe without service. Places on the witness's axis, in seconds; None where unseen."""

    probe: str
    began: float
    last_success: float | None
    recovered: float | None

    @property
    def until(self) -> float:
        """Where it ended; infinity while it has not."""
        return inf if self.recovered is None else self.recovered


@dataclass(frozen=True)
class Outage:
    """Trouble that hangs together, over all probes."""

    troubles: tuple[Trouble, ...]

    @property
    def began(self) -> float:
        """Where the first trouble began."""
        return min(trouble.began for trouble in self.troubles)

    @property
    def until(self) -> float:
        """Where the last trouble ended; infinity while one has not."""
        return max(trouble.until for trouble in self.troubles)

    @property
    def last_success(self) -> float | None:
        """The earliest over the probes of their last success; None when one was never seen well."""
        seen = [trouble.last_success for trouble in self.troubles]
        return None if None in seen else min(place for place in seen if place is not None)

    @property
    def first_success(self) -> float | None:
        """The latest over the probes of their first lasting success; None while one has none."""
        return None if self.until == inf else self.until

    def of(self, probe: str) -> list[Trouble]:
        """The troubles of one probe, in order."""
        return sorted((t for t in self.troubles if t.probe == probe), key=lambda t: t.began)


def find(
    log: WitnessLog,
    *,
    fault: float | None,
    run_start: float | None,
    run_end: float | None,
    resumed: float | None,
) -> Outage | None:
    """The outage of this run, or None when the service never failed. Arguments are axis places.

    With a known fault it is the first trouble that outlasts the fault. Without one it is the longest
    that outlasts the start of the run. Trouble that begins again before `resumed`, the moment at
    which the runbook says clients were let back in, still belongs to it: a service that answers
    twice while it is falling over has not recovered. Trouble after the run's end does not.
    """
    floor = fault if fault is not None else run_start
    ceiling = inf if run_end is None else run_end
    last = max((result.end for result in log.results), default=0.0)
    relevant = [
        trouble
        for probe in PROBES
        for trouble in troubles(log.of(probe), log_end=last)
        if (floor is None or trouble.until > floor) and trouble.began <= ceiling
    ]
    outages = _joined(relevant)
    if not outages:
        return None
    if fault is not None:
        chosen = outages[0]
    else:
        chosen = max(outages, key=lambda outage: min(outage.until, last) - outage.began)
    again = [o for o in outages if resumed is not None and chosen.began < o.began <= resumed]
    return Outage(chosen.troubles + tuple(trouble for outage in again for trouble in outage.troubles))


def troubles(results: Sequence[Result], log_end: float = 0.0) -> list[Trouble]:
    """Every trouble of one probe, whose results are given in the order in which they were started.

    A probe that falls silent while the log goes on to `log_end` is in trouble that has not ended.
    """
    gap = _longest_normal_gap(results)
    found: list[Trouble] = []
    began: float | None = None
    last_success: float | None = None
    streak: Result | None = None  # the first success of a possible recovery
    healthy: list[Result] = []
    for result in results:
        if began is None:
            previous = healthy[-1] if healthy else None
            if not result.ok:
                began, streak = result.start, None
                last_success = max((s.end for s in healthy if s.end <= result.end), default=None)
            elif previous and result.session == previous.session and result.end - previous.end > gap:
                began = last_success = previous.end
                streak = result
        elif not result.ok:
            streak = None
        elif streak is None or result.end - streak.end > gap:
            streak = result
        else:
            found.append(Trouble(result.probe, began, last_success, max(began, streak.end)))
            began = None
        if result.ok:
            healthy.append(result)
    if began is not None:
        found.append(Trouble(results[0].probe, began, last_success, None))
    elif healthy and log_end - max(result.end for result in healthy) > gap:
        silent = max(result.end for result in healthy)
        found.append(Trouble(results[0].probe, silent, silent, None))
    return found


def _longest_normal_gap(results: Sequence[Result]) -> float:
    ends = sorted(result.end for result in results if result.ok)
    rhythm = [later - earlier for earlier, later in pairwise(ends)]
    return max(SHORTEST_GAP_S, GAP_RHYTHMS * median(rhythm)) if rhythm else inf


def _joined(troubles_of_all: Iterable[Trouble]) -> list[Outage]:
    outages: list[list[Trouble]] = []
    until = -inf
    for trouble in sorted(troubles_of_all, key=lambda t: t.began):
        if outages and trouble.began <= until:
            outages[-1].append(trouble)
        else:
            outages.append([trouble])
        until = max(until, trouble.until)
    return [Outage(tuple(joined)) for joined in outages]
