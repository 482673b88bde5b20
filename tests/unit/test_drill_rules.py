"""A drill is judged by its rules, from its record alone; one whose fault did not show proves nothing."""

import json

import pytest
from drillings import drill, ended
from pgrescue import close, record, report
from pgrescue.drill import draw, rules, scenario
from pgrescue.drill.record import Draw, Steady, Stopped
from run_fixture import CHECKS, ZERO, Synthetic, Timeline, Witness, complete_loss, failed_restore

NOT_STEADY = Steady(held=False, at=ZERO)


def ruled(must, nice=(), **more):
    """A drill of a complete loss with these rules."""
    raw = {**scenario.raw("complete_loss"), "must": list(must), "nice": list(nice)}
    return drill(**more).model_copy(update={"scenario": scenario.Scenario(name="complete_loss", **raw)})


def verdicts(found):
    return {one.rule: one.verdict for one in rules.judge(found.drill, found.seen)}


def test_a_drill_that_kept_its_rules_passes_and_says_how_many(tmp_path):
    found = ended(tmp_path)
    assert (found.run.result, found.run.exit_code) == ("passed", 0)
    assert (
        report.markdown(found)
        .lstrip()
        .startswith("> **DRILL complete_loss PASSED: 11 of 11 musts kept, 1 of 1 nice to have**")
    )
    assert "DRILL complete_loss PASSED" in report.html(found)


PLANTED = {
    "rto_within": (lambda: ruled([{"rto_within": 20}]), {}),
    "rpo_within": (lambda: ruled([{"rpo_within": 5}]), {}),
    "phase_within restore": (lambda: ruled([{"phase_within": {"restore": 5, "detect": 60}}]), {}),
    "detection_within": (lambda: ruled([{"detection_within": 1}]), {}),
    "nothing_lost": (lambda: ruled(["nothing_lost"]), {}),
    "nothing_lost_before_point": (lambda: ruled(["nothing_lost_before_point"]), {"holes": [3]}),
    "steady_after": (lambda: ruled(["steady_after"], steady_after=NOT_STEADY), {}),
    "validated": (
        lambda: ruled(["validated"]),
        {"checks": [{**CHECKS[0], "verdict": "failed"}, *map(dict, CHECKS[1:])]},
    ),
    "recovered": (lambda: ruled(["recovered"]), {"timeline": failed_restore()}),
}


@pytest.mark.parametrize("rule", PLANTED)
def test_each_rule_can_fail_and_fails_the_drill(rule, tmp_path):
    made, parts = PLANTED[rule]
    found = ended(tmp_path, made(), **parts)
    assert verdicts(found)[rule] == "missed"
    assert found.run.result == "failed"
    assert report.markdown(found).lstrip().startswith("> **DRILL complete_loss FAILED")


@pytest.mark.parametrize("rule", ["rto_within", "rpo_within", "detection_within", "first_correct_action_within"])
def test_what_was_not_measured_is_not_kept(rule, tmp_path):
    found = ended(tmp_path, ruled([{rule: 1e9}]), witness=None, timeline=Timeline())
    assert verdicts(found)[rule] == "not measured"
    assert found.run.result != "passed"


def without_commits(directory):
    held = json.loads((directory / "reconciliation.json").read_text())
    none = {"missing_before_recovery_point": [], "missing_after_recovery_point": []}
    (directory / "reconciliation.json").write_text(json.dumps({**held, "acknowledged": 0, **none}))


ABSENT = {  # a record that lacks what each rule is held against, although all the rest is well
    "recovered": (["recovered"], lambda d: (d / "checks.json").unlink()),
    "validated": (["validated"], lambda d: (d / "checks.json").write_text("[]")),
    "nothing_lost": (["nothing_lost"], lambda d: (d / "reconciliation.json").unlink()),
    "nothing_lost, of no commit": (["nothing_lost"], without_commits),
    "nothing_lost_before_point": (["nothing_lost_before_point"], lambda d: (d / "reconciliation.json").unlink()),
    "nothing_lost_before_point, of no commit": (["nothing_lost_before_point"], without_commits),
    "rto_within": ([{"rto_within": 1e9}], lambda d: (d / "witness.jsonl").unlink()),
    "rpo_within": ([{"rpo_within": 1e9}], lambda d: (d / "reconciliation.json").unlink()),
    "rto_within, cut off": ([{"rto_within": 1e9}], lambda d: cut(d / "witness.jsonl")),
    "phase_within": ([{"phase_within": {"protect": 1e9, "nowhere": 1e9}}], lambda d: None),
    "first_correct_action_within": ([{"first_correct_action_within": 1e9}], lambda d: None),
    "timeline": (["recovered"], lambda d: (d / "timeline.jsonl").unlink()),
    "drill.json": (["recovered"], lambda d: (d / "drill.json").write_text("{")),
}


def never_closed(directory):
    """A record that may be changed, for no seal says what it was."""
    for one in (*directory.glob("seal-*"), *directory.glob("manifest*")):
        one.unlink()


def cut(path):
    """As of a witness that ended in the middle of the outage."""
    lines = path.read_text().splitlines(keepends=True)
    last_well = max(place for place, line in enumerate(lines) if '"ok": true' in line and place < len(lines) // 2)
    down = next(place for place, line in enumerate(lines) if '"ok": false' in line)
    path.write_text("".join(lines[: max(down, last_well) + 20]))


@pytest.mark.parametrize("absent", ABSENT)
def test_a_drill_whose_record_lacks_what_a_rule_is_held_against_does_not_pass(absent, tmp_path):
    must, remove = ABSENT[absent]
    directory = Synthetic(lost=0, objectives={}).write(tmp_path)  # no promise that would tell as well
    (directory / "drill.json").write_text(json.dumps(ruled(must).dump()))
    assert absent.startswith(("phase", "first")) or close.finish(directory).result == "passed"
    run = json.loads((directory / "run.json").read_text())
    run.pop("result", None), run.pop("exit_code", None)
    (directory / "run.json").write_text(json.dumps(run))
    never_closed(directory)
    remove(directory)
    assert close.finish(directory).result != "passed"
    assert "PASSED" not in (directory / "report.md").read_text().splitlines()[0]


def test_a_steady_state_that_nobody_looked_for_afterwards_is_not_kept(tmp_path):
    found = ended(tmp_path, ruled(["steady_after"], steady_after=None))
    assert (verdicts(found), found.run.result) == ({"steady_after": "not measured"}, "failed")


def drawn(name="complete_loss", **changed):
    """A blind drill of a complete loss; `changed` is what was put into the draw after it was committed to."""
    made = draw.draw("shop", [name], 7200, ZERO, 7)
    said = Draw(drill="x", commitment=draw.commitment(made), committed=ZERO)
    return drill(blind=said.model_copy(update={"opened": made.model_copy(update=changed) if changed else made}))


def test_a_blind_drill_of_what_was_committed_to_passes_and_says_when_it_could_be_known(tmp_path):
    found = ended(tmp_path, drawn())
    assert found.run.result == "passed"
    assert "Seed: 7: whoever knew it" in report.markdown(found)


@pytest.mark.parametrize(
    "made",
    [
        lambda: drawn(at=ZERO),
        lambda: drawn("failover"),
        lambda: drawn("failover", scenario="complete_loss"),
        lambda: (one := drawn()).model_copy(update={"blind": one.blind.model_copy(update={"opened": None})}),
    ],
    ids=["another instant", "another scenario", "another scenario, said to be this one", "never opened"],
)
def test_a_blind_drill_of_what_was_not_committed_to_proves_nothing(made, tmp_path):
    found = ended(tmp_path, made())
    assert (found.run.result, found.run.exit_code) == ("void", 9)
    assert "not what was committed to" in found.outcome.reason


def test_a_failure_that_only_the_recovery_made_is_no_effect_of_the_fault(tmp_path):
    """The witness was well until the recovery stopped the clients itself."""
    first = min(one.start for one in ended(tmp_path / "well").story.phases)
    later = (first - ZERO).total_seconds() + 1
    found = ended(tmp_path / "late", witness=Witness().outage(down=later))
    assert found.measurement.last_success_before > first
    assert (found.run.result, found.run.exit_code) == ("void", 9)
    assert "the failure is the recovery's own" in found.outcome.reason


def test_a_drill_that_was_to_fail_by_its_rules_and_did_not_even_recover_failed_otherwise(tmp_path):
    from pgrescue.evidence import findings
    from pgrescue.evidence.settings import Settings

    found = ended(tmp_path, drill("impossible_promise"), timeline=failed_restore())
    assert "ON PURPOSE" not in report.markdown(found)
    shown = [line for one in findings.of(found, Settings()) for line in (one.title, *(one.evidence or ()))]
    assert any(line.startswith("Rule not kept: recovered") for line in shown)


def test_the_service_that_promises_nothing_cannot_keep_it(tmp_path):
    found = ended(tmp_path, ruled([{"rto_within": "promised"}, {"phase_within": "promised"}]), objectives={})
    assert set(verdicts(found).values()) == {"not measured"}


def test_a_nice_rule_that_is_missed_fails_nothing(tmp_path):
    found = ended(tmp_path, ruled(["recovered"], [{"rto_within": 1}]))
    assert found.run.result == "passed"
    assert "1 of 1 musts kept, 0 of 1 nice to have" in report.markdown(found)


def test_a_drill_whose_fault_nobody_saw_is_void(tmp_path):
    found = ended(tmp_path, witness=Witness().outage(up=0), lost=0)
    assert (found.run.result, found.run.exit_code) == ("void", 9)
    assert "The witness saw no failure. The drill proves nothing." in report.markdown(found)


def test_a_drill_that_no_witness_saw_is_void(tmp_path):
    found = ended(tmp_path, ruled(["recovered"]), witness=None)
    assert (found.run.result, "nobody saw the failure" in found.outcome.reason) == ("void", True)


def test_a_drill_whose_injector_saw_no_effect_is_void_however_the_run_went(tmp_path):
    found = ended(tmp_path, drill(fault_failed="db1 accepts connections."))
    assert found.run.result == "void"
    assert "The fault did not take effect: db1 accepts connections." in report.markdown(found)


def test_a_drill_that_was_stopped_is_void_and_says_by_whom(tmp_path):
    found = ended(tmp_path, drill(stopped=Stopped(by="ada", at=ZERO, reason="the other shop is down")))
    assert (found.run.result, "stopped by ada: the other shop is down" in found.outcome.reason) == ("void", True)


@pytest.mark.parametrize("kept_out", [True, False])
def test_a_drill_in_which_nothing_was_broken_and_nobody_stopped_has_not_failed(tmp_path, kept_out):
    """It was stopped before it changed anything, or another run held the service."""
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "decide")
    if kept_out:
        timeline.event(2, "note", "decide", "refused", detail='{"held_by": "another"}')
    timeline.event(3, "end", "decide", status="failed")
    timeline.event(3, "end", status="failed", exit_code=4 if kept_out else 9)
    stopped = None if kept_out else Stopped(by="ada", at=ZERO, reason="typed the wrong one")
    found = ended(tmp_path, drill("switchover", stopped=stopped), timeline=timeline, checks=None, witness=None)
    assert (found.run.result, found.run.exit_code) == ("void", 9)
    assert ("another run held the service" if kept_out else "stopped by ada") in found.outcome.reason


def test_a_run_that_stopped_half_way_keeps_its_own_code_when_the_drill_is_stopped(tmp_path):
    stopped = Stopped(by="ada", at=ZERO, reason="enough")
    found = ended(tmp_path, drill(stopped=stopped), timeline=failed_restore())
    assert (found.run.result, found.run.exit_code) == ("failed", 5), "it can still be gone on with"


def test_a_drill_that_goes_on_is_not_judged_by_what_is_still_to_come(tmp_path):
    found = ended(tmp_path, drill(state="open", steady_after=None))
    assert (found.run.result, found.run.exit_code) == ("passed", 0)
    assert report.markdown(found).lstrip().startswith("> **DRILL complete_loss NOT JUDGED: it has not ended**")


def test_a_drill_that_fails_on_purpose_says_so_first(tmp_path):
    found = ended(tmp_path, drill("impossible_promise"))
    first = report.markdown(found).lstrip().splitlines()[0]
    assert found.run.exit_code == 7
    assert first.startswith("> **DRILL impossible_promise FAILED, ON PURPOSE (no server hands over within a hundredth")
    assert "rto_within under 0.01 s: 27.5 s" in first or "rto_within 0.01 s: " in first


def test_a_drill_that_was_to_fail_and_passed_says_that_its_rules_do_not_tell(tmp_path):
    impossible = drill("impossible_promise")
    lax = impossible.scenario.model_copy(update={"must": impossible.scenario.must[:1]})
    found = ended(tmp_path, impossible.model_copy(update={"scenario": lax}))
    assert "IT WAS TO FAIL" in report.markdown(found).lstrip().splitlines()[0]


def test_a_record_is_judged_the_same_again(tmp_path):
    for parts in ({}, {"witness": Witness().outage(up=0), "lost": 0}, {"timeline": failed_restore()}):
        root = tmp_path / str(len(parts)) / next(iter(parts), "none")
        first = ended(root, **parts)
        assert close.finish(first.directory) == first.run


def test_a_run_without_a_drill_is_judged_as_ever(tmp_path):
    directory = Synthetic().write(tmp_path)
    assert close.finish(directory).result == "passed"
    assert report.markdown(record.load(directory)).startswith("# RECOVERED AND VALIDATED")


def test_a_drill_that_failed_half_way_and_was_gone_on_with_is_not_failed_by_what_was_never_looked_for(tmp_path):
    found = ended(tmp_path, drill(steady_after=None), timeline=failed_restore())
    assert (found.run.result, found.run.exit_code) == ("failed", 5)
    record.reopen(found.directory)
    never_closed(found.directory)
    (found.directory / "timeline.jsonl").write_bytes(complete_loss().bytes)
    assert close.finish(found.directory).exit_code == 0
    assert record.load(found.directory).drill.state == "open"


def test_a_drill_that_fails_by_its_rules_alone_says_so_once_and_blames_no_measurement(tmp_path):
    found = ended(tmp_path, ruled(["recovered", {"rto_within": 0.01}]))
    text = report.markdown(found)
    assert "# RECOVERED, A RULE OF THE DRILL NOT KEPT" in text
    assert text.partition("## The drill")[0].count("Not kept by the drill") == 1
    assert "nice" not in text.partition("# RECOVERED")[0]


def test_only_the_report_of_a_blind_drill_says_that_it_was_detected(tmp_path):
    """Of another one the runbook declares what its own drill broke."""
    drawn = Draw(drill="x", commitment="0" * 64, committed=ZERO)
    known, blind = ended(tmp_path / "known"), ended(tmp_path / "blind", drill(blind=drawn))
    for words in (report.markdown, report.html):
        assert "Declared after" in words(known).partition("How it was measured")[0]
        assert "Declared after" not in words(blind).partition("How it was measured")[0]
