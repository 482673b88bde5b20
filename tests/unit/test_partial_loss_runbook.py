"""The runbook of a partial loss, run by Ansible against a real server and a real pgBackRest.

What hosts say of themselves is given. The copy is restored by the same modules without Ansible, as the server's user,
to whom the Python that runs the tests may be closed.
"""

import io
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import yaml
from backups import repositories_of
from modules import as_user, module
from partial import TABLES
from pgrescue import gate
from postgres import PostgresServer, programs, until
from rich.console import Console

HOUSE = Path(__file__).parents[2]
VERSION = int(programs().parent.name)
RUN = "20261124T012050Z-test-partial_loss"
LIVE = ("partial_staging", "row_difference", "merge_rows", "undo_merge", "hold_acknowledged")


@pytest.fixture(scope="module")
def service():
    """A live server whose damage came after a backup and a named point."""
    server = PostgresServer(settings={"max_connections": 30})
    with repositories_of(server) as made:
        server.psql("CREATE ROLE clerk")
        server.psql("CREATE SCHEMA pgrescue")
        server.psql("CREATE TABLE pgrescue.witness AS SELECT 1::bigint AS token")
        server.psql("CREATE DATABASE thirty")
        with psycopg.connect(server.dsn, dbname="thirty", autocommit=True) as connection:
            connection.execute(TABLES)
        made.backup(1)
        made.own()
        yield made


def ask(service, statements):
    with psycopg.connect(service.server.dsn, dbname="thirty", autocommit=True) as connection:
        cursor = connection.execute(statements)
        while cursor.nextset():
            pass
        return cursor.fetchone()[0] if cursor.description else None


@pytest.fixture
def runbook(service, tmp_path):
    """Runs a runbook; exit code and output."""
    server = service.server
    (system,) = server.psql("SELECT system_identifier::text FROM pg_control_system()")[0]
    state = {"system_identifier": system, "ready": True, "data_directory": str(server.data)}
    said = {
        "service_name": "test",
        "objectives": {"rto_s": 3600, "rpo_s": 86400, "phases": {"restore": 60}},
        "postgres_version": VERSION,
        "postgres_port": server.port,
        "postgres_root": str(server.folder),
        "postgres_address": server.address,
        "postgres_replication_password": "secret",
        "region": "here",
        "pgbackrest_endpoints": {},  # they are folders
        "partial_loss_live": f"host={server.address} port={server.port}",
        "partial_loss_settings": {"shared_buffers": "16MB"},
        "record_stores": [],
        "witness_journal": str(tmp_path),
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
    }
    hosts = {
        "live1": {"postgres_state": {**state, "role": "primary"}},
        "copy1": {"postgres_state": {**state, "role": "spare"}},
    }
    named = {"hosts": {name: {} for name in hosts}}
    groups = {"test": {"hosts": hosts, "vars": said}, "postgres": named, "witness": {"hosts": {"live1": {}}}}
    witnessed(tmp_path, 1)
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    at = {"socket_directory": str(server.folder)}
    defaults = {f"pgrescue.runbooks.{name}": at for name in LIVE}
    defaults["pgrescue.runbooks.service_lock"] = {"directory": str(tmp_path / "locks")}
    home = tmp_path / "programs"
    home.mkdir()
    (home / "pg_ctl").write_text(f'#!/bin/sh\nexec {" ".join(service.own())} {programs()}/pg_ctl "$@"\n')
    (home / "pg_ctl").chmod(0o755)
    defaults["pgrescue.runbooks.scratch_server"] = {"programs": str(home)}
    defaults["community.postgresql.postgresql_query"] = {"login_unix_socket": str(server.folder)}

    def run(name, *more):
        plays = [play for play in yaml.safe_load((HOUSE / f"playbooks/{name}.yml").read_text()) if "hosts" in play]
        for play in plays:
            play.pop("validate_argspec", None)
            play["gather_facts"] = False
            play["module_defaults"] = defaults
            play["environment"] = {"PGBACKREST_CONFIG": str(service.config)}
            play["tasks"] = [task for task in play["tasks"] if "recovery" not in str(task)]
        plays = [play for play in plays if "restore'}" not in str(play["tasks"])]
        (tmp_path / f"{name}.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        command = [
            Path(sys.executable).parent / "ansible-playbook",
            tmp_path / f"{name}.yml",
            "-i",
            tmp_path / "hosts.yml",
        ]
        env = {
            **os.environ,
            "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"),
            "PGRESCUE_RUNS": str(tmp_path / "runs"),
            "PGUSER": "postgres",
        }
        done = subprocess.run(
            [*command, "-e", "service=test", *more], cwd=HOUSE, env=env, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def restore(service, plan):
    """What the third play does."""
    at = {"place": plan["data_directory"], "run": RUN, "version": VERSION}
    backup = {"stanza": "test", "system_identifier": plan["system_identifier"], "candidates": plan["candidates"]}
    point = {**plan["recovery_target"], "timeline": plan["target_timeline"]}
    target = {
        "type": point["type"],
        "target": point["value"],
        "inclusive": point["inclusive"],
        "timeline": point["timeline"],
    }
    reached = {"version": VERSION, "socket_directory": plan["data_directory"] + ".socket"}

    def call():
        for name, arguments in (
            ("restore_backup", {**at, **backup, **target, "archive": False, "apart": True}),
            ("scratch_server", {**at, "state": "started", "settings": {"shared_buffers": "16MB"}}),
            ("await_server", {**reached, "place": plan["data_directory"], "until": "writable", "deadline_s": 60}),
            ("scratch_server", {**at, "state": "offline", "settings": {"shared_buffers": "16MB"}}),
        ):
            answer = module(name)(**arguments)
            assert not answer.get("failed"), answer
        return answer

    as_user(service.server.user, call)


def witnessed(folder, token):
    """One commit was acknowledged to the witness."""
    now = datetime.now(UTC)
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    result = {"event": "result", "probe": "commit", "token": token, "ok": True, "start": stamp, "end": stamp}
    (folder / now.strftime("%Y%m%dT%H.jsonl")).write_text(json.dumps(result, separators=(",", ":")) + "\n")


def closed(run_dir):
    """How the run ended, by its record."""
    done = subprocess.run(
        [sys.executable, "-m", "pgrescue.close", run_dir],
        env={**os.environ, "PYTHONPATH": HOUSE / "python"},
        check=False,
    )
    assert done.returncode == 0
    run = json.loads((run_dir / "run.json").read_text())
    return run["result"], run["exit_code"]


def test_check_mode_shows_the_plan_and_what_cannot_be_is_refused_with_nothing_left(service, runbook, tmp_path):
    before = {p for p in service.folder.rglob("*") if p.is_file() and "/archive/" not in str(p)}
    asked = ["-e", "partial_tables=public.events", "-e", "partial_to=name:sometime"]
    code, said = runbook("partial_loss", *asked, "--check")
    assert code == 0, said
    assert "rows of public.events that are missing come back, once that is confirmed" in said
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "locks").exists()
    for wrong, words in (("partial_to=0/1", "No backup was complete before lsn 0/1"), ("partial_to=", "no moment to")):
        code, said = runbook("partial_loss", *asked, "-e", wrong, "-e", f"run_id={RUN}")
        assert (code, words in said) == (2, True), said
        assert not (tmp_path / "locks/test.json").exists(), "the service is let go"
        assert closed(tmp_path / "runs" / RUN) == ("failed", 3)
    assert {p for p in service.folder.rglob("*") if p.is_file() and "/archive/" not in str(p)} - before <= set(
        service.folder.rglob("lock/*")
    )


def test_rows_come_back_from_a_backup_and_an_undo_takes_them_away_again(service, runbook, tmp_path, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(service.config))
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGRESCUE_OPERATOR", "nobody")
    ask(service, "SELECT pg_create_restore_point('before_damage')")
    ask(service, "DELETE FROM events; UPDATE orders SET last_payment = NULL; DELETE FROM payments WHERE id > 100")
    ask(service, "INSERT INTO payments (paid_for, amount) VALUES (5, 5)")
    run_dir = tmp_path / "runs" / RUN
    asked = ["-e", "partial_tables=public.events,public.payments", "-e", "partial_database=thirty"]
    going_on = ["-e", f"run_id={RUN}"]
    code, said = runbook("partial_loss", *asked, *going_on, "-e", "partial_to=name:before_damage")
    assert (code, (run_dir / "plan.json").exists()) == (2, True), said  # there is no copy yet
    service.own()
    restore(service, json.loads((run_dir / "plan.json").read_text()))
    assert "is for tables" in runbook("partial_loss", *going_on, "-e", "partial_tables=public.orders")[1]
    code, said = runbook("partial_loss", *going_on)
    assert code == 2, said
    assert f"pgrescue resume {RUN} -i {tmp_path.name} --confirm test" in said, said
    assert closed(run_dir) == ("failed", 4)
    assert ask(service, "SELECT count(*) FROM payments") == 101
    counted = {one["table"]: one for one in json.loads((run_dir / "difference.json").read_text())["tables"]}
    assert (counted["public.payments"]["missing"], counted["public.payments"]["newer"]) == (500, 1)
    assert not list(service.server.folder.glob("partial-test*")), "the copy is removed"
    screen, since = Console(file=io.StringIO()), datetime.now(UTC)

    def sit():
        until(lambda: gate.wanted(run_dir, "nobody", since), 60, "the question")
        gate.answer(run_dir, gate.wanted(run_dir, "nobody", since), "nobody", screen, io.StringIO("test\n"))

    person = threading.Thread(target=sit)
    person.start()
    code, said = runbook("partial_loss", *going_on, "-e", "run_gate_wait_s=60")
    person.join()
    assert code == 0, said
    assert "public.payments: 500 missing" in screen.file.getvalue()
    assert ask(service, "SELECT count(*) FROM payments") == 601
    assert ask(service, "SELECT count(*) FROM events") == 900
    checks = json.loads((run_dir / "checks.json").read_text())
    assert {check["verdict"] for check in checks} == {"passed"}
    assert json.loads((run_dir / "reconciliation.json").read_text())["acknowledged"] == 1
    assert closed(run_dir) == ("passed", 0)
    code, said = runbook("partial_loss", *going_on)
    assert (code, ask(service, "SELECT count(*) FROM payments")) == (0, 601), said
    undo = ["-e", f"undo_run={RUN}", "-e", "run_id=20261124T022050Z-test-undo_merge"]
    (tmp_path / "locks/test.json").unlink()  # as closing the run does
    code, said = runbook("undo_merge", *undo)
    assert code == 2, said
    assert "-e confirm=test" in said, said
    code, said = runbook("undo_merge", *undo, "-e", "confirm=test")
    assert code == 0, said
    assert ask(service, "SELECT count(*) FROM payments") == 101
    assert ask(service, "SELECT count(*) FROM events") == 0
    assert closed(tmp_path / "runs/20261124T022050Z-test-undo_merge") == ("passed", 0)
