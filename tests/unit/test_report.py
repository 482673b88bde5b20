import json
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from pgrescue import close, record, report
from pgrescue.drawing import meter
from pgrescue.human import hms, moment, ranges, size, span
from run_fixture import ZERO, Synthetic, Timeline, Witness, complete_loss, failed_restore, wall

RUNS = {
    "passed": {},
    "failed": {
        "timeline": failed_restore(),
        "checks": None,
        "witness": Witness().outage(up=999),
        "reconciled": False,
    },
    "empty": {"timeline": Timeline(), "checks": None, "witness": None, "planned": False, "objectives": {}},
    "never_failed": {"witness": Witness().outage(up=0), "lost": 0},
    "proof": {"kind": "proof", "witness": None},
}


@pytest.fixture(params=RUNS)
def any_record(request, tmp_path):
    return record.load(Synthetic(**RUNS[request.param]).write(tmp_path))


def page(tmp_path, **parts):
    directory = Synthetic(**parts).write(tmp_path)
    close.finish(directory)
    return (directory / "report.html").read_text(), (directory / "report.md").read_text()


def test_every_kind_of_run_renders_and_fetches_nothing(any_record):
    text = report.html(any_record)
    assert not re.search(r"""(?:src|href)\s*=|url\((?!#)|@import|<script|<link""", text)
    assert "None" not in re.sub(r"<[^>]*>", "", text).replace("None. All", "")
    assert report.markdown(any_record).startswith("# ")


def test_the_drawings_are_well_formed(any_record):
    for svg in re.findall(r"<svg.*?</svg>", report.html(any_record), re.S):
        ElementTree.fromstring(svg)


def test_the_first_lines_give_verdict_and_figures(tmp_path):
    html, markdown = page(tmp_path)
    assert "<h1>RECOVERED AND VALIDATED</h1>" in html
    assert "back in 00:00:28 of 01:00:00" in html
    assert "lost 14 acknowledged commits, 7 s of 24 h allowed" in markdown
    assert "27-40" in html
    assert "does not match its checksum" in html


def test_rows_that_came_back_say_how_long_before_the_fault_their_copy_is(tmp_path):
    timeline = complete_loss()
    timeline.milestone(59, "rows_back", "validate")
    directory = Synthetic(timeline=timeline, witness=Witness().outage(up=0), lost=0).write(tmp_path)
    plan = json.loads((directory / "plan.json").read_text())
    before = wall(-3).replace("T", " ").replace("Z", "+00")
    plan["recovery_target"] = {"type": "time", "value": before, "inclusive": False}
    (directory / "plan.json").write_text(json.dumps(plan))
    said = "rows as of 3 s of 24 h allowed before the fault, lost no acknowledged commit"
    assert said in report.markdown(record.load(directory))
    plan["recovery_target"]["value"] = "some day"
    (directory / "plan.json").write_text(json.dumps(plan))
    assert "lost no acknowledged commit" in report.markdown(record.load(directory))


def test_while_a_run_can_be_taken_back_its_report_says_how(tmp_path):
    directory = Synthetic().write(tmp_path)
    close.finish(directory)
    window = {"run": directory.name, "opened": wall(40), "closes": wall(1840), "old_side": ["db1"], "rollback": []}
    said = []
    for more in ({}, {"closed": wall(60)}):
        (directory / "window.json").write_text(json.dumps(window | more))
        said.append(f"pgrescue rollback {directory.name}" in report.markdown(record.load(directory)))
    assert said == [True, False]


def test_unmeasured_says_so(tmp_path):
    html, markdown = page(tmp_path, witness=None)
    assert html.count("not measured") >= 5
    assert "recovery time not measured" in markdown


def test_an_open_run_is_not_called_failed(tmp_path):
    text = report.html(record.load(Synthetic(timeline=Timeline(), checks=None, witness=None).write(tmp_path)))
    assert "<h1>STILL OPEN</h1>" in text
    assert "FAILED" not in text


def test_a_void_run_proves_nothing(tmp_path):
    directory = Synthetic().write(tmp_path)
    close.finish(directory, "void")
    assert "VOID: THIS RUN PROVES NOTHING" in (directory / "report.html").read_text()


def test_what_others_wrote_is_escaped(tmp_path):
    run = Synthetic()
    run.timeline.event(40, "note", detail="<script>alert(1)</script> | `x`")
    html, markdown = (
        report.html(record.load(run.write(tmp_path))),
        report.markdown(record.load(tmp_path / run.run["id"])),
    )
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in markdown


def test_the_ways_that_were_looked_at_are_told(tmp_path):
    directory = Synthetic().write(tmp_path)
    plan = json.loads((directory / "plan.json").read_text())
    plan["ways"] = [
        {"method": "promote", "host": "db2", "loses_bytes": 0, "loses_s": 0.5, "takes_s": 12.0},
        {"method": "promote", "host": "db3", "loses_bytes": 2048, "closed": "it stays behind on purpose"},
    ]
    (directory / "plan.json").write_text(json.dumps(plan))
    for text in (report.html(record.load(directory)), report.markdown(record.load(directory))):
        assert "promote db2, loses at most 0.5 s, 0 B of WAL, 12 s" in text
        assert "not taken: it stays behind on purpose" in text


def test_a_missed_objective_is_said_in_words(tmp_path):
    html, _ = page(tmp_path, objectives={"rto_s": 20, "rpo_s": 5, "phases": {"restore": 11}})
    assert "RECOVERED, OBJECTIVE MISSED" in html
    assert "missed by 8 s" in html
    assert "over budget" in html


def test_marks_never_lie_upon_each_other(tmp_path):
    text = report.html(record.load(Synthetic().write(tmp_path)))
    for svg in re.findall(r"<svg viewBox.*?</svg>", text, re.S):
        places = [float(x) for x in re.findall(r'class="badge" cx="([\d.]+)"', svg)]
        assert all(later - earlier >= 19.9 for earlier, later in pairwise(places))
        width = float(re.search(r'viewBox="0 0 (\d+)', svg).group(1))
        assert all(0 < place < width for place in places)


@pytest.mark.parametrize(("seconds", "budget"), [(0.001, 3600), (3600, 3600), (7200, 3600), (0, 1)])
def test_a_meter_stays_within_its_track(seconds, budget):
    svg = ElementTree.fromstring(str(meter(seconds, budget)))
    assert all(float(rect.get("width")) <= 120 for rect in svg.iter("rect"))


def test_words_for_figures():
    assert [hms(27.4), hms(3600), hms(None)] == ["00:00:27", "01:00:00", "not measured"]
    assert [span(s) for s in (0, 0.004, 0.04, 11.9, 59.96, 250, 3600, 86400, 172800, 180000, -1)] == [
        "0 s", "under 0.01 s", "0.04 s", "11.9 s", "1 min", "4 min 10 s",
        "1 h", "24 h", "2 d", "2 d 2 h", "-1 s",
    ]  # fmt: skip
    assert [size(0), size(1500), size(1610612736), size(None)] == ["0 B", "1.5 kB", "1.6 GB", "not measured"]
    assert ranges([5, 3, 4, 9]) == ["3-5", "9"]
    assert moment(ZERO) == "2026-11-24 01:20:50 UTC"


def test_what_an_attempt_left_undone_is_advised_until_a_later_one_has_done_it(tmp_path):
    timeline = Timeline()
    timeline.start(0)
    timeline.event(1, "start", "protect")
    timeline.event(2, "note", "protect", "Mirror the record", detail="one store did not answer")
    timeline.event(3, "end", "protect", status="failed")
    timeline.event(3, "end", status="failed")
    assert "one store did not answer" in page(tmp_path / "one", timeline=timeline)[1]
    timeline.start(10)
    timeline.event(11, "start", "protect")
    timeline.event(12, "note", "protect", "Mirror the record", detail="the other did not answer")
    timeline.event(13, "end", "protect", status="ok")
    advice = page(tmp_path / "two", timeline=timeline)[1].split("## Phases")[0]
    assert "the other did not answer" in advice
    assert "one store did not answer" not in advice


@pytest.mark.parametrize(
    ("way", "took", "says"),
    [
        ({"takes_s": 11.0, "takes_p95_s": 23.5}, 12.0, "Predicted 11 s, at worst 23.5 s; it took 12 s, within that."),
        (
            {"takes_s": 11.0, "takes_p95_s": 23.5},
            30.0,
            "Predicted 11 s, at worst 23.5 s; it took 30 s, longer than that.",
        ),
        ({"takes_s": 11.0}, 12.0, "Predicted 11 s; it took 12 s."),
        ({}, 12.0, None),
        ({"takes_s": 11.0}, None, None),
    ],
)
def test_what_was_predicted_is_held_against_what_happened(way, took, says):
    from pgrescue import consequences

    closed = {"method": "promote", "host": "a1", "takes_s": 1.0, "closed": "it is gone"}
    plan = {"ways": [closed, {"method": "restore", "backup": "B", **way}]}
    assert consequences.prediction(plan, took) == says
