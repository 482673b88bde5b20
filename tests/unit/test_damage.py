"""What is corrupt on a server in use is found, with its clients at work, on a primary and on a standby."""

import threading

import pytest
from backups import flip_page
from faults import caught
from modules import module
from postgres import PostgresServer, until
from shops import Shop

VERSIONS = (15, 17)
PAGE = 8192


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"postgresql-{version}")
def shop(request):
    with PostgresServer(version=request.param) as server:
        yield Shop(server)


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")


def look(shop, **more):
    server = shop.server
    at = {"version": server.version, "port": server.port, "socket_directory": str(server.folder)}
    answer = module("damage")(**at, **{"deadline_s": 60, "rest_share": 0, **more})
    assert not answer.get("failed"), answer["msg"]
    return answer["damage"]


def damaged(shop, *relations):
    """Overwrite bytes of relations while the server is down, so that no page of them is in its memory."""
    files = [shop.file("shop", relation) for relation in relations]
    whole = [path.read_bytes() for path in files]
    shop.server.stop()
    for path in files:
        flip_page(path)
    shop.server.start()

    def repair():
        shop.server.stop()
        for path, content in zip(files, whole, strict=True):
            path.write_bytes(content)
        shop.server.start()

    return repair


def test_a_sound_server_has_nothing_damaged_and_gains_nothing(shop):
    before = shop.run("shop", "SELECT extname FROM pg_extension")
    found = look(shop)
    assert (found["damaged"], found["unknown"], found["in_recovery"], found["data_checksums"]) == ([], [], False, True)
    assert [c["verdict"] for c in found["checks"]] == ["passed"] * len(found["checks"])
    assert "the catalog agrees with itself" in {c["name"] for c in found["checks"]}
    assert shop.run("shop", "SELECT extname FROM pg_extension") == before


@pytest.mark.parametrize(
    ("relation", "kind"),
    [("sales.orders", "table"), ("sales.orders_pkey", "index"), ("sales.orders_id_seq", "sequence")],
)
def test_a_damaged_page_is_found_and_named(shop, relation, kind):
    repair = damaged(shop, relation)
    try:
        found = look(shop, databases=["shop"])
        assert [(d["database"], d["name"], d["kind"], d["catalog"]) for d in found["damaged"]] == [
            ("shop", relation, kind, False)
        ]
        assert "invalid page" in found["damaged"][0]["problems"][0]
        assert look(shop, databases=["shop"])["checksum_failures"]["shop"]["count"] > 0
    finally:
        repair()


def test_an_index_that_lacks_a_row_is_found_without_keeping_clients_from_writing(shop):
    shop.run(
        "shop",
        """
        UPDATE pg_index SET indisready = false WHERE indexrelid = 'sales.orders_customer'::regclass;
        UPDATE sales.orders SET customer = 7, state = 'open' WHERE id = 7;
        UPDATE pg_index SET indisready = true WHERE indexrelid = 'sales.orders_customer'::regclass""",
    )
    over, waited = threading.Event(), []

    def write():
        with shop.connect("shop") as connection:
            connection.execute("SET lock_timeout = '1s'")
            while not over.is_set():
                connection.execute("UPDATE sales.orders SET note = note WHERE id = 9")
                waited.append(1)

    client = threading.Thread(target=write)
    client.start()
    try:
        found = look(shop, databases=["shop"])
    finally:
        over.set()
        client.join()
        shop.run("shop", "REINDEX INDEX sales.orders_customer")
    assert [d["name"] for d in found["damaged"]] == ["sales.orders_customer"]
    assert waited


def test_a_catalog_that_does_not_agree_with_itself_is_found(shop):
    shop.run("shop", "CREATE TABLE lost (a int)")
    shop.run("shop", "UPDATE pg_class SET relnamespace = 1 WHERE relname = 'lost'")
    try:
        seen = look(shop, databases=["shop"])
        caught("catalog row that leads nowhere", seen["checks"])
        found = [d for d in seen["damaged"] if d["kind"] == "catalog"]
        assert [(d["name"], d["catalog"]) for d in found] == [("pg_class (relnamespace)", True)]
    finally:
        shop.run("shop", "UPDATE pg_class SET relnamespace = 'public'::regnamespace WHERE relname = 'lost'")
        shop.run("shop", "DROP TABLE lost")


def test_what_there_was_no_time_for_and_what_is_locked_is_not_taken_for_sound(shop):
    late = look(shop, databases=["shop"], deadline_s=0.01)
    assert late["unknown"] and "truncated" in {c["verdict"] for c in late["checks"]}
    with shop.connect("shop") as other, other.transaction():
        other.execute("LOCK TABLE sales.orders")
        found = look(shop, databases=["shop"])
    assert found["damaged"] == []
    assert any("sales.orders" in said for said in found["unknown"])


def test_a_database_that_does_not_answer_is_found(shop):
    with shop.copy() as name:
        ((oid,),) = shop.run("postgres", f"SELECT oid FROM pg_database WHERE datname = '{name}'")
        folder = shop.server.data / "base" / str(oid)
        aside = folder.rename(shop.server.folder / "elsewhere")
        try:
            found = look(shop, databases=[name])
            assert [(d["database"], d["kind"]) for d in found["damaged"]] == [(name, "database")]
        finally:
            aside.rename(folder)


def test_a_standby_is_looked_at_with_what_its_primary_has():
    """And a page that is wrong on the primary alone is sound there."""
    with PostgresServer() as primary:
        shop = Shop(primary)
        with primary.standby_of() as standby:
            other = Shop.__new__(Shop)
            other.server = standby
            until(lambda: other.run("postgres", "SELECT 1 FROM pg_database WHERE datname = 'shop'"), 20, "it follows")
            repair = damaged(shop, "sales.orders")
            assert [d["name"] for d in look(shop, databases=["shop"])["damaged"]] == ["sales.orders"]
            found = look(other, databases=["shop"])
            assert (found["damaged"], found["in_recovery"]) == ([], True)
            assert any("amcheck" in said for said in found["unknown"])
            repair()
            sound = damaged(other, "sales.orders_pkey")  # which the planner stumbles over when the table is scanned
            found = look(other, databases=["shop"])
            assert [(d["name"], d["kind"]) for d in found["damaged"]] == [("sales.orders_pkey", "index")]
            assert any("sales.orders: it cannot be scanned" in said for said in found["unknown"])
            sound()
            shop.run("shop", "CREATE EXTENSION amcheck; CREATE EXTENSION pg_prewarm")
            until(lambda: not look(other, databases=["shop"])["unknown"], 20, "the standby has the extensions")


def test_a_server_that_does_not_answer_is_not_known(tmp_path):
    answer = module("damage")(version=17, port=1, socket_directory=str(tmp_path), deadline_s=5)
    assert (answer["damage"]["damaged"], len(answer["damage"]["unknown"])) == ([], 1)
    assert "could not be asked" in answer["damage"]["unknown"][0]
