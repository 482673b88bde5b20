"""The application stopped and brought back to the scale it had, whoever runs it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from modules import HOUSE
from platforms import TOKEN, Fly, Kubernetes, played


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "runs" / "20261124T012050Z-orders-complete_loss"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def role(tmp_path, run_dir):
    """Runs an entry point as a recovery does, from another host than the application's; exit code and output."""

    def run(entry, *more, hosts=("app",), **variables):
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        known = {name: {**here, "app_name": name} for name in hosts}
        groups = {"orders": {"hosts": dict.fromkeys([*hosts, "probe"])}, "application": {"hosts": dict.fromkeys(hosts)}}
        inventory = {"all": {"hosts": {**known, "probe": here, "localhost": here}, "children": groups}}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
        role = {"name": "pgrescue.runbooks.application", "tasks_from": entry}
        there = {"apply": {"delegate_to": "{{ there }}"}}
        task = {"name": entry, "ansible.builtin.include_role": {**role, **there}}
        if entry == "observe":
            task = {"name": entry, "ansible.builtin.import_role": role, "delegate_to": "app"}
        else:
            task |= {"loop": list(hosts), "loop_control": {"loop_var": "there"}}
        said = {"name": "Say", "ansible.builtin.debug": {"msg": "runs {{ application_running }}"}}
        tasks = [task, *([said] if entry == "observe" else [])]
        play = {"name": "Application", "hosts": "probe", "gather_facts": False, "vars": {"phase": "resume"}}
        roles = [{"role": "pgrescue.runbooks.application"}]  # its defaults, as a role that depends on it knows them
        (tmp_path / "play.yml").write_text(yaml.safe_dump([{**play, "roles": roles, "tasks": tasks}]))
        common = {"service": "orders", "service_name": "orders", "run_dir": str(run_dir), "application_deadline_s": 5}
        (tmp_path / "vars.yml").write_text(yaml.safe_dump({**common, **variables}))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", f"{tmp_path}/hosts.yml"]
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(tmp_path / "runs")}
        asked = [*command, "-e", f"@{tmp_path}/vars.yml", *more, f"{tmp_path}/play.yml"]
        env |= {"PGRESCUE_RUN_ID": run_dir.name}
        done = subprocess.run(asked, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def resumed(run_dir):
    lines = [json.loads(line) for line in (run_dir / "timeline.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["event"] == "milestone"] == ["application_resumed"]


def on_fly(fly):
    said = {"url": fly.url, "app": "orders", "token": TOKEN}
    return {
        "application_provider": "fly",
        "application_health_url": fly.url + "/health",
        "application_scale": 2,
        **{f"application_fly_{name}": value for name, value in said.items()},
    }


def test_those_machines_start_again_that_ran(role, run_dir):
    with played(Fly("started", "stopped", "started")) as fly:
        code, said = role("observe", **on_fly(fly))
        assert (code, "runs 2" in said, fly.asked) == (0, True, []), said
        code, said = role("stop", "--check", **on_fly(fly))
        assert (code, fly.asked, (run_dir / "application.json").exists()) == (0, [], False), said
        code, said = role("stop", **on_fly(fly))
        assert (code, fly.states()) == (0, [("stopped", True), ("stopped", False), ("stopped", True)]), said
        assert json.loads((run_dir / "application.json").read_text())["machines"] == ["18e4", "38e4"]
        code, said = role("stop", **on_fly(fly))  # gone on with: it still knows which they were
        assert (code, json.loads((run_dir / "application.json").read_text())["machines"]) == (0, ["18e4", "38e4"]), said
        fly.asked.clear()
        code, said = role("start", "--check", **on_fly(fly))
        assert (code, fly.asked) == (0, []), said
        code, said = role("start", **on_fly(fly))
        assert (code, fly.states()) == (0, [("started", False), ("stopped", False), ("started", False)]), said
        assert resumed(run_dir)


def test_the_second_machine_stays_stopped_when_the_first_is_not_well(role):
    with played(Fly("started", "started")) as fly:
        assert role("stop", **on_fly(fly))[0] == 0
        fly.well = False
        code, said = role("start", **{**on_fly(fly), "application_deadline_s": 1})
        assert (code, [state for state, _ in fly.states()]) == (2, ["started", "stopped"]), said


def test_where_no_machine_was_left_to_run_as_many_start_as_are_wanted(role):
    with played(Fly("stopped", "stopped", "stopped")) as fly:
        assert role("stop", **on_fly(fly))[0] == 0
        code, said = role("start", **on_fly(fly))
        assert (code, [state for state, _ in fly.states()]) == (0, ["started", "started", "stopped"]), said
        fly.machines.clear()
        code, said = role("start", **on_fly(fly))
        assert (code, "orders has no machine" in said) == (2, True), said


def test_a_machine_that_a_deployment_holds_stops_the_run(role):
    with played(Fly("started")) as fly:
        fly.leased.add("18e4")
        code, said = role("stop", **on_fly(fly))
        assert (code, "Status code was 409" in said, fly.states()) == (2, True, [("started", False)]), said


def on_kubernetes(cluster):
    said = {"url": cluster.url, "name": "orders", "token": TOKEN}
    return {
        "application_provider": "kubernetes",
        "application_scale": 3,
        **{f"application_kubernetes_{name}": value for name, value in said.items()},
    }


def test_a_deployment_is_scaled_to_nothing_until_no_pod_is_left_and_back(role, run_dir):
    with played(Kubernetes(3)) as cluster:
        code, said = role("observe", **on_kubernetes(cluster))
        assert (code, "runs 3" in said) == (0, True), said
        code, said = role("stop", "--check", **on_kubernetes(cluster))
        assert (code, cluster.replicas) == (0, 3), said
        code, said = role("stop", **on_kubernetes(cluster))
        assert (code, cluster.replicas, cluster.ending) == (0, 0, 0), said
        code, said = role("start", "--check", **on_kubernetes(cluster))
        assert (code, cluster.replicas) == (0, 0), said
        code, said = role("start", **on_kubernetes(cluster))
        assert (code, cluster.replicas) == (0, 3), said
        assert resumed(run_dir)


def test_a_deployment_whose_first_pod_is_not_ready_gets_no_more(role):
    with played(Kubernetes(0)) as cluster:
        cluster.ready = False
        code, said = role("start", **{**on_kubernetes(cluster), "application_deadline_s": 1})
        assert (code, cluster.replicas) == (2, 1), said


def by_commands(tmp_path, health):
    """An application whose instances are the lines of a file."""
    state = tmp_path / "instances"
    start = 'i=0; while [ $i -lt "$APPLICATION_SCALE" ]; do echo x; i=$((i+1)); done >"$0"'
    return state, {
        "application_provider": "command",
        "application_health_url": health,
        "application_scale": 2,
        "application_count_command": ["sh", "-c", 'wc -l <"$0"', str(state)],
        "application_stop_command": ["truncate", "--size=0", str(state)],
        "application_start_command": ["sh", "-c", start, str(state)],
    }


def test_three_command_lines_are_a_platform(role, run_dir, tmp_path):
    with played(Fly()) as health:
        state, how = by_commands(tmp_path, health.url + "/health")
        state.write_text("x\nx\n")
        code, said = role("observe", **how)
        assert (code, "runs 2" in said) == (0, True), said
        code, said = role("stop", "--check", **how)
        assert (code, state.read_text()) == (0, "x\nx\n"), said
        code, said = role("stop", **how)
        assert (code, state.read_text(), "[probe -> app]" in said) == (0, "", True), said
        code, said = role("start", "--check", **how)
        assert (code, state.read_text()) == (0, ""), said
        code, said = role("start", **how)
        assert (code, state.read_text()) == (0, "x\nx\n"), said
        assert resumed(run_dir)
        code, said = role("stop", **{**how, "application_stop_command": ["true"]})
        assert (code, "2 instance(s) still run" in said) == (2, True), said
        code, said = role("start", **{**how, "application_start_command": ["truncate", "--size=0", str(state)]})
        assert (code, "0 of 2 instance(s) run" in said) == (2, True), said


SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$SYSTEMCTL_LOG"
[ "$1" != list-units ] || printf 'orders@1.service loaded active\\norders@2.service loaded active\\n'
"""


def test_units_are_counted_and_told_to_stop_on_the_applications_host(role, tmp_path, monkeypatch):
    """What is asked of systemd; the lab's scenarios have a real one."""
    (tmp_path / "bin").mkdir()
    program, log = tmp_path / "bin" / "systemctl", tmp_path / "log"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SYSTEMCTL_LOG", str(log))
    code, said = role("observe", "--check", application_unit="orders@")
    assert (code, "runs 2" in said, "[probe -> app]" in said) == (0, True, True), said
    code, said = role("stop", application_unit="orders@")
    assert (code, log.read_text().splitlines()[-1], "[probe -> app]" in said) == (
        0,
        "stop --no-block orders@*",
        True,
    ), said


def test_another_region_starts_from_the_copy_and_keeps_what_it_has(role, tmp_path):
    east, west = tmp_path / "east", tmp_path / "west"
    east.mkdir()
    files = {"path": str(east / "orders.env"), "owner": "root", "mode": "0640"}
    (east / "orders.env").write_text("TOKEN=geheim\n")
    how = {"application_cached_files": [files], "application_cache": str(west)}
    code, said = role("equip", **how)
    assert (code, "has no copy of" in said) == (2, True), said
    code, said = role("prepare", "--diff", "-vvv", **how)
    assert (code, "geheim" in said) == (0, False), said
    copy = Path(str(west) + files["path"])
    assert (copy.read_text(), copy.stat().st_mode & 0o777) == ("TOKEN=geheim\n", 0o600)
    code, said = role("prepare", **how)
    assert (code, re.search(r"changed=(\d+)", said)[1]) == (0, "0"), said
    (east / "orders.env").unlink()
    code, said = role("equip", **how)
    assert code == 0, said
    assert ((east / "orders.env").read_text(), (east / "orders.env").stat().st_mode & 0o777) == (
        "TOKEN=geheim\n",
        0o640,
    )
    (east / "orders.env").write_text("its own\n")
    code, said = role("equip", **how)
    assert (code, (east / "orders.env").read_text()) == (0, "its own\n"), said
