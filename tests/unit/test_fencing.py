"""The proof that an old primary takes no writes: it must never pass on silence alone."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from modules import collection, module, refused
from postgres import PostgresServer, free_port, programs, until

VERSION = int(programs().parent.name)
UNIT = "postgresql@17-main.service"

fencing = collection("plugins.module_utils.fencing")
guards = collection("plugins.module_utils.guards")


# -- what is sufficient ----------------------------------------------------------------------------------------------


def proof(means, said="so it is"):
    return fencing.Evidence(means, True, said)


def unproven(means, said="nobody knows", disproved=False):
    return fencing.Evidence(means, False, said, disproved)


@pytest.mark.parametrize("strong", fencing.STRONG)
@pytest.mark.parametrize("other", fencing.MEANS)
def test_two_independent_means_are_enough_when_one_is_more_than_silence(strong, other):
    verdict = fencing.problem([proof(strong), proof(other)])
    assert (verdict is None) == (strong != other)


def test_a_cut_network_is_not_a_fence():
    """The port is silent from both sides and the standby lost its primary: the old primary may be well on its side."""
    with pytest.raises(guards.Stop, match="a cut network looks the same") as stopped:
        fencing.judge("db1", [proof("network", "silent"), proof("replication", "lost")])
    assert stopped.value.exit_code == 4
    for word in (
        "Not proven",
        "no evidence by service",
        "no evidence by power",
        "fence_override",
        "Nothing was promoted",
    ):
        assert word in str(stopped.value)


evidences = st.builds(
    lambda means, proven, disproved: fencing.Evidence(means, proven, means, disproved and not proven),
    st.sampled_from(fencing.MEANS),
    st.booleans(),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(evidences, max_size=8))
def test_it_never_passes_below_two_independent_means_nor_on_silence_nor_against_a_contradiction(found):
    passed = fencing.problem(found) is None
    means = {one.means for one in found if one.proven}
    if len(means) < 2 or means <= {"network", "replication"} or any(one.disproved for one in found):
        assert not passed
    if passed:
        assert not {one.means for one in found if not one.proven} & set(fencing.proofs(found))


@settings(deadline=None)
@given(st.lists(evidences, max_size=8), evidences.filter(lambda one: not one.proven))
def test_doubt_never_makes_a_fence_out_of_none(found, doubt):
    if fencing.problem(found) is not None:
        assert fencing.problem([*found, doubt]) is not None


def test_a_contradiction_refuses_whatever_else_is_proven():
    found = [proof("service"), proof("power"), unproven("network", "the port accepts connections", disproved=True)]
    assert "disproved: the port accepts connections" in fencing.problem(found)


def test_a_person_may_take_the_risk_and_it_is_said_as_that():
    verdict = fencing.judge("db1", [proof("network")], "the rack burnt down, seen by Ada")
    assert (verdict["fenced"], verdict["overridden"]) == (False, "the rack burnt down, seen by Ada")
    assert "may still take writes" in verdict["said"]
    with pytest.raises(guards.Stop):
        fencing.judge("db1", [proof("network")], "  ")


@pytest.mark.parametrize(
    ("active", "start", "alive", "says"),
    [
        ("active", "disabled", True, "a server process runs"),
        ("inactive", "disabled", True, "a server process runs"),
        ("activating", "disabled", False, "its unit is activating"),
        ("inactive", "auto", False, "start.conf says auto"),
        ("inactive", "", False, "start.conf says nothing"),
    ],
)
def test_a_host_proves_nothing_while_its_server_runs_or_may_start(active, start, alive, says):
    told = fencing.service("db1", active, start, alive, "in production")
    assert not told.proven
    assert says in told.said
    assert told.disproved == alive


def test_a_port_is_asked_from_two_places_and_they_are_one_proof():
    assert not fencing.network("db1", {"app1": "silent"}).proven
    assert fencing.network("db1", {"app1": "silent", "client1": "refused"}).proven
    assert fencing.network("db1", {"app1": "silent", "client1": "accepted"}).disproved
    assert fencing.problem([fencing.network("db1", {"app1": "refused", "client1": "refused"})] * 2)


@pytest.mark.parametrize(
    ("said", "off", "code", "proven"),
    [
        ("Chassis Power is off\n", "is off$", 0, True),
        ("Chassis Power is on\n", "is off$", 0, False),
        ("Chassis Power is off\n", "is off$", 1, False),  # what a command that failed says is not to be believed
        ("", "is off$", 0, False),
        ("Chassis Power is on\n", "", 0, False),  # an empty expression matches everything
    ],
)
def test_the_power_is_off_only_where_a_command_that_succeeded_says_so(said, off, code, proven):
    assert fencing.power(said, off, code).proven == proven


# -- the modules -----------------------------------------------------------------------------------------------------


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def rack(tmp_path):
    """A machine whose power is a file."""
    state = tmp_path / "power"
    state.write_text("domain db1 is running\n")
    return {
        "file": state,
        "off_command": [script(tmp_path / "off", f"echo 'domain db1 is shut off' >{state}; echo off >>{tmp_path}/log")],
        "state_command": ["/bin/cat", str(state)],
        "state_off": "shut off$",
        "log": tmp_path / "log",
    }


def switch(rack, check=False, **more):
    arguments = {key: rack[key] for key in ("off_command", "state_command", "state_off")}
    return module("power_off")(host="db1", deadline_s=2, check=check, **{**arguments, **more})


def test_power_is_switched_off_once_and_seen_off(rack):
    looked = switch(rack, check=True)
    assert looked["changed"]
    assert not rack["log"].exists()
    answer = switch(rack)
    assert answer["changed"]
    assert "db1 was switched off" in answer["journal"][0]["detail"]
    again = switch(rack)
    assert not again["changed"]
    assert rack["log"].read_text() == "off\n"


def test_power_that_stays_on_is_a_failure_that_quotes_the_command(rack, tmp_path):
    deaf = script(tmp_path / "deaf", "echo 'session could not be opened' >&2; exit 1")
    assert refused(switch(rack, off_command=[deaf]), 5, "not off", "session could not be opened", "ended with 1")


def test_a_state_command_that_hangs_is_ended(rack):
    look = module("fence_evidence")
    hung = look(means="power", host="db1", state_command=["sleep", "60"], state_off="off", deadline_s=1)["evidence"]
    assert not hung["proven"]
    assert "not known" in hung["said"]
    rack["file"].write_text("domain db1 is shut off\n")
    seen = look(means="power", host="db1", state_command=rack["state_command"], state_off="shut off$")["evidence"]
    assert seen["proven"]


def knock(port):
    return module("fence_evidence")(means="network", host="db1", address="127.0.0.1", port=port, from_host="here")[
        "seen"
    ]


def test_a_port_is_told_apart_by_what_it_does():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        assert knock(port) == "accepted"  # a frozen server's kernel accepts too, and the server may thaw
    assert knock(free_port()) == "refused"
    with socket.socket() as full:  # whose queue is full: requests are dropped, as by a cut path
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        assert knock(full.getsockname()[1]) == "silent"
        for one in waiting:
            one.close()


@pytest.fixture
def host(tmp_path, monkeypatch, postgres):
    """A host of the old primary: its configuration folder, and a systemd that says what a file says."""
    conf = tmp_path / str(VERSION)
    (conf / "conf.d").mkdir(parents=True)
    (conf / "conf.d/50-pgrescue.conf").write_text(f"data_directory = '{postgres.data}'\n")
    (conf / "start.conf").write_text("# Fenced by pgrescue\ndisabled\n")
    (tmp_path / "active").write_text("inactive\n")
    script(tmp_path / "systemctl", f"cat {tmp_path}/active; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(collection("plugins.module_utils.postgres"), "CONFIG", str(tmp_path / "%s"))
    return tmp_path


def ask_host():
    answer = module("fence_evidence")(means="service", host="db1", version=VERSION, unit=UNIT)
    return answer["evidence"], answer["lsn"]


def test_the_host_is_believed_only_when_its_server_is_gone(host, postgres):
    assert ask_host()[0]["disproved"]  # systemd knows nothing of a server started by hand
    postgres.stop()
    try:
        told, lsn = ask_host()
        assert told["proven"], told
        assert "cluster shut down" in told["said"]
        assert lsn.startswith("0/")
        (host / "active").write_text("active\n")
        assert not ask_host()[0]["proven"]
        (host / "active").write_text("failed\n")
        assert ask_host()[0]["proven"]
        (host / str(VERSION) / "start.conf").write_text("auto\n")
        assert not ask_host()[0]["proven"]
    finally:
        postgres.start()


def test_a_managed_server_is_gone_only_where_the_inventory_has_it(host, postgres, tmp_path):
    drop_in, empty = tmp_path / "fenced.conf", tmp_path / "empty"
    empty.mkdir()

    def proven(where):
        ask = {"means": "service", "host": "db1", "version": VERSION, "unit": "patroni.service"}
        return module("fence_evidence")(**ask, drop_in=str(drop_in), in_use=str(where))["evidence"]["proven"]

    postgres.stop()
    try:
        (host / str(VERSION) / "start.conf").write_text("auto\n")  # nobody reads it
        assert not proven(postgres.data)  # its manager would start again
        drop_in.touch()
        assert proven(postgres.data)
        assert not proven(empty)  # Debian's configuration names a cluster that is stopped; this one may run elsewhere
    finally:
        postgres.start()
    assert not proven(postgres.data)


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with PostgresServer(settings={"wal_level": "replica"}) as primary, primary.standby_of() as standby:
        until(lambda: standby.psql("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"), 20, "it streams")
        yield primary, standby


def ask_standby(standby, **more):
    at = {"version": VERSION, "port": standby.port, "socket_directory": str(standby.folder)}
    return module("fence_evidence")(means="replication", host="db1", from_host="db2", **at, **more)["evidence"]


def test_a_standby_tells_whether_it_lost_its_primary(pair):
    primary, standby = pair
    silent = ask_standby(standby, deadline_s=1)
    assert (silent["proven"], silent["disproved"]) == (False, False)
    primary.psql("CREATE TABLE busy (id int)")

    def write():
        with primary.connect() as writer:
            for number in range(300):
                writer.execute("INSERT INTO busy VALUES (%s)", (number,))

    writing = threading.Thread(target=write)
    writing.start()
    told = ask_standby(standby, deadline_s=1)
    writing.join()
    assert told["disproved"], told
    primary.stop()
    assert ask_standby(standby)["proven"]


def judge(tmp_path, *evidence, check=False, **more):
    return module("fence_proof")(host="db1", evidence=[*evidence, {}], run_dir=str(tmp_path), check=check, **more)


def test_a_verdict_is_written_down_and_a_refusal_too(tmp_path):
    off = proof("power", "the power is off").as_dict()
    silent = {"app1": "silent", "client1": "silent"}
    assert refused(judge(tmp_path, ports=silent), 4, "db1 is not proven to be fenced", "1 independent proof(s) of 2")
    assert not (tmp_path / "fence-db1.json").exists()
    assert judge(tmp_path, ports=silent, check=True)["fence"]["fenced"] is False
    assert not judge(tmp_path, off, ports=silent, check=True)["changed"]
    assert not (tmp_path / "fence-db1.json").exists()
    answer = judge(tmp_path, off, ports=silent)
    assert answer["journal"][0]["event"] == "decision"
    assert json.loads((tmp_path / "fence-db1.json").read_text())["fenced"] is True
    assert not judge(tmp_path, off, ports=silent)["changed"]
    module("fence_proof")(host="db2", evidence=[off], ports=silent, run_dir=str(tmp_path))
    assert len(list(tmp_path.glob("fence-*.json"))) == 2, "each host has its own"
    assert refused(judge(tmp_path, off, ports={**silent, "app1": "accepted"}), 4, "disproved")
    overridden = judge(tmp_path, ports=silent, override="the rack burnt down")
    assert overridden["fence"]["overridden"] == "the rack burnt down"
    assert "the rack burnt down" in overridden["journal"][0]["detail"]


# -- the role --------------------------------------------------------------------------------------------------------

HOUSE = Path(__file__).parents[2]
POWER = {"off": "off_command", "state": "state_command", "state_off": "state_off"}


@pytest.fixture
def vantage():
    """A host that greets as SSH does, so that it counts as one that answers; what it is asked is run here."""

    def greet():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.sendall(b"SSH-2.0-test\r\n")
            connection.close()

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.77", 22))
        listening.listen()
        thread = threading.Thread(target=greet)
        thread.start()
        yield "127.0.0.77"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def play_fence(folder, vantage, also=None, **variables):
    """Run the role's two entry points for hosts without SSH; the exit code, the output, the journal.

    They are db1, which has the variables, and what is in `also`, host to variables, after it.
    """
    here = {"ansible_host": vantage, "ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    silent = {"ansible_host": "127.0.0.99", "postgres_address": "127.0.0.99"}
    gone = {host: {**silent, **more} for host, more in {"db1": variables, **(also or {})}.items()}
    hosts = {"app1": here, "client1": here, **gone}
    postgres = {host: {} for host in gone}
    groups = {"shop": hosts, "application": {"app1": {}}, "witness": {"client1": {}}, "postgres": postgres}
    inventory = {name: {"hosts": members} for name, members in groups.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": inventory}}))
    calls = [
        {
            "name": verb,
            "ansible.builtin.include_role": {"name": "pgrescue.runbooks.fence", "tasks_from": verb},
            "loop": list(gone),
            "loop_control": {"loop_var": "fence_host"},
        }
        for verb in ("fence", "prove")
    ]
    known = {"phase": "prepare", "service_name": "shop", "postgres_version": VERSION}
    play = {"name": "Fence", "hosts": "client1", "gather_facts": False, "vars": known, "tasks": calls}
    (folder / "fence.yml").write_text(yaml.safe_dump([play]))
    env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(folder / "runs")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(folder / "hosts.yml")]
    command += [str(folder / "fence.yml"), "-e", "run_id=run-1", "-e", "service=shop"]
    if "override" in variables:
        command += ["-e", json.dumps({"fence_override": variables["override"]})]
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    lines = (folder / "runs/run-1/timeline.jsonl").read_text().splitlines()
    return done.returncode, done.stdout + done.stderr, [json.loads(line) for line in lines]


def by_power(rack):
    """The variables of a host whose power can be switched."""
    return {f"fence_power_{name}": rack[key] for name, key in POWER.items()}


def test_a_host_that_is_gone_is_fenced_by_its_power(rack, vantage, tmp_path):
    code, said, events = play_fence(tmp_path, vantage, **by_power(rack))
    assert code == 0, said
    decisions = [event["detail"] for event in events if event["event"] == "decision"]
    assert len(decisions) == 2
    assert "The power of db1 was switched off" in decisions[0]
    assert "db1 is fenced. Proven: the power is off" in decisions[1]
    assert "refused from app1, refused from client1" in decisions[1]
    assert json.loads((tmp_path / "runs/run-1/fence-db1.json").read_text())["fenced"] is True


def test_that_one_host_is_fenced_counts_for_no_other_one(rack, vantage, tmp_path):
    code, said, events = play_fence(tmp_path, vantage, also={"db2": {}}, **by_power(rack))
    assert code == 2, said
    assert "db2 is not proven to be fenced" in said
    assert any("db1 is fenced" in event.get("detail", "") for event in events)


def test_a_host_that_is_silent_and_nothing_else_is_not_fenced(vantage, tmp_path):
    code, said, events = play_fence(tmp_path, vantage)
    assert code == 2, said
    assert "db1 is not proven to be fenced" in said
    assert events[-1]["exit_code"] == 4
    code, said, events = play_fence(tmp_path, vantage, override="seen burning")
    assert code == 0, said
    assert "seen burning" in next(event["detail"] for event in events if event["event"] == "decision")


@pytest.mark.parametrize(("tolerated", "ended"), [(True, "ok"), (False, "failed")])
def test_a_means_that_failed_fails_the_run_only_where_nothing_is_done_about_it(tolerated, ended, tmp_path):
    ask = {"name": "Ask a host that is gone", "ansible.builtin.ping": {}, "ignore_unreachable": tolerated}
    fail = {"name": "Fence over SSH", "ansible.builtin.fail": {"msg": "it hangs"}, "delegate_to": "localhost"}
    say = {"name": "Say why", "ansible.builtin.debug": {"msg": "next means"}}
    block = {"name": "One means", "block": [fail], "rescue": [say], "vars": {"tolerated": True} if tolerated else {}}
    play = {"name": "Fence", "hosts": "db1", "gather_facts": False, "vars": {"phase": "prepare"}, "tasks": [block, ask]}
    (tmp_path / "fence.yml").write_text(yaml.safe_dump([play]))
    env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg"), "PGRESCUE_RUNS": str(tmp_path / "runs")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "db1,", "-e", "ansible_host=127.0.0.99"]
    command += [str(tmp_path / "fence.yml"), "-e", "run_id=run-1", "-e", "service=shop"]
    done = subprocess.run(command, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
    lines = (tmp_path / "runs/run-1/timeline.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["status"], done.returncode == 0) == (ended, tolerated), done.stdout
