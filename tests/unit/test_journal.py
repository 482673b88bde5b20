import json
from types import SimpleNamespace

import pytest
from modules import collection
from pgrescue.journal import parse, read
from pgrescue.story import fold
from run_fixture import Timeline, complete_loss, wall


def story(timeline):
    return fold(parse(timeline.bytes).events)


def test_whole_chain_holds():
    journal = parse(complete_loss().bytes)
    assert journal.broken is None
    assert journal.torn == ()


def test_a_flipped_byte_breaks_the_chain_at_the_next_line():
    content = complete_loss().bytes.replace(b"Rank the ways back", b"Rank the ways bacj", 1)
    broken = parse(content).broken
    at = content[: content.index(b"bacj")].count(b"\n") + 1
    assert broken is not None
    assert broken.line == at + 1
    assert f"line {at}" in str(broken)


@pytest.mark.parametrize("removed", [0, 1, 7])
def test_a_removed_line_breaks_the_chain(removed):
    lines = complete_loss().lines
    broken = parse(b"\n".join(lines[:removed] + lines[removed + 1 :]) + b"\n").broken
    assert broken is not None
    assert broken.line == removed + 1


def test_an_inserted_line_breaks_the_chain():
    lines = complete_loss().lines
    assert parse(b"\n".join([*lines[:5], lines[4], *lines[5:]])).broken is not None


def test_a_line_that_is_no_event_is_named():
    lines = complete_loss().lines
    lines[6] = b'{"seq": 6, "ev'
    broken = parse(b"\n".join(lines)).broken
    assert broken is not None
    assert broken.line == 7


def test_a_torn_last_line_is_reported_and_tolerated():
    content = complete_loss().bytes
    journal = parse(content[:-40])
    assert journal.broken is None
    assert journal.torn == (len(complete_loss().lines),)
    assert len(journal.events) == len(complete_loss().lines) - 1


def test_a_torn_line_that_was_sealed_and_continued_is_torn_not_broken():
    timeline = complete_loss()
    timeline.lines[-1] = timeline.lines[-1][:-40]
    timeline.start(60, boot="other")
    journal = parse(timeline.bytes)
    assert journal.broken is None
    assert journal.torn == (len(timeline.lines) - 1,)


def test_no_file_is_an_empty_journal(tmp_path):
    assert read(tmp_path / "timeline.jsonl").lines == ()
    assert fold(()).started is None


def test_phases_steps_and_milestones():
    told = story(complete_loss())
    assert [phase.name for phase in told.phases] == [
        "detect",
        "decide",
        "prepare",
        "restore",
        "validate",
        "resume",
    ]
    assert told.phase("restore").active_s == pytest.approx(11.5)
    replay = next(step for step in told.steps if step.name.startswith("Replay"))
    assert replay.seconds == pytest.approx(4.1)
    assert [(host.host, host.status) for host in replay.hosts] == [("x1", "changed")]
    assert set(told.milestones) >= {"declared", "writable", "endpoint_switched"}
    assert told.human_wait_s == pytest.approx(2.6)
    assert told.facts["clock"]["uncertainty_s"] == 0.002
    assert told.ended
    assert told.current_phase is None


def test_the_name_that_is_moved_first_is_the_databases():
    timeline = Timeline()
    timeline.start(0)
    timeline.milestone(3, "endpoint_switched", "resume")
    timeline.milestone(5, "endpoint_switched", "resume")  # the application's
    assert (story(timeline).milestones["endpoint_switched"] - story(timeline).started).total_seconds() == 3


def test_a_step_has_a_duration_per_host():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(0, "start", "restore")
    timeline.event(1, "start", "restore", "Fetch")
    timeline.event(3, "end", "restore", "Fetch", host="x1", status="ok")
    timeline.event(6, "end", "restore", "Fetch", host="x2", status="failed", detail="disk full")
    told = story(timeline)
    assert [(h.host, h.seconds) for h in told.steps[0].hosts] == [("x1", 2.0), ("x2", 5.0)]
    assert told.steps[0].status == "failed"
    assert told.failures[0].detail == "disk full"


def test_a_repeated_step_name_is_timed_by_its_own_start():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(0, "start", "detect")
    timeline.step("detect", "Look", 1, 2)
    timeline.step("detect", "Look", 5, 8)
    assert [step.seconds for step in story(timeline).steps] == [1.0, 3.0]


def test_a_task_that_hosts_begin_by_themselves_is_one_step():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "restore")
    timeline.event(1, "start", "restore", "Prove it")
    timeline.event(2, "start", "restore", "Prove it")  # the other host comes later to it
    timeline.event(3, "end", "restore", "Prove it", host="app1", status="ok")
    timeline.event(4, "end", "restore", "Prove it", host="app2", status="ok")
    (step,) = story(timeline).steps
    assert (step.status, len(step.hosts)) == ("ok", 2)


def test_the_monotonic_clock_counts_within_a_boot():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(0, "start", "restore")
    timeline.skew = 100  # the wall clock was set back by 100 s
    timeline.event(10, "end", "restore", status="ok")
    phase = story(timeline).phase("restore")
    assert phase.active_s == pytest.approx(110)
    assert not phase.by_wall


def test_a_crashed_phase_sums_its_work_and_flags_the_other_boot():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "restore")
    timeline.event(5, "start", "restore", "Fetch")
    timeline.skew = -4000
    timeline.start(65, boot="after the reboot")
    timeline.event(66, "start", "restore")
    timeline.event(72, "end", "restore", status="ok")
    told = story(timeline)
    phase = told.phase("restore")
    assert phase.active_s == pytest.approx(4 + 6)
    assert phase.wall_s == pytest.approx(71)
    assert phase.status == "ok"
    assert told.resumed == 1


def test_a_wait_across_machines_uses_the_wall_clock():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "decision", "decide", "gate", status="waiting")
    timeline.skew = 7e5
    timeline.event(11, "approval", "decide", "gate", status="approved", boot_id="another machine")
    told = story(timeline)
    assert told.human_wait_s == pytest.approx(10)
    assert told.waits[0].duration.by_wall


def test_a_running_journal_knows_where_it_stands():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "decide")
    timeline.event(2, "start", "decide", "Ask")
    timeline.event(3, "decision", "decide", "gate", status="waiting")
    told = story(timeline)
    assert (told.current_phase, told.current_step.name, told.waiting) == ("decide", "Ask", True)
    assert told.phase("decide").status == "running"


def test_a_clock_that_told_its_time_within_a_step_gives_an_offset_with_its_uncertainty():
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "decide", "Hold the service")
    timeline.event(1.4, "note", "decide", "clock", detail=json.dumps({"wall": wall(6.2)}))
    told = fold(parse(timeline.bytes).events)
    assert told.facts["clock"] == {"offset_s": pytest.approx(5.0), "uncertainty_s": pytest.approx(0.2)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["-e", "service=shop key=geheim", "-i", "prod"], ["-e", "service,key", "-i", "prod"]),
        (["-ekey=geheim"], ["-ekey"]),
        (["-e=key=geheim"], ["-e=key"]),
        (["-Cve", "key='geheim too'"], ["-Cve", "key"]),
        (["--extra-vars", '{"key": {"in": "geheim"}, "more": 1}'], ["--extra-vars", "key,more"]),
        (["--extra-vars={key: geheim}"], ["--extra-vars=key"]),
        (["--extra", "key=geheim"], ["--extra", "key"]),
        (["-e", "[geheim]"], ["-e", "..."]),
        (["-e", "{geheim", "-e", "key='geheim"], ["-e", "...", "-e", "..."]),
        (["-e", "@secrets.yml", "--check", "--limit=db1"], ["-e", "@secrets.yml", "--check", "--limit=db1"]),
    ],
)
def test_a_record_names_the_variables_of_a_command_and_not_their_values(given, told):
    assert collection("plugins.callback.journal").without_values(["ansible-playbook", *given]) == [
        "ansible-playbook",
        *told,
    ]


@pytest.mark.parametrize(("delegated", "told"), [("db1", "db1"), ("localhost", "db2"), (None, "db2")])
def test_a_step_is_told_of_the_host_on_which_it_was_done(delegated, told):
    """Whoever reads that db2's server was stopped, where db1's was, mends the wrong one."""
    answer = {"_ansible_delegated_vars": {"ansible_delegated_host": delegated}} if delegated else {}
    host = SimpleNamespace(get_name=lambda: "db2")
    assert collection("plugins.callback.journal").done_on(SimpleNamespace(host=host, result=answer)) == told
