"""What the ladder of dumps must keep, whatever there is and whatever the policy says."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from modules import collection

retention = collection("plugins.module_utils.retention")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STORES = ("one", "two")

dumps = st.lists(
    st.builds(
        lambda hours, stores, state, hold: {
            "id": (NOW - timedelta(hours=hours)).strftime("%Y%m%dT%H%M%SZ"),
            "stores": stores,
            "proof": {"state": state},
            "holds": hold,
        },
        st.one_of(st.integers(-5, 60), st.integers(-5, 24 * 365 * 9)),  # several a day, and years of them
        st.sampled_from([["one"], ["two"], ["one", "two"]]),
        st.sampled_from(["unproven", "restored", "validated", "failed"]),
        st.sampled_from([[], [], [], [{"reason": "litigation"}]]),
    ),
    max_size=40,
    unique_by=lambda d: d["id"],
)
policies = st.builds(
    lambda rungs, proven: {"rungs": rungs, "proven": proven},
    st.lists(
        st.builds(
            lambda every, days: {"every": every, "days": days},
            st.sampled_from(["day", "week", "month", "year"]),
            st.integers(1, 2600),
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 4),
)


def decided(found, policy, now=NOW):
    answer = retention.ladder(found, policy, now)
    return [e["id"] for e in answer["keep"]], [e["id"] for e in answer["expire"]]


@given(dumps, policies)
@settings(max_examples=300, deadline=None)
def test_every_dump_is_decided_once_and_those_that_go_come_oldest_first(found, policy):
    keep, expire = decided(found, policy)
    assert sorted(keep + expire) == sorted(d["id"] for d in found)
    assert expire == sorted(expire)
    answer = retention.ladder(found, policy, NOW)
    assert all(e["reason"] for e in answer["keep"] + answer["expire"])


@given(dumps, policies)
@settings(max_examples=300, deadline=None)
def test_what_is_held_proven_or_the_last_in_a_store_stays(found, policy):
    _keep, expire = decided(found, policy)
    gone = set(expire)
    assert not gone & {d["id"] for d in found if d["holds"]}
    proven = sorted((d["id"] for d in found if d["proof"]["state"] in ("restored", "validated")), reverse=True)
    assert not gone & set(proven[: policy["proven"]])
    for store in STORES:
        there = [d["id"] for d in found if store in d["stores"]]
        assert not there or max(there) not in gone
        usable = [d["id"] for d in found if store in d["stores"] and d["proof"]["state"] != "failed"]
        assert not usable or max(usable) not in gone


@given(dumps, policies)
@settings(max_examples=300, deadline=None)
def test_nothing_goes_in_its_first_day(found, policy):
    began = collection("plugins.module_utils.dumps").began
    assert all(NOW - began(dump) >= timedelta(days=1) for dump in decided(found, policy)[1])


@given(dumps, policies)
@settings(max_examples=300, deadline=None)
def test_every_period_of_a_rung_that_had_a_dump_still_has_one(found, policy):
    keep, _expire = decided(found, policy)
    began = collection("plugins.module_utils.dumps").began
    for rung in policy["rungs"]:
        period = retention.PERIODS[rung["every"]]
        usable = {d["id"] for d in found if d["proof"]["state"] != "failed"}
        within = {period(began(dump)) for dump in usable if NOW - began(dump) <= timedelta(days=rung["days"])}
        assert within <= {period(began(dump)) for dump in usable & set(keep)}


def test_a_dump_whose_proof_failed_stands_for_no_day():
    def dump(hour, state, day=3):
        return {"id": f"202611{day:02}T{hour:02}0000Z", "stores": ["one"], "proof": {"state": state}, "holds": []}

    good, disproven, newest = dump(2, "unproven"), dump(14, "failed"), dump(2, "unproven", 20)
    policy = {"rungs": [{"every": "day", "days": 30}], "proven": 1}
    assert decided([good, disproven, newest], policy) == ([newest["id"], good["id"]], [disproven["id"]])
    last = dump(14, "failed", 20)
    assert decided([good, last], policy) == ([last["id"], good["id"]], [])
    assert decided([disproven, dump(2, "failed")], policy)[1] == []  # while there is no other nothing goes


@given(dumps, policies, st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_expiring_twice_is_expiring_once_also_with_days_between(found, policy, days):
    later = NOW + timedelta(days=days)
    keep, _expire = decided(found, policy)
    left = [d for d in found if d["id"] in keep]
    assert decided(left, policy)[1] == []
    straight = set(decided(found, policy, later)[0])
    assert set(decided(left, policy, later)[0]) >= straight & set(keep)
    assert straight <= set(keep)  # nothing went early that a later day would have kept
