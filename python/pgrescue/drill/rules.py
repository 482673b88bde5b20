"""Hold a run against the rules of its drill. Pure: the same record gives the same judgement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pgrescue.drill import draw
from pgrescue.drill.record import Draw, Drill
from pgrescue.drill.scenario import BY_PHASE, PROMISED, Rule
from pgrescue.human import span
from pgrescue.models import Check, Measurement, Run
from pgrescue.outcome import NEEDS_PERSON, OBJECTIVE_MISSED, RECOVERED, Outcome
from pgrescue.story import Story

Kept = Literal["kept", "missed", "not measured"]


@dataclass(frozen=True)
class Judged:
    """One rule, what it allows, what was observed, and whether it was kept."""

    rule: str
    tier: Literal["must", "nice"]
    limit: str
    observed: str
    verdict: Kept


@dataclass(frozen=True)
class Seen:
    """What of a record the rules look at; `outcome` is that of the recovery alone."""

    run: Run
    story: Story
    checks: Sequence[Check]
    measured: Measurement
    outcome: Outcome


def judge(drill: Drill, seen: Seen) -> list[Judged]:
    """Every rule of the scenario, the musts first."""
    tiers: tuple[tuple[Literal["must", "nice"], list[Rule]], ...] = (
        ("must", drill.scenario.must),
        ("nice", drill.scenario.nice),
    )
    return [one for tier, rules in tiers for rule in rules for one in _one(rule, tier, drill, seen)]


def count(judged: Sequence[Judged], tier: str) -> str:
    """`5 of 6` of one tier."""
    of_tier = [one for one in judged if one.tier == tier]
    return f"{sum(one.verdict == 'kept' for one in of_tier)} of {len(of_tier)}"


def overall(drill: Drill, seen: Seen) -> Outcome:
    """How the drill ended: void where its fault did not show or it was called off, failed where a must was not kept."""
    void = _void(drill, seen)
    # where nothing was broken and no client was stopped, nothing has failed
    unbroken = not drill.scenario.fault and "traffic_stopped" not in seen.story.milestones
    if void and (seen.outcome.exit_code in RECOVERED or drill.fault_failed or unbroken or _unseen(drill, seen)):
        return Outcome("void", NEEDS_PERSON, f"{void} The drill proves nothing.")
    if drill.state == "open" or seen.outcome.result != "passed":
        return seen.outcome
    missed = [one for one in judge(drill, seen) if one.tier == "must" and one.verdict != "kept"]
    if not missed:
        return seen.outcome
    said = "; ".join(words(one) for one in missed)
    return Outcome("failed", OBJECTIVE_MISSED, f"Not kept by the drill: {said}.")


def first_line(drill: Drill, seen: Seen) -> str:
    """What the report of a drill begins with."""
    outcome, judged = overall(drill, seen), judge(drill, seen)
    nice = f", {count(judged, 'nice')} nice to have" if any(one.tier == "nice" for one in judged) else ""
    counted = f"{count(judged, 'must')} musts kept{nice}"
    if drill.state == "open" and outcome.result != "void":
        return f"DRILL {drill.scenario.name} NOT JUDGED: it has not ended"
    purpose = drill.scenario.fails_on_purpose
    if outcome.result == "passed":
        mistrust = f". IT WAS TO FAIL ({purpose}): its rules do not tell" if purpose else ""
        return f"DRILL {drill.scenario.name} PASSED: {counted}{mistrust}"
    on_purpose = f", ON PURPOSE ({purpose})" if fails_as_meant(drill, seen) else ""
    return f"DRILL {drill.scenario.name} {outcome.result.upper()}{on_purpose}: {counted}. {outcome.reason}".rstrip()


def fails_as_meant(drill: Drill, seen: Seen) -> bool:
    """Whether a drill that fails on purpose failed by its rules; one that did not even recover failed otherwise."""
    meant = drill.scenario.fails_on_purpose is not None and seen.outcome.exit_code in RECOVERED
    return meant and overall(drill, seen).result == "failed"


def words(one: Judged) -> str:
    """`rto_within 1 min: 1 min 10 s`."""
    return f"{one.rule}{' ' + one.limit if one.limit else ''}: {one.observed}"


def _unseen(drill: Drill, seen: Seen) -> bool:
    """Whether a witness looked and saw no failure where there was to be one."""
    looked = seen.measured.clock is not None
    return drill.scenario.expects == "outage" and looked and seen.measured.last_success_before is None


def _as_drawn(drill: Drill, blind: Draw) -> bool:
    return draw.holds(blind) and blind.opened is not None and blind.opened.scenario == drill.scenario.name


def _void(drill: Drill, seen: Seen) -> str:
    if drill.fault_failed:
        return f"The fault did not take effect: {drill.fault_failed}"
    if drill.blind and not _as_drawn(drill, drill.blind):
        return "What was broken is not what was committed to before."
    if drill.stopped:
        return f"The drill was stopped by {drill.stopped.by}: {drill.stopped.reason}."
    if not drill.scenario.fault and "refused" in seen.story.facts:
        return "The procedure did not begin, for another run held the service."
    hidden = _hidden(seen) if drill.scenario.expects == "outage" else ""
    if not hidden and drill.scenario.fault and drill.fault is None and seen.story.fault is None:
        return "The record holds no fault."
    return hidden


def _hidden(seen: Seen) -> str:
    """Why an outage that was to be seen was not; empty where it was."""
    last, first = seen.measured.last_success_before, min((one.start for one in seen.story.phases), default=None)
    if last is None:
        looked = seen.measured.clock is not None
        return "The witness saw no failure." if looked else "No witness was read, so nobody saw the failure."
    if first is not None and last > first:
        return "Clients were served until the recovery began, so the failure is the recovery's own."
    return ""


def _one(rule: Rule, tier: Literal["must", "nice"], drill: Drill, seen: Seen) -> list[Judged]:
    if rule.rule == BY_PHASE:
        limits = seen.run.objectives.phases if rule.limit == PROMISED else rule.limit
        assert isinstance(limits, Mapping)  # the scenario was validated
        rows = [
            _timed(f"{BY_PHASE} {name}", tier, limit, seen.measured.phases.get(name)) for name, limit in limits.items()
        ]
        return rows or [Judged(BY_PHASE, tier, PROMISED, "no budget is set", "not measured")]
    if rule.rule in _PLAIN:
        observed, verdict = _PLAIN[rule.rule](drill, seen)
        return [Judged(rule.rule, tier, "", observed, verdict)]
    promised = {"rto_within": seen.run.objectives.rto_s, "rpo_within": seen.run.objectives.rpo_s}
    figures = {
        "rto_within": seen.measured.rta_s,
        "rpo_within": seen.measured.rpa_s,
        "detection_within": seen.measured.detection_s,
        "first_correct_action_within": drill.first_correct_action_s,
    }
    limit = promised.get(rule.rule) if rule.limit == PROMISED else rule.limit
    assert limit is None or isinstance(limit, int | float)
    return [_timed(rule.rule, tier, limit, figures[rule.rule])]


def _timed(name: str, tier: Literal["must", "nice"], limit: float | None, observed: float | None) -> Judged:
    if limit is None:
        return Judged(name, tier, PROMISED, "nothing is promised", "not measured")
    if observed is None:
        return Judged(name, tier, span(limit), "not measured", "not measured")
    return Judged(name, tier, span(limit), span(observed), "kept" if observed <= limit else "missed")


def _recovered(_: Drill, seen: Seen) -> tuple[str, Kept]:
    back = seen.outcome.exit_code in RECOVERED
    return ("clients are served" if back else seen.outcome.reason.rstrip(".") or "no"), ("kept" if back else "missed")


def _validated(_: Drill, seen: Seen) -> tuple[str, Kept]:
    musts = [check for check in seen.checks if check.tier == "must"]
    if not musts or "validated" not in seen.story.milestones:
        return "nothing was validated", "not measured"
    passed = sum(check.verdict == "passed" for check in musts)
    return f"{passed} of {len(musts)} checks that must pass", "kept" if passed == len(musts) else "missed"


def _lost(lost: int | None, of: int | None) -> tuple[str, Kept]:
    if lost is None:
        return "not measured", "not measured"
    return f"{lost} of {of} acknowledged commits", "missed" if lost else "kept"


def _nothing_lost(_: Drill, seen: Seen) -> tuple[str, Kept]:
    return _lost(seen.measured.lost_acknowledged, seen.measured.acknowledged)


def _nothing_lost_before(_: Drill, seen: Seen) -> tuple[str, Kept]:
    return _lost(seen.measured.lost_acknowledged_before_recovery_point, seen.measured.acknowledged)


def _steady_after(drill: Drill, _: Seen) -> tuple[str, Kept]:
    if drill.steady_after is None:
        return "nobody looked", "not measured"
    return ("steady", "kept") if drill.steady_after.held else ("not steady", "missed")


_PLAIN: Mapping[str, Callable[[Drill, Seen], tuple[str, Kept]]] = {
    "recovered": _recovered,
    "validated": _validated,
    "nothing_lost": _nothing_lost,
    "nothing_lost_before_point": _nothing_lost_before,
    "steady_after": _steady_after,
}
