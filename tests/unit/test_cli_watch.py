"""The verbs about incidents and the state of services, as a person types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pgrescue import incident_view, incidents, runner, status, triage_view
from pgrescue.cli import app
from pgrescue.core import journal, proposals, standing
from rich.console import Console
from run_fixture import Synthetic
from scenes import well
from test_situations import MATRIX, judge, request
from typer.testing import CliRunner

SITUATION = {
    "state": "stopped",
    "level": "page",
    "says": "The server does not run.",
    "facts": [{"by": "db1", "says": "it does not run"}],
}


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(runner, "RUNS", tmp_path)
    return tmp_path


def typed(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_an_incident_from_its_declaration_to_its_end(runs):
    declared = typed("declare", "prices are wrong", "-i", "inventories/lab")
    assert declared.exit_code == 0 and "is open, and you look after it" in declared.output
    joined = typed("declare", "images too", "-i", "inventories/lab")
    assert joined.exit_code == 0 and "is open already" in joined.output
    assert len(incidents.cases(runs)) == 1
    for words in (["note", "told the client"], ["join", "scribe"], ["decide", "wait"]):
        assert typed("incident", *words).exit_code == 0
    assert typed("incident", "resolve").exit_code == 2  # a reason is missing
    assert typed("incident", "resolve", "--reason", "the price list was wrong").exit_code == 0
    assert typed("incident", "ack").exit_code == 4
    assert typed("incident", "cause", " ").exit_code == 2
    assert typed("incident", "cause", "an import of last year's list").exit_code == 0
    shown = typed("incident", "show").output
    assert "told the client" in shown and "DECISION" in shown
    assert json.loads(typed("incident", "show", "--json").output)["clocks"]["decision_s"] >= 0
    listed = json.loads(typed("incident", "list", "--json").output)[0]
    assert (listed["decision"], listed["cause"]) == ("wait", "an import of last year's list")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["declare", " "], 2),
        (["declare", "x", "-s", "nobody", "-i", "inventories/lab"], 2),
        (["declare", "x", "-i", "no/such/inventory"], 2),
        (["incident", "show", "nothing"], 3),
        (["incident", "note", "text", "nothing"], 3),
        (["status", "--all"], 1),
    ],
)
def test_what_cannot_be_done_has_its_exit_code_and_a_sentence(runs, words, code):
    found = typed(*words)
    assert found.exit_code == code
    assert found.output.strip()


def test_a_thousand_services_are_one_screen_of_lines(runs):
    (runs / "watch").mkdir()
    now = datetime.now(UTC)
    for number in range(1000):
        at = now - timedelta(seconds=600 if number == 7 else 1)
        state = "hung" if number == 3 else "well"
        said = {"service": f"s{number:04}", "at": at.isoformat(), "state": state, "says": "It.", "silent": []}
        (runs / "watch" / f"s{number:04}.json").write_text(json.dumps(said))
    found = typed("status", "--all")
    lines = found.output.splitlines()
    assert found.exit_code == 1 and len(lines) == 1000
    assert [line.split()[1] for line in lines[:2]] == ["s0003", "s0007"] and "last heard of" in lines[1]


def facts(situation: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """What `pgrescue status` knows of a service without drills or incidents."""
    return {
        "service": "shop",
        "at": datetime.now(UTC).isoformat(),
        "situation": situation,
        **standing.standing(situation, asked),
        "objectives": {"rto_s": 3600, "rpo_s": 86400},
        "last_drill": None,
        "incident": None,
    }


@pytest.mark.parametrize("seen", MATRIX, ids=lambda seen: seen.__name__)
def test_triage_and_status_fit_eighty_columns(seen):
    looks, known = seen()
    situation = judge(looks, **known)
    asked = request(looks)
    said = facts(situation, asked)
    stands = {"standing": {"degraded": said["degraded"]}}
    found = {"service": "shop", "situation": situation, **proposals.propose(situation, asked), "took_s": 4.2, **stands}
    for drawn in (triage_view.render(found), status.render(said)):
        console = Console(width=80, record=True, no_color=True)
        with console.capture() as capture:
            console.print(drawn, highlight=False)
        assert all(len(line) <= 80 for line in capture.get().splitlines())
        shown = " ".join(capture.get().split())
        if situation["level"] == "none" and said["degraded"]:
            assert f"clients are served; {len(said['degraded'])} thing" in shown and "Nothing is wrong" not in shown
        else:
            assert situation["says"].split(".")[0][:40] in shown


def test_an_incident_names_where_each_clock_starts_and_says_the_same_once(runs):
    case, _new = incidents.begin(runs, "shop", "watch", SITUATION, datetime.now(UTC) - timedelta(seconds=4))
    for _ in range(20):
        case.change("watch", "note", None, "it does not run", proposed=[{"says": "Start it", "command": "pgrescue x"}])
    with journal.Journal(str(case.folder / "timeline.jsonl"), "watch") as timeline:
        for _ in range(3):
            timeline.write("note", host="app1", detail="Connection refused")
    incidents.decide(case, "root@vm", "restart it")

    def shown() -> str:
        console = Console(width=120, record=True, no_color=True)
        with console.capture() as capture:
            console.print(incident_view.render(case), highlight=False)
        return capture.get()

    assert "open: The server does not run." in shown() and "PROPOSED" in shown()
    incidents.resolve(case, "root@vm", "it runs")
    said = shown()
    assert "resolved: The server does not run." in said and "PROPOSED" not in said
    assert "last served, until it was detected" in said and "detected, until it was resolved" in said
    assert "root@vm: decided: restart it" in said
    assert said.count("Connection refused") == 1 and "app1: Connection refused  (3 times, until " in said


def test_a_silent_host_of_a_service_that_is_well_is_named():
    looks = well()
    looks["db3"] = {"unreachable": "connect to host db3 port 22: No route to host"}
    situation, asked = judge(looks, standbys=[]), request(looks)
    assert situation["level"] == "none"
    asked = {**asked, "states": {host: seen for host, seen in asked["states"].items() if host != "db3"}}
    said = facts(situation, asked)
    assert [words for words in said["degraded"] if words.startswith("db3 does not say what it is")]
    console = Console(width=80, record=True, no_color=True)
    stands = {"standing": {"degraded": said["degraded"]}, "took_s": 1.0}
    for drawn in (status.render(said), triage_view.render({"service": "shop", "situation": situation, **stands})):
        with console.capture() as capture:
            console.print(drawn)
        assert "db3 does not say what it is" in " ".join(capture.get().split())


def test_a_drill_that_was_gone_on_with_is_said_to_measure_no_way(runs):
    directory = Synthetic().write(runs)
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**run, "kind": "drill", "result": "passed", "exit_code": 0}))
    drill = status.last_drill(runs, run["service"])
    assert drill is not None and "interrupted" not in drill
    with (directory / "timeline.jsonl").open("a") as lines:
        first = json.loads((directory / "timeline.jsonl").read_text().splitlines()[0])
        assert (first["event"], first.get("phase"), first.get("step")) == ("start", None, None)
        lines.write(json.dumps(first) + "\n")
    drill = status.last_drill(runs, run["service"])
    assert drill is not None and drill["interrupted"]


def test_one_record_that_cannot_be_read_does_not_keep_the_status_from_being_told(runs):
    directory = Synthetic().write(runs)
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**run, "kind": "drill", "result": "passed", "exit_code": 0}))
    broken = runs / "20991231T000000Z-shop-complete_loss"
    broken.mkdir()
    (broken / "run.json").write_text("{}")
    drill = status.last_drill(runs, run["service"])
    assert drill is not None and drill["result"] == "passed"


@pytest.mark.parametrize(("problem", "words"), [("the store hangs", "not known"), (None, "never")])
def test_what_could_not_be_listed_is_not_said_to_be_missing(problem, words):
    looks, known = next(iter(MATRIX))()
    situation = judge(looks, **known)
    asked = {**request(looks), "catalog": {"candidates": [], **({"problem": problem} if problem else {})}}
    said = facts(situation, asked)
    console = Console(width=80, record=True, no_color=True)
    console.print(status.render(said), highlight=False)
    shown = console.export_text().splitlines()
    for name in ("RECOVERABLE TO", "PROVEN"):
        assert [line.split(name)[1].strip() for line in shown if line.startswith(name)] == [words]


def test_a_unit_for_this_machine_is_printed(runs):
    found = typed("watch", "--print-unit", "-i", "inventories/lab")
    assert found.exit_code == 0 and "ExecStart=" in found.output and "watch --service %i" in found.output


def left(root, hour, **more):
    """A record of a run that ended, or stopped, as told."""
    name = f"20261124T{hour:02}0000Z-shop-complete_loss"
    (root / name).mkdir()
    said = {**Synthetic().run, "id": name, "kind": "incident", **more}
    (root / name / "run.json").write_text(json.dumps(said))
    return name


def test_a_run_that_stopped_half_way_is_said_to_hold_the_service(tmp_path):
    assert status.holder(tmp_path, "shop") is None
    left(tmp_path, 1, result="passed", exit_code=0)
    assert status.holder(tmp_path, "shop") is None
    half = left(tmp_path, 2, result="failed", exit_code=9)
    left(tmp_path, 3, result="failed", exit_code=4)  # another one was kept out by it
    left(tmp_path, 4, result="passed", exit_code=0, kind="proof")
    left(tmp_path, 5, result="failed", exit_code=5, service="books")
    assert f"run {half} stopped half way and holds the service: pgrescue resume {half}" in status.holder(
        tmp_path, "shop"
    )
    left(tmp_path, 6)  # nobody closed it
    assert "T060000Z-shop-complete_loss stopped half way" in status.holder(tmp_path, "shop")
    left(tmp_path, 7, result="failed", exit_code=7)
    left(tmp_path, 8, result="passed", exit_code=0)
    assert status.holder(tmp_path, "shop") is None


@pytest.mark.parametrize("verb", ["status", "observe"])
def test_a_service_with_nothing_but_a_url_is_told_where_its_dumps_are_looked_at(runs, tmp_path, verb):
    groups = {"orders": {"hosts": {"dump1": {}}, "vars": {"service_name": "orders"}}, "dump": {"hosts": {"dump1": {}}}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"children": groups}}))
    told = typed(verb, "-s", "orders", "-i", str(inventory))
    assert told.exit_code == 3
    assert "`pgrescue lint -s orders` tells what is known of its dumps. Nothing was changed." in told.output
