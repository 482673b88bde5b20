"""A census sees every loss, on every major version: a fault is planted in a copy, and one check must name it."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess

import psycopg
import pytest
from faults import caught
from lint_faults import LINT, sound
from modules import collection, module, refused
from pgrescue.core.lint import findings
from postgres import PostgresServer, programs, until
from shops import VERSIONS, Shop

SUMMED = ("sales.customers", "sales.events")

# Planted in a transaction that is rolled back after the census.
PLANTED = {
    "index dropped": "DROP INDEX sales.orders_customer",
    "index invalid": "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sales.orders_customer'::regclass",
    "index of another definition": """
        DROP INDEX sales.orders_customer; CREATE INDEX orders_customer ON sales.orders (total)""",
    "grant dropped": "REVOKE SELECT ON sales.orders FROM clerk",
    "column grant dropped": "REVOKE SELECT (name) ON sales.customers FROM reader",
    "grant to everybody": "GRANT SELECT ON sales.customers TO PUBLIC",
    "revoked right given back": "GRANT EXECUTE ON FUNCTION sales.total_of(int) TO PUBLIC",
    "default privileges dropped": "ALTER DEFAULT PRIVILEGES IN SCHEMA sales REVOKE SELECT ON TABLES FROM reader",
    "extension dropped": "DROP EXTENSION tablefunc",
    "extension of another version": "DROP EXTENSION pageinspect; CREATE EXTENSION pageinspect VERSION '1.8'",
    "sequence set back": "ALTER SEQUENCE sales.countdown RESTART 99",
    "sequence not owned": "ALTER SEQUENCE sales.orders_id_seq OWNED BY NONE",
    "row missing": "DELETE FROM sales.orders WHERE id = 7",
    "partition emptied": "TRUNCATE sales.events_2026",
    "row changed": "UPDATE sales.customers SET name = 'somebody else' WHERE id = 7",
    "trigger dropped": "DROP TRIGGER noted ON sales.orders",
    "trigger disabled": "ALTER TABLE sales.orders DISABLE TRIGGER noted",
    "event trigger dropped": "DROP EVENT TRIGGER watched",
    "policy dropped": "DROP POLICY own_orders ON sales.orders",
    "row security off": "ALTER TABLE sales.orders DISABLE ROW LEVEL SECURITY",
    "constraint dropped": "ALTER TABLE sales.orders DROP CONSTRAINT total_is_not_negative",
    "constraint not validated": """
        ALTER TABLE sales.orders DROP CONSTRAINT total_is_not_negative;
        ALTER TABLE sales.orders ADD CONSTRAINT total_is_not_negative CHECK (total >= 0) NOT VALID""",
    "function dropped": "DROP FUNCTION sales.total_of",
    "function changed": "CREATE OR REPLACE PROCEDURE sales.tidy() LANGUAGE sql AS 'TRUNCATE sales.sessions'",
    "owner changed": "ALTER TABLE sales.base OWNER TO clerk",
    "view dropped": "DROP VIEW sales.sent_orders",
    "view changed": "CREATE OR REPLACE VIEW sales.open_orders AS SELECT * FROM sales.orders WHERE state <> 'open'",
    "type changed": "ALTER TYPE sales.state ADD VALUE 'lost'",
    "column default dropped": "ALTER TABLE sales.orders ALTER state DROP DEFAULT",
    "rule dropped": "DROP RULE no_delete ON sales.open_orders",
    "text search changed": "ALTER TEXT SEARCH CONFIGURATION sales.plain DROP MAPPING FOR word",
    "publication dropped": "DROP PUBLICATION changes",
    "subscription added": "CREATE SUBSCRIPTION taker CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
    "foreign server changed": "ALTER SERVER elsewhere OPTIONS (SET host '127.0.0.2')",
    "security of a view lost": "ALTER VIEW sales.open_orders RESET (security_barrier)",
    "database setting dropped": "ALTER DATABASE shop RESET ALL",
    "comment dropped": "COMMENT ON TABLE sales.orders IS NULL",
    "large object missing": "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
    "role membership missing": "REVOKE staff FROM clerk",
    "role attribute missing": "ALTER ROLE clerk NOLOGIN",
    "role setting dropped": "ALTER ROLE clerk RESET ALL",
    "grant on a database dropped": "REVOKE CONNECT ON DATABASE shop FROM reader",
}
EMPTY = ("subscriptions", "extension_tables", "skipped", "unreadable")


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"postgresql-{version}")
def shop(request):
    with PostgresServer(version=request.param) as server:
        yield Shop(server)


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")


def compare(expected, observed, kind="physical"):
    return collection("plugins.module_utils.census_compare").compare(expected, observed, kind)


def failed(checks):
    return {check["name"]: check["observed"] for check in checks if check["verdict"] == "failed"}


@pytest.mark.parametrize("kind", ["physical", "logical"])
def test_a_copy_without_a_fault_passes(shop, kind):
    with shop.copy() as name:
        expected, observed = (shop.census(one, fingerprint_tables=SUMMED) for one in ("shop", name))
    assert failed(compare(expected, observed, kind)) == {}
    assert failed(compare(None, observed, kind)) == {}
    assert json.loads(json.dumps(observed)) == observed  # and two censuses of the same are the same
    assert expected["databases"] == observed["databases"]
    assert all(aspect for name, aspect in observed["databases"]["shop"].items() if name not in EMPTY), observed


@pytest.fixture(scope="module")
def expected(shop):
    return shop.census("shop", fingerprint_tables=SUMMED)


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_is_caught(shop, expected, fault):
    observed = shop.census("shop", PLANTED[fault], fingerprint_tables=SUMMED)
    caught(fault, compare(expected, observed))
    if fault != "extension of another version":  # which a dump does not promise
        caught(fault, compare(expected, observed, "logical"))


def test_a_database_that_is_missing_and_another_collation_are_caught(shop):
    with shop.copy() as other:
        expected = shop.census("shop")
        dumped = {**expected, "databases": {other: shop.census(other)["databases"]["shop"]}}
    observed = shop.census("shop")
    caught("database missing", compare(expected, observed))
    caught("database missing", compare(dumped, observed, "logical"))
    assert failed(compare(expected, observed, "logical")) == {}  # it was not in the dump
    observed = copy.deepcopy(expected)
    observed["cluster"]["databases"]["shop"]["actual_collation_version"] = "2.28"
    caught("other collation", compare(expected, observed))
    assert failed(compare(expected, observed, "logical")) == {}


def test_a_tablespace_that_is_missing_is_caught_and_its_place_does_not_matter(shop):
    folder = shop.server.folder / "tablespace"
    folder.mkdir(exist_ok=True)
    shutil.chown(folder, shop.server.user)
    shop.server.psql(f"CREATE TABLESPACE elsewhere LOCATION '{folder}'")
    try:
        expected = shop.census("shop")
    finally:
        shop.server.psql("DROP TABLESPACE elsewhere")
    caught("tablespace missing", compare(expected, shop.census("shop")))
    observed = copy.deepcopy(expected)
    observed["cluster"]["tablespaces"]["elsewhere"]["location"] = "/another/place"
    assert failed(compare(expected, observed)) == {}


def test_what_a_role_may_not_read_is_named_and_fails_the_comparison(shop):
    whole = shop.census("shop")
    with shop.connect("shop") as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE reader")
        seen = collection("plugins.module_utils.census").database(connection, ["sales.orders"])
    assert "pg_read_all_data" in seen["unreadable"]["sales.customers"]
    assert "permission denied" in seen["unreadable"]["content of sales.orders"]
    assert set(seen["unreadable"]) >= set(whole["databases"]["shop"]["tables"])
    observed = {**whole, "databases": {"shop": seen}}
    caught("table not readable", compare(whole, observed))


def test_a_role_that_may_read_everything_counts_the_same_as_a_superuser(shop, expected):
    shop.server.psql("CREATE ROLE counter LOGIN BYPASSRLS; GRANT pg_read_all_data TO counter")
    census = collection("plugins.module_utils.census")
    try:
        with shop.connect("shop", user="counter") as connection, connection.transaction():
            seen = census.database(connection, SUMMED)
            assert census.cluster(connection)["unreadable"] == {}
    finally:
        shop.server.psql("DROP ROLE counter")
    assert seen == expected["databases"]["shop"]


def test_rows_that_row_security_hides_are_not_counted_as_if_they_were_all(shop):
    with shop.connect("shop") as connection, connection.transaction():
        connection.execute("SET LOCAL ROLE clerk")
        seen = collection("plugins.module_utils.census").database(connection)
    assert "BYPASSRLS" in seen["unreadable"]["sales.orders"]


# Where somebody may keep a secret, and what a difference is named by.
KEPT = {
    "sales.base.id": "ALTER TABLE sales.base ALTER id SET DEFAULT length('{}')",
    "sales.base.made": "ALTER TABLE sales.base ADD made text GENERATED ALWAYS AS ('{}') STORED",
    "sales.base told": "CREATE TRIGGER told AFTER INSERT ON sales.base EXECUTE FUNCTION sales.noted('{}')",
    "sales.base disabled": """
        CREATE TRIGGER disabled AFTER INSERT ON sales.base EXECUTE FUNCTION sales.noted('{}');
        ALTER TABLE sales.base DISABLE TRIGGER disabled""",
    "sales.base mine": "CREATE POLICY mine ON sales.base USING (current_setting('key') = '{}')",
    "sales.base guarded": "ALTER TABLE sales.base ADD CONSTRAINT guarded CHECK (id::text <> '{}')",
    "sales.found": "CREATE INDEX found ON sales.base (id) WHERE id::text <> '{}'",
    "sales.named": "CREATE DOMAIN sales.named AS text DEFAULT '{}'",
    "sales.known()": "CREATE FUNCTION sales.known() RETURNS text LANGUAGE sql AS $$SELECT '{}'$$",
    "sales.seen": "CREATE VIEW sales.seen AS SELECT '{}'",
    "rule added on sales.base": "CREATE RULE added AS ON INSERT TO sales.base DO ALSO SELECT '{}'",
    "statistics object sales.together": "CREATE STATISTICS sales.together ON (id::text || '{}'), id FROM sales.base",
    "sales.far": "CREATE FOREIGN TABLE sales.far (id int) SERVER elsewhere OPTIONS (table_name '{}')",
    "sales.far.id": """
        CREATE FOREIGN TABLE sales.far (id int OPTIONS (column_name '{}')) SERVER elsewhere""",
    "database": "ALTER DATABASE shop SET app.key = '{}; too=it is'",
    "role clerk": "ALTER ROLE clerk SET app.key = '{}'",
    "user mapping": "CREATE USER MAPPING FOR clerk SERVER elsewhere OPTIONS (user 'x', password '{}')",
    "server aside": "CREATE SERVER aside FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{}')",
}


@pytest.mark.parametrize("place", KEPT)
def test_no_secret_is_in_a_census_and_another_one_in_its_place_is_named(shop, place):
    one, other = (shop.census("shop", KEPT[place].format(secret)) for secret in ("hunter2", "hunter3"))
    assert "hunter" not in json.dumps([one, other])
    said = [check["observed"] for check in compare(one, other) if check["verdict"] == "failed"]
    assert "hunter" not in str(said)
    if place == "user mapping":  # which only its owner may read
        assert said == []
    else:
        assert len(said) == 1, said
        assert f"{place}: " in said[0]


def test_a_census_from_before_there_were_digests_is_still_compared(shop, expected, monkeypatch):
    digests = collection("plugins.module_utils.census_digests")
    with monkeypatch.context() as patch:
        for name in ("of_database", "of_cluster"):
            patch.setattr(digests, name, dict)
        before = shop.census("shop", fingerprint_tables=SUMMED)
    assert "EXECUTE FUNCTION sales.noted()" in str(before)
    assert digests.of_census(before)["databases"] == expected["databases"]
    assert digests.of_census(expected) == expected
    for kind in ("physical", "logical"):
        assert failed(compare(before, expected, kind)) == {}
    fault = "column default dropped"
    caught(fault, compare(before, shop.census("shop", PLANTED[fault], fingerprint_tables=SUMMED)))


def test_what_was_given_and_taken_is_told_against_what_everything_has_by_default(expected):
    assert expected["databases"]["shop"]["grants"] == GRANTS | (
        {"schema public to PUBLIC": "CREATE, USAGE"} if expected["cluster"]["server_version_num"] < 150000 else {}
    )


GRANTS = {
    "default acl for role clerk on sequences to reader": "USAGE",
    "default acl for role clerk on types from PUBLIC": "USAGE",
    "default acl for role postgres in schema sales on tables to reader": "SELECT",
    "function pg_catalog.pg_ls_waldir() to reader": "EXECUTE",
    "function sales.total_of(integer) from PUBLIC": "EXECUTE",
    "schema public to PUBLIC": "USAGE",
    "schema sales to clerk": "USAGE",
    "schema sales to reader": "USAGE",
    "sequence sales.orders_id_seq to clerk": "USAGE",
    "table column sales.customers.id to reader": "SELECT",
    "table column sales.customers.name to reader": "SELECT",
    "table sales.orders to clerk": "INSERT with grant option, SELECT with grant option",
}


def test_explicit_default_rights_are_the_same_as_none(shop, expected):
    grants = "GRANT ALL ON sales.base TO postgres; GRANT EXECUTE ON PROCEDURE sales.tidy() TO PUBLIC"
    assert failed(compare(expected, shop.census("shop", grants, fingerprint_tables=SUMMED))) == {}


def test_a_sequence_may_be_as_far_ahead_as_wal_holds_it_unless_replay_stood_still(shop, expected):
    ahead = shop.census("shop", "ALTER SEQUENCE sales.countdown RESTART 64")
    assert failed(compare(expected, ahead)) == {}
    assert "96 became 64" in str(failed(compare({**expected, "lsn": "0/1"}, ahead)))
    far = shop.census("shop", "ALTER SEQUENCE sales.countdown RESTART -4")
    assert "96 became -4" in str(failed(compare(expected, far)))
    assert failed(compare(expected, far, "logical")) == {}


def test_a_position_that_wal_holds_is_the_same_on_a_page_from_before_and_after_its_replay(shop, expected):
    still = {**expected, "lsn": "0/1"}
    seen = still["databases"]["shop"]["sequences"]["sales.countdown"]
    assert (seen["last_value"], seen["log_cnt"]) == (96, 28)
    replayed = copy.deepcopy(still)
    replayed["databases"]["shop"]["sequences"]["sales.countdown"].update(last_value=68, log_cnt=0)
    assert failed(compare(replayed, still)) == failed(compare(still, replayed)) == {}
    replayed["databases"]["shop"]["sequences"]["sales.countdown"].update(last_value=69)
    caught("sequence set back", compare(still, replayed))


def test_many_differences_are_shortened(shop, expected):
    said = failed(compare(expected, shop.census("shop", "DROP SCHEMA sales CASCADE")))
    columns = said["tables and their columns are as the census saw them"]
    assert columns.endswith("more")
    assert len(columns) < 1000


def restored(source, target):
    """Dump the shop with the clients that are installed, restore it elsewhere; the census there."""
    places = [["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres"] for server in (source, target)]
    dump = target.folder / "shop.dump"

    def client(program, *arguments, **more):
        command = [programs() / program, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout

    roles = client("pg_dumpall", *places[0], "--globals-only", "--no-role-passwords")
    client("psql", "-X", *places[1], "-d", "postgres", input=roles)
    client("pg_dump", *places[0], "-Fc", "-C", "-f", dump, "shop")
    client("pg_restore", *places[1], "-C", "-e", "-d", "postgres", dump)
    census = collection("plugins.module_utils.census")
    with psycopg.connect(target.dsn, dbname="shop") as connection:
        about = census.database(connection, SUMMED)
        return {"lsn": None, "cluster": census.cluster(connection), "databases": {"shop": about}}


@pytest.mark.parametrize(("old", "new"), [(None, None), (14, None), (14, 18), (None, 18)])
def test_a_dump_that_was_restored_passes_on_the_same_and_on_a_newer_version(old, new):
    with PostgresServer(version=old) as source, PostgresServer(version=new) as target:
        expected = Shop(source).census("shop", fingerprint_tables=SUMMED)
        observed = restored(source, target)
    assert failed(compare(expected, observed, "logical")) == {}


def test_more_tables_are_counted_than_the_server_can_lock_at_once():
    """Each lock is let go after its table was counted."""
    small = {"max_locks_per_transaction": 10, "max_connections": 10}
    with PostgresServer(settings=small) as server:
        for n in range(10):
            server.psql("".join(f"CREATE TABLE t{n}_{m} (); " for m in range(60)))
        with server.connect() as connection, connection.transaction():
            seen = collection("plugins.module_utils.census").database(connection)
    assert (len(seen["tables"]), seen["unreadable"]) == (600, {})


# The module, on servers of the version that is installed.


def at(server, **more):
    return {"version": server.version, "port": server.port, "socket_directory": str(server.folder), **more}


@pytest.fixture(scope="module")
def pair():
    """A primary with a table that grows, and a standby."""
    with PostgresServer() as primary:
        primary.psql("CREATE TABLE grows (id serial PRIMARY KEY)")
        primary.psql("CREATE SEQUENCE logged")  # which a standby can read, and the column that it feeds not
        primary.psql("CREATE UNLOGGED TABLE unlogged (id serial, also int DEFAULT nextval('logged'))")
        with primary.standby_of() as standby:
            yield primary, standby


def paused(server):
    return server.psql("SELECT pg_get_wal_replay_pause_state()")[0][0]


def test_a_paused_standby_is_counted_at_the_position_where_it_stood(pair):
    primary, standby = pair
    primary.psql("INSERT INTO grows DEFAULT VALUES")
    until(lambda: standby.psql("SELECT 1 FROM grows"), 20, "it is replayed")
    answer = module("census")(**at(standby, pause_replay=True, fingerprint_tables=["public.grows"]))
    found = answer["census"]
    assert (found["timeline"], found["databases"]["postgres"]["tables"]["public.grows"]) == (1, 1)
    assert found["lsn"] == standby.psql("SELECT pg_last_wal_replay_lsn()::text")[0][0]
    assert found["databases"]["postgres"]["unlogged"] == {"public.unlogged": None}
    assert found["databases"]["postgres"]["unreadable"] == {}
    assert paused(standby) == "not paused"
    assert module("census")(**at(primary))["census"]["lsn"] is None
    assert module("census")(**at(primary, pause_replay=True))["census"]["lsn"] is None


def test_replay_goes_on_when_the_census_fails(pair):
    _, standby = pair
    answer = module("census")(**at(standby, pause_replay=True, databases=["nowhere"]))
    assert refused(answer, 3, "nowhere", "Nothing was changed")
    assert paused(standby) == "not paused"
    answer = module("census")(**at(standby, pause_replay=True, fingerprint_tables=["public.nowhere"]))
    assert refused(answer, 3, "No database has public.nowhere")
    assert paused(standby) == "not paused"


def test_replay_goes_on_when_the_census_is_ended_by_a_signal(pair, monkeypatch):
    _, standby = pair
    taking = collection("plugins.module_utils.census_taking")

    def ended(*_):
        assert paused(standby) == "paused"
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(taking, "take", ended)
    with pytest.raises(SystemExit), taking.replay_paused(module_of(standby), 10):
        taking.take()
    assert paused(standby) == "not paused"


def test_a_census_that_is_killed_leaves_a_pause_that_the_linter_finds(pair, monkeypatch):
    _, standby = pair
    taking = collection("plugins.module_utils.census_taking")
    monkeypatch.setattr(taking, "take", lambda *_: signal.pause())
    child = os.fork()
    if child == 0:
        with taking.replay_paused(module_of(standby), 10):
            taking.take()
        os._exit(0)
    try:
        until(lambda: paused(standby) == "paused", 20, "the census holds replay still")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        promise, facts = sound()
        facts["hosts"]["db2"]["state"].update(module("cluster_state")(**at(standby))["state"])
        (found,) = findings(promise, facts)
        assert (found["id"], found["where"]) == (LINT["lint: replay left paused"].caught_by, "db2")
        resume = re.search(r"SELECT \S+\(\)", found["change"]).group()
        standby.psql(resume)
        facts["hosts"]["db2"]["state"].update(module("cluster_state")(**at(standby))["state"])
        assert findings(promise, facts) == []
    finally:
        standby.psql("SELECT pg_wal_replay_resume()")


def test_a_census_is_taken_on_the_standby_that_keeps_up(pair):
    """As the servers tell it: one stays behind on purpose, one was paused by somebody."""
    primary, standby = pair

    def seen(server):
        return module("cluster_state")(**at(server))["state"]

    states = {"primary": seen(primary), "keeps up": seen(standby)}
    assert (states["primary"]["replay"], states["keeps up"]["replay"]) == (None, "not paused")
    standby.psql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
    standby.psql("SELECT pg_reload_conf()")
    try:
        until(lambda: standby.psql("SHOW recovery_min_apply_delay") == [("1h",)], 20, "it stays behind")
        delayed = seen(standby)
    finally:
        standby.psql("ALTER SYSTEM RESET recovery_min_apply_delay")
        standby.psql("SELECT pg_reload_conf()")
    in_order = {"paused": {**states["keeps up"], "replay": "paused"}, "delayed": delayed, **states}
    counted_on = collection("plugins.filter.hosts").counted_on
    assert counted_on(in_order) == ["keeps up", "delayed", "paused"]
    assert counted_on({"delayed": delayed}) == ["delayed"]


def module_of(server):
    """What a core asks a module for."""

    class Module:
        params = at(server, url=None)

    return Module()


def test_a_pause_that_somebody_else_made_is_left_to_them(pair):
    _, standby = pair
    standby.psql("SELECT pg_wal_replay_pause()")
    try:
        assert refused(module("census")(**at(standby, pause_replay=True)), 3, "paused already", "pg_wal_replay_resume")
        assert paused(standby) != "not paused"
    finally:
        standby.psql("SELECT pg_wal_replay_resume()")


def test_a_server_elsewhere_is_counted_by_its_url_and_another_version_refused(pair):
    primary, _ = pair
    url = f"postgresql://postgres@127.0.0.1:{primary.port}/whatever"
    assert "public.grows" in module("census")(url=url)["census"]["databases"]["postgres"]["tables"]
    assert refused(module("census")(**at(primary, version=9)), 3, "not 9")
    assert refused(module("census")(url="postgresql://127.0.0.1:1/"), 3, "could not be taken")


def test_check_mode_counts_nothing(pair):
    assert "census" not in module("census")(check=True, **at(pair[0]))
