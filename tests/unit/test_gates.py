"""Gates: each way in which an approval must not count is planted, and seen to be refused with nothing changed."""

import io
import json
import os
import pty
import threading
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
from modules import module, refused
from object_store import ObjectStore
from pgrescue import close, gate, journal, schemas
from pgrescue.core import approvals, records, windows
from pgrescue.core import journal as timelines
from postgres import until
from rich.console import Console

RUN = "20261124T012050Z-shop-complete_loss"
POLICY = {"second_person": False, "expires_s": 900, "plan_expires_s": 900}
TWO = {**POLICY, "second_person": True}
ALICE, BOB = "alice@bastion", "bob@laptop"


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plan(**changes):
    return {
        "run": RUN, "made": ago(5), "procedure": "complete_loss", "service": "shop", "system_identifier": "7",
        "target_host": "x1", "changes": ["x1: a new data directory"], "irreversible": ["late commits are given up"],
        "archive_end": {"segment": "000000010000000000000003", "time": ago(17)}, **changes,
    }  # fmt: skip


@pytest.fixture
def run_dir(tmp_path):
    made = tmp_path / "runs" / RUN
    made.mkdir(parents=True)
    records.write_json(str(made / "plan.json"), plan())
    run = {"id": RUN, "kind": "incident", "procedure": "complete_loss", "service": "shop", "operator": ALICE}
    records.write_json(str(made / "run.json"), run)
    return made


def require(run_dir, **more):
    wanted = {"run_dir": str(run_dir), "operator": ALICE, "policy": POLICY, **more}
    return module("require_approval")(**wanted)


def approve(run_dir, by=BOB, **more):
    wanted = {"operator": by, "approver": by, "reason": "the client agreed", "policy": TWO, "stores": [], **more}
    return module("record_approval")(run_dir=str(run_dir), **wanted)


def plant(run_dir, **changes):
    """An approval of bob's that is not as it should be, and is called as its content wants."""
    at = approvals.at(str(run_dir), "plan", ALICE, TWO)
    approvals.write(str(run_dir), {**approvals.record(at, BOB, "approval", "the client agreed"), **changes})


def files(run_dir):
    return sorted(path.name for path in run_dir.iterdir())


@pytest.mark.parametrize("typed", [None, "", "shop ", "other"])
def test_nothing_happens_without_the_services_name(run_dir, typed):
    before = files(run_dir)
    answer = require(run_dir, **({} if typed is None else {"confirm": typed}))
    assert refused(answer, 4, "needs its name typed: -e confirm=shop", "Nothing was changed")
    assert files(run_dir) == before


def test_the_services_name_is_the_operators_own_approval_and_is_kept(run_dir):
    answer = require(run_dir, confirm="shop")
    assert (answer["changed"], answer["approved_by"]) == (True, [ALICE])
    [kept] = approvals.read(str(run_dir))[0]
    assert (kept["by"], kept["plan_digest"]) == (ALICE, records.digest(records.read_json(str(run_dir / "plan.json"))))
    assert [e["status"] for e in answer["journal"]] == ["approved", "passed"]
    assert not require(run_dir, confirm="shop")["changed"]
    assert not require(run_dir).get("failed")  # as long as it counts


def test_somebody_elses_approval_is_enough_where_one_is(run_dir):
    assert not approve(run_dir).get("failed")
    assert require(run_dir)["approved_by"] == [BOB]


def test_another_name_is_refused_although_somebody_approved(run_dir):
    approve(run_dir)
    assert refused(require(run_dir, confirm="orders"), 4, "'orders' was typed")


WRONG = {
    "for another plan": {"plan_digest": "0" * 64},
    "is for gate cut_over": {"gate": "cut_over"},
    "expired at": {"given": ago(901), "expires": ago(1)},
    "of bob@laptop expired": {"given": ago(3600), "expires": "2199-01-01T00:00:00Z"},  # it says itself that it lasts
    "from the future": {"given": "2199-01-01T00:00:00Z", "expires": "2199-01-01T00:15:00Z"},
    "a second person with a reason": {"reason": " "},
    "second person": {"by": "Alice@laptop"},  # the operator on another machine
    "wants a second person": {"way": "confirm"},  # the name typed to begin is not a second look
    "names nobody": {"by": "@laptop"},
}


@pytest.mark.parametrize("says", WRONG)
def test_an_approval_that_must_not_count_does_not(run_dir, says):
    plant(run_dir, **WRONG[says])
    answer = require(run_dir, confirm="shop", policy=TWO)
    assert refused(answer, 4, says, f"pgrescue approve {RUN}", "Nothing was changed")
    plant(run_dir)  # the same without the fault
    assert {ALICE, BOB} <= set(require(run_dir, confirm="shop", policy=TWO)["approved_by"])


def test_an_approval_that_was_changed_afterwards_counts_for_nothing(run_dir):
    plant(run_dir, by=ALICE)
    [path] = run_dir.glob("approval-*.json")
    path.write_text(path.read_text().replace(ALICE, BOB))
    assert refused(require(run_dir, confirm="shop", policy=TWO), 4, "was changed after it was given")
    path.write_text("{half")
    assert refused(require(run_dir, confirm="shop", policy=TWO), 4, "cannot be read")


def test_one_person_is_not_two(run_dir):
    for _ in range(2):
        approve(run_dir, by=ALICE)
    assert refused(require(run_dir, confirm="shop", policy=TWO), 4, "second person")
    assert refused(require(run_dir, confirm="shop", policy=TWO, operator="alice@elsewhere"), 4, "second person")


def test_the_second_person_does_not_stand_in_for_the_operator(run_dir):
    approve(run_dir)
    assert refused(require(run_dir, policy=TWO), 4, "needs its name typed")


def test_an_old_plan_is_not_begun_with(run_dir):
    records.write_json(str(run_dir / "plan.json"), plan(made=ago(901)))
    again = "pgrescue recover complete_loss -s shop"
    assert refused(require(run_dir, confirm="shop"), 4, "counts for 900 s", again, "Nothing was changed")
    assert refused(approve(run_dir), 4, "counts for 900 s", again)


@pytest.mark.parametrize("changes", [{"made": None}, {}])
def test_a_plan_must_say_when_it_was_made_and_must_be_there(run_dir, changes):
    (run_dir / "plan.json").unlink()
    if changes:
        records.write_json(str(run_dir / "plan.json"), plan(**changes))
    for answer in (require(run_dir, confirm="shop"), approve(run_dir)):
        assert refused(answer, 4, "plan", "Nothing was changed")


def test_a_policy_by_which_nothing_ever_counts_is_refused(run_dir):
    answer = require(run_dir, confirm="shop", policy={**TWO, "expires_s": 0}, break_glass="alone")
    assert refused(answer, 3, "service_gates")


def write(run_dir, *events):
    """Events as the callback writes them."""
    writer = timelines.Journal(str(run_dir / "timeline.jsonl"), ALICE)
    for event in events:
        writer.write(**event)


def passes(answer):
    return [{"phase": "decide", "host": "witness", **entry} for entry in answer["journal"]]


STARTED = {"event": "start", "phase": "prepare"}
BEGUN = (STARTED, {**STARTED, "step": "Stop application traffic"})


def test_a_run_that_passed_and_went_on_passes_again_however_late(run_dir):
    write(run_dir, {"event": "start", "phase": "decide"}, *passes(require(run_dir, confirm="shop")))
    for path in run_dir.glob("approval-*.json"):
        path.unlink()
    assert refused(require(run_dir), 4, "needs its name typed")  # it was killed there: nothing was begun
    write(run_dir, *BEGUN)
    assert require(run_dir) == {**require(run_dir), "changed": False, "approved_by": []}
    records.write_json(str(run_dir / "plan.json"), plan(target_host="db1"))
    assert refused(require(run_dir), 4, "needs its name typed")  # for that was another plan


def test_an_old_plan_is_no_plan_of_a_run_that_was_paused_before_it_did_anything(run_dir):
    records.write_json(str(run_dir / "plan.json"), plan(made=ago(5000)))
    write(run_dir, STARTED, *({**STARTED, "step": step} for step in timelines.GATES))
    assert refused(require(run_dir, confirm="shop"), 4, "Plan again")


def test_a_later_gate_is_not_passed_with_an_earlier_one_and_minds_no_old_plan(run_dir):
    old = plan(made=ago(5000))
    records.write_json(str(run_dir / "plan.json"), old)
    write(run_dir, *BEGUN)
    assert refused(require(run_dir, gate="cut_over"), 4, "Gate cut_over")
    assert not require(run_dir, gate="cut_over", confirm="shop").get("failed")


def test_break_glass_does_without_the_second_person_and_is_told_first(run_dir):
    answer = require(run_dir, confirm="shop", policy=TWO, break_glass="omar does not answer")
    assert answer["broke_glass"]
    assert [(e["event"], e["status"]) for e in answer["journal"]] == [
        ("approval", "approved"), ("decision", "broke_glass"), ("approval", "passed"),
    ]  # fmt: skip
    [said] = records.read_json(str(run_dir / "run.json"))["broke_glass"]
    assert (said["by"], said["reason"], said["gate"]) == (ALICE, "omar does not answer", "plan")
    require(run_dir, confirm="shop", policy=TWO, break_glass="omar does not answer")
    assert len(records.read_json(str(run_dir / "run.json"))["broke_glass"]) == 1
    write(run_dir, {"event": "start"}, *passes(answer), {"event": "end", "status": "failed"})
    close.finish(run_dir)
    told = "BREAK-GLASS at gate plan: alice@bastion went on without a second person: omar does not answer"
    assert (run_dir / "report.md").read_text().lstrip().splitlines()[0] == f"> **{told}**"
    page = (run_dir / "report.html").read_text()
    assert page.index(told) < page.index("<h1>")


@pytest.mark.parametrize("reason", [None, "", "  "])
def test_break_glass_wants_a_reason_and_still_the_name(run_dir, reason):
    more = {} if reason is None else {"break_glass": reason}
    assert refused(require(run_dir, policy=TWO, break_glass="alone"), 4, "needs its name typed")
    assert refused(require(run_dir, confirm="shop", policy=TWO, **more), 4, "second person")
    assert "broke_glass" not in records.read_json(str(run_dir / "run.json"))


def test_break_glass_that_was_not_needed_is_not_told(run_dir):
    approve(run_dir)
    assert not require(run_dir, confirm="shop", policy=TWO, break_glass="alone")["broke_glass"]
    assert "broke_glass" not in records.read_json(str(run_dir / "run.json"))


def test_a_no_stops_the_run_whoever_says_yes(run_dir):
    approve(run_dir, verdict="denied", reason="the wrong service")
    assert refused(require(run_dir, confirm="shop"), 4, "bob@laptop said no: the wrong service", "pgrescue recover")


@pytest.mark.parametrize(("more", "says"), [({"reason": " "}, "needs a reason"), ({"approver": " "}, "needs a name")])
def test_an_approval_that_could_never_count_is_not_written(run_dir, more, says):
    before = files(run_dir)
    assert refused(approve(run_dir, **more), 4, says, "Nothing was changed")
    assert files(run_dir) == before


def test_a_run_that_has_ended_is_not_approved(run_dir):
    run = records.read_json(str(run_dir / "run.json"))
    records.write_json(str(run_dir / "run.json"), {**run, "result": "aborted"})
    assert refused(approve(run_dir), 4, "has ended (aborted)")


def test_a_run_that_passed_its_gates_or_was_told_no_takes_no_late_yes(run_dir):
    run = records.read_json(str(run_dir / "run.json"))
    records.write_json(str(run_dir / "run.json"), {**run, "result": "failed", "exit_code": 7})
    assert refused(approve(run_dir), 4, "has ended (failed)")
    records.write_json(str(run_dir / "run.json"), {**run, "result": "failed", "exit_code": 4})
    assert not approve(run_dir).get("failed")  # it stopped for want of somebody, and is gone on with
    plant(run_dir, verdict="denied", by=ALICE, reason="'shpo' was typed", given=ago(1000), expires=ago(100))
    before = files(run_dir)
    assert refused(approve(run_dir), 4, "alice@bastion said no: 'shpo' was typed", "pgrescue recover complete_loss")
    assert files(run_dir) == before


def test_an_approval_says_who_is_missing_all_the_same(run_dir):
    assert approve(run_dir, by=ALICE)["lacking"] == ["second_person"]
    assert approve(run_dir)["lacking"] == []
    assert approve(run_dir, by=ALICE, policy=POLICY)["lacking"] == []


def test_check_mode_asks_nobody_and_writes_nothing(run_dir):
    before = files(run_dir)
    for name in ("require_approval", "gate_state"):
        answer = module(name)(check=True, run_dir=str(run_dir / "none"), operator=ALICE, policy=TWO)
        assert not answer["changed"]
    assert approve(run_dir, check=True)["changed"]
    assert files(run_dir) == before


def state(run_dir, **more):
    return module("gate_state")(run_dir=str(run_dir), operator=ALICE, **{"policy": TWO, **more})


def test_who_is_missing_is_told_and_waited_for(run_dir):
    before = files(run_dir)
    assert state(run_dir)["lacking"] == ["operator", "second_person"]
    assert state(run_dir, confirm="shop")["lacking"] == ["second_person"]
    assert state(run_dir, confirm="shop", break_glass="alone")["lacking"] == []
    assert state(run_dir)["journal"] == []  # for nobody waits
    facts, waits = state(run_dir, wait_s=300)["journal"]
    assert json.loads(facts["detail"])["lacking"] == ["operator", "second_person"]
    assert (waits["status"], waits["step"]) == ("waiting", "plan")
    assert files(run_dir) == before  # it only looks
    write(run_dir, *passes(require(run_dir, confirm="shop", policy=POLICY)), *BEGUN)
    assert state(run_dir)["lacking"] == []


def test_a_run_waits_for_an_approval_that_comes(run_dir):
    comes = threading.Timer(0.3, lambda: plant(run_dir))
    comes.start()
    assert set(require(run_dir, confirm="shop", policy=TWO, wait_s=20)["approved_by"]) == {ALICE, BOB}
    comes.join()


def test_a_run_that_waited_in_vain_is_refused(run_dir):
    assert refused(require(run_dir, confirm="shop", policy=TWO, wait_s=0.5), 4, "second person")


def test_an_approval_from_another_machine_comes_through_a_store(run_dir, tmp_path):
    elsewhere = tmp_path / "elsewhere" / RUN
    elsewhere.mkdir(parents=True)
    for name in ("plan.json", "run.json"):
        (elsewhere / name).write_bytes((run_dir / name).read_bytes())
    with ObjectStore(tmp_path / "objects", bucket="evidence") as up:
        down = {**up.place, "url": "http://127.0.0.1:9"}
        answer = refused(require(run_dir, confirm="shop", policy=TWO, stores=[up.place]), 4, "second person")
        assert answer
        written = approve(elsewhere, stores=[up.place, down])
        assert (written["held"], list(written["missing_from"])) == ([up.name], ["http://127.0.0.1:9/evidence"])
        assert require(run_dir, confirm="shop", policy=TWO, stores=[up.place, down])["approved_by"] == [ALICE, BOB]
    assert not require(run_dir, confirm="shop", policy=TWO).get("failed")  # it is here now
    lost = require(elsewhere, confirm="shop", policy=TWO, operator="carol@x", stores=[down])
    assert not lost.get("failed")  # bob's is there; a store that is down is not asked for what is not missing


def test_a_store_that_is_silent_is_named(run_dir):
    down = {"url": "http://127.0.0.1:9", "bucket": "b", "region": "r", "key": "k", "secret": "a-secret-of-some-length"}
    answer = require(run_dir, confirm="shop", policy=TWO, stores=[down])
    assert refused(answer, 4, "http://127.0.0.1:9/b did not answer")


class Terminal:
    """Somebody at a terminal: what they typed before the question, and what they type when they have read it."""

    def __init__(self):
        self.hand, there = pty.openpty()
        self.answers = os.fdopen(there, "r")
        self.screen = io.StringIO()
        self.console = Console(file=self.screen, width=80, force_terminal=False)

    def types(self, text):
        os.write(self.hand, text.encode())

    def types_when_asked(self, *texts):
        def sit():
            for count, text in enumerate(texts, 1):
                until(lambda count=count: self.screen.getvalue().count("Type the service") >= count, 10, "the question")
                self.types(text)

        threading.Thread(target=sit, daemon=True).start()

    def close(self):
        self.answers.close()
        os.close(self.hand)


@pytest.fixture
def terminal():
    one = Terminal()
    yield one
    one.close()


FACTS = {"gate": "plan", "lacking": ["operator"], "expires_s": 900.0}


def asked(run_dir, terminal):
    return gate.answer(run_dir, FACTS, ALICE, terminal.console, terminal.answers)


def test_the_name_typed_at_the_gate_lets_the_run_go_on(run_dir, terminal):
    terminal.types_when_asked("shop\n")
    assert asked(run_dir, terminal)
    assert require(run_dir)["approved_by"] == [ALICE]
    shown = terminal.screen.getvalue()
    for said in ("GATE plan  INCIDENT  complete loss of shop", "x1: a new data directory", "late commits are given up"):
        assert said in shown
    assert "12 s before it was planned" in shown


@pytest.mark.parametrize("typed", ["yes\n", "y\n", "\n", "orders\n", "\x04"])
def test_whatever_else_is_typed_stops_the_run(run_dir, terminal, typed):
    terminal.types_when_asked(typed)
    assert not asked(run_dir, terminal)
    assert refused(require(run_dir, confirm="shop"), 4, "alice@bastion said no")


def test_what_the_run_wants_seen_is_shown_at_its_gate_and_at_no_other(run_dir):
    write(run_dir, {"event": "start"}, *passes(state(run_dir, wait_s=9, shows=["orders: 3 missing"])))
    for name, shown in (("plan", True), ("merge_ab12", False)):
        screen = io.StringIO()
        gate.name_typed(run_dir, name, Console(file=screen), io.StringIO("shop\n"))
        assert ("found:     orders: 3 missing" in screen.getvalue()) == shown


def test_what_was_typed_ahead_is_not_an_answer(run_dir, terminal):
    terminal.types("shop\nshop\n")
    terminal.types_when_asked("no\n")
    assert not asked(run_dir, terminal)


def test_why_shows_more_and_asks_again(run_dir, terminal):
    terminal.types_when_asked("why\n", "shop\n")
    assert asked(run_dir, terminal)
    assert records.digest(records.read_json(str(run_dir / "plan.json")))[:12] in terminal.screen.getvalue()


def test_the_end_of_the_input_is_no(run_dir):
    console = Console(file=io.StringIO())
    assert not gate.answer(run_dir, FACTS, ALICE, console, io.StringIO(""))
    assert refused(require(run_dir), 4, "nothing was typed")


def test_a_person_is_asked_while_the_run_waits_for_them_and_not_again(run_dir):
    since = datetime.now(UTC)
    assert gate.wanted(run_dir, ALICE, since) is None
    write(run_dir, {"event": "start"}, *passes({"journal": state(run_dir, wait_s=9)["journal"]}))
    assert gate.wanted(run_dir, ALICE, since)["gate"] == "plan"
    assert gate.wanted(run_dir, ALICE, datetime.now(UTC)) is None  # an earlier attempt asked
    gate.answer(run_dir, FACTS, ALICE, Console(file=io.StringIO()), io.StringIO("shop\n"))
    assert gate.wanted(run_dir, ALICE, since) is None
    assert journal.read(run_dir / "timeline.jsonl").broken is None


def test_what_is_written_is_as_its_schema_says(run_dir):
    approve(run_dir)
    require(run_dir, confirm="shop", policy=TWO)
    approve(run_dir, verdict="denied", by="carol@x")
    for path in run_dir.glob("approval-*.json"):
        jsonschema.validate(json.loads(path.read_text()), schemas.schema("approval"))
    assert len(list(run_dir.glob("approval-*.json"))) == 3
    opened = windows.opened(RUN, ["a1"], 60, ["a1 is primary again"])
    for window in (opened, windows.closed(opened, ALICE, "fine")):
        jsonschema.validate(window, schemas.schema("window"))
    broken = [{"gate": "plan", "by": ALICE, "reason": "alone", "at": ago(1)}]
    run = {**records.read_json(str(run_dir / "run.json")), "broke_glass": broken}
    jsonschema.validate(run, schemas.schema("run"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**opened, "closed_at": "x"}, schemas.schema("window"))


def test_nobody_is_asked_where_nobody_sits():
    assert not gate.can_ask(Console(file=io.StringIO(), force_terminal=True))
    assert gate.variables(None, Console(file=io.StringIO())) == {}
    assert gate.variables("shop", Console(file=io.StringIO())) == {"confirm": "shop"}


def test_what_the_inventory_lets_go_on_alone_is_approved_by_its_policy_but_a_second_person_is_wanted(run_dir):
    alone = {"unattended": True}
    assert refused(require(run_dir), 4, "nobody confirmed it")
    assert refused(require(run_dir, policy={**TWO, **alone}), 4, "a second person")
    answer = require(run_dir, policy={**POLICY, **alone})
    assert answer["approved_by"] == [ALICE]
    given = [json.loads(path.read_text()) for path in run_dir.glob("approval-*.json")]
    assert {(one["way"], one["reason"]) for one in given} == {("policy", "service_unattended has complete_loss")}
