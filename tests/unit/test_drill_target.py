"""A host is broken on purpose only while it says so itself, for this service and this database system."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from modules import collection, module, refused
from postgres import PostgresServer

HOUSE = Path(__file__).parents[2]
SYSTEM = "7437700000000004471"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
MARK = {"service": "shop", "system_identifier": SYSTEM, "expires": "2026-11-24T00:00:01Z"}


def refusal(marker, service="shop", system=SYSTEM, now=NOW):
    return collection("plugins.module_utils.drill_targets").refusal(marker, service, system, now)


def test_a_marked_host_may_be_broken_until_the_mark_expires():
    assert refusal(MARK) is None
    assert "expired" in refusal(MARK, now=NOW + timedelta(seconds=1))


def test_a_host_without_a_cluster_is_asked_for_the_service_alone():
    assert refusal(MARK, system="") is None
    assert "of shop, not of orders" in refusal(MARK, "orders", "")


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (None, "not marked"),
        ({**MARK, "service": "orders"}, "of orders, not of shop"),
        ({**MARK, "system_identifier": "1"}, f"system 1, and {SYSTEM} is there"),
        ({**MARK, "expires": "2026-11-24T00:00:00Z"}, "expired"),
        ({**MARK, "expires": "2026-11-25T00:00:00"}, "cannot be read"),
        ({**MARK, "expires": "some day"}, "cannot be read"),
        ({"service": "shop"}, "cannot be read"),
        ([], "cannot be read"),
        ("half a {", "cannot be read"),
    ],
)
def test_what_is_no_drill_target_is_refused_with_the_reason(marker, words, tmp_path):
    assert words in refusal(marker)
    if marker is not None:
        (tmp_path / "mark").write_text(marker if isinstance(marker, str) else json.dumps(marker))
    answer = module("drill_target")(path=str(tmp_path / "mark"), service="shop", system_identifier=SYSTEM)
    assert refused(answer, 4, words, "Nothing was changed.", "mark_drill_targets.yml")


def play(tmp_path, entry, host="", **variables):
    """Run one entry point of the role on this machine."""
    here = {"service_name": "shop", "postgres_version": 17, "fault_marker": f"{tmp_path}/made/mark.json", **variables}
    role = {"name": "pgrescue.runbooks.fault", "tasks_from": entry}
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": [{"ansible.builtin.import_role": role}]}]
    (tmp_path / "play.json").write_text(json.dumps(plays))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", f"{tmp_path}/play.json"]
    command += [
        "-e",
        json.dumps(
            {
                **here,
                "ansible_become": False,
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
            }
        ),
    ]
    env = {**os.environ, "PGHOST": host}
    return subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)


def test_a_mark_that_the_role_makes_lets_its_guard_pass_for_that_database_system_alone(tmp_path):
    assert play(tmp_path, "guard", fault_system_identifier=SYSTEM).returncode == 2
    made = play(tmp_path, "mark", fault_system_identifier=SYSTEM)
    assert made.returncode == 0, made.stdout
    mark = json.loads((tmp_path / "made/mark.json").read_text())
    left = datetime.fromisoformat(mark["expires"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert play(tmp_path, "guard", fault_system_identifier=SYSTEM).returncode == 0
    other = play(tmp_path, "guard", fault_system_identifier="1")
    assert (other.returncode, "and 1 is there" in other.stdout) == (2, True)


def test_nothing_is_marked_where_no_database_was_seen(tmp_path):
    done = play(tmp_path, "mark", fault_system_identifier="")
    assert (done.returncode, (tmp_path / "made").exists()) == (2, False)


def test_an_injector_does_not_act_on_a_host_that_is_not_marked(tmp_path):
    struck = tmp_path / "struck"
    done = play(tmp_path, "power_off", fault_command=["touch", str(struck)], fault_victims={})
    assert (done.returncode, struck.exists()) == (2, False)
    play(tmp_path, "mark", fault_system_identifier=SYSTEM)
    play(tmp_path, "power_off", fault_command=["touch", str(struck)], fault_victims={})
    assert struck.exists()


SLOW = {"slow_disk": "fault_disk_probe", "slow_store": "fault_store_probe"}
CHECKED = "Make sure that it takes longer now"


def probe(tmp_path, then="sleep 1.5", now="true"):
    """What is timed: something else once the fault's file is there."""
    return ["sh", "-c", f"if [ -e {tmp_path}/struck ]; then {then}; else {now}; fi"]


@pytest.mark.parametrize("entry", SLOW)
def test_what_is_slower_than_before_is_a_fault(tmp_path, entry):
    play(tmp_path, "mark", fault_system_identifier=SYSTEM)
    strike = {"fault_command": ["touch", f"{tmp_path}/struck"], SLOW[entry]: probe(tmp_path)}
    done = play(tmp_path, entry, **strike)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("then", "now"),
    [("true", "true"), ("sleep 1.5", "sleep 1.5"), ("sleep 1.5; false", "true")],
    ids=["stayed fast", "was slow before", "is gone"],
)
def test_what_is_not_slower_than_before_is_no_fault(tmp_path, then, now):
    play(tmp_path, "mark", fault_system_identifier=SYSTEM)
    strike = {"fault_command": ["touch", f"{tmp_path}/struck"], SLOW["slow_store"]: probe(tmp_path, then, now)}
    done = play(tmp_path, "slow_store", **strike)
    assert (done.returncode, CHECKED in done.stdout) == (2, True)


def test_what_does_not_answer_before_or_is_not_marked_is_not_struck(tmp_path):
    strike = {"fault_command": ["touch", f"{tmp_path}/struck"], SLOW["slow_disk"]: ["false"]}
    assert play(tmp_path, "slow_disk", **strike).returncode == 2
    play(tmp_path, "mark", fault_system_identifier=SYSTEM)
    done = play(tmp_path, "slow_disk", **strike)
    assert (done.returncode, "See how long it takes" in done.stdout) == (2, True)
    assert not (tmp_path / "struck").exists()


def test_a_table_that_is_not_there_is_no_fault_and_one_that_is_there_is_gone(tmp_path):
    assert play(tmp_path, "mark", fault_system_identifier=SYSTEM).returncode == 0
    with PostgresServer() as server:
        server.psql("CREATE TABLE products ()")
        there = {"host": server.address, "postgres_port": server.port, "fault_system_identifier": SYSTEM}
        wrong = play(tmp_path, "drop_table", fault_table="public.product", **there)
        assert wrong.returncode == 2
        assert "Refuse to drop what is not there" in wrong.stdout
        done = play(tmp_path, "drop_table", fault_table="public.products", **there)
        assert done.returncode == 0, done.stdout
        assert server.psql("SELECT to_regclass('products') IS NULL")


def test_a_place_that_holds_no_cluster_is_not_deleted(tmp_path):
    assert play(tmp_path, "mark", fault_system_identifier=SYSTEM).returncode == 0
    (tmp_path / "place").mkdir()
    asked = {"postgres_current": f"{tmp_path}/place", "fault_system_identifier": SYSTEM}
    done = play(tmp_path, "delete_data_directory", **asked)
    assert (done.returncode, (tmp_path / "place").exists()) == (2, True)
    assert "Refuse to delete what holds no cluster" in done.stdout


SYSTEMCTL = """#!/bin/sh
state=$(cat {0} 2>/dev/null || echo active)
case "$*" in
    *show*) echo LoadState=loaded; echo ActiveState=$state ;;
    *stop*) echo inactive > {0} ;;
    *start*) echo active > {0} ;;
esac
"""


def test_a_server_whose_page_could_not_be_damaged_serves_again(tmp_path, monkeypatch):
    assert play(tmp_path, "mark", fault_system_identifier=SYSTEM).returncode == 0
    stand_in = tmp_path / "bin/systemctl"
    stand_in.parent.mkdir()
    stand_in.write_text(SYSTEMCTL.format(tmp_path / "unit"))
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    with PostgresServer() as server:
        server.psql("CREATE TABLE products ()")
        there = {"host": server.address, "postgres_port": server.port, "fault_system_identifier": SYSTEM}
        wrong = {"fault_path": f"{tmp_path}/no page", "fault_relation": "products", "postgres_unit": "some.service"}
        done = play(tmp_path, "heap_page", **wrong, **there)
    assert (done.returncode, (tmp_path / "unit").read_text()) == (2, "active\n"), done.stdout
