"""A running server closed to its clients: no rogue superuser, half-made connection or subscription gets past it."""

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
import yaml
from modules import HOUSE, collection, module, refused
from postgres import PostgresServer, until
from psycopg.rows import dict_row

SOCKETS = "/var/run/postgresql"  # where the role's modules look for a server
sessions = collection("plugins.module_utils.sessions")


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")


def serve(**more):
    settings = {"unix_socket_directories": SOCKETS, "max_prepared_transactions": 2, "wal_level": "logical"}
    # a process that the server does not list, and a name before every process's own
    settings |= {"logging_collector": "on", "cluster_name": "orders: main"}
    return PostgresServer(settings=settings, **more)


class Rogue:
    """A client that writes and, when it is thrown out, comes back at once, as a superuser."""

    def __init__(self, server, dsn=None):
        self.dsn = (dsn or server.dsn) + " application_name=rogue"
        self.acknowledged, self.refusals, self.over = 0, 0, False
        self.thread = threading.Thread(target=self.write)

    def write(self):
        while not self.over:
            try:
                with psycopg.connect(self.dsn, autocommit=True) as connection:
                    while not self.over:
                        connection.execute("INSERT INTO things DEFAULT VALUES")
                        self.acknowledged += 1
            except psycopg.Error:
                self.refusals += 1

    def __enter__(self):
        self.thread.start()
        until(lambda: self.acknowledged > 5, 20, "the rogue writes")
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()


@pytest.fixture
def server(request):
    with serve(version=request.param) as one:
        one.psql("CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY)")
        yield one


@pytest.fixture(scope="module")
def local():
    with serve() as one:
        one.psql("CREATE TABLE things (id int GENERATED ALWAYS AS IDENTITY)")
        yield one


def at(server, **more):
    return {"version": server.version, "port": server.port, "socket_directory": SOCKETS, **more}


def end_clients(server, **more):
    return module("end_clients")(**at(server, deadline_s=1, **more))


def no_writers(server, **more):
    return module("no_writers")(**at(server, addresses=[server.address], **{"still_s": 0.3, "deadline_s": 2, **more}))


CLOSED = "# BEGIN pgrescue: closed\nhost all all all reject\n# END pgrescue: closed\n"


@contextmanager
def closed(server):
    """A server with the block that the role writes."""
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(CLOSED + before)
    reload(server)
    try:
        yield
    finally:
        hba.write_text(before)
        reload(server)


def reload(server):
    """Have the rules read again, and wait until they hold."""
    wanted = server.data.joinpath("pg_hba.conf").read_text().startswith("# BEGIN")
    with psycopg.connect(f"host={SOCKETS} port={server.port} user=postgres dbname=postgres", autocommit=True) as local:
        local.execute("SELECT pg_reload_conf()")
    shut = lambda: sessions.lets_in(server.address, server.port, "postgres", "postgres", False) is None  # noqa: E731
    until(lambda: shut() == wanted, 10, "the rules hold")


def locally(server, statement):
    with psycopg.connect(f"host={SOCKETS} port={server.port} user=postgres dbname=postgres", autocommit=True) as local:
        cursor = local.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def role(tmp_path):
    """Runs an entry point of the role on a server as a playbook does; exit code and output."""

    def run(server, entry, *more):
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"db": here}}}))
        task = {
            "name": entry,
            "ansible.builtin.import_role": {"name": "pgrescue.runbooks.postgres", "tasks_from": entry},
        }
        play = {"name": "Close", "hosts": "db", "gather_facts": False, "tasks": [task]}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        known = {"service_name": "orders", "postgres_version": server.version, "postgres_port": server.port}
        known |= {"postgres_address": server.address, "postgres_hba_file": f"{server.data}/pg_hba.conf"}
        (tmp_path / "vars.yml").write_text(yaml.safe_dump({**known, "postgres_close_deadline_s": 15}))
        command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", f"{tmp_path}/hosts.yml"]
        env = {**os.environ, "ANSIBLE_CONFIG": str(HOUSE / "ansible.cfg")}
        asked = [*command, "-e", f"@{tmp_path}/vars.yml", *more, f"{tmp_path}/play.yml"]
        done = subprocess.run(asked, cwd=HOUSE, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("server", [15, 17], indirect=True)
def test_a_rogue_superuser_is_kept_out_for_good_and_replication_goes_on(server, role):
    before = (server.data / "pg_hba.conf").read_text()
    with Rogue(server) as rogue:
        # without closing it comes back, is named, and the proof does not hold
        assert refused(end_clients(server), 4, "rogue as postgres in postgres from 127.0.0.1", "closed first")
        assert refused(no_writers(server), 4, "rogue as postgres", "Nothing was promoted")
        code, said = role(server, "close", "--check")
        assert (code, (server.data / "pg_hba.conf").read_text()) == (0, before), said
        with psycopg.connect(server.dsn + " replication=true", autocommit=True) as standby:
            code, said = role(server, "close")
            assert code == 0, said
            acknowledged, refusals = rogue.acknowledged, rogue.refusals
            assert standby.execute("IDENTIFY_SYSTEM").fetchall()  # it was not ended
            psycopg.connect(server.dsn + " replication=true", autocommit=True).close()  # and may come again
        until(lambda: rogue.refusals > refusals + 20, 20, "the rogue is refused again and again")
        assert rogue.acknowledged == acknowledged
        assert locally(server, "SELECT count(*) FROM things")[0][0] - acknowledged in (
            0,
            1,
        )  # 1 was not acknowledged any more
        code, said = role(server, "close")
        assert (code, re.search(r"changed=(\d+)", said)[1]) == (0, "0"), said
        code, said = role(server, "open")
        assert (code, (server.data / "pg_hba.conf").read_text()) == (0, before), said
        until(lambda: rogue.acknowledged > acknowledged, 20, "the rogue writes again")


@pytest.mark.parametrize("server", [15, 17, 18], indirect=True)  # 18 lists such a connection
def test_whoever_has_connected_before_and_said_nothing_does_not_get_in_later(server):
    with socket.create_connection((server.address, server.port)) as early:
        with psycopg.connect(server.dsn, row_factory=dict_row) as connection:
            until(lambda: sessions.starting(connection), 5, "the server has begun to listen to it")
        with closed(server):
            assert refused(no_writers(server), 4, "a connection that has not said who it is")
            assert not end_clients(server).get("failed")
            early.sendall(sessions._startup("postgres", "postgres"))
            early.settimeout(5)
            with suppress(ConnectionResetError):
                assert early.recv(1) == b""
            assert no_writers(server)["quiet"]


def test_a_client_on_the_local_socket_is_named_for_no_rule_keeps_it_out(local):
    with closed(local), Rogue(local, f"host={SOCKETS} port={local.port} user=postgres dbname=postgres"):
        assert refused(end_clients(local), 4, "rogue as postgres in postgres from the local socket", "where he runs")
        assert refused(no_writers(local), 4, "from the local socket")


def test_logical_replication_takes_sql_and_is_ended(local):
    with psycopg.connect(local.dsn + " replication=database application_name=sub", autocommit=True) as subscriber:
        subscriber.execute("INSERT INTO things DEFAULT VALUES")
        with closed(local):
            assert end_clients(local, check=True)["ended"] == ["sub as postgres in postgres from 127.0.0.1"]
            subscriber.execute("SELECT 1")  # check mode ended nothing
            assert end_clients(local)["ended"] == ["sub as postgres in postgres from 127.0.0.1"]
            with pytest.raises(psycopg.OperationalError):
                subscriber.execute("SELECT 1")


def test_a_role_that_is_kept_stays_and_what_it_writes_is_seen(local):
    local.psql("CREATE ROLE monitor SUPERUSER LOGIN")
    dsn = local.dsn.replace("user=postgres", "user=monitor")
    with Rogue(local, dsn) as monitor, closed(local):
        assert end_clients(local, keep=["monitor"])["ended"] == []
        assert refused(no_writers(local, keep=["monitor"]), 4, "WAL grows, from")
        assert monitor.refusals == 0


def test_an_open_server_is_not_taken_for_a_closed_one(local):
    assert refused(no_writers(local), 4, "a new connection to 127.0.0.1 without TLS: it is let in")
    hba = local.data / "pg_hba.conf"
    before = hba.read_text()
    try:
        hba.write_text("host all all all nonsense\n" + before)
        assert refused(no_writers(local), 4, "pg_hba.conf was not taken over by the server (line 1: ", "nonsense")
        hba.write_text("host all all all scram-sha-256\n" + before)
        local.psql("SELECT pg_reload_conf()")
        until(lambda: "asked for a password" in no_writers(local)["msg"], 10, "the rules hold")
    finally:
        hba.write_text(before)
        reload(local)
    assert no_writers(local, check=True)["quiet"] is False  # nothing was stopped then


def test_a_prepared_transaction_is_named_and_does_not_write(local):
    local.psql("BEGIN; INSERT INTO things DEFAULT VALUES; PREPARE TRANSACTION 'transfer-7'")
    try:
        with closed(local):
            proven = no_writers(local)
        assert proven["prepared"] == [{"gid": "transfer-7", "owner": "postgres", "database": "postgres"}]
        assert "transfer-7 of postgres" in proven["journal"][1]["detail"]
    finally:
        local.psql("ROLLBACK PREPARED 'transfer-7'")


def test_what_a_subscription_brings_is_written_by_nobody_who_connected(local):
    with serve() as source:
        source.psql("CREATE TABLE things (id int PRIMARY KEY)")
        source.psql("CREATE PUBLICATION every FOR ALL TABLES")
        local.psql(f"CREATE SUBSCRIPTION takes CONNECTION '{source.dsn}' PUBLICATION every WITH (copy_data = false)")
        try:
            with closed(local):
                applies = "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL"
                until(lambda: locally(local, applies), 20, "the subscription is at work")
                assert refused(no_writers(local), 4, "the subscription's worker")
        finally:
            local.psql("DROP SUBSCRIPTION takes")


def test_a_standby_is_not_asked(local):
    with local.standby_of() as standby:
        where = {"version": standby.version, "port": standby.port, "socket_directory": str(standby.folder)}
        assert refused(module("no_writers")(**where, addresses=["127.0.0.1"]), 3, "This is a standby")
