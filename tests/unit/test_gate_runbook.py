"""A gate in a real run: a runbook on this machine that does what a recovery does, the second person on another one."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from modules import HOUSE
from object_store import ObjectStore
from pgrescue import gate, plan_view, procedures, recovery, runner
from pgrescue.core import journal as timelines
from pgrescue.core import records, steering
from postgres import until
from rich.console import Console

RUN = "20261124T012050Z-shop-gated"
BIN = Path(sys.executable).parent
ROLE = {"ansible.builtin.import_role": {"name": "pgrescue.runbooks.run", "tasks_from": "require_approval"}}
PAUSE = {"ansible.builtin.import_role": {"name": "pgrescue.runbooks.run", "tasks_from": "check_pause"}}


def play(name, phase, *tasks):
    return {"name": name, "hosts": "shop", "gather_facts": False, "vars": {"phase": phase}, "tasks": list(tasks)}


@pytest.fixture
def site(tmp_path):
    """A runbook with a gate, a step that changes something and one that may be left out; its service and its store."""
    with ObjectStore(tmp_path / "objects", bucket="evidence") as store:
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        said = {
            "service_name": "shop",
            "service_gates": {"second_person": True},
            "record_stores": [store.place],
            "objectives": {"rto_s": 60, "rpo_s": 60, "phases": {}},
            "postgres_version": 17,
            "run_procedure": "gated",
        }
        host = {"hosts": {"here": local}}
        children = {"shop": {**host, "vars": said}, "witness": host, "postgres": host}
        (tmp_path / "hosts.yml").write_text(
            yaml.safe_dump({"all": {"hosts": {"localhost": local}, "children": children}})
        )
        made = {"ansible.builtin.copy": {"dest": f"{tmp_path}/changed", "content": "x", "mode": "0600"}}
        left = {"ansible.builtin.copy": {"dest": f"{tmp_path}/standby", "content": "x", "mode": "0600"}}
        plays = [
            play("1/3 Decide", "decide", begin(), {"name": "The gate", **ROLE}),
            play("2/3 Prepare", "prepare", {"name": "Pause", **PAUSE}, {"name": "Change something", **made}),
            play(
                "3/3 Protect",
                "protect",
                {"name": "Pause", **PAUSE},
                {"name": "Standby", "when": "not 'standbys' | pgrescue.runbooks.is_skipped", **left},
            ),
        ]
        (tmp_path / "gated.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        for machine in ("ours", "theirs"):
            (tmp_path / machine).mkdir()
        plan(tmp_path / "ours" / RUN)
        yield tmp_path


def begin():
    return {
        "name": "Begin",
        "ansible.builtin.import_role": {"name": "pgrescue.runbooks.run", "tasks_from": "begin"},
    }


def plan(run_dir):
    run_dir.mkdir()
    made = {"run": RUN, "made": timelines.now(), "procedure": "gated", "service": "shop", "changes": ["a file is made"]}
    records.write_json(str(run_dir / "plan.json"), made)


def run(site, command, machine, who):
    env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PYTHONPATH": str(HOUSE / "python")}
    env |= {"PGRESCUE_RUNS": str(site / machine), "PGRESCUE_OPERATOR": who, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def gated(site, *more, who="alice@bastion"):
    command = ["ansible-playbook", str(site / "gated.yml"), "-i", str(site / "hosts.yml"), "-e", "service=shop"]
    return run(site, [*command, "-e", f"run_id={RUN}", *more], "ours", who)


def pgrescue(site, *words, machine="theirs", who="bob@laptop"):
    return run(site, [str(BIN / "pgrescue"), *words], machine, who)


def events(site):
    return timelines.events(str(site / "ours" / RUN / "timeline.jsonl"))


def test_a_run_goes_on_when_somebody_on_another_machine_approves(site):
    code, said = gated(site, "-e", "confirm=shop")
    assert (code, "wants a second person" in said, (site / "changed").exists()) == (2, True, False), said
    where = ("-i", str(site / "hosts.yml"))
    code, said = pgrescue(site, "approve", RUN, "--reason", "seen it", *where)
    assert (code, "Nobody is here to ask" in said) == (4, True), said
    code, said = pgrescue(site, "approve", RUN, "--reason", "seen it", "--confirm", "orders", *where)
    assert (code, "'orders' was typed" in said) == (4, True), said
    code, said = pgrescue(site, "approve", RUN, "--reason", "seen it", "--confirm", "shop", *where, who="alice@laptop")
    assert (code, "alice@laptop does not count as the second person of a run by alice@bastion" in said) == (0, True)
    code, said = pgrescue(site, "approve", RUN, "--reason", "seen it", "--confirm", "shop", "--json", *where)
    assert code == 0, said
    # as the next command shall name it: from above the folder of the runbooks where it lies there
    assert records.read_json(str(site / "ours" / RUN / "run.json"))["inventory"] == site.name
    written = json.loads(said[said.index("{") :])
    assert (written["approval"]["by"], written["missing_from"]) == ("bob@laptop", {})
    code, said = gated(site)
    assert (code, (site / "changed").exists(), (site / "standby").exists()) == (0, True, True), said
    passed = [e["detail"] for e in events(site) if e["event"] == "approval" and e["status"] == "approved"]
    assert passed == [
        "alice@bastion, by confirm: typed the service's name",
        "alice@laptop, by approval: seen it",
        "bob@laptop, by approval: seen it",
    ]


def test_a_run_waits_at_the_gate_and_says_for_whom(site):
    code, said = gated(site, "-e", "confirm=shop", "-e", "run_gate_wait_s=1")
    assert (code, "wants a second person" in said) == (2, True), said
    waits = [e for e in events(site) if e["event"] == "decision" and e["status"] == "waiting"]
    assert ["second person" in e["detail"] for e in waits] == [True]
    asked = ["ansible-playbook", "playbooks/approve.yml", "-i", str(site / "hosts.yml"), "-e", "service=shop"]
    asked += ["-e", f"run_id={RUN}", "-e", "reason=seen"]
    assert refused_there(site, *asked)
    code, said = run(site, [*asked, "-e", "approver=carol"], "theirs", "awx@pod")
    assert code == 0, said
    assert gated(site)[0] == 0


def refused_there(site, *asked):
    """Whether a reason of blanks is refused, with nothing written there."""
    code, said = run(site, [*asked, "-e", '{"reason": " "}'], "theirs", "awx@pod")
    assert (code, "needs a reason" in said) == (2, True), said
    return not list((site / "theirs" / RUN).glob("approval-*-"))


class Desk:
    """A terminal at which somebody types the service's name when they have read what they are asked."""

    def __init__(self):
        self.hand, there = pty.openpty()
        self.answers = os.fdopen(there, "r")
        self.screen = io.StringIO()
        self.console = Console(file=self.screen, force_terminal=True, width=100)
        self.person = threading.Thread(target=self.sit, daemon=True)

    def sit(self):
        until(lambda: "Type the service" in self.screen.getvalue(), 60, "the question")
        os.write(self.hand, b"shop\n")


@pytest.fixture
def desk(monkeypatch):
    one = Desk()
    monkeypatch.setattr(sys, "stdin", one.answers)
    one.person.start()
    yield one
    one.person.join()
    one.answers.close()
    os.close(one.hand)


def test_the_command_asks_the_person_who_sits_there_while_the_run_waits(site, desk, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", site / "ours")
    monkeypatch.setenv("PGRESCUE_OPERATOR", "alice@bastion")
    wanted = {"service": "shop", "run_id": RUN, "break_glass": "alone", **gate.variables(None, desk.console)}
    assert wanted["run_gate_wait_s"] == gate.PATIENCE_S
    play = runner.start(
        str(site / "gated.yml"), str(site / "hosts.yml"), wanted, {"PGRESCUE_OPERATOR": "alice@bastion"}
    )
    recovery.attend(site / "ours" / RUN, play, desk.console, None)
    said = play.output()
    assert (play.wait(), (site / "changed").exists()) == (0, True), said
    play.forget()
    told = [e["detail"] for e in events(site) if e["event"] == "approval" and e["status"] == "approved"]
    assert told == ["alice@bastion, by terminal: typed the service's name"]
    assert "waiting for the operator at gate plan" in desk.screen.getvalue()


def test_a_plan_is_looked_at_in_check_mode(site, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", site / "ours")
    play = runner.start(
        str(site / "gated.yml"), str(site / "hosts.yml"), {"service": "shop", "run_id": RUN}, check=True
    )
    said = (play.wait(), play.answer("approved_by"), play.answer("nothing of that name"))
    assert said == (0, [], None), play.output()
    play.forget()
    assert not (site / "changed").exists()


def test_the_steps_of_every_phase_are_listed():
    request = recovery.Request("complete_loss", "orders", str(HOUSE / "inventories/example"), {})
    found = plan_view.phases(plan_view.listed(request), procedures.load("complete_loss"), {})
    assert [phase.phase for phase in found if phase.phase][:8] == [
        "detect", "decide", "prepare", "restore", "restore", "validate", "resume", "protect",
    ]  # fmt: skip
    assert "Go on only when people want it" in found[1].steps
    assert all(phase.steps for phase in found)


def test_check_mode_asks_nobody_and_changes_nothing(site):
    code, said = gated(site, "--check")
    assert (code, (site / "changed").exists()) == (0, False), said
    assert [path.name for path in (site / "ours" / RUN).iterdir()] == ["plan.json"]


def test_a_paused_run_stops_where_it_is_safe_and_goes_on_when_it_is_run_again(site):
    ask = {"by": "carol@desk", "reason": "the client calls back", "at": "2199-01-01T00:00:00.000000Z"}
    records.write_json(str(site / "ours" / RUN / steering.PAUSE), ask)
    more = ("-e", "confirm=shop", "-e", "break_glass=alone here")
    code, said = gated(site, *more)
    assert (code, "carol@desk paused the run: the client calls back" in said) == (2, True), said
    assert not (site / "changed").exists()
    assert [e["exit_code"] for e in events(site) if e["event"] == "end" and not e["phase"]] == [9]
    # as it is when somebody asked for it during that attempt
    records.write_json(str(site / "ours" / RUN / steering.PAUSE), {**ask, "at": events(site)[-1]["wall"]})
    records.write_json(str(site / "ours" / RUN / steering.SKIPS), [{**ask, "step": "standbys"}])
    code, said = gated(site, *more)
    assert (code, (site / "changed").exists(), (site / "standby").exists()) == (0, True, False), said
