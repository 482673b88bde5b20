"""A damaged index is really made again, with clients at work, and an attempt that was killed leaves nothing behind."""

import threading

import psycopg
import pytest
from backups import flip_page
from modules import module, refused
from postgres import PostgresServer, until
from shops import Shop

PKEY = {"database": "shop", "name": "sales.orders_pkey", "sql": "sales.orders_pkey", "method": "btree"}
NOTE = {**PKEY, "name": "sales.orders_note", "sql": "sales.orders_note", "method": "gin"}


@pytest.fixture(scope="module", params=(15, 17), ids=lambda version: f"postgresql-{version}")
def shop(request):
    with PostgresServer(version=request.param) as server:
        yield Shop(server)


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")


def call(shop, name, **more):
    server = shop.server
    at = {"version": server.version, "port": server.port, "socket_directory": str(server.folder), "deadline_s": 60}
    return module(name)(**{**at, **more})


def damaged(shop):
    found = call(shop, "damage", databases=["shop"], rest_share=0)
    assert not found.get("failed"), found
    return [one["name"] for one in found["damage"]["damaged"]]


def break_pages(shop, *indexes):
    files = [shop.file("shop", one["sql"]) for one in indexes]
    shop.server.stop()
    for path in files:
        flip_page(path, path.stat().st_size // 8192 - 1)
    shop.server.start()


def test_damaged_indexes_are_made_again_and_sound_ones_are_left_alone(shop):
    break_pages(shop, PKEY, NOTE)
    assert damaged(shop) == [NOTE["name"], PKEY["name"]]
    with pytest.raises(psycopg.Error, match="invalid page"):
        shop.run("shop", "SET enable_seqscan = off; SELECT count(*) FROM sales.orders WHERE id > 0")
    would = call(shop, "rebuild_indexes", indexes=[PKEY, NOTE], check=True)
    assert (would["changed"], would["rebuilt"]) == (True, [PKEY["name"], NOTE["name"]])
    assert damaged(shop) == [NOTE["name"], PKEY["name"]]
    over, done = threading.Event(), []

    def write():
        with shop.connect("shop") as connection:
            while not over.is_set():
                connection.execute("UPDATE sales.customers SET email = email WHERE id = 9")
                done.append(1)

    client = threading.Thread(target=write)
    client.start()
    try:
        answer = call(shop, "rebuild_indexes", indexes=[PKEY, NOTE])
    finally:
        over.set()
        client.join()
    assert (answer.get("rebuilt"), bool(done)) == ([PKEY["name"], NOTE["name"]], True), answer
    assert damaged(shop) == []
    shop.run("shop", "SET enable_seqscan = off; SELECT count(*) FROM sales.orders WHERE id > 0")
    again = call(shop, "rebuild_indexes", indexes=[PKEY, NOTE])
    assert (again["changed"], again["rebuilt"]) == (False, [])


@pytest.mark.parametrize(
    ("lock", "left"), [("ROW EXCLUSIVE", "sales.orders_pkey_ccnew"), ("ACCESS SHARE", "sales.orders_pkey_ccold")]
)
def test_what_a_killed_attempt_left_half_made_is_dropped(shop, lock, left):
    break_pages(shop, PKEY)
    with shop.connect("shop") as other, other.transaction():
        other.execute(
            f"LOCK TABLE sales.orders IN {lock} MODE"
        )  # a concurrent build waits for it, before or after it is made

        def build():
            with pytest.raises(psycopg.Error), shop.connect("shop") as connection:
                connection.execute("REINDEX INDEX CONCURRENTLY sales.orders_pkey")

        attempt = threading.Thread(target=build)
        attempt.start()
        asking = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'REINDEX%' AND wait_event_type = 'Lock'"
        ((pid,),) = until(lambda: shop.run("shop", asking), 20, "it waits")
        shop.run("shop", f"SELECT pg_terminate_backend({pid})")
        attempt.join()
    half = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert shop.run("shop", half) == [(left,)]
    assert call(shop, "rebuild_indexes", indexes=[PKEY])["rebuilt"] == [PKEY["name"]]
    assert (shop.run("shop", half), damaged(shop)) == ([], [])


def test_a_key_that_is_there_twice_is_for_a_person_and_the_old_index_stays(shop):
    shop.run(
        "shop",
        "CREATE TABLE twice (id int); CREATE UNIQUE INDEX twice_id ON twice (id); INSERT INTO twice VALUES (1), (2)",
    )
    shop.run(
        "shop",
        """
        UPDATE pg_index SET indisunique = false WHERE indexrelid = 'twice_id'::regclass;
        UPDATE twice SET id = 1;
        UPDATE pg_index SET indisunique = true WHERE indexrelid = 'twice_id'::regclass""",
    )
    break_pages(shop, {**PKEY, "sql": "twice_id"})
    index = {**PKEY, "name": "public.twice_id", "sql": "public.twice_id"}
    try:
        answer = call(shop, "rebuild_indexes", indexes=[index])
        assert refused(answer, 5, "public.twice_id", "let a key in twice", "The old one stays")
        assert shop.run("shop", "SELECT relname FROM pg_class WHERE relname LIKE 'twice_id%'") == [("twice_id",)]
    finally:
        shop.run("shop", "DROP TABLE twice")
    assert refused(call(shop, "rebuild_indexes", indexes=[index]), 5, "There is no index")
