"""The last good moment is found under load, on real servers, and a restore to it has what the next transaction took away."""

import shutil
import threading

import pytest
from backups import Repositories
from modules import HOUSE, as_user, module
from postgres import PostgresServer, until

CLIENTS = HOUSE / ".cache" / "clients"
NEWER = 17  # beside the installed one: the newest version whose pg_waldump the tests have
ORDERS = 500
TABLES = """
CREATE TABLE orders (id int PRIMARY KEY, amount int NOT NULL);
CREATE TABLE prices (id int PRIMARY KEY, cents int NOT NULL);
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE ledger (id bigint GENERATED ALWAYS AS IDENTITY, worker int);
CREATE TABLE events (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
INSERT INTO orders SELECT g, g FROM generate_series(1, 500) g;
INSERT INTO prices SELECT g, 100 FROM generate_series(1, 500) g;
INSERT INTO customers SELECT g, 'c' FROM generate_series(1, 50) g;
INSERT INTO events SELECT g, g % 10 FROM generate_series(1, 100) g;
"""


class Load:
    """Clients that commit all the time, in every table that the damage is done to."""

    def __init__(self, server):
        self.server, self.over, self.committed = server, threading.Event(), [0, 0]
        self.threads = [threading.Thread(target=self.work, args=(n,)) for n in range(2)]

    def work(self, number):
        with self.server.connect() as connection:
            while not self.over.is_set():
                key = 10_000 + 10_000 * number + self.committed[number]
                connection.execute("INSERT INTO orders VALUES (%s, 1)", (key,))
                connection.execute("DELETE FROM orders WHERE id = %s", (key,))
                connection.execute("UPDATE prices SET cents = cents WHERE id = %s", (1 + key % 300,))
                connection.execute("INSERT INTO ledger (worker) VALUES (%s)", (number,))
                connection.execute("SELECT pg_sleep(0.02)")  # what a client does between two requests
                self.committed[number] += 1

    def goes_on(self, more=10):
        """Wait until every client has committed some more."""
        wanted = [n + more for n in self.committed]
        until(lambda: all(n >= w for n, w in zip(self.committed, wanted, strict=True)), 20, "the load goes on")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


DAMAGE = {
    "rows_gone": "DELETE FROM orders WHERE id BETWEEN 100 AND 199",
    "one_row_gone": "DELETE FROM orders WHERE id = 42",
    "bad_update": "UPDATE prices SET cents = 0 WHERE id > 300",
    "one_bad_update": "UPDATE prices SET cents = -1 WHERE id = 450",
    "truncated": "TRUNCATE events",
    "table_dropped": "DROP TABLE customers",
}


def do_damage(server):
    """Each damage in a transaction of its own, with clients at work before, meanwhile and afterwards; their numbers."""
    done = {}
    with Load(server) as load:
        load.goes_on()
        server.psql("SELECT pg_create_restore_point('before_the_clean_up')")
        for name, statement in DAMAGE.items():
            load.goes_on()
            with server.connect() as connection, connection.transaction():
                done[name] = connection.execute("SELECT txid_current()").fetchone()[0]
                connection.execute("INSERT INTO ledger (worker) VALUES (99)")
                with connection.transaction():  # in a subtransaction
                    connection.execute(statement)
                load.goes_on(1)
        load.goes_on()
    return done


class Scene:
    """A server whose tables were damaged, its WAL, and how it is searched."""

    def __init__(self, server, made):
        self.server, self.made = server, made
        self.root = server.folder / "moments"
        self.root.mkdir()
        self.place = str(self.root / "copy")
        self.programs = str(server.programs)
        self.at = {"place": self.place, "version": server.version}
        self.reached = {"version": server.version, "socket_directory": self.place + ".socket"}
        shutil.chown(self.root, server.user)

    def restore(self, since=None, **more):
        """Bring the backup to the place; what it is."""
        catalog = module("backup_catalog")(stanza="test")["catalog"]
        answer = module("restore_backup")(
            **self.at,
            stanza="test",
            run="r",
            system_identifier=catalog["system_identifier"],
            candidates=catalog["candidates"],
            archive=False,
            apart=True,
            **{"type": "standby", **more},
        )
        assert not answer.get("failed"), answer
        return answer["backup"]

    def scratch(self, state, **settings):
        answer = module("scratch_server")(
            **self.at, run="r", state=state, programs=self.programs, settings={"shared_buffers": "16MB", **settings}
        )
        assert not answer.get("failed"), answer

    def search(self, table, damage, since=None, till=None, limit=100, **more):
        """What is found, or how the search ended."""

        def one_pass(between):
            self.scratch("absent")
            backup = self.restore()
            wal = module("read_wal")(
                **self.at, stanza="test", backup=backup, programs=self.programs, since=since, until=till
            )
            if wal.get("failed"):
                return wal
            self.scratch("started", **settings(self.place))
            answer = module("await_server")(**self.reached, place=self.place, until="following", deadline_s=30)
            assert not answer.get("failed"), answer
            self.scratch("offline", **settings(self.place))
            isolation = module("copy_isolation")(**self.reached)["checks"]
            assert [check for check in isolation if check["verdict"] != "passed"] == []
            return module("find_moment")(
                **self.reached, place=self.place, table=table, damage=damage, limit=limit, between=between,
                deadline_s=60, **more,
            )  # fmt: skip

        def call():
            answer = one_pass([])
            answer["passes"] = 1
            while answer.get("between") and answer["passes"] < 4:
                passes = answer["passes"] + 1
                answer = one_pass(answer["between"])
                answer["passes"] = passes
            return answer

        try:
            return as_user(self.server.user, call)
        finally:
            as_user(self.server.user, lambda: self.scratch("absent") or {})


def settings(place):
    """As roles/moment/defaults has them."""
    return {
        "restore_command": f"cp {place}.wal/feed/%f %p",
        "max_standby_archive_delay": "-1",
        "recovery_min_apply_delay": "0",
        "wal_retrieve_retry_interval": "10ms",
        "recovery_target_timeline": "1",
    }


@pytest.fixture(scope="module")
def scene():
    """PostgreSQL as installed, with a real pgBackRest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", "postgres")
        server = PostgresServer(settings={"track_commit_timestamp": "on"})
        made = Repositories(server)
        patch.setenv("PGBACKREST_CONFIG", str(made.config))
        try:
            server.psql(TABLES)
            made.backup(1)
            found = Scene(server, made)
            found.damage = do_damage(server)
            made.archive()
            made.own()
            yield found
        finally:
            server.remove()


CASES = {
    "rows_gone": ("orders", "rows_gone", {}),
    "one_row_gone": ("public.orders", "rows_gone", {"condition": "id = 42"}),
    "bad_update": ("postgres.public.prices", "bad_update", {}),
    "one_bad_update": ("prices", "bad_update", {"condition": "id = 450"}),
    "truncated": ("events", "rows_gone", {"expect": "count(*) >= 100"}),
    "table_dropped": ("customers", "table_dropped", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_exactly_the_transaction_is_named(scene, case):
    table, damage, more = CASES[case]
    answer = scene.search(table, damage, **more)
    assert not answer.get("failed"), answer
    assert answer["moment"]["damaging"]["xid"] == scene.damage[case]
