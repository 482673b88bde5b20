"""Measure a run: the recovery time and the recovery point, from where the client stands.

Recovery time: from the last success before the outage to the first of two consecutive successes
after it, over all four probes; of rows that were lost while the service went on, from the fault
until they were back. Recovery point: held against the rows, from the newest acknowledged
commit that survived to the last one acknowledged; of rows that were brought back from a copy,
from the instant that the copy is of to the fault. What was not measured stays absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pgrescue import outage as outages
from pgrescue.models import Clock, Measurement, Objectives, Reconciliation, Verdict, Verdicts
from pgrescue.outage import Outage
from pgrescue.story import Story
from pgrescue.witness_journal import Result, WitnessLog

_LET_BACK_IN = ("writable", "endpoint_switched", "application_resumed")


def measure(
    story: Story,
    objectives: Objectives,
    witness: WitnessLog | None = None,
    reconciliation: Reconciliation | None = None,
    copied: datetime | None = None,
) -> Measurement:
    """The figures of a run. Pure: the same records give the same measurement.

    The journal's `clock` and `data` facts give the clock's offset and the amount of data. `copied` is the
    instant to which the plan has a copy recovered, where it names one.
    """
    seen = _Seen.of(story, witness)
    time, loss = _time(seen, story), {**_loss(seen, reconciliation), **_loss_of_rows(story, copied)}
    figures: dict[str, Any] = {
        **time,
        **loss,
        "phases": {p.name: p.active_s for p in story.phases if not p.intervals[-1].open},
        "human_wait_s": story.human_wait_s if story.started else None,
        "detection_s": _detection(story, seen, time.get("last_success_before")),
        "data_bytes": _number(story.facts.get("data", {}), "data_bytes"),
        "clock": seen.clock,
    }
    measured = Measurement(**{key: value for key, value in figures.items() if value is not None})
    return measured.model_copy(update={"verdicts": _verdicts(measured, objectives, seen)})


@dataclass(frozen=True)
class _Seen:
    """The witness's log with the run's moments placed on its axis."""

    log: WitnessLog | None
    clock: Clock | None
    fault: float | None
    outage: Outage | None

    @classmethod
    def of(cls, story: Story, log: WitnessLog | None) -> _Seen:
        if log is None or not log.results:
            return cls(None, None, None, None)
        clock = _clock(log, story.facts.get("clock", {}))
        shift = _shift(clock)

        def place(moment: datetime | None) -> float | None:
            return None if moment is None else log.place(moment + shift)

        let_in = [story.milestones[name] for name in _LET_BACK_IN if name in story.milestones]
        found = outages.find(
            log,
            fault=place(story.fault),
            run_start=place(story.started),
            run_end=place(story.ended),
            resumed=place(max(let_in, default=None)),
        )
        return cls(log, clock, place(story.fault), found)

    def wall(self, place: float | None) -> datetime | None:
        return None if place is None or self.log is None else self.log.wall(place)


def _clock(log: WitnessLog, facts: Mapping[str, Any]) -> Clock:
    return Clock(
        source="witness monotonic" if log.monotonic else "witness wall clock (the witness rebooted)",
        offset_s=_number(facts, "offset_s"),
        uncertainty_s=_number(facts, "uncertainty_s"),
    )


def _shift(clock: Clock | None) -> timedelta:
    """What to add to the controller's clock to get the witness's; an offset within its own uncertainty is none."""
    if clock is None or clock.offset_s is None or abs(clock.offset_s) <= (clock.uncertainty_s or 0.0):
        return timedelta(0)
    return timedelta(seconds=clock.offset_s)


def _number(facts: Mapping[str, Any], key: str) -> Any:
    value = facts.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(seen: _Seen, story: Story) -> dict[str, Any]:
    """The outage; one that the witness did not see is none where the repair kept the traffic.

    Rows that were lost while the service went on were away from the fault until they were back.
    """
    back = story.milestones.get("rows_back")
    if back is not None and story.fault is not None:
        return {"rta_s": round((back - story.fault).total_seconds(), 6)}
    if seen.outage is None:
        return {"rta_s": 0.0} if "traffic_kept" in story.milestones and seen.log else {}
    last, first = seen.outage.last_success, seen.outage.first_success
    return {
        "last_success_before": seen.wall(last),
        "first_success_after": seen.wall(first),
        "rta_s": round(first - last, 6) if first is not None and last is not None else None,
    }


def _loss(seen: _Seen, held: Reconciliation | None) -> dict[str, Any]:
    if held is None or not held.acknowledged:
        return {}  # nothing was looked for, so "nothing lost" would be a guess
    before = set(held.missing_before_recovery_point)
    missing = before | set(held.missing_after_recovery_point)
    old = _acknowledged_before(seen, held, missing)
    survivors = [result for token, result in old.items() if token not in missing]
    newest = max(survivors, key=lambda result: result.end, default=None)
    return {
        "acknowledged": held.acknowledged,
        "lost_acknowledged": len(missing),
        "lost_acknowledged_before_recovery_point": len(before),
        "recovery_point": newest.wall_end if newest else None,
        "rpa_s": _reach(seen, old, missing, before) if missing else 0.0,
    }


def _loss_of_rows(story: Story, copied: datetime | None) -> dict[str, Any]:
    """What a table was given between the instant of the copy and the fault does not come back from it."""
    if "rows_back" not in story.milestones or story.fault is None or copied is None:
        return {}
    return {"recovery_point": copied, "rpa_s": round(max(0.0, (story.fault - copied).total_seconds()), 6)}


def _acknowledged_before(seen: _Seen, held: Reconciliation, missing: set[int]) -> dict[int, Result]:
    """What was acknowledged before the outage, as far as the witness's log reaches back."""
    if seen.log is None:
        return {}
    acknowledged = seen.log.acknowledged
    commits = seen.outage.of("commit") if seen.outage else []
    if commits:
        bound = commits[-1].last_success
    elif seen.outage is None and seen.fault is not None:
        bound = seen.fault
    else:
        bound = max((acknowledged[t].end for t in missing if t in acknowledged), default=None)
    if bound is None:
        return {}
    floor = held.floor or 0
    return {t: r for t, r in acknowledged.items() if t >= floor and (r.end <= bound or t in missing)}


def _reach(seen: _Seen, old: Mapping[int, Result], missing: set[int], before: set[int]) -> float | None:
    """How far back the loss reaches, in seconds; None when it reaches beyond the witness's log.

    Acknowledged commits missing *before* the recovery point make it no point to return to: then the
    loss reaches back to the newest survivor older than the oldest of them.
    """
    if seen.log is None or not old or not missing <= old.keys():
        return None
    oldest_hole = min((old[token].end for token in before), default=None)
    whole = [
        result.end
        for token, result in old.items()
        if token not in missing and (oldest_hole is None or result.end < oldest_hole)
    ]
    if not whole:
        return None
    return round(max(0.0, max(result.end for result in old.values()) - max(whole)), 6)


def _detection(story: Story, seen: _Seen, last_success: datetime | None) -> float | None:
    shift = _shift(seen.clock)
    origin = story.fault or (last_success - shift if last_success else None)
    if origin is None:
        return None
    detect = story.phase("detect")
    known = [story.milestones.get("declared"), story.started, detect.end if detect else None]
    after = [(moment - origin).total_seconds() for moment in known if moment is not None]
    return next((seconds for seconds in after if seconds >= 0), None)


def _verdicts(measured: Measurement, objectives: Objectives, seen: _Seen) -> Verdicts:
    rto = _judge(measured.rta_s, objectives.rto_s)
    if rto is None and seen.outage and seen.log and objectives.rto_s is not None:
        last = seen.outage.last_success
        down_since = seen.outage.began if last is None else last
        last_seen = max(result.end for result in seen.log.results)
        until = last_seen if seen.outage.first_success is None else seen.outage.first_success
        if until - down_since > objectives.rto_s:
            rto = "missed"  # down for longer than the objective, from wherever it began: that much is measured
    budgets = objectives.phases
    judged = {name: _judge(measured.phases.get(name), budget) for name, budget in budgets.items()}
    return Verdicts(
        rto=rto,
        rpo=_judge(measured.rpa_s, objectives.rpo_s),
        phases={name: verdict for name, verdict in judged.items() if verdict},
    )


def _judge(seconds: float | None, objective: float | None) -> Verdict | None:
    if seconds is None or objective is None:
        return None
    return "met" if seconds <= objective else "missed"
