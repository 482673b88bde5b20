"""The programme says what is due and overdue from the records of runs, and what must be proven again."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar
from pgrescue import cli, procedures, runner
from pgrescue.drill import scenario as scenarios
from pgrescue.drill.record import FILE, Drill, Verified
from pgrescue.programme import calendar, due, overview, past, periods, reviews
from pgrescue.programme import plan as plans
from pgrescue.programme.past import Past
from pydantic import ValidationError
from typer.testing import CliRunner

DIGEST = "a" * 64
OBLIGATIONS = [
    {"name": "restore_test", "says": "x", "every": "week", "kind": "proof", "procedures": ["prove"]},
    {"name": "full_drill", "says": "x", "every": "month", "kind": "drill"},
    {
        "name": "rotation", "says": "x", "every": "quarter", "kind": "drill",
        "scenarios": ["corruption", "complete_loss", "partial_loss", "region_failure"],
    },
]  # fmt: skip
CHRISTMAS = {"from": "2026-12-20", "to": "2027-01-03", "why": "the end of the year"}


def programme(**more):
    said = {
        "begun": "2026-01-01",
        "obligations": OBLIGATIONS,
        "services": {"shop": {"owner": "lena"}},
        "blocked": [CHRISTMAS],
    }
    return plans.Programme.model_validate({**said, **more})


def ran(day, scenario="complete_loss", kind="drill", result="passed", **more):
    at = datetime.combine(day, datetime.min.time(), UTC)
    facts = {"procedure": scenario, "scenario": scenario, "operator": "lena", "service": "shop", "judged": True, **more}
    return Past(run=f"{at:%Y%m%dT%H%M%SZ}-shop-{scenario}", kind=kind, at=at, result=result, **facts)


def duty(name, runs, today, **more):
    return next(one for one in due.duties(programme(**more), runs, today) if one.name == name)


def test_the_programme_of_the_repository_is_whole():
    said = plans.load()
    assert {one.every for one in said.obligations} == {"week", "month", "quarter"}
    assert said.services["shop"].going_without


@pytest.mark.parametrize(
    "wrong",
    [
        {"obligations": [{**OBLIGATIONS[2], "scenarios": ["flood"]}]},
        {"obligations": [{**OBLIGATIONS[1], "evry": "month"}]},
        {"obligations": [OBLIGATIONS[1], OBLIGATIONS[1]]},
        {"blocked": [{**CHRISTMAS, "to": "2026-12-19"}]},
        {"services": {"shop": {}}},
    ],
)
def test_a_programme_that_promises_what_nobody_can_keep_is_refused(wrong):
    with pytest.raises(ValidationError):
        programme(**wrong)


def test_what_passed_in_its_period_is_done_and_what_did_not_is_due():
    today = date(2026, 11, 24)
    assert duty("full_drill", [ran(date(2026, 11, 2))], today).state == "done"
    assert duty("full_drill", [ran(date(2026, 10, 30))], today).state == "due"


def test_a_period_that_went_by_makes_it_overdue_until_it_is_caught_up_with():
    runs, today = [ran(date(2026, 9, 30))], date(2026, 11, 24)
    late = duty("full_drill", runs, today)
    assert (late.state, late.missed[-1]) == ("overdue", "2026-10")
    assert duty("full_drill", [*runs, ran(date(2026, 11, 24))], today).state == "done"


@pytest.mark.parametrize(
    "wrong", [{"result": "void"}, {"result": "failed"}, {"kind": "incident"}, {"service": "orders"}]
)
def test_what_did_not_pass_or_was_no_drill_of_the_service_does_not_count(wrong):
    assert duty("full_drill", [ran(date(2026, 11, 2), **wrong)], date(2026, 11, 24)).state == "overdue"


def test_a_proof_is_no_drill_and_a_drill_no_proof():
    today = date(2026, 11, 24)
    assert duty("restore_test", [ran(today)], today).state == "overdue"
    assert duty("restore_test", [ran(today, "prove", kind="proof")], today).state == "done"
    assert duty("restore_test", [ran(today, "verify", kind="proof")], today).state == "overdue"


def test_a_programme_that_has_just_begun_is_not_late():
    assert duty("full_drill", [], date(2026, 11, 24), begun="2026-10-02").state == "due"
    assert duty("full_drill", [], date(2026, 11, 24), begun="2026-10-01").state == "overdue"


def test_each_quarter_has_its_own_scenario_and_four_cover_the_year():
    of_year = [duty("rotation", [], date(2027, month, 15)).scenario for month in (1, 4, 7, 10)]
    assert of_year == ["corruption", "complete_loss", "partial_loss", "region_failure"]
    today = date(2026, 11, 24)
    assert duty("rotation", [ran(today, "complete_loss")], today).state == "overdue"
    assert duty("rotation", [ran(today, "region_failure")], today).state == "done"


def test_four_quarters_show_what_is_missing_of_the_year():
    held = [ran(date(2026, 2, 3), "corruption"), ran(date(2026, 8, 3), "partial_loss")]
    assert duty("rotation", held, date(2027, 1, 1)).missed == ("2026-Q2", "2026-Q4")


def test_the_next_drill_is_the_one_whose_turn_it_is_and_on_no_blocked_day():
    today = date(2026, 12, 19)
    late = due.next_drill(programme(), "shop", [], today)
    assert late == ("region_failure", date(2027, 1, 4)), "all days that are left are blocked"
    open_day = programme(blocked=[{**CHRISTMAS, "to": "2026-12-28"}])
    assert due.next_drill(open_day, "shop", [], today) == ("region_failure", date(2026, 12, 29))
    held = [ran(date(2026, 11, 3), "region_failure")]
    assert due.next_drill(programme(), "shop", held, today) == ("corruption", date(2027, 1, 4))
    assert due.next_drill(programme(), "orders", [], today) is None


def test_the_last_day_of_a_duty_is_one_that_is_not_blocked():
    assert duty("full_drill", [], date(2026, 12, 2)).by == date(2026, 12, 19)


@given(st.sampled_from(["week", "month", "quarter"]), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_every_day_is_in_one_period_and_periods_follow_each_other(every, day):
    one = periods.period(every, day)
    assert one.has(day)
    assert periods.period(every, one.start) == periods.period(every, one.end) == one
    assert periods.after(every, one).start == one.end + timedelta(days=1)
    assert periods.before(every, periods.after(every, one)) == one
    assert periods.turn(4, every, periods.after(every, one)) == (periods.turn(4, every, one) + 1) % 4


def test_coverage_counts_what_passed_of_what_ended_by_procedure_service_and_operator():
    runs = [
        ran(date(2026, 1, 2)),
        ran(date(2026, 2, 2), result="void"),
        ran(date(2026, 3, 2), "switchover", operator="omar"),
        ran(date(2026, 3, 3), "prove", kind="proof"),
        ran(date(2026, 3, 4), "switchover", result="failed", judged=False),  # on purpose
    ]
    assert due.coverage(runs, "procedure") == {
        "complete_loss": {"passed": 1, "ended": 2, "last_passed": "2026-01-02"},
        "switchover": {"passed": 1, "ended": 1, "last_passed": "2026-03-02"},
    }
    assert due.coverage(runs, "operator")["omar"]["procedures"] == ["switchover"]
    assert due.coverage([ran(date(2026, 1, 2), operator=None)], "operator").keys() == {"not recorded"}


PROVEN = Verified(procedure_sha256=DIGEST, postgresql="17", extensions={"shop.pg_trgm": "1.6"})
CHANGED = {
    "the playbook or its roles changed": {"procedure_sha256": "b" * 64},
    "PostgreSQL 17 became 18": {"postgresql": "18"},
    "extensions changed: shop.pg_trgm": {"extensions": {"shop.pg_trgm": "1.7"}},
    "extensions changed: shop.postgis": {"extensions": {"shop.pg_trgm": "1.6", "shop.postgis": "3.5"}},
}


@pytest.mark.parametrize("why", CHANGED)
def test_what_changed_since_a_drill_must_be_proven_again(why):
    assert past.changes(PROVEN, PROVEN.model_copy()) == []
    assert past.changes(PROVEN, PROVEN.model_copy(update=CHANGED[why])) == [why]


def test_what_is_not_known_now_is_no_change_and_what_was_not_known_then_is():
    unknown = Verified(procedure_sha256=DIGEST)
    assert past.changes(PROVEN, unknown) == []
    assert len(past.changes(unknown, PROVEN)) == 2
    assert past.changes(None, PROVEN) == ["the drill noted nothing of what it proved"]


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", tmp_path / "runs")
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def put(root, run, verified=None, version="17", state="ended", census=None):
    directory = root / run.run
    directory.mkdir()
    said = {
        "id": run.run, "kind": run.kind, "procedure": run.procedure, "scenario": run.scenario, "service": run.service,
        "operator": run.operator, "result": run.result, "versions": {"postgresql": version},
    }  # fmt: skip
    (directory / "run.json").write_text(json.dumps(said))
    if verified:
        drill = Drill(scenario=scenarios.load("complete_loss"), state=state, verified=verified)
        (directory / FILE).write_text(json.dumps(drill.dump()))
    if census:
        (directory / "census.json").write_text(json.dumps({"databases": {"shop": {"extensions": census}}}))


def states(root):
    return {
        one["procedure"]: (one["state"], one["why"]) for one in overview.verification(root, "shop", past.runs(root))
    }


def test_a_procedure_is_verified_until_plan_version_or_extensions_change(house, monkeypatch):
    now = Verified(procedure_sha256=procedures.digest("complete_loss"), postgresql="17", extensions={"shop.a": "1"})
    put(house, ran(date(2026, 11, 1)), now, census={"a": "1"})
    assert states(house)["complete_loss"] == ("verified", [])
    assert states(house)["failover"][0] == "never verified"
    put(house, ran(date(2026, 11, 2), "prove", kind="proof"), version="18", census={"a": "2"})
    assert states(house)["complete_loss"] == (
        "needs verification",
        ["PostgreSQL 17 became 18", "extensions changed: shop.a"],
    )
    unseen = now.model_copy(update={"extensions": None, "postgresql": "18"})
    put(house, ran(date(2026, 11, 3)), unseen, version="18")
    unknown = ["which extensions it has was not known then: no census had been taken"]
    assert states(house)["complete_loss"] == ("needs verification", unknown)
    monkeypatch.setattr(procedures, "digest", lambda _: DIGEST)
    assert "the playbook or its roles changed" in states(house)["complete_loss"][1]


PLANTED = {
    "no drill.json, as of a runbook that somebody only called a drill": lambda path: path.unlink(),
    "one that cannot be read": lambda path: path.write_text("{"),
    "one that was to fail": lambda path: path.write_text(
        json.dumps({**json.loads(path.read_text()), "scenario": scenarios.load("impossible_promise").dump()})
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_a_drill_that_no_rules_could_fail_counts_for_nothing(house, planted):
    done = ran(date(2026, 11, 1))
    put(house, done, PROVEN)
    (run,) = past.runs(house)
    assert run.passed
    PLANTED[planted](house / run.run / FILE)
    (run,) = past.runs(house)
    assert not run.passed
    assert duty("full_drill", [run], date(2026, 11, 24)).state == "overdue"


def test_a_drill_that_was_not_judged_counts_for_nothing(house):
    put(house, ran(date(2026, 11, 1)), PROVEN, state="open")
    assert past.runs(house) == []


def test_the_digest_of_a_runbook_follows_its_roles_and_those_that_they_use(tmp_path, monkeypatch):
    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    call = "- hosts: all\n  tasks:\n    - ansible.builtin.import_role: {name: pgrescue.runbooks.%s, tasks_from: act}\n"
    write("playbooks/one.yml", call % "outer" + "- ansible.builtin.import_playbook: two.yml\n")
    write("playbooks/two.yml", "- hosts: all\n  tasks: []\n")
    write("roles/outer/tasks/act.yml", "- ansible.builtin.include_role:\n    name: pgrescue.runbooks.inner\n")
    for role in ("inner", "depended", "other"):
        write(f"roles/{role}/tasks/act.yml", "[]\n")
    write("roles/outer/meta/main.yml", "dependencies:\n  - role: pgrescue.runbooks.depended\n")
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    assert procedures.roles("one") == ["depended", "inner", "outer"]
    seen = {procedures.digest("one")}
    touched = ("playbooks/one.yml", "playbooks/two.yml", "roles/outer/tasks/act.yml", "roles/inner/tasks/act.yml",
               "roles/depended/tasks/act.yml")  # fmt: skip
    for path in touched:
        write(path, (tmp_path / path).read_text() + "# changed\n")
        seen.add(procedures.digest("one"))
    assert len(seen) == len(touched) + 1
    write("roles/other/tasks/act.yml", "- changed\n")
    assert procedures.digest("one") in seen


@pytest.mark.parametrize(
    ("review", "words"),
    [
        (None, "nobody has reviewed it"),
        ({"sha256": "b" * 64}, "it changed since ada reviewed it"),
        ({"reviewed": date(2026, 8, 1)}, "was good until 2026-10-30"),
        ({"next": date(2026, 11, 23)}, "was good until 2026-11-23"),
        ({}, None),
    ],
)
def test_a_review_is_of_one_state_of_a_runbook_and_for_a_while(review, words):
    said = {"reviewed": date(2026, 11, 1), "by": "ada", "sha256": DIGEST}
    made = None if review is None else reviews.Review.model_validate({**said, **review})
    problem = reviews.problem(made, DIGEST, date(2026, 11, 24), 90)
    assert problem is None if words is None else words in problem


def ask(*arguments):
    answer = CliRunner().invoke(cli.app, ["programme", *arguments])
    return answer.exit_code, answer.output


def test_the_command_ends_with_1_when_something_is_overdue_and_with_0_when_not(house, monkeypatch):
    today = datetime.now(UTC).date()
    fresh = programme(begun=today.isoformat(), blocked=[])
    monkeypatch.setattr(plans, "load", lambda: fresh)
    code, said = ask()
    assert (code, "OVERDUE" in said) == (0, False)
    late = programme(begun="2026-01-01", blocked=[])
    monkeypatch.setattr(plans, "load", lambda: late)
    code, said = ask("--json")
    assert code == 1
    assert {one["state"] for one in json.loads(said)["duties"]} == {"overdue"}
    assert all(len(line) <= 80 for line in ask()[1].splitlines() if "not kept" not in line)
    assert ask("-s", "orders")[0] == 2


def test_a_folder_that_is_no_run_and_a_record_that_is_torn_stop_nothing(house, monkeypatch):
    today = datetime.now(UTC).date()
    put(house, ran(date(2026, 11, 1)), PROVEN)
    (house / "backup-of-run").mkdir()
    (house / "backup-of-run/run.json").write_text((next(house.glob("2026*")) / "run.json").read_text())
    torn = house / "20261102T000000Z-shop-failover"
    torn.mkdir()
    (torn / "run.json").write_text('{"id": "2026')
    assert len(past.runs(house)) == 1
    monkeypatch.setattr(plans, "load", lambda: programme(begun=today.isoformat(), blocked=[]))
    code, said = ask()
    assert (code, "CANNOT BE READ, and counts for nothing: 20261102T000000Z-shop-failover/run.json" in said) == (
        0,
        True,
    )
    assert "backup-of-run" not in said
    assert ask("--alert")[0] in (0, 3), "whoever is told is told all the same"


def test_the_calendar_holds_what_is_to_be_done_and_what_is_blocked_and_can_be_read_again():
    today = date(2026, 11, 24)
    said = programme()
    duties = due.duties(said, [ran(date(2026, 11, 3))], today)
    written = calendar.ical(said, duties, today)
    entries = {str(e["summary"]): e for e in Calendar.from_ical(written).walk("VEVENT")}
    assert set(entries) == {
        "OVERDUE shop: restore_test", "OVERDUE shop: rotation (region_failure)", "No drills: the end of the year",
    }  # fmt: skip
    blocked = entries["No drills: the end of the year"]
    assert (blocked["dtstart"].dt, blocked["dtend"].dt) == (date(2026, 12, 20), date(2027, 1, 4))
    assert entries["OVERDUE shop: restore_test"]["dtstart"].dt == date(2026, 11, 29)
    assert written == calendar.ical(said, duties, today)
    assert written.endswith(b"END:VCALENDAR\r\n")


def test_every_entry_of_the_calendar_has_a_name_of_its_own():
    owner = {"owner": "lena"}
    obligations = [{**OBLIGATIONS[1], "name": "full-full_drill"}, {**OBLIGATIONS[1], "name": "full_drill"}]
    twice = [CHRISTMAS, {**CHRISTMAS, "why": "a sale"}]
    said = programme(services={"shop": owner, "shop-full": owner}, obligations=obligations, blocked=twice)
    today = date(2026, 11, 24)
    written = calendar.ical(said, due.duties(said, [], today), today)
    uids = [str(one["uid"]) for one in Calendar.from_ical(written).walk("VEVENT")]
    assert len(set(uids)) == len(uids) == 6


def test_the_command_prints_the_calendar(house):
    answer = CliRunner().invoke(cli.app, ["programme", "--ical"])
    assert answer.exit_code == 0, answer.output
    assert len(Calendar.from_ical(answer.stdout_bytes).walk("VEVENT")) >= 1
