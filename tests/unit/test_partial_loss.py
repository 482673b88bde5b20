"""Part of a service is lost: its rows come back, production's newer rows stay, and all of it can be taken back."""

import psycopg
import pytest
from dumping import key_pair, spawn
from modules import collection, module, refused
from object_store import ObjectStore
from partial import LOST, Pair, Shop, clients, ok, pair, trigger
from postgres import PostgresServer, until


@pytest.fixture(scope="module", params=[15, 17])
def servers(request):
    with pair(request.param) as made:
        yield made


@pytest.fixture
def shop(servers, monkeypatch, request) -> Shop:
    monkeypatch.setenv("PGUSER", "postgres")
    with servers.database("shop_" + str(abs(hash(request.node.name)) % 10**8)) as made:
        yield made


BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgrescue'"
OID = "SELECT oid::int8 FROM pg_database WHERE datname = current_database()"
QUIETLY = "SET session_replication_role = replica;"  # as damage does that no key keeps from being done
DAMAGE = """
SET session_replication_role = replica;
DELETE FROM orders WHERE id BETWEEN 100 AND 700;
DELETE FROM payments WHERE id > 50;
DELETE FROM events WHERE at < '2026-02-01';
SET session_replication_role = origin;
"""
NEWER = """
INSERT INTO customers (region, email) VALUES (1, 'new@example.org');
INSERT INTO orders (customer, total, reference) SELECT 51, n, 'N' || n FROM generate_series(1, 40) n;
UPDATE orders SET total = 99 WHERE id = 3;
INSERT INTO payments (paid_for, amount) VALUES (1001, 7);
INSERT INTO events (at, about, kind) VALUES ('2026-03-01', 1001, 'newer');
"""


def failed(answer):
    return sorted(c["name"] for c in answer["checks"] if c["verdict"] != "passed")


def test_all_missing_rows_come_back_and_all_newer_rows_stay(shop):
    before = shop.state()
    shop.sql(DAMAGE + NEWER)
    # as the original import left it (M13): the sequence stands behind keys that are there
    shop.sql("ALTER TABLE payments ALTER id RESTART WITH 20")
    damaged = shop.state()
    newer = shop.sql("SELECT o::text FROM orders o WHERE id > 1000 OR id = 3 ORDER BY id")
    audit = shop.one("SELECT count(*) FROM audit")
    answer = ok(shop.merge(LOST))
    assert answer["merged"]
    assert failed(answer) == []
    assert answer["written"]["public.orders"] == 601
    assert answer["written"]["public.payments"] == 550
    assert shop.sql("SELECT o::text FROM orders o WHERE id > 1000 OR id = 3 ORDER BY id") == newer
    assert shop.one("SELECT count(*) FROM orders") == 1040
    assert shop.one("SELECT count(*) FROM payments") == 601
    assert shop.one("SELECT count(*) FROM events") == 901
    assert shop.one("SELECT count(*) FROM audit") == audit, "a trigger fired"
    untouched = set(before) - {"orders", "payments", "customers"} - {n for n in before if n.startswith("events")}
    assert {n: shop.state()[n] for n in untouched} == {n: before[n] for n in untouched}
    assert shop.sql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'audited' ORDER BY tgrelid::regclass::text") == [
        ("O",),
        ("A",),
    ]
    shop.sql("INSERT INTO payments (paid_for, amount) VALUES (5, 5)")  # the next insert works
    shop.sql(
        "INSERT INTO orders (customer, total) VALUES (5, 5); INSERT INTO events (at, kind) VALUES ('2025-07-01', 'x')"
    )
    assert shop.one("SELECT max(id) FROM payments") == 602
    shop.sql(
        "DELETE FROM payments WHERE id = 602; DELETE FROM orders WHERE id = 1041; DELETE FROM events WHERE kind = 'x'"
    )
    again = ok(shop.lively("merge_rows", digest="whatever"))
    assert (again["changed"], again["written"]) == (False, answer["written"])
    back = ok(shop.undo())
    assert back["undone"]
    assert failed(back) == []
    assert shop.state() == damaged
    assert not shop.one("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgrescue%'")
    assert not shop.one("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'pgrescue%'")
    assert ok(shop.undo())["changed"] is False


def test_the_difference_is_counted_before_anything_is_changed(shop):
    shop.sql(DAMAGE + NEWER)
    damaged = shop.state()
    difference = shop.difference(LOST)
    counted = {one["table"]: one for one in difference["tables"]}
    orders = counted["public.orders"]
    seen = [orders[verdict] for verdict in ("missing", "taken", "same", "differing", "newer")]
    assert seen == [601, 601, 398, 1, 40]
    assert counted["public.customers"]["taken"] == 0
    assert not counted["public.customers"]["chosen"]
    assert shop.state() == damaged


def test_what_changed_since_it_was_shown_is_not_merged(shop):
    shop.sql(DAMAGE)
    shown = shop.difference(LOST)["digest"]
    shop.sql("INSERT INTO orders (customer, total) VALUES (1, 1)")  # a newer row is no reason
    shop.sql("INSERT INTO orders (id, customer, total) OVERRIDING SYSTEM VALUE VALUES (100, 1, 1)")
    before = shop.state()
    assert refused(
        shop.lively("merge_rows", digest=shown), 4, "not those of the difference that was shown", "same run id"
    )
    assert shop.state() == before
    assert ok(shop.lively("merge_rows", digest=ok(shop.lively("row_difference"))["difference"]["digest"]))["merged"]
    assert shop.one("SELECT total FROM orders WHERE id = 100") == 1


def test_rows_that_are_there_may_change_meanwhile_but_not_those_that_would_be_replaced(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id > 990; UPDATE orders SET total = 1 WHERE id = 5")
    shown = shop.difference(["public.orders"])
    shop.sql("UPDATE orders SET total = 2 WHERE id = 6")
    orders = next(one for one in shown["tables"] if one["table"] == "public.orders")
    asked = {"digest": shown["digest"], "replace": {"public.orders": orders["differing_digest"]}}
    before = shop.state()
    assert refused(shop.lively("merge_rows", **asked), 4, "would be replaced are not those", "same run id")
    assert refused(shop.lively("merge_rows", **{**asked, "replace": {"public.regions": "7"}}), 4, "chosen tables only")
    assert shop.state() == before
    assert ok(shop.lively("merge_rows", digest=shown["digest"]))["merged"]
    assert shop.sql("SELECT total::int FROM orders WHERE id IN (5, 6) ORDER BY id") == [(1,), (2,)]


def test_rows_are_replaced_only_where_that_is_chosen_and_returned_by_an_undo(shop):
    shop.sql("""UPDATE orders SET total = total + 1, "Odd ""name\""" = NULL WHERE id <= 10""")
    shop.sql("UPDATE payments SET amount = 1 WHERE id <= 10")
    damaged = shop.state()
    assert ok(shop.merge(LOST, replace=["public.orders"]))["merged"]
    assert shop.one("SELECT count(*) FROM orders WHERE total = round(id / 7.0, 2)") == 1000
    assert shop.one("SELECT count(*) FROM payments WHERE amount = id") == 591
    assert ok(shop.undo())["undone"]
    assert shop.state() == damaged


def test_parents_that_are_needed_come_back_and_no_others(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id = 7; DELETE FROM customers WHERE id IN (8, 9)")
    answer = ok(shop.merge(["public.orders"]))
    assert answer["written"]["public.customers"] == 1
    assert shop.one("SELECT count(*) FROM customers") == 49


def test_a_dropped_table_is_made_again_with_all_that_belongs_to_it(shop):
    census = "SELECT count(*) FROM pg_{} WHERE {} = to_regclass('public.{}')"
    asked = {
        "triggers": census.format("trigger", "tgrelid", "payments"),
        "policies": census.format("policy", "polrelid", "orders"),
        "indexes": census.format("index", "indrelid", "orders"),
        "keys": "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0",
        "grants": "SELECT relacl::text FROM pg_class WHERE relname = 'orders'",
        "comment": "SELECT obj_description(to_regclass('public.orders'), 'pg_class')",
        "identity": "SELECT max(attidentity) FROM pg_attribute WHERE attrelid = to_regclass('public.orders')",
        "types": "SELECT count(*) FROM pg_type WHERE typname IN ('order_state')",
        "partitions": "SELECT count(*) FROM pg_partition_tree(to_regclass('public.events'))",
    }
    before = {name: shop.one(question) for name, question in asked.items()}
    whole = shop.state()
    shop.sql("DROP TABLE orders, payments, events CASCADE; DROP TYPE order_state; DROP FUNCTION audited()")
    damaged = shop.state()
    answer = ok(shop.merge(LOST))
    assert failed(answer) == []
    assert {name: shop.one(question) for name, question in asked.items()} == before
    assert shop.state() == whole
    shop.sql("INSERT INTO orders (customer, total) VALUES (5, 5)")
    assert shop.one("SELECT max(id) FROM orders") == 1001
    assert refused(shop.undo(), 4, "public.orders holds other rows now")
    shop.sql("DELETE FROM orders WHERE id = 1001")
    assert ok(shop.undo())["undone"]
    assert shop.state() == damaged
    assert shop.one(asked["types"]) == 0


def test_a_person_agrees_to_a_difference_and_to_no_other(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    one = {
        "differing_digest": "7",
        **{"table": "public.orders", "chosen": True, "dropped": False, "blocked": [], "taken": 2, "missing": 2},
        **{"same": 3, "differing": 1, "newer": 4},
    }
    asked = {"run_dir": str(run_dir), "service": "shop", "difference": {"digest": "a" * 64, "tables": [one]}}
    agree = module("agreed_difference")
    resume = "pgrescue resume run -i INVENTORY --confirm shop"
    for typed in ({}, {"confirm": "shp"}):
        assert refused(agree(**asked, **typed), 4, "2 missing", "1 differ", "4 newer", resume)
    assert (run_dir / "difference.json").exists()
    gates = {ok(agree(**asked, asks=True, replace=chosen))["gate"] for chosen in ([], ["public.orders"])}
    assert len(gates) == 2, "a yes to one is none to the other"
    assert all(name.startswith("merge_") for name in gates)
    assert not (run_dir / "agreement.json").exists()
    assert refused(agree(**asked, confirm="shop", replace=["public.other"]), 4, "chosen tables only")
    first = ok(agree(**asked, confirm="shop", replace=["public.orders"]))["agreement"]
    again = ok(agree(**asked))  # after a kill nobody need type it again
    assert (again["agreement"], again["changed"]) == (first, False)
    assert ok(agree(**asked, asks=True))["gate"] == ""
    assert refused(agree(**{**asked, "difference": {"digest": "b" * 64, "tables": [one]}}), 4, "nobody confirmed it")
    blocked = {"digest": "b" * 64, "tables": [{**one, "blocked": ["1 by orders_reference_key, such as (7)"]}]}
    assert refused(agree(**{**asked, "difference": blocked}, confirm="shop"), 4, "orders_reference_key", "They stay")


SWALLOWED = "IF NEW.id = 150 THEN RETURN NULL; END IF; RETURN NEW;"
MEDDLED = "UPDATE public.orders SET total = 0 WHERE id = 1; RETURN NULL;"
ADDED = "INSERT INTO public.customers (email) VALUES ('added'); RETURN NULL;"


@pytest.mark.parametrize(
    ("plant", "fails"),
    [
        (trigger("swallow", "BEFORE INSERT ON orders FOR EACH ROW", SWALLOWED), "every missing row is back"),
        (trigger("meddle", "AFTER INSERT ON orders", MEDDLED), "no other row of production changed"),
        (trigger("add", "AFTER INSERT ON orders", ADDED), "counts add up"),
        (
            trigger("forbid", "BEFORE UPDATE ON orders FOR EACH ROW", "RETURN NULL;"),
            "rows were replaced only where that was chosen",
        ),
    ],
    ids=["swallows", "meddles", "adds", "forbids"],
)
def test_what_a_trigger_spoils_is_caught_and_rolled_back(shop, plant, fails):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id BETWEEN 100 AND 200; UPDATE orders SET total = 1 WHERE id = 5")
    shop.sql(plant)
    before = shop.state()
    answer = ok(shop.merge(["public.orders"], fire_triggers=True, replace=["public.orders"]))
    assert not answer["merged"]
    assert not answer["changed"]
    assert fails in failed(answer)
    assert shop.state() == before
    quiet = ok(shop.lively("merge_rows", digest=ok(shop.lively("row_difference"))["difference"]["digest"]))
    assert quiet["merged"], "without triggers it goes well"


def test_a_foreign_key_that_cannot_hold_is_caught_and_rolled_back(shop):
    shop.sql(QUIETLY + "DELETE FROM payments WHERE id = 5; UPDATE payments SET paid_for = 0 WHERE id = 6", side=True)
    shop.sql("UPDATE payments SET paid_for = 77 WHERE id = 5", side=True)
    # the copy holds a payment of an order that neither side has: a key that was not validated when it was made
    shop.sql(QUIETLY + "DELETE FROM payments WHERE id = 6")
    before = shop.state()
    answer = ok(shop.merge(["public.payments"]))
    assert failed(answer) == ["every foreign key of these tables holds"]
    assert not answer["merged"]
    assert shop.state() == before


def test_a_sequence_that_cannot_go_on_is_caught(shop, monkeypatch):
    monkeypatch.setattr(collection("plugins.module_utils.partial_sequences"), "forward", lambda *_: [])
    shop.sql(QUIETLY + "DELETE FROM payments WHERE id > 500; ALTER TABLE payments ALTER id RESTART WITH 20")
    assert failed(ok(shop.merge(["public.payments"]))) == ["the next key of every sequence is free"]


def test_triggers_left_silent_are_caught(shop, monkeypatch):
    monkeypatch.setattr(collection("plugins.module_utils.partial_merge").Merge, "loud", lambda *_: None)
    shop.sql(QUIETLY + "DELETE FROM payments WHERE id > 500")
    assert failed(ok(shop.merge(["public.payments"]))) == ["triggers are enabled as they were"]


def test_values_that_are_not_those_of_the_copy_are_caught(shop, monkeypatch):
    table = collection("plugins.module_utils.partial_rows").Table
    right = table.values

    def wrong(self, alias):
        return right(self, alias).replace('s."amount"::', '(s."amount" + 1)::')

    monkeypatch.setattr(table, "values", wrong)
    shop.sql(QUIETLY + "DELETE FROM payments WHERE id > 500")
    assert failed(ok(shop.merge(["public.payments"]))) == ["every row that came back is as it was"]


def test_with_triggers_the_cycle_of_keys_is_checked_by_postgresql(shop):
    shop.sql(
        QUIETLY + "DELETE FROM orders WHERE id BETWEEN 100 AND 200; DELETE FROM payments WHERE id BETWEEN 100 AND 200"
    )
    audit = shop.one("SELECT count(*) FROM audit")
    answer = ok(shop.merge(LOST, fire_triggers=True))
    assert answer["merged"], failed(answer)
    assert shop.one("SELECT count(*) FROM orders WHERE last_payment IS NOT NULL") == 600
    assert shop.one("SELECT count(*) FROM audit") == audit + 202
    assert shop.sql("SELECT DISTINCT condeferrable, condeferred FROM pg_constraint WHERE contype = 'f'") == [
        (False, False)
    ]


def test_a_newer_row_in_the_place_of_a_missing_one_stays(shop):
    shop.sql(
        QUIETLY + "DELETE FROM orders WHERE id = 8; INSERT INTO orders (customer, total, reference) VALUES (1, 1, 'R8')"
    )
    before = shop.state()
    difference = shop.difference(["public.orders"])
    assert refused(
        shop.lively("merge_rows", digest=difference["digest"]), 4, "orders_reference_key", "(8)", "They stay"
    )
    assert shop.state() == before


def test_what_somebody_changed_since_is_not_taken_back(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id BETWEEN 900 AND 910")
    ok(shop.merge(["public.orders"]))
    for change, words in (
        ("UPDATE orders SET total = 5 WHERE id = 905", ("changed since", "public.orders: 1, such as (905)")),
        (
            "UPDATE orders SET total = round(905 / 7.0, 2) WHERE id = 905; INSERT INTO shipments (sent) VALUES (906)",
            ("Newer rows refer", "shipments_sent_fkey"),
        ),
    ):
        shop.sql(change)
        before = shop.state()
        assert refused(shop.undo(), 4, *words)
        assert shop.state() == before
    shop.sql("DELETE FROM shipments WHERE sent = 906")
    assert refused(shop.undo(confirm="sho"), 4, "11 rows of public.orders", "-e confirm=shop")
    assert ok(shop.undo(check=True))["undone"]
    assert shop.one("SELECT count(*) FROM orders") == 1000
    assert ok(shop.undo())["undone"]
    assert shop.one("SELECT count(*) FROM orders") == 989


def test_a_run_that_merged_nothing_leaves_nothing(shop):
    before = shop.state()
    shop.difference(["public.orders"])
    assert ok(shop.undo())["undone"] is False
    assert shop.state() == before
    assert not shop.one("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgrescue%'")


def test_check_mode_merges_nothing(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id BETWEEN 900 AND 910")
    before = shop.state()
    answer = ok(shop.merge(["public.orders"], check=True))
    assert (answer["changed"], answer["merged"], failed(answer)) == (True, False, [])
    assert shop.state() == before


def test_what_cannot_be_compared_is_refused(shop):
    assert refused(shop.closure(["public.nothing"]), 3, "no table public.nothing")
    assert refused(shop.closure(['public."orders']), 3, 'no table public."orders')
    shop.sql("CREATE UNLOGGED TABLE loose (id int PRIMARY KEY)", side=True)
    assert refused(shop.closure(["public.loose"]), 3, "unlogged")
    assert refused(shop.closure(["public.products", "pg_catalog.pg_stat_activity"]), 3, "is no table")
    shop.stage(["public.notes"])
    assert refused(shop.lively("row_difference"), 3, "public.notes has no primary key", "Nothing was changed")
    assert refused(shop.lively("row_difference", system_identifier="7"), 4, "the plan of 7")
    assert refused(shop.lively("merge_rows", digest="x"), 3, "difference")
    assert shop.closure(["public.events_2025"])["closure"]["chosen"] == ["public.events"]


def test_a_table_without_a_key_comes_back_when_it_is_gone(shop):
    shop.sql("DROP TABLE notes")
    assert ok(shop.merge(["public.notes"]))["merged"]
    assert shop.sql("SELECT said FROM notes ORDER BY 1") == [("other",), ("same",), ("same",)]
    assert ok(shop.undo())["undone"]
    assert shop.one("SELECT to_regclass('notes') IS NULL")


def test_a_dropped_partition_is_made_again(shop):
    whole = shop.state()
    shop.sql("DROP TABLE events_2025")
    damaged = shop.state()
    assert ok(shop.merge(["public.events"]))["merged"]
    assert shop.state() == whole
    assert shop.one("SELECT count(*) FROM pg_index WHERE indrelid = 'events_2025'::regclass AND indisvalid") == 1
    assert ok(shop.undo())["undone"]
    assert shop.state() == damaged


def test_an_undo_that_did_not_work_is_caught_and_rolled_back(shop, monkeypatch):
    undo = collection("plugins.module_utils.partial_undo").Undo
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id > 900; UPDATE orders SET total = 0 WHERE id = 5")
    ok(shop.merge(["public.orders"], replace=["public.orders"]))
    before = shop.state()
    meddle = "UPDATE public.customers SET region = 1 WHERE id = 1"
    with monkeypatch.context() as patched:
        patched.setattr(undo, "restore", lambda self, _table: self.connection.execute(meddle))
        answer = ok(shop.undo())
    assert failed(answer) == [
        "every row that came back is gone",
        "every row that was replaced is as it was before",
        "no other row of production changed",
    ]
    assert (answer["undone"], answer["changed"]) == (False, False)
    assert shop.state() == before
    with monkeypatch.context() as patched:
        patched.setattr(collection("plugins.module_utils.partial_schema"), "left", lambda *_: True)
        assert failed(ok(shop.undo())) == ["nothing of the run is left in the database"]
    assert ok(shop.undo())["undone"]


@pytest.mark.parametrize("name", ["stage_rows", "merge_rows"])
def test_what_is_killed_goes_on_and_ends_the_same(shop, name):
    """A kill -9 while rows are loaded, and one while they are merged."""
    shop.sql(DAMAGE)
    closure = ok(shop.closure(LOST))["closure"]
    opened = ok(shop.lively("partial_staging", state="open", closure=closure, password="secret"))
    live = f"host={shop.pair.live.address} port={shop.pair.live.port}"
    loading = {"run": shop.run_id, "closure": closure, "live": live, "password": "secret", **shop.at(shop.pair.side)}
    of_run = {"run": shop.run_id, **shop.at(shop.pair.live)}
    waits = f"{opened['schema']}.s3" if name == "stage_rows" else "public.payments"
    arguments = loading
    if name == "merge_rows":
        ok(module("stage_rows")(**loading))
        ok(shop.lively("partial_staging", state="closed"))
        arguments = {**of_run, "digest": ok(shop.lively("row_difference"))["difference"]["digest"]}
    before = shop.state()
    with psycopg.connect(shop.pair.live.dsn, dbname=shop.name) as writer:
        writer.execute(f"LOCK TABLE {waits} IN ROW EXCLUSIVE MODE")
        process = spawn(name, **arguments)
        until(lambda: shop.one("SELECT count(*) FROM pg_locks WHERE NOT granted"), 20, f"{name} waits for the writer")
        process.kill()
        process.wait()
        process.stdout.close()
    until(lambda: not shop.one(BUSY), 20, "the server has noticed")
    assert shop.state() == before
    if name == "stage_rows":
        assert shop.one(f"SELECT count(*) FROM {opened['schema']}.loads") == 2
        assert ok(module("stage_rows")(**loading))["changed"]
        assert not ok(module("stage_rows")(**loading))["changed"]
        ok(shop.lively("partial_staging", state="closed"))
        arguments = {**of_run, "digest": ok(shop.lively("row_difference"))["difference"]["digest"]}
    assert ok(module("merge_rows")(**arguments))["merged"]
    assert shop.one("SELECT count(*) FROM orders") == 1000
    assert shop.one("SELECT count(*) FROM payments") == 600


def test_who_loads_can_do_nothing_else(shop):
    closure = ok(shop.closure(["public.products"]))["closure"]
    opened = ok(shop.lively("partial_staging", state="open", closure=closure, password="secret"))
    where = {"dbname": shop.name, "user": opened["loader"], "autocommit": True}
    with psycopg.connect(shop.pair.live.dsn, **where) as loader:
        for statement in (
            "SELECT FROM public.products",
            f"CREATE TABLE {opened['schema']}.mine (i int)",
            f"UPDATE {opened['schema']}.facts SET value = '{{}}'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                loader.execute(statement)
    assert refused(shop.lively("partial_staging", state="closed"), 3, "not loaded yet")
    assert refused(shop.lively("row_difference"), 3, "steps")


def test_a_staging_restore_leaves_production_as_it_is(servers, tmp_path, monkeypatch):
    """What the original scripts did (M5): a dump restored beside, which drops and creates its database, replaced it."""
    monkeypatch.setenv("PGUSER", "postgres")
    private, public = key_pair()
    version = servers.live.version
    programs_of = {"program_directory": str(clients(version))}
    with (
        ObjectStore(tmp_path / "store") as store,
        servers.database("m5") as shop,
        PostgresServer(version=None if version == 15 else version) as scratch,
    ):
        kept = {"service": "shop", "stores": [store.place]}
        taken = ok(
            module("take_dump")(
                url=f"postgresql://postgres@{servers.live.address}:{servers.live.port}/m5",
                signing_key=private, databases=["m5"], work_directory=str(tmp_path / "work"), **kept, **programs_of,
            )
        )  # fmt: skip
        shop.sql(DAMAGE + NEWER)
        oid, newer = shop.one(OID), shop.one("SELECT count(*) FROM orders WHERE id > 1000")
        wrong = {"run": "r", "dumps": [taken["id"]], "public_keys": [public], "work_directory": str(tmp_path / "back")}
        into_live = f"postgresql://postgres@{servers.live.address}:{servers.live.port}/postgres"
        assert refused(
            module("restore_dump")(url=into_live, **wrong, **kept, **programs_of), 4, "already has a database m5"
        )
        beside = f"postgresql://postgres@{scratch.address}:{scratch.port}/postgres"
        ok(module("restore_dump")(url=beside, **wrong, **kept, **programs_of))
        assert (shop.one(OID), shop.one("SELECT count(*) FROM orders WHERE id > 1000")) == (oid, newer)
        shop.pair = Pair(servers.live, scratch)
        answer = ok(shop.merge(LOST))
        assert answer["merged"], failed(answer)
        assert shop.one(OID) == oid
        assert shop.one("SELECT count(*) FROM orders") == 1000 + newer
        assert shop.one("SELECT total FROM orders WHERE id = 3") == 99


def test_tables_that_were_altered_since_take_what_fits(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id > 990")
    shop.sql("ALTER TABLE orders DROP about, ADD note text DEFAULT 'new', ALTER reference TYPE varchar(9)")
    assert ok(shop.merge(["public.orders"]))["merged"]
    assert shop.one("SELECT count(*) FROM orders WHERE note = 'new' AND doubled = total * 2") == 1000


def test_what_postgresql_refuses_is_rolled_back_in_its_own_words(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id > 990; CREATE UNIQUE INDEX one_open ON orders ((lower(reference)))")
    shop.sql("INSERT INTO orders (customer, total, reference) VALUES (1, 1, 'r995')")
    before = shop.state()
    answer = shop.merge(["public.orders"])
    assert refused(answer, 5, "duplicate key value", "one_open", "rolled back")
    assert shop.state() == before


def test_a_writer_that_does_not_end_is_not_waited_for_without_end(shop):
    shop.sql(QUIETLY + "DELETE FROM orders WHERE id > 990")
    digest = shop.difference(["public.orders"])["digest"]
    before = shop.state()
    with psycopg.connect(shop.pair.live.dsn, dbname=shop.name) as writer:
        writer.execute("INSERT INTO orders (customer, total) VALUES (1, 1)")
        assert refused(shop.lively("merge_rows", digest=digest, lock_timeout_s=1), 5, "lock", "same run id")
        writer.rollback()
    assert shop.state() == before
    assert ok(shop.lively("merge_rows", digest=digest))["merged"]
