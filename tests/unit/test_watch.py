"""The watch: when what is seen counts, what it remembers, and what follows from an incident."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pgrescue import incidents
from pgrescue.alerting import delivery, policy
from pgrescue.core import scene, situations
from pgrescue.watch import casework, outbox, told
from pgrescue.watch.memory import ENOUGH, Memory
from pgrescue.watch.patience import CHANGED, OPENED, OVER, SLOW_LOOKS, TICKET_LOOKS, WELL_LOOKS, Patience
from pgrescue.watch.places import Place
from scenes import PROMISE, cut, fail_writes, server, well

# --- patience


def rounds(patience: Patience, *seen: tuple[str, str], places: int = 3, start: float = 0.0) -> list[str | None]:
    """Look so often, every place anew each time."""
    stamps = [{f"p{number}": start + at for number in range(places)} for at in range(len(seen))]
    return [patience.see(*one, stamps[at], start + at) for at, one in enumerate(seen)]


def test_one_look_opens_nothing_and_the_second_does():
    patience = Patience()
    assert rounds(patience, ("hung", "page"), ("hung", "page")) == [None, OPENED]


def test_a_look_that_is_well_between_begins_anew():
    patience = Patience()
    seen = [("hung", "page"), ("well", "none"), ("hung", "page"), ("well", "none")]
    assert rounds(patience, *seen) == [None] * 4


def test_the_same_look_counted_twice_opens_nothing():
    patience = Patience()
    stamps = {"p0": 1.0, "p1": 1.0}
    assert [patience.see("hung", "page", stamps, at) for at in range(10)] == [None] * 10
    assert patience.see("hung", "page", {"p0": 2.0, "p1": 1.0}, 11) is None  # one place has not looked anew
    assert patience.see("hung", "page", {"p0": 2.0, "p1": 2.0}, 12) == OPENED


def test_who_sees_nobody_waits_for_a_round_all_the_same():
    patience = Patience()
    assert [patience.see("blind", "page", {}, at / 2) for at in range(5)] == [None, None, None, None, OPENED]


def test_slow_looks_and_one_that_is_worse_open_nothing():
    assert rounds(Patience(), ("slow", "page"), ("slow", "page"), ("hung", "page")) == [None] * 3


def test_what_wakes_people_counts_together_while_it_changes():
    patience = Patience()
    assert rounds(patience, ("unseen", "page"), ("host_gone", "page")) == [None, OPENED]
    assert patience.state == "host_gone"
    assert rounds(patience, ("region_gone", "page"), ("region_gone", "page"), start=10) == [None, CHANGED]


def test_slow_and_tickets_need_longer_and_over_needs_several_looks():
    assert rounds(Patience(), *[("slow", "page")] * SLOW_LOOKS)[-2:] == [None, OPENED]
    assert rounds(Patience(), *[("standby_lost", "ticket")] * TICKET_LOOKS)[-2:] == [None, OPENED]
    patience = Patience(open=True, state="hung", level="page")
    assert rounds(patience, *[("well", "none")] * WELL_LOOKS)[-2:] == [None, OVER]


# --- memory


def learnt(looks: dict[str, Any], times: int = ENOUGH) -> Memory:
    memory = Memory(PROMISE)
    for at in range(times):
        for look in looks.values():
            look["at"] = float(at)
        memory.learn(json.loads(json.dumps(looks)), well=True)
    return memory


def test_it_remembers_the_primary_its_standbys_and_what_is_usual():
    looks = well()
    looks["app1"]["write"]["took_s"] = 0.4
    known = learnt(looks).known()
    assert (known["primary"], known["standbys"]) == ("db1", ["db2", "db3"])
    assert known["baseline"]["app1"]["write"] == 0.4
    assert Memory(PROMISE, json.loads(json.dumps(known))).known() == known


def test_what_is_lost_is_not_unlearnt_until_it_is_forgiven():
    memory = learnt(well())
    looks = well()
    cut(looks, "db1", "db2")
    fail_writes(looks, "no answer")
    memory.learn(looks, well=False)
    assert (memory.primary, memory.standbys) == ("db1", ["db2", "db3"])
    memory.forgive(looks)
    assert memory.standbys == ["db3"]


def test_a_new_primary_is_learnt_while_things_are_wrong():
    memory = learnt(well())
    looks = well()
    cut(looks, "db1")
    looks["db2"]["server"] = server("primary", timeline=4)
    memory.learn(looks, well=False)
    assert memory.primary == "db2"


# --- incidents


SITUATION = {
    "state": "stopped",
    "level": "page",
    "says": "The server does not run.",
    "facts": [{"by": "db1", "says": "it does not run"}],
}


def opened(tmp_path: Path, **more: Any) -> incidents.Case:
    case, new = incidents.begin(tmp_path, "shop", "watch", {**SITUATION, **more}, datetime(2026, 11, 24, tzinfo=UTC))
    assert new
    return case


def test_one_incident_of_a_service_is_open_at_a_time_whoever_opens_it(tmp_path):
    found = []
    several = [
        threading.Thread(target=lambda: found.append(incidents.begin(tmp_path, "shop", "w", SITUATION, None)))
        for _ in range(20)
    ]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert sum(new for _case, new in found) == 1
    assert len({case.folder for case, _new in found}) == 1


def test_its_milestones_are_clocks_and_its_timeline_is_chained(tmp_path):
    from pgrescue import journal

    case = opened(tmp_path)
    assert incidents.acknowledge(case, "lena") and not incidents.acknowledge(case, "omar")
    incidents.join(case, "omar", "scribe")
    incidents.decide(case, "lena", "restart it")
    incidents.belongs(case, "lena", "20261124T010000Z-shop-restart")
    incidents.note(case, "omar", "the client\x1b[31m\nknows\u202e")
    incidents.mitigate(case, "watch")
    incidents.resolve(case, "lena", "it runs")
    found = case.incident
    assert set(incidents.clocks(found)) == {
        "detection_s", "acknowledgement_s", "decision_s", "mitigation_s", "resolution_s",
    }  # fmt: skip
    assert (found.acknowledged_by, found.people, found.decision) == ("lena", {"omar": "scribe"}, "restart it")
    assert "the client[31m knows" in [event.get("detail") for event in case.events()]
    assert journal.read(case.folder / "timeline.jsonl").broken is None
    with pytest.raises(incidents.IncidentError) as refusal:
        incidents.acknowledge(case, "late")
    assert refusal.value.code == 4


def test_refusals_have_their_exit_codes(tmp_path):
    case = opened(tmp_path)
    for wrong in (
        lambda: incidents.resolve(case, "x", " "),
        lambda: incidents.note(case, "x", ""),
        lambda: incidents.decide(case, "x", ""),
    ):
        with pytest.raises(incidents.IncidentError) as refusal:
            wrong()
        assert refusal.value.code == 2
    with pytest.raises(incidents.IncidentError) as refusal:
        incidents.find(tmp_path, "nobody")
    assert refusal.value.code == 3
    assert incidents.find(tmp_path, "shop").folder == incidents.find(tmp_path, "latest").folder == case.folder


def test_the_checklist_is_filled_in_from_facts(tmp_path):
    case = opened(tmp_path)
    way = {
        "do": "complete_loss",
        "says": "Restore.",
        "backup": "20261124-010000F",
        "repository": 2,
        "takes_s": 60.0,
        "loses_s": 3.0,
        "destructive": True,
    }
    case.change("watch", "note", "proposed", "restore", proposed=[way])
    answers = dict(incidents.checklist(case.incident))
    assert answers["Determine backup recency"] == "20261124-010000F" and answers["Activate DR team"] is None
    assert answers["Estimate recovery time"] == "60 s, at worst 60 s"
    incidents.acknowledge(case, "lena")
    assert dict(incidents.checklist(case.incident))["Activate DR team"] == "lena"


# --- what follows


class People:
    """Whom the watch tells, and what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, int, str]] = []  # kind, level, key
        self.messages: list[Any] = []
        self.fails = 0  # how many deliveries from now on reach nobody
        monkeypatch.setattr(delivery, "deliver_level", self._deliver)
        monkeypatch.setattr(
            delivery, "deliver", lambda m, _names, p, threads: self._deliver(m, outbox.TICKETS, p, threads)
        )

    def _deliver(self, message: Any, level: int, policy: Any, threads: Any) -> delivery.Delivery:
        self.told.append((message.kind, level, message.key))
        self.messages.append(message)
        at = datetime.now(UTC)
        self.fails -= 1
        outcome: Any = "failed" if self.fails >= 0 else "delivered"
        return delivery.Delivery(
            (delivery.Attempt("hook", at, at, outcome, "no route" if outcome == "failed" else None),)
        )


ALERTS = policy.read(
    {
        "channels": {
            "hook": {"kind": "webhook", "url": "http://127.0.0.1:1/"},
            "boss": {"kind": "webhook", "url": "http://127.0.0.1:1/"},
        },
        "levels": [{"channels": ["hook"]}, {"channels": ["boss"], "after_s": 300}],
        "tickets": ["hook"],
    }
)
WAY = {"do": "restart", "says": "Start it.", "command": "pgrescue recover restart -s shop", "destructive": False}


def decided() -> dict[str, Any]:
    return {"proposed": [WAY], "not_offered": [], "took_s": 1.0, "situation": SITUATION}


def decided_after(event: threading.Event) -> Any:
    """The same, once something else has happened."""

    def decide() -> dict[str, Any]:
        assert event.wait(5)
        return decided()

    return decide


def working(tmp_path: Path, decide: Any = decided) -> casework.Casework:
    return casework.Casework("shop", tmp_path, ALERTS, decide, lambda _sentence: None)


def kinds(people: People) -> list[str]:
    return [kind for kind, _level, _key in people.told]


def settle(cases: casework.Casework) -> None:
    """Wait until what was begun beside it has ended, and everything is sent."""
    for thread in threading.enumerate():
        if thread.name == "triage":
            thread.join()
    cases.stop()


def sent(cases: casework.Casework) -> None:
    """Wait until everything that was put is sent, and go on."""
    cases.stop()
    cases._outbox = outbox.Outbox(ALERTS, lambda _sentence: None)


def test_people_are_paged_before_it_is_found_out_what_can_be_done(tmp_path, monkeypatch):
    people = People(monkeypatch)
    paged = threading.Event()

    cases = working(tmp_path, decided_after(paged))
    cases.opened(SITUATION, datetime.now(UTC))
    until(lambda: people.told)
    paged.set()
    settle(cases)
    assert kinds(people) == ["opened", "update"]
    assert people.messages[1].lines == ("[1] Start it.",)
    assert incidents.open_case(tmp_path, "shop").incident.proposed == [WAY]


def test_nobody_acknowledges_so_the_next_level_hears_and_then_nobody_more(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, None)
    at = incidents.now()
    for later in (0, 200, 310, 400):
        sent(cases)
        cases.tick(SITUATION, at + timedelta(seconds=later))
    settle(cases)
    assert [(kind, level) for kind, level, _key in people.told if kind != "update"] == [
        ("opened", 0),
        ("escalation", 1),
    ]


def test_one_who_acknowledges_stops_the_escalation_and_everybody_hears(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, None)
    incidents.acknowledge(incidents.open_case(tmp_path, "shop"), "lena")
    sent(cases)
    cases.tick(SITUATION, incidents.now() + timedelta(seconds=400))
    cases.tick(SITUATION, incidents.now() + timedelta(seconds=401))
    settle(cases)
    assert "escalation" not in kinds(people) and kinds(people).count("acknowledged") == 1


def test_an_update_is_due_every_quarter_of_an_hour(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    incidents.acknowledge(incidents.open_case(tmp_path, "shop"), "lena")
    sent(cases)
    for minutes in (14, 16, 17, 32):
        cases.tick(SITUATION, incidents.now() + timedelta(minutes=minutes))
    settle(cases)
    assert sum("Next update" in " ".join(m.lines) for m in people.messages) == 2


def test_it_is_resolved_when_all_is_well_and_people_hear(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    cases.over()
    settle(cases)
    assert kinds(people)[-1] == "resolved" and incidents.open_case(tmp_path, "shop") is None


def test_what_a_person_declared_is_paged_and_only_a_person_resolves_it(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    case, _new = incidents.begin(tmp_path, "shop", "lena", {**SITUATION, "state": "declared"}, None)
    cases.tick(None)
    sent(cases)
    cases.over()
    assert incidents.open_case(tmp_path, "shop") is not None
    incidents.resolve(case, "lena", "a mistake")
    cases.tick(None)
    settle(cases)
    assert kinds(people) == ["opened", "update", "resolved"]


def test_a_ticket_that_becomes_an_outage_rings_under_a_new_key_whoever_acknowledged_it(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened({**SITUATION, "level": "ticket", "state": "standby_lost", "says": "A standby is lost."}, None)
    case = incidents.open_case(tmp_path, "shop")
    incidents.acknowledge(case, "lena")
    sent(cases)
    cases.changed({**SITUATION, "state": "hung", "says": "It hangs."})
    sent(cases)
    cases.tick(SITUATION, incidents.now() + timedelta(seconds=400))
    settle(cases)
    told_ = [(kind, level, key) for kind, level, key in people.told if kind in ("opened", "escalation")]
    name = case.folder.name
    assert told_ == [("opened", outbox.TICKETS, name), ("opened", 0, f"{name}/2"), ("escalation", 1, f"{name}/2")]


def test_what_is_left_after_an_outage_wakes_nobody_and_the_clock_of_the_outage_stops(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    sent(cases)
    cases.changed({**SITUATION, "level": "ticket", "state": "standby_lost", "says": "A standby is lost."})
    found = incidents.open_case(tmp_path, "shop").incident
    assert found.mitigated and found.level == "ticket"
    sent(cases)
    cases.tick(SITUATION, incidents.now() + timedelta(seconds=4000))
    settle(cases)
    assert "escalation" not in kinds(people)


def test_a_cause_that_goes_on_after_a_person_closed_it_is_a_new_incident(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    incidents.resolve(incidents.open_case(tmp_path, "shop"), "lena", "done")
    sent(cases)
    cases.tick(SITUATION)
    cases.changed({**SITUATION, "state": "hung", "says": "It hangs."})
    settle(cases)
    assert kinds(people).count("opened") == 2 and len(incidents.cases(tmp_path)) == 2


def test_a_page_that_reached_nobody_is_sent_again(tmp_path, monkeypatch):
    people = People(monkeypatch)
    monkeypatch.setattr(told, "AGAIN_S", 0.0)
    people.fails = 2
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    for _ in range(4):
        sent(cases)
        cases.tick(SITUATION)
    settle(cases)
    assert [kind for kind, level, _key in people.told if level == 0 and kind == "opened"] == ["opened"] * 3


def test_what_can_be_done_is_not_told_once_it_is_over(tmp_path, monkeypatch):
    people = People(monkeypatch)
    found = threading.Event()

    cases = working(tmp_path, decided_after(found))
    cases.opened(SITUATION, incidents.now())
    until(lambda: people.told)
    (searching,) = [thread for thread in threading.enumerate() if thread.name == "triage"]
    broadcast = cases._broadcast

    def told_just_then(message: Any) -> None:
        broadcast(message)
        if message.kind == "resolved":
            found.set()
            searching.join(0.5)  # it comes to its end, or has to wait

    monkeypatch.setattr(cases, "_broadcast", told_just_then)
    cases.over()
    settle(cases)
    assert kinds(people) == ["opened", "resolved"]


def test_what_a_person_resolves_in_the_same_instant_is_closed_all_the_same(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)
    cases.opened(SITUATION, incidents.now())
    sent(cases)
    incidents.resolve(incidents.open_case(tmp_path, "shop"), "lena", "done")
    cases.over()
    settle(cases)
    assert kinds(people)[-1] == "resolved"


def test_the_record_of_another_service_that_cannot_be_read_keeps_nobody_from_paging(tmp_path, monkeypatch):
    people = People(monkeypatch)
    (tmp_path / "incidents/20260101T000000Z-other").mkdir(parents=True)
    (tmp_path / "incidents/20260101T000000Z-other/incident.json").write_text("{")
    cases = working(tmp_path)
    cases.opened(SITUATION, None)
    settle(cases)
    assert "opened" in kinds(people)


def test_a_sender_that_fails_in_any_way_sends_the_next_letter(monkeypatch):
    said: list[str] = []
    post = outbox.Outbox(ALERTS, said.append)
    got: list[str] = []

    def deliver(message: Any, *_: Any) -> delivery.Delivery:
        if message.title == "bad":
            raise RuntimeError("can't start new thread")
        return delivery.Delivery(())

    monkeypatch.setattr(delivery, "deliver_level", deliver)
    for title in ("bad", "good"):
        message = casework.Message("k", "opened", "critical", "shop", title, (), (), datetime.now(UTC))
        post.put(outbox.Letter(message, 0, {}, lambda _sent, title=title: got.append(title)))
    post.close()
    assert got == ["good"] and "can't start new thread" in said[0]


def test_where_nothing_can_be_written_people_are_paged_all_the_same(tmp_path, monkeypatch):
    people = People(monkeypatch)
    cases = working(tmp_path)

    def full(*_arguments: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(incidents, "begin", full)
    cases.opened(SITUATION, None)
    sent(cases)
    cases.tick(SITUATION, incidents.now() + timedelta(seconds=400))
    sent(cases)
    cases.over()
    settle(cases)
    assert [kind for kind in kinds(people) if kind != "update"] == ["opened", "escalation", "resolved", "resolved"]
    assert "cannot be written down" in people.messages[0].lines[0]


def test_a_watch_that_is_started_again_goes_on_with_the_incident_and_pages_nobody_twice(tmp_path, monkeypatch):
    people = People(monkeypatch)
    first = working(tmp_path)
    first.opened(SITUATION, incidents.now())
    settle(first)
    second = working(tmp_path)
    second.tick(SITUATION)
    second.over()
    settle(second)
    assert kinds(people).count("opened") == 1 and kinds(people)[-1] == "resolved"


def test_a_triage_that_fails_is_told_and_stops_nothing(tmp_path, monkeypatch):
    People(monkeypatch)

    def decide() -> dict[str, Any]:
        raise RuntimeError("the inventory is gone")

    cases = working(tmp_path, decide)
    cases.opened(SITUATION, incidents.now())
    settle(cases)
    details = [event.get("detail") for event in incidents.cases(tmp_path)[0].events()]
    assert "What can be done could not be found out: the inventory is gone" in details


# --- places


def place(program: str, **more: float) -> Place:
    return Place("db1", [sys.executable, "-c", program], more.get("interval_s", 0.2), more.get("patience_s", 0.2))


def until(question: Any, limit_s: float = 10) -> None:
    end = time.monotonic() + limit_s
    while not question() and time.monotonic() < end:
        time.sleep(0.01)  # between two looks
    assert question()


def test_a_place_gives_its_newest_look_and_an_overdue_one_is_none():
    one = place("import time\nfor n in range(3): print('{\"at\": %d}' % n, flush=True)\ntime.sleep(60)")
    one.start()
    until(lambda: one.look().get("at") == 2)
    until(lambda: "unreachable" in one.look())
    one.stop()


def test_a_place_that_ends_says_why_and_is_started_again():
    one = place("import sys; sys.stderr.write('Permission denied (publickey).'); sys.exit(255)")
    one.start()
    until(lambda: one.look().get("unreachable") == "Permission denied (publickey).")
    one.stop()


def test_a_scene_of_looks_from_places_that_do_not_answer_is_blind():
    looks = {name: {"place": name, "unreachable": "timed out"} for name in PROMISE["places"]}
    assert situations.judge(scene.Scene(PROMISE, looks, {}))["state"] == "blind"


# --- the rehearsal


def rehearsing(tmp_path: Path, alerts: policy.Policy, program: str) -> dict[str, Any]:
    from pgrescue.watch import rehearsal, setting

    looks = {name: json.dumps({**look, "at": 1.0}) for name, look in well().items()}
    script = "import sys, time\nprint(sys.argv[1], flush=True)\n" + program
    places = {name: [sys.executable, "-c", script, look] for name, look in looks.items()}
    told = setting.Setting("shop", "inventories/lab", PROMISE, places, 0.2, 0.2, {}, alerts)
    return rehearsal.run(told, tmp_path)


def test_a_rehearsal_reaches_every_channel_or_says_which_it_did_not(tmp_path):
    from sinks import running

    with running(tmp_path) as sink:
        good = {"kind": "webhook", "url": f"{sink.url}/webhook"}
        alerts = policy.read({"channels": {"hook": good}, "levels": [{"channels": ["hook"]}]})
        found = rehearsing(tmp_path, alerts, "time.sleep(30)")
        assert found["passed"] and found["noticed"] and isinstance(found["channels"]["hook"], float)
        bad = {"kind": "webhook", "url": "http://127.0.0.1:1/"}
        both = {
            "channels": {"hook": good, "dead": bad},
            "levels": [{"channels": ["hook", "dead"]}],
            "retry": {"attempts": 1},
        }
        found = rehearsing(tmp_path, policy.read(both), "time.sleep(30)")
        assert not found["passed"] and isinstance(found["channels"]["dead"], str)
    assert len(list((tmp_path / "rehearsals").glob("*.json"))) in (1, 2)  # named by the second


def test_a_rehearsal_without_channels_or_without_places_fails(tmp_path):
    found = rehearsing(tmp_path, policy.read({}), "time.sleep(30)")
    assert not found["passed"] and found["channels"] == {}
    from pgrescue.watch import rehearsal

    nobody = {name: {"place": name, "at": 1.0} for name in PROMISE["places"]}
    assert not rehearsal.notices(PROMISE, nobody)
