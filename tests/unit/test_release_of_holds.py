"""Whose hold on the repositories `protect.yml` lets go: its role run by Ansible, a real lock, a real pgBackRest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from backups import repositories_of
from modules import module

HOUSE = Path(__file__).parents[2]
PROOF = "20261124T030000Z-shop-prove"
ENDED, AT_WORK = "20261124T010000Z-shop-complete_loss", "20261124T020000Z-shop-complete_loss"


@pytest.fixture(scope="module")
def repositories():
    with repositories_of() as made:
        yield made


@pytest.fixture
def locks(tmp_path):
    def lock(run, **more):
        at = {"service": "shop", "directory": str(tmp_path / "locks"), "holder": "alice@bastion", "attempts": ["1:00"]}
        answer = module("service_lock")(run=run, **at, **more)
        assert not answer.get("failed"), answer

    return lock


@pytest.fixture
def held(repositories, monkeypatch):
    """Hold both repositories for runs; and which runs hold each."""
    monkeypatch.setenv("PGBACKREST_CONFIG", str(repositories.config))

    def hold(*runs):
        for run in runs:
            answer = module("retention_hold")(stanza="test", endpoints={"1": "", "2": ""}, run=run)
            assert not answer["silent_repositories"]

    def now():
        return [sorted(p.name for p in (repositories.folder / f"repo{n}/hold").glob("*")) for n in (1, 2)]

    yield hold, now
    for path in repositories.folder.glob("repo?/hold/*"):
        path.unlink()


@pytest.fixture
def release(tmp_path, repositories):
    """Run the role's part as `protect.yml` does; how it ended and what it said."""
    tasks = [{"ansible.builtin.import_role": {"name": "pgrescue.runbooks.pgbackrest", "tasks_from": "release_ended"}}]
    play = {"name": "Let go", "hosts": "postgres", "gather_facts": False, "tasks": tasks}
    play["module_defaults"] = {"pgrescue.runbooks.ended_run": {"directory": str(tmp_path / "locks")}}
    (tmp_path / "runbook.yml").write_text(yaml.safe_dump([play]))
    host = {"hosts": {"localhost": {}}}
    said = {
        "service_name": "shop",
        "pgbackrest_stanza": "test",
        "pgbackrest_endpoints": {"1": "", "2": ""},
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }
    said["record_stores"] = []
    groups = {"shop": {**host, "vars": said}, "postgres": host, "witness": host}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))

    def run(*more, programs=None, runbook=tmp_path / "runbook.yml"):
        command = [
            Path(sys.executable).parent / "ansible-playbook",
            runbook,
            "-i",
            tmp_path / "hosts.yml",
        ]
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
            "PGBACKREST_CONFIG": str(repositories.config),
            "PGRESCUE_RUNS": str(tmp_path / "runs"),
        }
        env["PATH"] = f"{programs}:{env['PATH']}" if programs else env["PATH"]
        done = subprocess.run([*command, *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_recovery_that_began_meanwhile_keeps_its_hold(release, held, locks):
    hold, now = held
    locks(ENDED)
    hold(ENDED)
    locks(ENDED, state="absent")
    locks(AT_WORK)  # while `protect.yml` took a first backup
    hold(AT_WORK)
    code, said = release()
    assert code == 0, said
    assert now() == [[AT_WORK], [AT_WORK]]
    assert f"run {AT_WORK} still holds it" in " ".join(said.split())
    code, said = release("-e", f"let_go={AT_WORK}")
    assert code != 0
    assert "is at work on shop" in said
    assert now() == [[AT_WORK], [AT_WORK]]
    assert "changed=0" in release()[1]


def test_what_is_not_known_to_have_ended_stays_until_somebody_says_so(release, held, locks):
    hold, now = held
    hold("run-of-a-lost-note")
    code, said = release()  # there is neither lock nor note
    assert (code, now()) == (0, [["run-of-a-lost-note"]] * 2), said
    locks(ENDED)
    locks(ENDED, state="absent")
    release()
    assert now() == [["run-of-a-lost-note"]] * 2
    code, said = release("-e", "let_go=run-of-a-lost-note")
    assert (code, now()) == (0, [[], []]), said


def test_a_run_that_goes_on_keeps_its_hold(release, held, locks):
    hold, now = held
    locks(ENDED)
    hold(ENDED)
    locks(ENDED, state="absent")
    locks(ENDED)
    code, said = release()
    assert (code, now()) == (0, [[ENDED], [ENDED]]), said


def test_a_run_that_goes_on_in_that_very_moment_is_given_its_hold_back(release, held, locks, tmp_path):
    hold, now = held
    locks(ENDED)
    hold(ENDED)
    locks(ENDED, state="absent")
    lock, again = tmp_path / "locks/shop.json", tmp_path / "locks/again"
    again.write_text(f'{{"service": "shop", "run": "{ENDED}", "holder": "bob@laptop", "since": "1:30"}}')
    engine = tmp_path / "programs/pgbackrest"
    engine.parent.mkdir()
    engine.write_text(
        '#!/bin/sh\n/usr/bin/pgbackrest "$@" || exit\n'
        f'case "$*" in *repo-rm*) echo gone >> {tmp_path}/removed; cp {again} {lock};; esac\n'
    )
    engine.chmod(0o755)
    code, said = release(programs=engine.parent)
    assert code != 0
    assert "is at work on shop" in said
    assert (tmp_path / "removed").read_text().splitlines() == ["gone", "gone"]
    assert now() == [[ENDED], [ENDED]]


@pytest.mark.parametrize(("procedure", "left"), [("prove", []), ("verify", [PROOF])])
def test_a_proof_that_is_closed_lets_go_what_it_held_however_it_ended(release, held, tmp_path, procedure, left):
    hold, now = held
    hold(PROOF, AT_WORK)
    record = tmp_path / "runs" / PROOF
    record.mkdir(parents=True)
    (record / "run.json").write_text(json.dumps({"procedure": procedure}))  # no record that could be measured
    code, said = release("-e", "service=shop", "-e", f"run_id={PROOF}", runbook="playbooks/close_proof.yml")
    assert code != 0, said
    assert now() == [sorted([*left, AT_WORK])] * 2


def test_a_proof_holds_every_repository_before_it_chooses_a_backup():
    tasks = yaml.safe_load((HOUSE / "roles/proof/tasks/decide.yml").read_text())
    said = [str(task) for task in tasks]
    holds = next(n for n, task in enumerate(said) if "'tasks_from': 'hold'" in task)
    assert holds < next(n for n, task in enumerate(said) if "backup_catalog" in task)
