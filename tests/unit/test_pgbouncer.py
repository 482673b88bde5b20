"""Clients wait at a real PgBouncer and see no error while the server behind it is exchanged."""

import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml
from modules import HOUSE, collection, module, refused
from pgbouncer import PgBouncer
from postgres import PostgresServer, until

pgbouncer = collection("plugins.module_utils.pgbouncer")
guards = collection("plugins.module_utils.guards")


@pytest.fixture
def server():
    with PostgresServer(settings={"wal_level": "replica"}) as one:
        one.psql("CREATE TABLE things (id int PRIMARY KEY)")
        yield one


@pytest.fixture
def bouncer(server):
    with PgBouncer(server) as one:
        yield one


def control(bouncer, state, **more):
    how = {"host": str(bouncer.folder), "port": bouncer.port, "databases": ["orders"], **more}
    return module("pgbouncer_control")(state=state, **how)


class Client:
    """It writes one number after the other and counts what it was told is committed, and every error."""

    def __init__(self, bouncer):
        self.bouncer, self.acknowledged, self.errors, self.over = bouncer, 0, [], False
        self.thread = threading.Thread(target=self.write)

    def write(self):
        try:
            with self.bouncer.connect() as connection:
                while not self.over:
                    connection.execute("INSERT INTO things VALUES (%s)", (self.acknowledged + 1,))
                    self.acknowledged += 1
        except psycopg.Error as error:
            self.errors.append(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()

    def writes(self):
        before = self.acknowledged
        until(lambda: self.acknowledged > before + 5 or self.errors, 20, "the client writes")


@pytest.fixture
def role(tmp_path):
    """Runs an entry point of the role for some PgBouncers, as a playbook does; exit code and output."""

    def run(entry, bouncers, *more, **variables):
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        hosts = {
            f"bouncer{n}": {
                **here,
                "pgbouncer_socket": str(one.folder),
                "pgbouncer_port": one.port,
                "pgbouncer_config": str(one.config),
            }
            for n, one in enumerate(bouncers)
        }
        groups = {"orders": {"hosts": dict.fromkeys([*hosts, "db"])}, "pgbouncer": {"hosts": dict.fromkeys(hosts)}}
        (tmp_path / "hosts.yml").write_text(
            yaml.safe_dump({"all": {"hosts": {**hosts, "db": here}, "children": groups}})
        )
        task = {
            "name": entry,
            "ansible.builtin.import_role": {"name": "pgrescue.runbooks.pgbouncer", "tasks_from": entry},
        }
        play = {"name": "PgBouncer", "hosts": "db", "gather_facts": False, "tasks": [task]}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        known = {"service_name": "orders", "pgbouncer_databases": ["orders"], **variables}
        (tmp_path / "vars.yml").write_text(yaml.safe_dump(known))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", f"{tmp_path}/hosts.yml"]
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg")}
        asked = [*command, "-e", f"@{tmp_path}/vars.yml", *more, f"{tmp_path}/play.yml"]
        done = subprocess.run(asked, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_clients_wait_and_see_no_error_while_the_server_is_exchanged(server, bouncer, role):
    with server.standby_of() as standby, Client(bouncer) as client:
        client.writes()
        code, said = role("pause", [bouncer])
        assert code == 0, said
        held = client.acknowledged
        server.stop()
        assert client.acknowledged == held
        until(lambda: standby.psql("SELECT max(id) FROM things")[0][0] == held, 20, "the standby has all")
        standby.psql("SELECT pg_promote()")
        there = {"pgbouncer_target_address": standby.address, "pgbouncer_target_port": standby.port}
        code, said = role("point", [bouncer], **there)
        assert code == 0, said
        code, said = role("resume", [bouncer])
        assert code == 0, said
        client.writes()
        assert client.errors == []
    assert standby.version  # it is gone now; what it held was counted before


def test_without_a_pause_the_client_sees_the_exchange(server):
    """What the other tests show is not for nothing. Who asks between two servers waits for as long as he may."""
    with PgBouncer(server, query_wait_timeout=2) as bouncer, Client(bouncer) as client:
        client.writes()
        server.stop()
        until(lambda: client.errors, 20, "the client sees an error")


@contextmanager
def holding(bouncer):
    """A client in the middle of a transaction."""
    with bouncer.connect(application_name="report") as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1")
        yield connection


def test_who_holds_a_transaction_is_named_and_nobody_is_held(bouncer):
    with holding(bouncer) as report:
        answer = control(bouncer, "paused", deadline_s=0.5)
        assert refused(answer, 4, "report as postgres in orders from 127.0.0.1", "Clients go on as before")
        with bouncer.connect() as other:
            other.execute("SELECT 1")
        report.execute("COMMIT")
    assert control(bouncer, "paused", deadline_s=5)["databases"] == ["orders"]


def test_who_holds_a_transaction_is_ended_when_that_is_said(bouncer):
    with pytest.raises(psycopg.OperationalError), holding(bouncer) as report:
        answer = control(bouncer, "paused", deadline_s=0.5, busy="end")
        assert (answer["changed"], answer["busy_clients"]) == (
            True,
            ["report as postgres in orders from 127.0.0.1:" + port(report)],
        )
        assert not control(bouncer, "paused")["changed"]  # new clients are held
        report.execute("SELECT 1")


def port(connection):
    import socket

    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        return str(line.getsockname()[1])


def test_each_state_is_reached_once_and_check_mode_reaches_none(bouncer):
    assert control(bouncer, "paused", check=True)["databases"] == ["orders"]
    assert control(bouncer, "paused", check=True)["changed"]
    assert [control(bouncer, "paused")["changed"] for _ in range(2)] == [True, False]
    assert control(bouncer, "resumed", check=True)["changed"]
    assert [control(bouncer, "resumed")["changed"] for _ in range(2)] == [True, False]


def test_a_pause_that_was_cut_off_is_not_taken_for_one_that_is_over(bouncer):
    with holding(bouncer) as report:
        where = {"host": str(bouncer.folder), "port": bouncer.port, "user": "pgbouncer", "dbname": "pgbouncer"}
        killed = psycopg.connect(**where, autocommit=True)
        killed.pgconn.send_query(b"PAUSE orders")
        killed.pgconn.flush()
        until(lambda: _says_paused(bouncer), 10, "it waits for clients")
        killed.close()
        assert refused(control(bouncer, "paused", deadline_s=0.5), 4, "report as postgres")
        report.execute("COMMIT")
    assert control(bouncer, "paused")["changed"]


def _says_paused(bouncer):
    where = {"host": str(bouncer.folder), "port": bouncer.port, "user": "pgbouncer", "dbname": "pgbouncer"}
    with psycopg.connect(**where, autocommit=True, row_factory=psycopg.rows.dict_row) as console:
        rows = console.execute("SHOW DATABASES").fetchall()
    return any(row["paused"] for row in rows if row["name"] == "orders")


def test_one_that_cannot_be_paused_lets_the_others_go_on(server, role):
    with PgBouncer(server) as free, PgBouncer(server) as taken, holding(taken):
        code, said = role("pause", [free, taken], pgbouncer_deadline_s=1)
        assert code == 2
        assert "report as postgres in orders" in said
        assert not _says_paused(free)
        assert not _says_paused(taken)


def test_a_service_without_pgbouncer_needs_nothing(role):
    code, said = role("pause", [])
    assert code == 0, said


def target(bouncer, address, **more):
    return module("pgbouncer_target")(
        path=str(bouncer.config), databases=["orders"], address=address, port=6000, **more
    )


def test_the_file_keeps_every_other_word(bouncer):
    before, owner = bouncer.config.read_text(), bouncer.config.stat()
    assert target(bouncer, "192.0.2.13", check=True)["changed"]
    assert bouncer.config.read_text() == before
    assert [target(bouncer, "192.0.2.13")["changed"] for _ in range(2)] == [True, False]
    changed = [
        pair
        for pair in zip(before.splitlines(), bouncer.config.read_text().splitlines(), strict=True)
        if pair[0] != pair[1]
    ]
    assert [after for _, after in changed] == [
        "orders = host=192.0.2.13 port=6000 dbname=postgres user=postgres pool_size=5"
    ]
    now = bouncer.config.stat()
    assert (now.st_uid, stat.S_IMODE(now.st_mode)) == (owner.st_uid, stat.S_IMODE(owner.st_mode))
    # what PgBouncer has not read is not where clients are sent
    answer = control(bouncer, "reloaded", address="192.0.2.99")
    assert refused(answer, 5, "still sends orders to 192.0.2.13", "Clients are held")
    assert not control(bouncer, "reloaded", address="192.0.2.13").get("failed")


def test_settings_are_read_as_pgbouncer_reads_them():
    text = "[databases]\n\"my db\" = host='a b' password='it''s port=1'\nbare = dbname=x\n[pgbouncer]\nmy = host=a\n"
    after = pgbouncer.pointed(text, ["my db", "bare"], "h", 5).splitlines()
    assert after[1] == "\"my db\" = port=5 host=h password='it''s port=1'"
    assert after[2:] == ["bare = host=h port=5 dbname=x", "[pgbouncer]", "my = host=a"]
    with pytest.raises(guards.Stop, match="my is not in the section"):
        pgbouncer.pointed(text, ["my"], "h", 5)


def test_what_cannot_be_asked_or_is_not_served_is_refused(bouncer):
    assert refused(
        control(bouncer, "paused", databases=["nothing"]), 3, "does not serve nothing; it serves orders, other"
    )
    assert refused(control(bouncer, "paused", port=1), 3, "console cannot be reached")
    assert refused(module("pgbouncer_target")(path="/nowhere", databases=["x"], address="y"), 3, "There is no /nowhere")
