"""Modules that keep the record and hold the service, called as Ansible calls them."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from modules import collection, module, refused
from pgrescue.core import records

FACTS = {"kind": "drill", "procedure": "complete_loss", "service": "shop"}


@pytest.fixture
def run_dir(tmp_path):
    made = tmp_path / "20261124T012050Z-shop-complete_loss"
    made.mkdir()
    return made


def begin(run_dir, pid=None, **facts):
    return module("begin_run")(run_dir=str(run_dir), controller_pid=pid or os.getpid(), facts={**FACTS, **facts})


def test_a_run_is_opened_once_and_found_again(run_dir):
    opened = begin(run_dir)
    assert (opened["changed"], opened["journal"][0]["step"]) == (True, "declared")
    assert begin(run_dir)["journal"] == []
    assert (run_dir.parent / "latest").resolve() == run_dir


def test_a_resumed_run_is_open_again(run_dir):
    begin(run_dir)
    run = records.read_json(str(run_dir / "run.json"))
    records.write_json(str(run_dir / "run.json"), {**run, "result": "failed", "exit_code": 5})
    begin(run_dir)
    assert not {"result", "exit_code"} & set(json.loads((run_dir / "run.json").read_text()))


@pytest.mark.parametrize("other", [{"service": "orders"}, {"procedure": "region_failure"}])
def test_a_run_of_something_else_is_refused_and_left_alone(run_dir, other):
    begin(run_dir)
    before = (run_dir / "run.json").read_bytes()
    assert refused(begin(run_dir, **other), 4, "Nothing was changed")
    assert (run_dir / "run.json").read_bytes() == before


def test_two_controllers_do_not_work_on_one_run(run_dir):
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        begin(run_dir, pid=other.pid)
        assert refused(begin(run_dir), 4, f"Process {other.pid} is at work")
    finally:
        other.communicate(b"\n")
    assert not begin(run_dir).get("failed")  # it is gone now


def test_check_mode_opens_nothing(run_dir):
    answer = module("begin_run")(check=True, run_dir=str(run_dir), controller_pid=os.getpid(), facts=FACTS)
    assert not answer.get("failed")
    assert list(run_dir.iterdir()) == []


def hold(tmp_path, run="run-1", holder="alice@bastion", **more):
    return module("service_lock")(service="shop", run=run, holder=holder, directory=str(tmp_path / "locks"), **more)


def test_one_recovery_at_a_time(tmp_path):
    assert hold(tmp_path)["changed"]
    assert not hold(tmp_path)["changed"]
    assert refused(hold(tmp_path, run="run-2"), 4, "run-1", "pgrescue resume run-1", "Nothing was changed")
    assert refused(hold(tmp_path, holder="bob@laptop"), 4, "alice@bastion", "--takeover")
    assert hold(tmp_path, holder="bob@laptop", takeover=True)["held_by"]["holder"] == "bob@laptop"


def test_only_the_run_that_holds_a_service_lets_it_go(tmp_path):
    hold(tmp_path)
    assert not hold(tmp_path, run="run-2", state="absent")["changed"]
    assert refused(hold(tmp_path, run="run-2"), 4)
    assert not hold(tmp_path, holder="bob@laptop", state="absent")["changed"]
    assert refused(hold(tmp_path, run="run-2"), 4)
    assert hold(tmp_path, state="absent")["changed"]
    assert hold(tmp_path, run="run-2")["changed"]


def test_a_refusal_says_that_the_run_is_not_this_ones_to_close(tmp_path):
    hold(tmp_path)
    assert hold(tmp_path, holder="bob@laptop")["journal"][0]["step"] == "refused"


def test_a_controller_that_was_given_up_stops(tmp_path):
    hold(tmp_path)
    assert not hold(tmp_path, state="held").get("failed")
    hold(tmp_path, holder="bob@laptop", takeover=True)
    assert refused(hold(tmp_path, state="held"), 4, "bob@laptop now")
    hold(tmp_path, holder="bob@laptop", state="absent")
    assert refused(hold(tmp_path, state="held"), 4, "nobody now")


def test_a_run_that_ended_elsewhere_is_not_begun_again_from_an_older_record(tmp_path):
    alice, bob = {"attempts": ["1:00", "1:10", "2:00"]}, {"attempts": ["1:00", "1:30"], "holder": "bob@laptop"}
    hold(tmp_path, attempts=["1:00"])
    hold(tmp_path, takeover=True, **bob)
    assert hold(tmp_path, state="absent", **bob)["changed"]
    assert refused(hold(tmp_path, **alice), 4, "bob@laptop", "older", "fetch_run.yml")
    assert hold(tmp_path, holder="bob@laptop", attempts=[*bob["attempts"], "2:00"])["changed"]


def test_other_work_waits_for_a_recovery_to_end(tmp_path):
    assert not hold(tmp_path, state="free").get("failed")
    hold(tmp_path)
    assert not hold(tmp_path, state="free").get("failed")  # it is part of that run
    assert refused(hold(tmp_path, run="", state="free"), 4, "held by run run-1")
    hold(tmp_path, state="absent")
    assert not hold(tmp_path, run="", state="free").get("failed")


def test_two_primaries_are_for_a_person_to_sort_out():
    ask = module("single_primary")
    one = {"db1": {"role": "primary", "timeline": 2}, "db2": {"role": "standby", "timeline": 2}}
    assert ask(states=one)["primary"] == "db1"
    assert ask(states={})["primary"] is None
    two = {**one, "db3": {"role": "primary", "timeline": 1}}
    other = {"db1": {**one["db1"], "managed_by": "Patroni"}}
    assert refused(
        ask(states=other), 4, "Patroni manages the cluster on db1", "patronictl failover", "Nothing was changed"
    )
    assert refused(ask(states=two), 4, "db1 (timeline 2)", "db3 (timeline 1)", "Nothing was changed")


def test_asking_in_check_mode_holds_nothing(tmp_path):
    assert hold(tmp_path, check=True)["changed"]
    assert not (tmp_path / "locks").exists()


def test_of_many_at_once_one_gets_the_service(tmp_path):
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]); from modules import module; "
        "a = module('service_lock')(service='shop', run=sys.argv[2], holder='h', directory=sys.argv[3]); "
        "sys.exit(4 if a.get('failed') else 0)"
    )
    here = str(Path(__file__).parents[1])
    asked = [subprocess.Popen([sys.executable, "-c", ask, here, f"run-{n}", str(tmp_path / "locks")]) for n in range(6)]
    assert sorted(process.wait() for process in asked) == [0, 4, 4, 4, 4, 4]


CHECK = {"name": "a check", "tier": "must", "expected": "1", "observed": "1", "verdict": "passed"}


def record(run_dir, *checks):
    return module("record_validation")(run_dir=str(run_dir), checks=list(checks), reconciliation={"acknowledged": 3})


def test_a_validation_is_written_before_it_is_judged(run_dir):
    assert record(run_dir, CHECK)["journal"][0]["step"] == "validated"
    wrong = {**CHECK, "name": "all rows are there", "observed": "0", "verdict": "failed"}
    assert refused(record(run_dir, CHECK, wrong), 6, "all rows are there: expected 1, found 0", "not switched")
    assert records.read_json(str(run_dir / "checks.json"))[1]["verdict"] == "failed"
    assert refused(record(run_dir, {**CHECK, "verdict": "truncated"}), 6)
    assert refused(record(run_dir), 6, "nothing was checked")


def switch(run_dir, address="10.0.0.2", **more):
    return module("validated_target")(run_dir=str(run_dir), address=address, **more)


def test_traffic_moves_to_the_validated_server_and_to_no_other(run_dir):
    assert refused(switch(run_dir), 4, "validated nothing")
    records.write_json(str(run_dir / "plan.json"), {"target_address": "10.0.0.2"})
    assert refused(switch(run_dir), 4, "validated nothing")
    records.write_json(str(run_dir / "checks.json"), [{**CHECK, "verdict": "failed"}])
    assert refused(switch(run_dir), 4, "a check", "was not changed")
    records.write_json(str(run_dir / "checks.json"), [CHECK])
    assert not switch(run_dir).get("failed")
    assert refused(switch(run_dir, "10.0.0.9"), 4, "The plan's target is 10.0.0.2")


def greet(words):
    """A listener that greets everybody; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(words)

    threading.Thread(target=serve, daemon=True).start()
    return listener


def test_a_frozen_host_that_accepts_and_says_nothing_does_not_answer():
    with greet(b"SSH-2.0-x\r\n") as well, socket.create_server(("127.0.0.2", 0)) as frozen:
        port = well.getsockname()[1]
        with socket.create_server(("127.0.0.3", port)), greet(b""):
            asked = {"a": "127.0.0.1", "b": "127.0.0.3", "c": "127.0.0.4"}
            places = {name: {"address": address, "port": port} for name, address in asked.items()}
            places["d"] = {"address": "127.0.0.2", "port": frozen.getsockname()[1]}
            answer = module("reachable_hosts")(hosts=places, timeout_s=0.3)
    assert (answer["answering"], answer["silent"]) == (["a"], ["b", "c", "d"])


def test_ssh_is_looked_for_where_each_host_has_it_and_not_where_its_database_listens():
    places = collection("plugins.filter.hosts").ssh_places
    hostvars = {
        "db1": {"ansible_host": "10.0.0.11", "postgres_address": "10.9.0.11", "ansible_port": 2222},
        "db2": {"postgres_address": "10.9.0.12"},
    }
    assert places(hostvars, hostvars) == {
        "db1": {"address": "10.0.0.11", "port": 2222},
        "db2": {"address": "db2", "port": None},
    }


def test_an_old_copy_that_accepts_connections_is_a_refusal(postgres):
    stopped = module("traffic_stopped")
    ask = {"hosts": {"db1": "127.0.0.1"}, "timeout_s": 0.5}
    assert refused(stopped(postgres_port=postgres.port, **ask), 4, "db1", "Fence it first")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert stopped(postgres_port=port, **ask)["seen"] == {"db1": "refused"}
    assert not stopped(postgres_port=postgres.port, check=True, **ask).get("failed")


def test_a_store_that_accepts_and_says_nothing_is_not_waited_for(tmp_path):
    network = collection("plugins.module_utils.network")
    with socket.create_server(("127.0.0.1", 0)) as hangs, socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()[1]
        gone.close()
        found = network.tls_problems(
            {"1": f"127.0.0.1:{hangs.getsockname()[1]}", "2": f"127.0.0.1:{closed}"}, timeout_s=0.5
        )
    assert "timed out" in found["1"]
    assert "refused" in found["2"]


def test_the_files_of_a_program_are_laid_down_in_one_call(tmp_path):
    def lay(check=False, **files):
        wanted = [{"path": f"{tmp_path}/{name}", "text": text} for name, text in files.items()]
        answer = module("program_files")(files=wanted, check=check)
        return {**answer, "written": [path.removeprefix(f"{tmp_path}/") for path in answer["written"]]}

    (tmp_path / "other.py").write_text("theirs")
    assert lay(check=True, a="x\n", b="y")["written"] == ["a", "b"]
    assert not (tmp_path / "a").exists()
    assert lay(a="x\n", b="y")["changed"]
    assert not lay(a="x\n", b="y")["changed"]
    (tmp_path / "b").write_text("z")
    (tmp_path / "a").chmod(0o600)
    assert lay(a="x\n", b="y")["written"] == ["a", "b"]
    assert ((tmp_path / "b").read_text(), (tmp_path / "a").stat().st_mode & 0o777) == ("y", 0o644)
    assert (tmp_path / "other.py").read_text() == "theirs"
    assert lay(**{"new/place/c": "z"})["written"] == ["new/place/c"]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755
