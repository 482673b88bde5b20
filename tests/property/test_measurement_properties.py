from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from pgrescue.journal import parse
from pgrescue.measurement import measure
from pgrescue.models import Objectives, Reconciliation
from pgrescue.outage import troubles
from pgrescue.story import fold
from pgrescue.witness_journal import Result
from pgrescue.witness_journal import parse as parse_witness
from run_fixture import ZERO, Synthetic, Witness, complete_loss

STORY = fold(parse(complete_loss().bytes).events)
DOWN = st.floats(0.1, 20)
LENGTH = st.floats(0.6, 25)
PROBES = st.sampled_from(["commit", "health", "products", "videos"])


def log(witness):
    return parse_witness(witness.bytes.splitlines())


def rta(witness):
    return measure(STORY, Objectives(), log(witness)).rta_s


@settings(deadline=None, max_examples=30)
@given(DOWN, LENGTH)
def test_recovery_time_covers_the_truth_and_one_rhythm_more(down, length):
    measured = rta(Witness().outage(down=down, up=down + length))
    if measured is not None:  # shorter than the slowest probe's rhythm, it may have passed unseen
        assert length - 1.1 <= measured <= length + 2.1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(PROBES, st.floats(-20, 60), st.booleans(), st.floats(0, 30)), max_size=60))
def test_recovery_time_is_never_negative(outcomes):
    witness = Witness()
    for probe, at, ok, took in outcomes:
        witness.probe(probe, at, ok, took)
    measured = measure(STORY, Objectives(rto_s=10), log(witness))
    if measured.rta_s is not None:
        assert measured.rta_s >= 0
        assert measured.first_success_after >= measured.last_success_before


@settings(deadline=None, max_examples=30)
@given(DOWN, LENGTH, st.integers(0, 40))
def test_successes_after_recovery_change_nothing(down, length, more):
    witness = Witness().outage(down=down, up=down + length)
    before = rta(witness)
    for second in range(more):
        for probe in ("commit", "health", "products", "videos"):
            witness.probe(probe, 60 + second / 2, True)
    assert rta(witness) == before


@settings(deadline=None, max_examples=30)
@given(DOWN, LENGTH, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(down, length, random):
    witness = Witness().outage(down=down, up=down + length)
    before = rta(witness)
    shuffled = witness.entries[1:]
    random.shuffle(shuffled)
    witness.entries[1:] = shuffled
    assert rta(witness) == before


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 39), st.data())
def test_each_deleted_row_is_one_lost_commit_more(lost, data):
    run = Synthetic(lost=lost)
    held = Reconciliation.model_validate(run.reconciliation)
    first = measure(STORY, Objectives(), log(run.witness), held)
    row = data.draw(st.integers(1, run.newest_old - lost))
    worse = replace(run, holes=[row])
    second = measure(STORY, Objectives(), log(run.witness), Reconciliation.model_validate(worse.reconciliation))
    assert second.lost_acknowledged == first.lost_acknowledged + 1
    assert second.lost_acknowledged_before_recovery_point == 1
    assert second.rpa_s is None or second.rpa_s > first.rpa_s


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40))
def test_the_loss_is_zero_seconds_only_when_nothing_was_lost(lost):
    run = Synthetic(lost=lost)
    measured = measure(STORY, Objectives(), log(run.witness), Reconciliation.model_validate(run.reconciliation))
    assert (measured.rpa_s == 0) == (lost == 0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 0.9)), max_size=50))
def test_troubles_of_a_probe_follow_each_other(outcomes):
    results, at = [], 0.0
    for ok, took in outcomes:
        results.append(Result("health", ok, at, at + took, ZERO))
        at += took
    found = troubles(results, log_end=at)
    for earlier, later in pairwise(found):
        assert earlier.recovered is not None
        assert earlier.recovered <= later.began
    assert bool(found) == any(not result.ok for result in results)
