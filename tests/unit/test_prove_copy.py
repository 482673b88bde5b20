"""A restored copy is proven on every major version: damage is planted in it, and one check must name it."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from faults import caught
from modules import HOUSE, module, refused
from postgres import PostgresServer, until
from shops import VERSIONS, Shop

SCHEMA = json.loads((HOUSE / "docs/schema/checks.schema.json").read_text())
PAGE = 8192


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"postgresql-{version}")
def shop(request):
    with PostgresServer(version=request.param) as server:
        yield Shop(server)


@pytest.fixture(scope="module", autouse=True)
def as_postgres():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGUSER", "postgres")
        yield


COMPARED = "everything was compared with a census"


@pytest.fixture
def copy(shop):
    """A copy to damage; its files are on disk and none of their pages in memory."""
    with shop.copy() as name:
        yield name


def at(shop, **more):
    server = shop.server
    return {"version": server.version, "port": server.port, "socket_directory": str(server.folder), **more}


def prove(shop, *databases, **more):
    answer = module("prove_copy")(**at(shop, databases=list(databases), **{"kind": "physical", **more}))
    assert not answer.get("failed"), answer["msg"]
    jsonschema.validate(answer["checks"], SCHEMA)
    compared = [check for check in answer["checks"] if check["name"] == COMPARED]
    # as it must be, with a census and without: what follows is about the other checks
    assert [(check["verdict"], check["tier"]) for check in compared] == [
        ("passed" if more.get("expected") else "failed", "should")
    ]
    return [check for check in answer["checks"] if check["name"] != COMPARED]


def census(shop, *databases):
    return module("census")(**at(shop, databases=list(databases), fingerprint_tables=["sales.customers"]))["census"]


def flip(path: Path, *places: int) -> None:
    """Turn one bit of each of these bytes."""
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 1
    path.write_bytes(content)


def test_a_sound_copy_passes_every_check_and_stays_as_it_is(shop, copy):
    before = census(shop, "shop", copy)
    checks = prove(shop, "shop", copy, expected=before, deadline_s=60)
    assert [check for check in checks if check["verdict"] != "passed"] == []
    assert len(checks) == len({check["name"] for check in checks})
    assert all(check["duration_s"] >= 0 and check["host"] for check in checks)
    said = {check["name"]: check["observed"] for check in checks}
    assert "unlogged tables are not brought back" in said["every table has the rows the census counted"]
    assert ("were only read" in said["every index is sound and holds every row of its table"]) == (
        shop.server.version < 18
    )
    after = census(shop, "shop", copy)
    assert after["databases"] == before["databases"]
    checks = prove(shop, copy)  # and without an expectation
    assert [check for check in checks if check["verdict"] != "passed"] == []


# Statements that plant a fault in a copy.
PLANTED = {
    "sequence behind its column": "SELECT setval('sales.orders_id_seq', 999)",
    "index lacks a row": """
        UPDATE pg_index SET indisready = false WHERE indexrelid = 'sales.orders_customer'::regclass;
        UPDATE sales.orders SET customer = 7, state = 'open' WHERE id = 7;
        UPDATE pg_index SET indisready = true WHERE indexrelid = 'sales.orders_customer'::regclass""",
    "foreign key violated": """
        SET session_replication_role = replica; UPDATE sales.orders SET customer = 999 WHERE id = 7""",
    "CHECK violated": """
        ALTER TABLE sales.orders DROP CONSTRAINT total_is_not_negative; UPDATE sales.orders SET total = -1 WHERE id = 7;
        ALTER TABLE sales.orders ADD CONSTRAINT total_is_not_negative CHECK (total >= 0) NOT VALID;
        UPDATE pg_constraint SET convalidated = true WHERE conname = 'total_is_not_negative'""",
    "domain violated": """
        ALTER DOMAIN sales.email DROP CONSTRAINT email_check; UPDATE sales.customers SET email = 'none' WHERE id = 7;
        ALTER DOMAIN sales.email ADD CONSTRAINT email_check CHECK (VALUE LIKE '%@%') NOT VALID;
        UPDATE pg_constraint SET convalidated = true WHERE conname = 'email_check'""",
    "row in a wrong partition": """
        UPDATE pg_class c SET relpartbound = o.relpartbound FROM pg_class o
         WHERE c.relname LIKE 'events_202_' AND o.relname LIKE 'events_202_' AND c.oid <> o.oid""",
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_in_the_rows_is_caught(shop, copy, fault):
    expected = census(shop, copy) if fault in ("foreign key violated", "CHECK violated", "index lacks a row") else None
    shop.run(copy, PLANTED[fault])
    caught(fault, prove(shop, copy, expected=expected))


def test_a_sequence_without_a_value_is_caught(shop, copy):
    """As replay left unlogged ones until the minor versions of August 2026."""
    expected = census(shop, "shop")
    expected["databases"] = {copy: expected["databases"]["shop"]}
    shop.file(copy, "sales.countdown").write_bytes(bytes(PAGE))
    for known in (expected, None):
        caught("sequence without a value", prove(shop, copy, expected=known))


DAMAGED = {
    "heap page damaged, checksums on": "sales.orders",
    "toast page damaged": 'sales."Big documents"',
    "index page damaged": "sales.orders_pkey",
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_page_is_caught(shop, copy, fault):
    expected = census(shop, "shop")
    expected["databases"] = {copy: expected["databases"]["shop"]}
    relation = DAMAGED[fault]
    if fault == "toast page damaged":
        ((relation,),) = shop.run(
            copy, f"SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = '{relation}'::regclass"
        )
    flip(shop.file(copy, relation), PAGE + PAGE // 2)
    checks = prove(shop, copy, expected=expected)
    caught(fault, checks)
    assert DAMAGED[fault] in next(check["observed"] for check in checks if check["verdict"] == "failed")


@pytest.fixture(scope="module")
def unchecked(shop):
    """A server of the same version without data checksums."""
    off = ("--no-data-checksums",) if shop.server.version >= 18 else ()
    with PostgresServer(version=shop.server.version, initdb=off) as server:
        yield Shop(server)


def test_a_damaged_row_is_caught_where_pages_have_no_checksums(unchecked):
    with unchecked.copy() as name:
        path = unchecked.file(name, "sales.base")
        content = path.read_bytes()
        first = int.from_bytes(content[24:28], "little") & 0x7FFF  # where the first line pointer points
        path.write_bytes(
            content[: first + 22] + b"\xf0" + content[first + 23 :]
        )  # t_hoff: where the row's values begin
        caught("heap page damaged, checksums off", prove(unchecked, name))


def test_a_missing_file_is_caught(shop, copy):
    expected = census(shop, "shop")
    expected["databases"] = {copy: expected["databases"]["shop"]}
    path = shop.file(copy, "sales.orders")
    path.unlink()
    try:
        checks = prove(shop, copy, expected=expected)
        caught("relation file missing", checks)
        assert "sales.orders" in next(check["observed"] for check in checks if check["verdict"] == "failed")
    finally:
        path.touch()
        shutil.chown(path, shop.server.user)


def test_a_database_that_does_not_answer_is_caught(shop, copy):
    expected = census(shop, "shop", copy)
    ((oid,),) = shop.run("postgres", f"SELECT oid FROM pg_database WHERE datname = '{copy}'")
    folder = shop.file("postgres", "pg_class").parent.parent / str(oid)
    shutil.move(folder, shop.server.folder / "elsewhere")
    try:
        caught("database does not answer", prove(shop, "shop", copy, expected=expected))
    finally:
        shutil.move(shop.server.folder / "elsewhere", folder)


ASSERTION = {
    "name": "every order has a customer",
    "database": "shop",
    "sql": "SELECT count(*) FROM sales.orders WHERE customer IS NULL",
}


def test_what_the_business_knows_is_asserted(shop):
    true = {**ASSERTION, "name": "a truth", "sql": "SELECT true", "expect": True}
    row = {**ASSERTION, "name": "a row", "sql": "SELECT 1.50, NULL, 'x'", "expect": ["1.50", None, "x"]}
    checks = prove(shop, "shop", assertions=[{**ASSERTION, "expect": 0}, true, row])
    assert [check["name"] for check in checks if check["verdict"] != "passed"] == []
    assert [check["name"] for check in checks[-3:]] == ["every order has a customer", "a truth", "a row"]
    checks = prove(shop, "shop", assertions=[{**ASSERTION, "expect": 1}, true])
    caught("business assertion false", checks)
    wrong = {
        "SELECT 1 WHERE false": "0 rows",
        "SELECT 1 UNION SELECT 2": "2 rows",
        "SELECT nonsense": "does not exist",
        "DELETE FROM sales.orders": "read-only",
        "COMMIT; DELETE FROM sales.orders": "multiple commands",
        "SELECT pg_sleep(9)": "timeout",
        "SELECT NULL": "None",
    }
    asked = [{**ASSERTION, "name": sql, "sql": sql, "expect": 1} for sql in wrong]
    seen = {check["name"]: check for check in prove(shop, "shop", assertions=asked, assertion_timeout_s=1)}
    assert all(seen[sql]["verdict"] == "failed" and said in seen[sql]["observed"] for sql, said in wrong.items())


def test_what_there_was_no_time_for_is_told(shop):
    checks = prove(
        shop, "shop", deadline_s=0.01, assertions=[{**ASSERTION, "expect": 0}], expected=census(shop, "shop")
    )
    assert "truncated" in {check["verdict"] for check in checks}
    caught("no time for all checks", [check for check in checks if check["name"] != ASSERTION["name"]])
    assert "more" in checks[-1]["observed"]


@pytest.mark.parametrize("shop", [17, 18], indirect=True, ids=lambda version: f"postgresql-{version}")
def test_a_value_twice_in_a_unique_index_is_caught(shop, copy):
    """Which amcheck can tell since 17."""
    index = "UPDATE pg_index SET indisunique = {} WHERE indexrelid = 'sales.orders_pkey'::regclass; "
    shop.run(
        copy,
        index.format("false")
        + "DROP PUBLICATION changes; UPDATE sales.orders SET id = 8 WHERE id = 7; "
        + index.format("true"),
    )
    caught("unique index holds a value twice", prove(shop, copy))


def test_a_gin_index_out_of_order_is_caught():
    """Which amcheck can tell since 18."""
    with PostgresServer(version=18, initdb=("--no-data-checksums",)) as server:
        shop = Shop(server)
        shop.run("shop", "SELECT gin_clean_pending_list('sales.orders_note')")
        with shop.copy() as name:
            path = shop.file(name, "sales.orders_note")
            content = path.read_bytes()
            pages = [content[at : at + PAGE] for at in range(0, len(content), PAGE)]
            # a leaf of the entry tree: the flags of GIN at the end of the page say nothing but "leaf"
            number = next(n for n, page in enumerate(pages) if page[-2:] == b"\x02\x00")
            page = pages[number]
            pages[number] = page[:24] + page[28:32] + page[24:28] + page[32:]  # the first two line pointers exchanged
            path.write_bytes(b"".join(pages))
            checks = prove(shop, name)
            caught("GIN index out of order", checks)
            assert "without data checksums" in next(
                c["observed"] for c in checks if c["name"] == "every page can be read"
            )


NEWEST = """
CREATE EXTENSION btree_gist;
CREATE TABLE rooms (id int, at daterange, PRIMARY KEY (id, at WITHOUT OVERLAPS));
CREATE TABLE bookings (
    id int PRIMARY KEY, room int, at daterange,
    FOREIGN KEY (room, PERIOD at) REFERENCES rooms (id, PERIOD at)
);
CREATE TABLE made (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL, CHECK (b < 100), CHECK (a > 5) NOT ENFORCED);
INSERT INTO rooms VALUES (1, '[2025-01-01,2025-06-01)'), (1, '[2025-06-01,2026-01-01)');
INSERT INTO bookings VALUES (1, 1, '[2025-05-01,2025-07-01)'), (2, NULL, '[2025-05-01,2025-07-01)');
INSERT INTO made VALUES (1);
"""


@pytest.mark.parametrize("shop", [18], indirect=True, ids=["postgresql-18"])
def test_what_only_the_newest_version_has_is_checked_too(shop, copy):
    shop.run(copy, NEWEST)
    expected = census(shop, copy)
    assert [check for check in prove(shop, copy, expected=expected) if check["verdict"] != "passed"] == []
    shop.run(
        copy, "SET session_replication_role = replica; UPDATE bookings SET at = '[2025-05-01,2026-07-01)' WHERE id = 1"
    )
    caught("foreign key violated", prove(shop, copy, expected=expected))


@pytest.fixture(scope="module")
def restored():
    """A primary that archives, what its paused standby held, and a copy that was restored to just there."""
    with PostgresServer() as primary:
        archive = primary.folder / "archive"
        archive.mkdir()
        shutil.chown(archive, primary.user)
        primary.psql("ALTER SYSTEM SET archive_mode = on")
        primary.psql(f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
        primary.stop()
        shop = Shop(primary.start())
        with primary.standby_of() as standby:
            shop.run(
                "shop", "CREATE SEQUENCE sales.early; SELECT nextval('sales.early')"
            )  # in WAL there, on a page here
            target = PostgresServer(source=primary, settings={"restore_command": f"cp {archive}/%f %p"})
            shop.run("shop", "DELETE FROM sales.orders WHERE id > 900; SELECT nextval('sales.countdown')")
            ((written,),) = primary.psql("SELECT pg_current_wal_lsn()")
            until(lambda: standby.psql(f"SELECT pg_last_wal_replay_lsn() >= '{written}'")[0][0], 20, "it is replayed")
            at_standby = {"port": standby.port, "socket_directory": str(standby.folder)}
            answer = module("census")(**at_standby, pause_replay=True, fingerprint_tables=["sales.customers"])
            shop.run("shop", "DELETE FROM sales.orders; SELECT nextval('sales.countdown')")
            primary.psql("SELECT pg_switch_wal()")
            (target.data / "standby.signal").rename(target.data / "recovery.signal")
            with (target.data / "postgresql.auto.conf").open("a") as file:
                file.write(f"recovery_target_lsn = '{answer['census']['lsn']}'\n")
                file.write("recovery_target_inclusive = off\nrecovery_target_action = promote\narchive_mode = off\n")
            with target:
                until(lambda: not target.psql("SELECT pg_is_in_recovery()")[0][0], 30, "the copy is promoted")
                yield answer["census"], target, primary, standby


def proven(server, **more):
    return module("prove_copy")(port=server.port, socket_directory=str(server.folder), kind="physical", **more)


def test_a_copy_restored_to_where_the_standby_stood_is_exactly_what_it_held(restored):
    expected, target, _primary, _standby = restored
    checks = proven(target, expected=expected)["checks"]
    assert [check for check in checks if check["verdict"] != "passed"] == []
    assert expected["databases"]["shop"]["tables"]["sales.orders"] == 900
    assert expected["databases"]["shop"]["unlogged"] == {"sales.sessions": None}


def test_a_server_that_is_no_copy_is_refused(restored):
    _expected, target, primary, standby = restored
    assert refused(proven(standby), 3, "in recovery", "Nothing was changed")
    assert refused(proven(primary), 4, "standby replicates", "Nothing was changed")
    assert refused(proven(target, version=9), 3, "not 9")
    assert refused(
        proven(target, databases=["shop"], assertions=[{**ASSERTION, "database": "nowhere", "expect": 0}]), 5, "nowhere"
    )
    answer = module("prove_copy")(check=True, port=1, socket_directory="/tmp", kind="logical")
    assert (answer["changed"], answer["checks"]) == (False, [])
