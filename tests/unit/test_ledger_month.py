# ruff: noqa: E501 - queries read better one to a line
"""The monthly report against plain SQL over the same records, loaded by nothing of the ledger's."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pgrescue import cli, close, runner, schemas
from pgrescue.core import attempts
from pgrescue.ledger import figures, goals, index, monthly, period, proportion, render
from run_fixture import BOOT, ZERO, Synthetic, Timeline
from typer.testing import CliRunner
from year import GOLDEN, MONTH, NOW, SERVICE, Year

TEMPLATE = """\
Database DR Report - [Month Year]

RTO/RPO Status:
- Target RTO: < 60 minutes
- Target RPO: < 24 hours
- RTO Achievement: [X]% of drills
- RPO Achievement: [X]% of backups within target

Backup Statistics:
- Total Backups: [X]
- Successful Backups: [X] ([X]%)
- Failed Backups: [X]
- Average Backup Size: [X] GB
- Average Backup Duration: [X] minutes

Incidents:
- Total Incidents: [X]
- Actual RTO Achieved: [X] minutes
- Data Loss: [X] hours
- Root Cause: [Description]
- Corrective Actions: [List]

DR Drills:
- Drills Conducted: [X]
- Drills Passed: [X]
- Issues Identified: [X]
- Improvements Made: [X]

Next Month Actions:
1. [Action item 1]
2. [Action item 2]
3. [Action item 3]
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Year().write(tmp_path_factory.mktemp("year"))


def reported(runs, month=MONTH, now=NOW, service=SERVICE):
    index.refresh(runs)
    return monthly.report(runs, service, month, now)[0]


def named(report):
    """Every figure by its name."""
    groups = [section.figures for section in [*report.sections, *report.review]]
    every = [figure for group in groups for figure in group]
    return {figure.name: figure for figure in [*every, *report.quarterly_goals, *report.annual_goals, report.outgrown]}


# --- against plain SQL


@pytest.fixture(scope="module")
def plain(runs):
    """The bare JSON of every record in two tables; nothing else knows them."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE doc (place TEXT, name TEXT, body TEXT)")
    for path in runs.rglob("*.json"):
        database.execute("INSERT INTO doc VALUES (?, ?, ?)", (path.parent.name, path.name, path.read_text()))
    database.execute("CREATE TABLE line (name TEXT, body TEXT)")
    for path in runs.glob("*/*.jsonl"):
        if path.name == f"{SERVICE}.jsonl":
            for line in path.read_text().splitlines():
                database.execute("INSERT INTO line VALUES (?, ?)", (path.parent.name, line))
    database.executescript("""
        CREATE VIEW run AS SELECT r.place, substr(r.place, 1, 6) AS month,
          CASE WHEN r.body ->> 'kind' = 'drill' AND NOT EXISTS (SELECT 1 FROM doc d WHERE d.place = r.place AND d.name = 'drill.json')
            THEN 'called a drill' ELSE r.body ->> 'kind' END AS kind,
          r.body ->> 'result' AS result, r.body ->> 'procedure' AS procedure, m.body ->> '$.verdicts.rto' AS rto,
          m.body ->> 'rta_s' AS rta, m.body ->> 'rpa_s' AS rpa, m.body ->> 'data_bytes' AS bytes, r.body ->> 'exit_code' AS code
          FROM doc r JOIN doc m ON m.place = r.place AND m.name = 'measurement.json' WHERE r.name = 'run.json';
        CREATE VIEW attempt AS SELECT body ->> 'at' AS at, body ->> 'result' AS result, body ->> 'size_bytes' AS size,
          body ->> 'duration_s' AS took, body ->> 'stored_bytes' AS stored, body ->> 'kind' AS kind
          FROM line WHERE name = 'attempts';
        CREATE VIEW finding AS SELECT f.place, j.value ->> 'id' AS id, j.value ->> 'title' AS title,
          coalesce((SELECT body ->> 'state' FROM line WHERE name = 'findings' AND body ->> 'id' = j.value ->> 'id'
            AND body ->> 'state' IS NOT NULL AND body ->> 'at' < '2026-12-01' ORDER BY body ->> 'at' DESC LIMIT 1), 'open') AS state,
          (SELECT max(body ->> 'at') FROM line WHERE name = 'findings' AND body ->> 'id' = j.value ->> 'id'
            AND body ->> 'state' IS NOT NULL AND body ->> 'at' < '2026-12-01') AS changed
          FROM doc f, json_each(f.body) j WHERE f.name = 'findings.json';
    """)
    yield lambda query: database.execute(query).fetchone()[0]
    database.close()


NOVEMBER = "at >= '2026-11-01' AND at < '2026-12-01'"
INCIDENT = "name = 'incident.json' AND body ->> 'detected' >= '2026-11-01' AND body ->> 'detected' < '2026-12-01'"
OF_INCIDENT = f"place IN (SELECT j.value FROM doc, json_each(body, '$.runs') j WHERE {INCIDENT})"
PLAIN = {
    "Target RTO": "SELECT 60",
    "Target RPO": "SELECT 24",
    "RTO Achievement": "SELECT 100.0 * sum(rto = 'met' AND result = 'passed') / count(*) FROM (SELECT coalesce(rto, '') AS rto,"
    " result FROM run WHERE month = '202611' AND kind = 'drill' AND (rto IS NOT NULL OR result = 'failed'))",
    "RPO Achievement": "SELECT 100.0 * sum(gap <= 1) / count(gap) FROM (SELECT at,"
    " julianday(at) - julianday(lag(at) OVER (ORDER BY at)) AS gap FROM attempt WHERE result = 'passed')"
    f" WHERE {NOVEMBER}",
    "Total Backups": f"SELECT count(*) FROM attempt WHERE {NOVEMBER}",
    "Successful Backups": f"SELECT 100.0 * sum(result = 'passed') / count(*) FROM attempt WHERE {NOVEMBER}",
    "Failed Backups": f"SELECT sum(result = 'failed') FROM attempt WHERE {NOVEMBER}",
    "Average Backup Size": f"SELECT avg(size) / 1e9 FROM attempt WHERE result = 'passed' AND {NOVEMBER}",
    "Average Backup Duration": f"SELECT avg(took) / 60 FROM attempt WHERE result = 'passed' AND {NOVEMBER}",
    "Total Incidents": f"SELECT count(*) FROM doc WHERE {INCIDENT}",
    "Actual RTO Achieved": f"SELECT max(rta) / 60 FROM run WHERE {OF_INCIDENT}",
    "Data Loss": f"SELECT max(rpa) / 3600 FROM run WHERE {OF_INCIDENT}",
    "Root Cause": f"SELECT body ->> 'cause' FROM doc WHERE {INCIDENT}",
    "Corrective Actions": f"SELECT group_concat(title || ' (' || state || ')', '; ') FROM finding WHERE {OF_INCIDENT}",
    "Drills Conducted": "SELECT count(*) FROM run WHERE month = '202611' AND kind = 'drill'",
    "Drills Passed": "SELECT 100.0 * sum(result = 'passed') / count(*) FROM run WHERE month = '202611' AND kind = 'drill'"
    " AND result <> 'void'",
    "Issues Identified": "SELECT count(*) FROM finding JOIN run USING (place) WHERE month = '202611' AND kind = 'drill'",
    "Improvements Made": "SELECT count(*) FROM finding JOIN run USING (place) WHERE kind = 'drill' AND state = 'done'"
    " AND changed >= '2026-11-01'",
    "Average backup duration": f"SELECT avg(took) / 60 FROM attempt WHERE result = 'passed' AND {NOVEMBER}",
    "Backup failure rate": f"SELECT 100.0 * sum(result = 'failed') / count(*) FROM attempt WHERE {NOVEMBER}",
    "Storage consumption trends": f"SELECT sum(stored) FROM attempt WHERE {NOVEMBER}",
    "Compression efficiency": f"SELECT 1.0 * sum(size) / sum(stored) FROM attempt WHERE kind = 'full' AND {NOVEMBER}",
    "Recovery success rate": "SELECT 100.0 * sum(code IN (0, 7)) / count(*) FROM run WHERE month = '202611'"
    " AND kind IN ('drill', 'incident') AND result IN ('passed', 'failed')",
    "Improve backup completion rate to 99.9%": "SELECT 100.0 * sum(result = 'passed') / count(*) FROM attempt"
    " WHERE at >= '2026-10-01'",
    "Implement continuous archiving (RPO < 1 hour)": "SELECT 100.0 * sum(rpa < 3600) / count(*) FROM run"
    " WHERE month > '202512' AND kind IN ('drill', 'incident') AND rpa IS NOT NULL AND result <> 'void'",
    "Complete 4 successful DR drills": "SELECT count(*) FROM run WHERE month > '202512' AND kind = 'drill'"
    " AND result = 'passed'",
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_field_is_what_plain_sql_says_of_the_records(runs, plain, name):
    expected, found = plain(PLAIN[name]), named(reported(runs))[name]
    assert found.value == (expected if isinstance(expected, str) else pytest.approx(expected, abs=1e-4))
    assert found.text != figures.NO_DATA


def test_every_field_of_the_template_is_held_against_the_records():
    assert {name.strip("- ") for name in re.findall(r"^- [^:]*", TEMPLATE, re.M)} <= set(PLAIN)


def test_a_record_that_is_not_counted_would_be_noticed(runs, plain, tmp_path):
    """The planted fault: one attempt less in the ledger than in the records."""
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    path = copy / f"attempts/{SERVICE}.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert named(reported(copy))["Total Backups"].value == plain(PLAIN["Total Backups"]) - 1


# --- the template, and the golden text


def template_pattern(line):
    """What a line of the template may have become: words kept, places filled, or no data."""
    name, colon, rest = line.partition(": ")
    if not colon:
        return re.escape(line).replace(r"\[Month\ Year\]", r"[A-Z][a-z]+ \d{4}")
    filled = re.sub(r"\\\[[^]]*\\\]", ".+", re.escape(rest))
    return f"{re.escape(name)}: (?:{filled}.*|{figures.NO_DATA}.*)" if "[" in rest else re.escape(line)


def of_the_template(text):
    """The report's part that the template describes, without Markdown's marks for headings."""
    return re.sub(r"^#+ ", "", text.partition("\n# Monthly Review")[0], flags=re.M)


def test_the_report_is_the_template_filled(runs, tmp_path):
    empty = Synthetic(witness=None).write(tmp_path).parent
    for report in (reported(runs), reported(empty)):
        lines = [line for line in of_the_template(render.markdown(report)).splitlines() if line]
        wanted = [line for line in TEMPLATE.splitlines() if line and not re.match(r"\d\.", line)]
        kept = [line for line in lines if not re.match(r"\d+\.|The month is not over|no data", line)]
        assert len(kept) == len(wanted)
        for line, pattern in zip(kept, map(template_pattern, wanted), strict=True):
            assert re.fullmatch(pattern, line), (pattern, line)


def test_the_golden_text(runs):
    """After a change that is meant: `python tests/year.py --golden`."""
    assert render.markdown(reported(runs)) == GOLDEN.read_text(encoding="utf-8")


def test_what_nobody_recorded_says_no_data_and_has_no_value(tmp_path):
    report = reported(Synthetic(witness=None, objectives={}).write(tmp_path).parent)
    found = named(report)
    assert report.sections[0].figures[0].dump() == {"name": "Target RTO", "text": "no data"}
    for name in ("Total Backups", "RPO Achievement", "Actual RTO Achieved", "Root Cause", "Backup freshness"):
        assert found[name].dump() == {"name": name, "text": "no data"}
    assert "\nno data\n" in render.markdown(report)
    assert named(reported(tmp_path, "2026-10"))["Drills Passed"].value == 0


def test_no_incident_is_told_from_nobody_looking(tmp_path):
    runs = with_objective(tmp_path)
    said = "no data (nobody watched: no incident and no rehearsal is on record)"
    assert named(reported(runs))["Total Incidents"].dump() == {"name": "Total Incidents", "text": said}
    (runs / "rehearsals").mkdir()
    rehearsal = {"service": SERVICE, "at": "2026-11-02T00:00:00Z", "passed": True, "noticed": True}
    (runs / "rehearsals/one.json").write_text(json.dumps(rehearsal))
    assert (named(reported(runs))["Total Incidents"].text, named(reported(runs))["Total Incidents"].value) == ("0", 0)


def test_an_outage_that_only_a_recovery_knows_of_is_named(tmp_path):
    directory = Synthetic(kind="incident").write(tmp_path)
    close.finish(directory)
    found = named(reported(tmp_path))["Total Incidents"]
    assert found.text == f"no data (no incident was opened for {directory.name})"


def test_how_far_attempts_were_collected_is_said(tmp_path):
    runs = with_objective(tmp_path)
    attempts_at(runs, [datetime(2026, 11, 5, 2, 4, tzinfo=UTC)])
    assert named(reported(runs))["Total Backups"].text == "1 (newest attempt on record: 2026-11-05 02:04 UTC)"


def test_the_json_is_as_its_schema_says(runs):
    jsonschema = pytest.importorskip("jsonschema")
    said = json.loads(render.as_json(reported(runs)))
    jsonschema.validate(said, schemas.schema("month"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**said, "monht": 1}, schemas.schema("month"))
    for line in (runs / f"attempts/{SERVICE}.jsonl").read_text().splitlines()[:50]:
        jsonschema.validate(json.loads(line), schemas.schema("attempt"))


# --- figures with a truth of their own


def test_the_month_that_outgrows_the_objective_is_that_of_the_generator(runs):
    year = Year()
    found = named(reported(runs))["Objective outgrown in"]
    truth = year.outgrown()
    told = datetime.strptime(str(found.value), "%Y-%m").replace(tzinfo=UTC) + timedelta(days=15)
    assert abs((told - truth).days) <= 0.1 * (truth - NOW).days + 15  # a month is known to the half of it


def attempts_at(runs, moments, result="passed", **more):
    said = [{"at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "result": result, **more} for at in moments]
    assert attempts.append(str(runs / "attempts" / f"{SERVICE}.jsonl"), said) == len(said)


def with_objective(tmp_path):
    """Records of a service that is promised an hour and a day; the run is of November 24."""
    return Synthetic().write(tmp_path).parent


DAY = timedelta(days=1)
OCTOBER = datetime(2026, 10, 1, 2, tzinfo=UTC)


def test_ninety_backups_of_which_one_failed_cannot_reach_the_goal(tmp_path):
    runs = with_objective(tmp_path)
    attempts_at(runs, [OCTOBER + n * DAY for n in range(89)])
    attempts_at(runs, [OCTOBER + 89 * DAY], "failed")
    goal = named(reported(runs, "2026-12", datetime(2026, 12, 31, tzinfo=UTC)))[
        "Improve backup completion rate to 99.9%"
    ]
    assert goal.text.startswith("98.9% (89 of 90; 95% interval")
    assert goal.text.endswith("not reachable this quarter")
    assert goal.state == "missed"
    early = named(reported(runs, "2026-11", datetime(2026, 11, 30, tzinfo=UTC)))[
        "Improve backup completion rate to 99.9%"
    ]
    assert (early.state, early.count) == ("met", 60)


def brute(moments, since, until, rpo):
    minutes = [since + n * timedelta(minutes=1) for n in range(round((until - since) / timedelta(minutes=1)))]
    return sum(any(at <= minute <= at + rpo for at in moments) for minute in minutes), len(minutes)


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=30), timedelta(hours=30), timedelta(seconds=29)])
def test_freshness_counts_minutes(tmp_path, late):
    """One backup of November comes late; thirty minutes without one are 99.93 % of the month."""
    runs = with_objective(tmp_path)
    begin = datetime(2026, 10, 30, 2, tzinfo=UTC)
    moments = [begin + n * DAY + (late if n > 12 else timedelta(0)) for n in range(33)]
    attempts_at(runs, moments)
    fresh = named(reported(runs, now=datetime(2026, 12, 5, tzinfo=UTC)))["Backup freshness"]
    truth = brute(moments, datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), DAY)
    assert (fresh.count, fresh.of) == truth
    if late == timedelta(minutes=30):
        assert fresh.text.startswith("99.93% of minutes")
        assert truth == (43200 - 29, 43200)  # the minute at which it is just a day old is still good


def quarters(runs, old, new, grown=1.0):
    """Drills of one procedure in the third and in the fourth quarter, at a size that grew."""
    year = Year(others_s=0.0, replay_s=0.0, per_day=0.0)
    for month, times, factor in ((8, old, 1.0), (11, new, grown)):
        for n, took in enumerate(times):
            year.first_bytes, year.others_s = 60e9 * factor, took
            year.run(runs, datetime(2026, month, 2 + n, tzinfo=UTC), "complete_loss", kind="drill")


def test_a_drill_that_spans_the_end_of_a_month_leaves_its_findings_in_the_month_in_which_it_began(tmp_path):
    night = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    said = {
        "id": "x",
        "service": SERVICE,
        "title": "Too slow",
        "severity": "high",
        "state": "open",
        "owner": "ada",
        "due": "2026-12-15",
    }
    opened = {**said, "run": "", "opened": "2026-12-01T00:10:00.000000Z"}
    Year().run(tmp_path, night, "complete_loss", kind="drill", findings=[opened])
    november, december = reported(tmp_path), reported(tmp_path, "2026-12", datetime(2026, 12, 31, tzinfo=UTC))
    assert [named(one)["Issues Identified"].value for one in (november, december)] == [1, None]
    assert [len(one.actions) for one in (november, december)] == [0, 1]


def test_a_gate_is_one_approval_and_who_goes_on_five_times_goes_on_with_one_run(tmp_path):
    folder = tmp_path / Year().run(tmp_path, datetime(2026, 11, 2, tzinfo=UTC), "failover", kind="incident")
    told, at = Timeline(), (datetime(2026, 11, 2, tzinfo=UTC) - ZERO).total_seconds()
    for n in range(6):  # each time the gate is passed again
        told.start(at + n, boot=BOOT)
        told.event(at + n, "approval", "decide", "plan", status="approved")
        told.event(at + n, "approval", "decide", "plan", status="passed")
    (folder / "timeline.jsonl").write_bytes(told.bytes)
    said = named(reported(tmp_path))["Automation opportunities"].text
    assert said == "1 approval took 0 s; 1 run gone on with by hand (5 times); 0 steps left out"


def test_only_blind_drills_and_incidents_detect_anything(tmp_path):
    year = Year()
    name = year.run(tmp_path, datetime(2026, 11, 2, tzinfo=UTC), "failover", kind="drill")
    goal = "Achieve < 5 min detection time"
    assert named(reported(tmp_path))[goal].text == figures.NO_DATA
    name = year.run(tmp_path, datetime(2026, 11, 3, tzinfo=UTC), "failover", kind="drill")
    path = tmp_path / name / "drill.json"
    draw = {"drill": "x", "commitment": "0" * 64, "committed": "2026-11-03T00:00:00Z"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "blind": draw}))
    assert named(reported(tmp_path))[goal].count == 1


def test_an_owner_is_inert_in_the_next_months_actions(tmp_path):
    said = {
        "id": "x",
        "service": SERVICE,
        "title": "Slow",
        "severity": "high",
        "owner": "<b>[ada](http://x)",
        "due": "2026-12-15",
    }
    opened = {**said, "run": "", "state": "open", "opened": "2026-11-02T00:10:00.000000Z"}
    Year().run(tmp_path, datetime(2026, 11, 2, tzinfo=UTC), "complete_loss", kind="drill", findings=[opened])
    assert r"1. Slow (&lt;b>\[ada\](http://x), due 2026-12-15)" in render.markdown(reported(tmp_path))


def test_faster_refuses_with_fewer_than_three_drills(tmp_path):
    quarters(tmp_path, [100.0, 110.0], [80.0, 85.0, 90.0])
    goal = named(reported(tmp_path))["Reduce RTO by 10%"]
    assert (goal.text, goal.value, goal.state) == (
        "no data (fewer than 3 drills of one kind in one of the quarters: complete_loss 2 and 3)", None, None,
    )  # fmt: skip


@pytest.mark.parametrize(("new", "state"), [([5.0, 6.0, 7.0], "met"), ([400.0, 410.0, 405.0], "not yet")])
def test_faster_compares_like_with_like(tmp_path, new, state):
    """The data has doubled; what is left of the time counts."""
    quarters(tmp_path, [400.0, 410.0, 405.0], new, grown=2.0)
    goal = named(reported(tmp_path))["Reduce RTO by 10%"]
    assert goal.state == state
    assert "3 and 3 drills; 90% interval" in goal.text


def test_wilson_and_the_orders_of_mann_and_whitney():
    low, high = proportion.wilson(2, 3)
    assert (round(low, 3), round(high, 3)) == (0.208, 0.939)
    assert proportion.wilson(0, 4)[0] == 0.0
    assert proportion.wilson(4, 4)[1] == 1.0
    assert sum(proportion._orders(5, 7)) == 792
    assert proportion._cut(3, 3) == (0, 0.9)
    exact, level = proportion._cut(31, 32)
    assert 0.95 <= level < 0.952
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proportion, "_MANY", 900)
        assert abs(proportion._cut(31, 32)[0] - exact) <= 1
    factor, low, high, level = proportion.faster([100, 101, 102, 103, 104], [80, 81, 82, 83, 84])
    assert low <= factor <= high < 0.9
    assert 0.95 <= level <= 1


@pytest.mark.parametrize(
    ("count", "of", "digits", "text"),
    [(1, 3, 1, "33.3%"), (9999, 10000, 1, "99.9%"), (1, 10000, 1, "0.1%"), (5, 5, 1, "100%"), (0, 5, 1, "0%"), (43170, 43200, 2, "99.93%")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_all_or_nothing(count, of, digits, text):
    assert figures.percent(count, of, digits) == text


@pytest.mark.parametrize("text", ["2026-13", "2026-1", "november", "2026-11-01", "2026-00"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError, match="is no month"):
        period.month(text)


def test_quarters_and_years():
    february = period.month("2026-02")
    assert period.before(february).name == "January 2026"
    assert period.before(period.month("2026-01")).name == "December 2025"
    assert (period.quarter(february).name, period.before(period.quarter(february)).name) == (
        "quarter 1 of 2026", "quarter 4 of 2025",
    )  # fmt: skip
    assert period.year(february).until == datetime(2027, 1, 1, tzinfo=UTC)


def test_four_drills_name_what_is_missing(tmp_path):
    year = Year()
    for n, procedure in enumerate(goals.DRILLS[:3]):
        year.run(tmp_path, datetime(2026, 3 * n + 2, 2, tzinfo=UTC), procedure, kind="drill")
    goal = named(reported(tmp_path))["Complete 4 successful DR drills"]
    assert (goal.text, goal.state) == ("3 successful drills; not among them: region failure", "not yet")


def test_incidents_of_which_one_was_not_measured(tmp_path):
    runs = with_objective(tmp_path)
    for n, ended in enumerate(("2026-11-10T02:30:00Z", None)):
        folder = runs / f"incidents/2026111{n}T020000Z-shop"
        folder.mkdir(parents=True)
        said = {
            "id": folder.name,
            "service": "shop",
            "state": "lost",
            "says": "The primary is lost.",
            "started": "2026-11-10T02:00:00Z",
        }
        (folder / "incident.json").write_text(json.dumps({**said, **({"mitigated": ended} if ended else {})}))
    found = named(reported(runs))
    assert found["Total Incidents"].value == 2
    assert found["Actual RTO Achieved"].text == "30 minutes (1 not measured)"
    assert found["Root Cause"].text == "no data (what was seen: The primary is lost)"
    assert found["Data Loss"].text == "no data"


# --- the command


@pytest.fixture
def ask(monkeypatch, runs, tmp_path):
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    monkeypatch.setattr(runner, "RUNS", copy)

    def answer(*arguments):
        done = CliRunner().invoke(cli.app, list(map(str, arguments)))
        return done.exit_code, done.stdout, done.stderr

    return answer


def test_the_month_is_printed_in_eighty_columns_and_written_whole(ask, tmp_path):
    code, out, _ = ask("report", "month", MONTH)
    assert code == 0
    assert out.startswith("# Database DR Report - November 2026\n")
    assert max(map(len, out.splitlines())) <= 80
    code, out, _ = ask("report", "month", MONTH, "--format", "html", "--out", tmp_path / "there")
    page = (tmp_path / "there/2026-11-shop.html").read_text()
    assert (code, out.strip()) == (0, str(tmp_path / "there/2026-11-shop.html"))
    assert not re.search(r"""(?:src|href)\s*=|url\((?!#)|@import|<script|<link""", page)
    assert "None" not in re.sub(r"<[^>]*>", "", page)
    code, out, _ = ask("report", "month", MONTH, "--json")
    assert (code, json.loads(out)["month"]) == (0, MONTH)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["2026-13"], 2, "is no month: write it as 2026-11. Nothing was written."),
        (["2999-01"], 3, "January 2999 has not begun. Nothing was written."),
        ([MONTH, "-s", "books"], 3, "No record of the service books is here; there are shop. Nothing was written."),
        ([MONTH, "--format", "pdf"], 2, "--out DIR. Nothing was written."),
    ],
)
def test_what_cannot_be_reported_is_refused(ask, arguments, code, said):
    assert said in (found := ask("report", "month", *arguments))[2]
    assert found[0] == code


def test_a_pdf_without_a_browser_is_refused(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, said = ask("report", "month", MONTH, "--format", "pdf", "--out", tmp_path / "there")
    assert (code, "apt-get install chromium fonts-dejavu-core. Nothing was written" in said) == (3, True)
    assert not (tmp_path / "there").exists()


def test_a_record_that_was_changed_since_is_named_in_the_report(ask):
    run = next(runner.RUNS.glob("202611*"))
    measured = json.loads((run / "measurement.json").read_text())
    (run / "measurement.json").write_text(json.dumps({**measured, "rta_s": 1.0}))
    code, out, said = ask("report", "month", MONTH)
    assert code == 1
    assert f"Not as it should be: {run.name}: measurement.json: differs" in " ".join(out.split())
    assert run.name in said


def test_a_record_that_cannot_be_read_is_named_in_the_report(ask):
    run = next(runner.RUNS.glob("202605*"))
    (run / "run.json").unlink()
    code, out, said = ask("report", "month", MONTH)
    assert (code, f"{run.name}: run.json: there is none" in said) == (1, True)
    assert "run.json: there is none" in out
    code, out, said = ask("ledger", "rebuild", "--json")
    assert (code, json.loads(out)["problems"]) == (1, [f"{run.name}: run.json: there is none"])


def test_the_ledger_answers_and_changes_nothing(ask):
    code, out, _ = ask("ledger", "query", "SELECT kind, count(*) AS n FROM runs GROUP BY kind ORDER BY kind")
    assert code == 0
    assert out.splitlines()[0] == "kind\tn"
    code, out, _ = ask("ledger", "query", "SELECT count(*) AS n FROM attempts WHERE result = 'failed'", "--json")
    assert json.loads(out)["n"] > 10
    code, _, said = ask("ledger", "query", "DELETE FROM runs")
    assert (code, "Nothing was changed" in said) == (3, True)


def test_report_alone_is_that_of_a_run(ask):
    run = sorted(runner.RUNS.glob("2026*-complete_loss"))[-1]
    assert ask("report", run.name)[0] == 0
    assert json.loads(ask("report", run.name, "--json")[1])["run"]["id"] == run.name
    assert "month" in ask("report", "--help")[1]


def test_what_others_wrote_obeys_nobody(tmp_path):
    runs = with_objective(tmp_path)
    folder = runs / "incidents/20261110T020000Z-shop"
    folder.mkdir(parents=True)
    evil = "<script>alert(1)</script> [x](http://y) `z`\n# no"
    said = {
        "id": folder.name,
        "service": "shop",
        "state": "lost",
        "says": "x",
        "cause": evil,
        "detected": "2026-11-10T02:00:00Z",
    }
    (folder / "incident.json").write_text(json.dumps(said))
    index.refresh(runs)
    report, drawings = monthly.report(runs, "shop", MONTH, NOW)
    assert "<script>" not in render.html(report, drawings) + render.markdown(report)
    assert "\n# no" not in render.markdown(report)
    assert r"\[x\]" in render.markdown(report)


@pytest.mark.parametrize("times", [[0.2], [600.0], [600.0, 600.0], [9e5], [0.0, 40.0, 9e5]])
def test_drawings_are_well_formed_and_stay_in_their_frame(tmp_path, times):
    """Whatever was measured, also what is below or beyond the lines of the scale."""
    runs = Synthetic(objectives={"rto_s": 3600} if len(times) > 1 else {}).write(tmp_path).parent
    year = Year()
    for n, took in enumerate(times):
        name = year.run(runs, datetime(2026, 11, 2 + n, tzinfo=UTC), "complete_loss", kind="drill")
        measured = json.loads((runs / name / "measurement.json").read_text())
        (runs / name / "measurement.json").write_text(json.dumps({**measured, "rta_s": took}))
    attempts_at(runs, [datetime(2026, month, 5, tzinfo=UTC) for month in (10, 11)], size_bytes=0)
    index.refresh(runs)
    drawings = monthly.report(runs, SERVICE, MONTH, NOW)[1]
    assert [one.title for one in drawings] == ["Recovery times of twelve months", "Backups by day", "Size of the data"]
    for _name, picture in (picture for one in drawings for picture in one.pictures):
        svg = ElementTree.fromstring(str(picture))
        _left, _top, width, height = map(float, svg.get("viewBox").split())
        places = [
            (float(e.get("cx") or e.get("x")), float(e.get("cy") or e.get("y")))
            for e in svg
            if e.get("cx") or e.get("x")
        ]
        assert places
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places), picture
