"""Whatever was approved before: an approval of another plan, another gate or another time never opens a gate."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pgrescue.core import approvals, journal, records

NOW_S = 1_800_000_000.0
PEOPLE = ["alice@bastion", "Alice@laptop", "bob@laptop", "carol", "@x", ""]
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # beside other work
plans = st.fixed_dictionaries({"target_host": st.sampled_from(["x1", "x2"]), "n": st.integers(0, 3)})


def gate(plan: dict[str, Any], second_person: bool, name: str = "plan") -> approvals.Gate:
    digest = records.digest(plan)
    return approvals.Gate(
        name, "run-1", "complete_loss", "shop", digest, NOW_S - 5, "alice@bastion", second_person, 900, 900
    )  # fmt: skip


def some_approvals(plan: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Approvals of the plan by anybody, at any time, however they came about."""

    def one(gate: str, verdict: str, by: str, way: str, reason: str, age: int, lasts: int) -> dict[str, Any]:
        times = {"given": journal.stamp(NOW_S - age), "expires": journal.stamp(NOW_S - age + lasts)}
        said = {"gate": gate, "verdict": verdict, "by": by, "way": way, "reason": reason}
        return {"run": "run-1", "plan_digest": records.digest(plan), **said, **times}

    return st.lists(
        st.builds(
            one,
            st.sampled_from(["plan", "cut_over"]),
            st.sampled_from(["approved", "broke_glass"]),
            st.sampled_from(PEOPLE),
            st.sampled_from(["confirm", "terminal", "approval", "break_glass"]),
            st.sampled_from(["", " ", "seen it"]),
            st.integers(-400, 2000),
            st.integers(-10, 10_000),
        ),
        max_size=6,
    )


@unhurried
@given(st.data(), plans, plans, st.booleans())
def test_an_approval_of_another_plan_never_counts(data, wanted, other, second_person):
    at = gate(wanted, second_person)
    if records.digest(wanted) == records.digest(other):
        other = {**other, "n": 99}
    found = data.draw(some_approvals(other))
    good, _void = approvals.counting(at, found, NOW_S)
    assert good == []
    assert "operator" in approvals.lacking(at, good)


@unhurried
@given(st.data(), plans, st.booleans())
def test_a_gate_is_open_only_by_what_counts_now(data, plan, second_person):
    at = gate(plan, second_person)
    found = data.draw(some_approvals(plan))
    good, void = approvals.counting(at, found, NOW_S)
    assert len(good) + len(void) == len(found)
    for one in good:
        age = NOW_S - approvals.times.epoch_s(one["given"])
        assert one["gate"] == "plan"
        assert -approvals.SKEW_S - 1e-3 <= age <= at.expires_s + 1e-3
        assert approvals.times.epoch_s(one["expires"]) >= NOW_S - 1e-3
    if not approvals.lacking(at, good):
        people = {approvals.person(one["by"]) for one in good}
        broke = any(one["verdict"] == "broke_glass" and approvals.person(one["by"]) == "alice" for one in good)
        assert people, "somebody approved"
        assert not second_person or ("alice" in people and (len(people) > 1 or broke))


@unhurried
@given(st.data(), plans)
def test_what_counts_for_two_counts_for_one(data, plan):
    """A policy that asks for more never opens what one that asks for less keeps shut."""
    strict, lax = gate(plan, True), gate(plan, False)
    good, _void = approvals.counting(strict, data.draw(some_approvals(plan)), NOW_S)
    if not approvals.lacking(strict, good):
        assert not approvals.lacking(lax, good)
