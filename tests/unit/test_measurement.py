import json
from datetime import timedelta
from hashlib import sha256

import pytest
from pgrescue.journal import parse
from pgrescue.measurement import measure
from pgrescue.models import Objectives, Reconciliation
from pgrescue.story import fold
from pgrescue.witness_journal import parse as parse_witness
from run_fixture import Synthetic, Timeline, Witness, complete_loss, nanoseconds, wall


def measured(run: Synthetic):
    return measure(
        fold(parse(run.timeline.bytes).events),
        Objectives.model_validate(run.objectives),
        parse_witness(run.witness.bytes.splitlines()) if run.witness else None,
        Reconciliation.model_validate(run.reconciliation) if run.witness and run.reconciled else None,
    )


def test_recovery_time_spans_all_probes():
    figures = measured(Synthetic())
    # videos last succeeded at -0.97, and was the last to succeed twice, from 27.03 on
    assert figures.rta_s == pytest.approx(28.02, abs=0.001)
    assert figures.clock.source == "witness monotonic"
    assert figures.verdicts.rto == "met"


def test_the_verdict_flips_at_the_objective():
    run = Synthetic()
    run.objectives["rto_s"] = 28
    assert measured(run).verdicts.rto == "missed"
    run.objectives["rto_s"] = 29
    assert measured(run).verdicts.rto == "met"


def test_one_lone_success_is_no_recovery():
    witness = Witness().outage(up=999, end=30)
    for probe in ("commit", "health", "products", "videos"):
        witness.probe(probe, 31, True)
    figures = measured(Synthetic(witness=witness))
    assert figures.rta_s is None
    assert figures.first_success_after is None
    assert figures.last_success_before is not None


def test_one_probe_that_stays_down_keeps_the_clock_running():
    witness = Witness().outage()
    witness.entries = [
        entry | {"ok": False} if entry.get("probe") == "products" and entry["start_ns"] > nanoseconds(20) else entry
        for entry in witness.entries
    ]
    assert measured(Synthetic(witness=witness)).rta_s is None


def test_a_service_that_answers_twice_while_falling_over_has_not_recovered():
    witness = Witness().outage(down=0, up=3, end=8)
    for half in range(16, 120):
        for probe in ("commit", "health", "products", "videos"):
            witness.probe(probe, half / 2, half >= 50)
    assert measured(Synthetic(witness=witness)).rta_s == pytest.approx(25.99, abs=0.05)


def test_trouble_after_the_run_is_another_outage():
    witness = Witness().outage(end=60)
    for probe in ("commit", "health", "products", "videos"):
        for second in range(60, 70):
            witness.probe(probe, second, False)
    assert measured(Synthetic(witness=witness)).rta_s == pytest.approx(28.02, abs=0.001)


def test_a_failure_before_the_fault_does_not_count():
    witness = Witness().outage(begin=-20, down=-15, up=-12)
    for probe in ("commit", "health", "products", "videos"):
        witness.entries = [
            e for e in witness.entries if not (e.get("probe") == probe and e.get("start_ns", 0) >= nanoseconds(0))
        ]
    for half in range(120):
        for probe in ("commit", "health", "products", "videos"):
            witness.probe(probe, half / 2, not 5 <= half / 2 < 10)
    figures = measured(Synthetic(witness=witness, reconciled=False))
    assert figures.rta_s == pytest.approx(5.5, abs=0.05)


def test_a_commit_that_hangs_counts_as_no_service():
    witness = Witness().outage(up=0, end=0)
    for probe in ("commit", "health", "products", "videos"):
        witness.probe(probe, 0.1, True, took=12)
        for second in range(13, 40):
            witness.probe(probe, second, True)
    assert measured(Synthetic(witness=witness, reconciled=False)).rta_s == pytest.approx(13.05, abs=0.6)


def test_a_service_that_never_failed_has_no_recovery_time():
    figures = measured(Synthetic(witness=Witness().outage(up=0), lost=0))
    assert figures.rta_s is None
    assert figures.last_success_before is None
    assert figures.verdicts.rto is None


def test_still_down_past_the_objective_is_a_miss_even_unfinished():
    run = Synthetic(witness=Witness().outage(up=999))
    run.objectives["rto_s"] = 30
    figures = measured(run)
    assert figures.rta_s is None
    assert figures.verdicts.rto == "missed"


def test_a_repair_that_kept_the_traffic_took_no_time_where_the_witness_saw_no_outage():
    timeline = complete_loss()
    timeline.milestone(59, "traffic_kept", "resume")
    calm = Witness().outage(down=999, up=999)
    assert measured(Synthetic(timeline=timeline, witness=calm)).rta_s == 0.0
    assert measured(Synthetic(timeline=complete_loss(), witness=calm)).rta_s is None
    assert measured(Synthetic(timeline=timeline, witness=None)).rta_s is None
    assert measured(Synthetic(timeline=timeline)).rta_s == pytest.approx(28.02, abs=0.001)


def test_rows_that_were_lost_were_away_from_the_fault_until_they_were_back():
    timeline = complete_loss()
    timeline.milestone(59, "rows_back", "validate")
    calm = Witness().outage(down=999, up=999)
    assert measured(Synthetic(timeline=timeline, witness=calm)).rta_s == pytest.approx(57, abs=3)


def copied(timeline: Timeline, *, before_fault_s: float, rpo_s: float | None = None):
    story = fold(parse(timeline.bytes).events)
    return measure(story, Objectives(rpo_s=rpo_s), copied=story.fault - timedelta(seconds=before_fault_s))


def test_what_was_written_between_the_copy_and_the_fault_is_what_rows_brought_back_have_lost():
    timeline = complete_loss()
    timeline.milestone(59, "rows_back", "validate")
    late = copied(timeline, before_fault_s=42, rpo_s=40)
    assert (late.rpa_s, late.verdicts.rpo) == (42.0, "missed")
    assert (fold(parse(timeline.bytes).events).fault - late.recovery_point).total_seconds() == 42
    assert copied(timeline, before_fault_s=-1).rpa_s == 0.0
    assert measure(fold(parse(timeline.bytes).events), Objectives()).rpa_s is None  # the target names no instant


def test_the_instant_of_a_target_says_nothing_of_the_loss_of_a_recovery_as_a_whole():
    assert copied(complete_loss(), before_fault_s=42).rpa_s is None


def test_without_a_witness_nothing_is_guessed():
    figures = measured(Synthetic(witness=None))
    assert "rta_s" not in figures.dump()
    assert "clock" not in figures.dump()
    assert figures.phases["restore"] == pytest.approx(11.5)


def test_an_incident_finds_its_outage_without_a_fault():
    timeline = complete_loss()
    kept = Timeline()
    for raw in timeline.lines:
        entry = json.loads(raw)
        if entry["event"] != "fault":
            entry["prev"] = (kept.lines and __import__("hashlib").sha256(kept.lines[-1]).hexdigest()) or "0" * 64
            kept.lines.append(json.dumps(entry).encode())
    witness = Witness()
    witness.outage(begin=-20, down=-14, up=-12, end=0)
    for half in range(120):
        for probe in ("commit", "health", "products", "videos"):
            witness.probe(probe, half / 2, half / 2 >= 27)
    figures = measured(Synthetic(timeline=kept, witness=witness, reconciled=False))
    assert figures.rta_s == pytest.approx(27.99, abs=0.05)


def test_lost_commits_and_how_far_back_they_reach():
    figures = measured(Synthetic(lost=14))
    assert (figures.lost_acknowledged, figures.lost_acknowledged_before_recovery_point) == (14, 0)
    assert figures.rpa_s == pytest.approx(7.0)
    assert figures.acknowledged == 40


def test_nothing_lost_is_zero_only_when_measured():
    assert measured(Synthetic(lost=0)).rpa_s == 0.0
    assert measured(Synthetic(reconciled=False)).rpa_s is None
    nothing = Reconciliation(acknowledged=0)
    run = Synthetic()
    log = parse_witness(run.witness.bytes.splitlines())
    assert measure(fold(()), Objectives(), log, nothing).rpa_s is None


def test_a_hole_before_the_recovery_point_is_never_zero_seconds():
    figures = measured(Synthetic(lost=0, holes=[30]))
    assert figures.lost_acknowledged_before_recovery_point == 1
    assert figures.rpa_s == pytest.approx(5.5)


def test_a_loss_that_reaches_beyond_the_log_is_not_measured():
    figures = measured(Synthetic(lost=40))
    assert figures.lost_acknowledged == 40
    assert figures.rpa_s is None


def test_a_rebooted_witness_is_timed_by_the_wall_clock_and_says_so():
    witness = Witness().outage()
    rebooted = {
        "event": "start",
        "wall": wall(10),
        "mono_ns": 1,
        "boot_id": "another",
        "client": "c1",
        "version": "1",
    }
    place = next(i for i, e in enumerate(witness.entries) if e.get("start_ns", 0) > nanoseconds(10))
    for entry in witness.entries[place:]:
        for key in ("start_ns", "end_ns", "mono_ns"):
            if key in entry:
                entry[key] -= nanoseconds(9)
    witness.entries.insert(place, rebooted)
    figures = measured(Synthetic(witness=witness))
    assert figures.rta_s == pytest.approx(28.02, abs=0.001)
    assert "wall" in figures.clock.source


def test_unreadable_witness_lines_are_counted():
    log = parse_witness([*Witness().outage().bytes.splitlines(), b'{"event":"result","pro'])
    assert log.unreadable == 1


def test_detection_runs_from_the_fault_to_the_declaration():
    assert measured(Synthetic()).detection_s == pytest.approx(4.21)


def unannounced(offset: float, uncertainty: float) -> Synthetic:
    """An incident: nobody wrote the fault down, and the witness's clock is ahead by `offset`."""
    run = Synthetic()
    clock = b'"offset_s\\": 0.0004, \\"uncertainty_s\\": 0.002'
    lines = [line for line in run.timeline.lines if b'"fault"' not in line]
    run.timeline.lines = []
    for line in lines:
        assert clock in lines[1]
        told = f'"offset_s\\": {offset}, \\"uncertainty_s\\": {uncertainty}'.encode()
        entry = json.loads(line.replace(clock, told))
        entry["prev"] = sha256(run.timeline.lines[-1]).hexdigest() if run.timeline.lines else "0" * 64
        run.timeline.lines.append(json.dumps(entry).encode())
    return run


def test_an_offset_beyond_its_uncertainty_moves_what_the_witness_saw():
    assert measured(unannounced(0, 0.1)).detection_s == pytest.approx(5.17)  # last success at -0.97
    assert measured(unannounced(1.5, 0.1)).detection_s == pytest.approx(5.17 + 1.5)


def test_an_offset_within_its_uncertainty_is_none():
    assert measured(unannounced(0.18, 0.21)).detection_s == measured(unannounced(0, 0.21)).detection_s
