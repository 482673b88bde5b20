import io
from datetime import timedelta

import pytest
from pgrescue.display import Tail, follow
from pgrescue.models import Objectives, Plan, Run
from pgrescue.screen import Screen, arrival, recovery_point, render
from pgrescue.story import fold
from rich.console import Console
from run_fixture import ZERO, Synthetic, Timeline, complete_loss, failed_restore


def plain(directory, console=None):
    out = io.StringIO()
    follow(directory, lambda: True, Objectives(), console or Console(file=out, width=80, force_terminal=False))
    return out.getvalue()


def screen(timeline, at, tmp_path, until=None, predicted=None, *, planned=True):
    path = tmp_path / "timeline.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in timeline.lines[:until]))
    tail = Tail(path)
    tail.read()
    run = Synthetic()
    return Screen(
        run.run["id"],
        Run.model_validate(run.run),
        Plan.model_validate(run.plan) if planned else None,
        Objectives.model_validate(run.objectives),
        predicted,
        fold(tail.events),
        tuple(tail.events),
        ZERO + timedelta(seconds=at),
    )


def test_without_a_terminal_every_event_is_one_line(tmp_path):
    directory = Synthetic().write(tmp_path)
    lines = plain(directory).splitlines()
    assert len(lines) == len(complete_loss().lines)
    assert "01:21:10Z  restore  Replay the archive to its end  x1 changed (4.1 s)" in lines
    assert "01:20:58Z  prepare  traffic stopped  milestone" in lines


def test_a_failure_is_told_with_its_reason(tmp_path):
    text = plain(Synthetic(timeline=failed_restore()).write(tmp_path))
    assert "x1 failed (4.5 s)  Segment 00000001000000000000002A is not in repository" in text


def test_a_run_that_does_not_exist_yet_is_waited_for(tmp_path):
    assert plain(tmp_path / "not yet") == ""
    answers = iter([False, True])
    out = io.StringIO()

    def done():
        answer = next(answers)
        if answer:
            Synthetic().write(tmp_path)
        return answer

    console = Console(file=out, width=80, force_terminal=False)
    follow(tmp_path / Synthetic().run["id"], done, None, console, poll_s=0)
    assert out.getvalue().count("\n") == len(complete_loss().lines)


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path, timeline = tmp_path / "timeline.jsonl", Timeline()
    timeline.start(0)
    path.write_bytes(timeline.bytes[:50])
    tail = Tail(path)
    assert tail.read() == []
    path.write_bytes(timeline.bytes)
    assert len(tail.read()) == 1
    assert tail.read() == []


def test_an_unreadable_line_is_passed_over(tmp_path):
    (tmp_path / "timeline.jsonl").write_bytes(b"torn\n" + complete_loss().bytes)
    assert len(plain(tmp_path).splitlines()) == len(complete_loss().lines)


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("until", [0, 1, 5, 15, 30, None])
def test_the_screen_keeps_to_its_columns(tmp_path, until, ascii_only):
    drawn = render(screen(complete_loss(), 12, tmp_path, until), 80, ascii_only=ascii_only).plain
    assert max(len(line) for line in drawn.splitlines()) <= 80
    assert len(drawn.splitlines()) <= 22
    if ascii_only:
        assert drawn.isascii()


def test_no_color_means_no_escape_codes(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    plain(Synthetic().write(tmp_path), Console(file=out, width=80, height=24, force_terminal=True))
    assert "RECOVER" not in out.getvalue()
    assert "run ended: ok" in out.getvalue()
    assert not any(f"\x1b[{code}m" in out.getvalue() for code in (31, 32, 33, 36))


def test_the_screen_shows_the_step_that_runs(tmp_path):
    timeline = complete_loss()
    until = next(i for i, line in enumerate(timeline.lines) if b"Replay" in line) + 1
    drawn = render(screen(timeline, 18.8, tmp_path, until)).plain
    assert ">> restore" in drawn
    assert ">> Replay the archive to its end  0:02" in drawn
    assert "0:18 since the fault   objective 1:00:00" in drawn


def test_a_wait_names_the_command_that_ends_it(tmp_path):
    timeline = complete_loss()
    until = next(i for i, line in enumerate(timeline.lines) if b"waiting" in line) + 1
    drawn = render(screen(timeline, 7.4, tmp_path, until)).plain
    assert "waiting for a person, 0:02" in drawn
    assert "pgrescue approve 20261124T012044Z-shop-complete_loss" in drawn


def test_over_budget_and_missed_are_words(tmp_path):
    timeline = complete_loss()
    until = next(i for i, line in enumerate(timeline.lines) if b"Replay" in line) + 1
    drawn = render(screen(timeline, 4000, tmp_path, until)).plain
    assert "over budget" in drawn
    assert "MISSED" in drawn


def test_a_phase_that_a_run_never_had_is_still_to_come_until_it_ended_well(tmp_path):
    for status, sign in (("ok", "--"), ("failed", "..")):
        timeline = Timeline()
        timeline.lines = []
        timeline.start(0)
        timeline.phase("detect", 1, 2, [])
        timeline.event(3, "end", status=status)
        drawn = render(screen(timeline, 4, tmp_path), 80).plain.splitlines()
        assert next(line for line in drawn if " prepare" in line).startswith(f" {sign} prepare")


def test_arrival_needs_a_prediction_for_every_phase_left(tmp_path):
    timeline = complete_loss()
    until = next(i for i, line in enumerate(timeline.lines) if b"Replay" in line) + 1
    whole = {"restore": 12, "validate": 3, "resume": 5}
    assert arrival(screen(timeline, 18.8, tmp_path, until, whole)) == pytest.approx(18.81 + 2.7 + 8)
    assert arrival(screen(timeline, 18.8, tmp_path, until, {"restore": 12})) is None
    assert arrival(screen(timeline, 18.8, tmp_path, until)) is None
    assert arrival(screen(timeline, 100, tmp_path, until, whole)) == pytest.approx(108.01)


def test_the_recovery_point_comes_from_the_plan(tmp_path):
    assert recovery_point(screen(complete_loss(), 5, tmp_path)) == (
        "recoverable to 01:20:42Z, 7.4 s before the fault (estimate)"
    )
    assert recovery_point(screen(complete_loss(), 5, tmp_path, planned=False)) is None
