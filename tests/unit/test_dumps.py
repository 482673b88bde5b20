"""Logical backups: taken from real servers into real object stores, listed, verified and restored."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import postgres as servers
import psycopg
import pytest
from backups import flip
from dumping import CLIENTS, PASSWORD, answer, count, fill, gate, key_pair, objects, run, spawn, url
from faults import caught
from modules import collection, module, refused
from object_store import ObjectStore
from postgres import PostgresServer, programs, until

HOUSE = Path(__file__).parents[2]
PRIVATE, PUBLIC = key_pair()
KEYS = {"service": "shop", "public_keys": [PUBLIC]}


@pytest.fixture(scope="module")
def source():
    with PostgresServer() as server:
        fill(server)
        yield server


@pytest.fixture
def target():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def stores(tmp_path):
    with ObjectStore(tmp_path / "one") as one, ObjectStore(tmp_path / "two") as two:
        yield one, two


@pytest.fixture
def store(stores):
    return stores[0]


def places(*stores):
    return [store.place for store in stores]


def taking(server, tmp_path, *stores, **more):
    return {
        "url": url(server),
        "service": "shop",
        "signing_key": PRIVATE,
        "stores": places(*stores),
        "work_directory": str(tmp_path / "work"),
        **more,
    }


def take(server, tmp_path, *stores, **more):
    return module("take_dump")(**taking(server, tmp_path, *stores, **more))


def listed(*stores, **more):
    return module("dump_catalog")(stores=places(*stores), **{**KEYS, **more})["catalog"]


def verify(*stores, **more):
    return module("verify_dump")(stores=places(*stores), **{**KEYS, **more})


def restore(server, tmp_path, dumps, *stores, **more):
    place = {"run": "run-1", "url": url(server, "postgres"), "work_directory": str(tmp_path / "restores")}
    return module("restore_dump")(dumps=dumps, stores=places(*stores), **{**KEYS, **place, **more})


def names(server):
    return {row[0] for row in server.psql("SELECT datname FROM pg_database")}


def test_a_service_that_lives_in_database_postgres_can_be_proven(target, stores, tmp_path):
    with PostgresServer() as server:
        server.psql("CREATE TABLE here AS SELECT 1 AS i")
        taken = take(server, tmp_path, *stores, url=url(server, "postgres"))
    assert taken["databases"] == ["postgres"]
    assert refused(restore(target, tmp_path, [taken["id"]], *stores), 4, "already has a database postgres")
    target.psql("CREATE TABLE mine (i int)")
    assert refused(restore(target, tmp_path, [taken["id"]], *stores, replace_empty=True), 4, "already has")
    target.psql("DROP TABLE mine")
    assert not restore(target, tmp_path, [taken["id"]], *stores, replace_empty=True).get("failed")
    assert target.psql("SELECT i FROM here") == [(1,)]


def test_a_store_that_lost_the_dump_fails_its_verification(source, stores, tmp_path):
    taken = take(source, tmp_path, *stores)
    bucket = collection("plugins.module_utils.buckets").Bucket(stores[1].place)
    bucket.delete(list(bucket.sizes("dumps/shop/")))
    checked = verify(*stores)
    assert checked["failed_checks"] == ["every file of the dump is there"]
    assert checked["verified_stores"] == [stores[0].name]
    assert taken["id"] == checked["id"]


# -- the whole way ---------------------------------------------------------------------------------------------------


def test_a_dump_comes_back_with_all_it_had(source, target, stores, tmp_path):
    taken = take(source, tmp_path, *stores)
    assert taken["databases"] == ["shop", "stock"]
    assert taken["excluded"] == [{"name": "postgres", "reason": "empty"}]
    assert taken["stores"] == sorted(store.name for store in stores)
    entry = listed(*stores)["dumps"][0]
    assert (entry["id"], entry["stores"], entry["proof"]["state"]) == (taken["id"], taken["stores"], "unproven")
    checked = verify(*stores)
    assert (checked["failed_checks"], checked["verified_stores"]) == ([], taken["stores"])
    restored = restore(target, tmp_path, [taken["id"]], *stores)
    assert [d["name"] for d in restored["databases"]] == ["shop", "stock"]
    assert restored["roles"] == ["app", 'reader "of" shop']
    for database in ("shop", "stock"):
        before, after = count(source, database), count(target, database)
        assert {k: v for k, v in before.items() if after[k] != v} == {}
        assert before["tables"]
        manifest = next(d for d in restored["manifest"]["databases"] if d["name"] == database)
        assert manifest["census"]["tables"] == before["tables"]
    facts = "pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate"
    assert target.psql(f"SELECT {facts} FROM pg_database WHERE datname = 'shop'") == [("app", "UTF8", "C")]
    assert run(target, "shop", "SHOW work_mem") == [("9MB",)]
    assert run(target, "shop", "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'videos'") == [(True,)]
    assert target.psql("SELECT shobj_description('app'::regrole, 'pg_authid')") == [("it's; the\napplication's",)]
    assert not (tmp_path / "restores/shop").exists()


def test_the_manifest_is_as_its_schema_says(source, store, tmp_path):
    tables = {"shop": ["public.products"]}
    taken = take(source, tmp_path, store, fingerprint_tables=tables)
    envelope = json.loads((objects(store, taken["id"]) / "manifest.dsse.json").read_text())
    payload = collection("plugins.module_utils.signing").verify(envelope, [PUBLIC])
    schema = json.loads((HOUSE / "docs/schema/dump.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(payload, schema)
    assert payload["system_identifier"] == source.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    assert payload["databases"][0]["census"]["fingerprints"]["public.products"]["rows"] == 5000
    assert payload["globals"]["without_passwords"]
    assert "PASSWORD" not in (objects(store, taken["id"]) / "globals.sql").read_text()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**payload, "id": "yesterday"}, schema)


def test_what_is_dumped_is_one_snapshot(source, target, store, tmp_path):
    home = gate(tmp_path)
    process = spawn("take_dump", **taking(source, tmp_path, store, databases=["stock"], program_directory=str(home)))
    until((tmp_path / "begun").exists, 20, "pg_dump begins")
    run(source, "stock", "INSERT INTO items VALUES (0)")  # after the snapshot, before pg_dump reads
    (tmp_path / "go").touch()
    taken = answer(process)
    try:
        restored = restore(target, tmp_path, [taken["id"]], store)
        counted = restored["manifest"]["databases"][0]["census"]["tables"]["public.items"]
        assert (counted, run(target, "stock", "SELECT count(*) FROM items")) == (100, [(100,)])
    finally:
        run(source, "stock", "DELETE FROM items WHERE i = 0")


def test_no_password_is_in_arguments_results_or_dumps(source, store, tmp_path):
    home = gate(tmp_path)
    (tmp_path / "go").touch()
    taken = take(source, tmp_path, store, program_directory=str(home))
    assert "dbname=stock" in (tmp_path / "begun").read_text()
    assert PASSWORD not in (tmp_path / "begun").read_text()
    assert PASSWORD not in json.dumps(taken)
    assert not [p for p in store.path().rglob("*") if p.is_file() and PASSWORD.encode() in p.read_bytes()]
    wrong = take(source, tmp_path, store, url=url(source, "nowhere"))
    assert refused(wrong, 3, 'database "nowhere" does not exist', "Nothing was changed")
    assert PASSWORD not in json.dumps(wrong)
    assert refused(take(source, tmp_path, store, url=url(source) + "?schema=public"), 3, 'parameter: "schema"')


def test_check_mode_writes_nothing(source, target, store, tmp_path):
    answered = take(source, tmp_path, store, check=True)
    assert (answered["changed"], answered["databases"]) == (True, ["shop", "stock"])
    assert list(store.path().iterdir()) == []
    taken = take(source, tmp_path, store)
    before = names(target)
    answered = restore(target, tmp_path, [taken["id"]], store, check=True)
    assert (answered["changed"], [d["name"] for d in answered["databases"]]) == (True, ["shop", "stock"])
    assert names(target) == before
    assert not (tmp_path / "restores/shop" / taken["id"]).exists()


# -- what it refuses -------------------------------------------------------------------------------------------------


def test_an_existing_database_is_never_touched(source, target, store, tmp_path):
    taken = take(source, tmp_path, store)
    target.psql("CREATE DATABASE shop")
    run(target, "shop", "CREATE TABLE precious AS SELECT 1 AS one")
    before = target.psql("SELECT oid, datname FROM pg_database ORDER BY 1")
    for check in (True, False):
        answered = restore(target, tmp_path, [taken["id"]], store, check=check)
        assert refused(answered, 4, "already has a database shop", "Nothing was changed")
    assert target.psql("SELECT oid, datname FROM pg_database ORDER BY 1") == before
    assert target.psql("SELECT 1 FROM pg_roles WHERE rolname = 'app'") == []
    renamed = restore(target, tmp_path, [taken["id"]], store, rename={"shop": "shop_staging"}, databases=["shop"])
    assert [d["name"] for d in renamed["databases"]] == ["shop_staging"]
    assert run(target, "shop", "SELECT * FROM precious") == [(1,)]
    assert run(target, "shop_staging", "SELECT count(*) FROM videos") == [(1000,)]
    facts = "SELECT pg_get_userbyid(datdba), datcollate FROM pg_database WHERE datname = 'shop_staging'"
    assert target.psql(facts) == [("app", "C")]


def test_roles_that_exist_are_left_as_they_are(source, target, store, tmp_path):
    taken = take(source, tmp_path, store)
    target.psql("CREATE ROLE app NOLOGIN CREATEDB")
    restored = restore(target, tmp_path, [taken["id"]], store)
    assert restored["roles"] == ['reader "of" shop']
    assert target.psql("SELECT rolcanlogin, rolcreatedb FROM pg_roles WHERE rolname = 'app'") == [(False, True)]


def test_a_database_or_a_key_that_is_not_there(source, store, tmp_path):
    assert refused(take(source, tmp_path, store, databases=["sohp"]), 3, "no database sohp")
    assert refused(take(source, tmp_path, store, signing_key="x"), 3, "openssl genpkey")
    assert refused(take(source, tmp_path, store, service="../other"), 4, "not a name of a service")
    assert list(store.path().iterdir()) == []
    assert refused(verify(store), 3, "No store holds dump")
    assert refused(verify(store, id="20261124T012050Z"), 3, "No store holds dump 20261124T012050Z")


def test_a_second_dump_at_the_same_time_is_refused_and_a_killed_one_leaves_nothing_in_the_way(source, store, tmp_path):
    home = gate(tmp_path)
    arguments = taking(source, tmp_path, store, databases=["shop"], jobs=2, program_directory=str(home))
    process = spawn("take_dump", **arguments)
    until((tmp_path / "begun").exists, 20, "pg_dump begins")
    assert refused(module("take_dump")(**arguments), 4, "Another process makes a dump of shop", "Nothing was changed")
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%pg_publication_rel%'"
    with psycopg.connect(url(source)) as holder:
        holder.execute(
            "LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE"
        )  # which pg_dump reads and the census does not
        (tmp_path / "go").touch()
        until(lambda: source.psql(waiting), 20, "pg_dump waits for the table")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        until(lambda: not source.psql(waiting), 5, "pg_dump has ended with it, on the server too")
    catalog = listed(store)
    assert (catalog["dumps"], catalog["refused"]) == ([], [])
    again = until(lambda: module("take_dump")(**arguments).get("id"), 10, "the next second")
    assert [d["id"] for d in listed(store)["dumps"]] == [again]


def test_a_dump_that_is_killed_while_it_is_sent_is_never_offered(source, store, tmp_path):
    """The first database is in the store when the second is dumped, and the process is killed there."""
    home = gate(tmp_path)
    (tmp_path / "go").touch()
    arguments = taking(source, tmp_path, store, program_directory=str(home))
    with psycopg.connect(url(source, "stock")) as holder:
        holder.execute("LOCK TABLE items IN ACCESS EXCLUSIVE MODE")  # where the census of the second waits
        process = spawn("take_dump", **arguments)
        until(lambda: list(store.path().rglob("toc.dat")), 20, "the first database is in the store")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    catalog = listed(store)
    assert (catalog["dumps"], len(catalog["unfinished"])) == ([], 1)
    assert catalog["unfinished"][0]["objects"] > 0
    assert refused(restore(source, tmp_path, [catalog["unfinished"][0]["id"]], store), 3, "No dump of shop")
    again = until(lambda: module("take_dump")(**arguments).get("id"), 10, "the next second")
    assert [d["id"] for d in listed(store)["dumps"]] == [again]
    assert verify(store)["failed_checks"] == []


# -- stores that fail ------------------------------------------------------------------------------------------------


def test_a_store_that_is_down_does_not_keep_the_other_from_its_dump(source, stores, tmp_path):
    one, two = stores
    two.stop()
    answered = take(source, tmp_path, one, two)
    assert refused(answered, 5, f"Store {two.name} took no dump")
    assert (answered["stores"], list(answered["failed_stores"])) == ([one.name], [two.name])
    catalog = listed(one, two)
    assert ([d["id"] for d in catalog["dumps"]], list(catalog["unreachable"])) == ([answered["id"]], [two.name])
    assert verify(one, two)["verified_stores"] == [one.name]
    one.stop()
    assert refused(module("dump_catalog")(stores=places(one, two), **KEYS), 3, one.name, two.name)
    assert one.name in module("dump_catalog")(stores=places(one, two), required=False, **KEYS)["catalog"]["problem"]
    assert refused(take(source, tmp_path, one, two), 5, "No store took the dump")


def test_a_credential_that_expires_on_the_way_is_named(source, stores, tmp_path):
    one, two = stores
    home = gate(tmp_path)
    arguments = taking(source, tmp_path, one, two, require="any", program_directory=str(home))
    process = spawn("take_dump", **arguments)
    until((tmp_path / "begun").exists, 20, "pg_dump begins")
    two.stop()
    two.secret = "another-secret-of-that-length"
    two.start()
    (tmp_path / "go").touch()
    taken = answer(process)
    assert taken["stores"] == [one.name]
    assert "SignatureDoesNotMatch" in taken["failed_stores"][two.name]
    assert two.name in taken["journal"][0]["detail"]
    assert verify(one)["failed_checks"] == []
    two.stop()
    two.secret = one.secret
    two.start()
    assert [d["stores"] for d in listed(one, two)["dumps"]] == [[one.name]]


def test_an_upload_that_never_ended_is_listed_and_given_up_in_time(source, store, tmp_path):
    client = collection("plugins.module_utils.stores").client(store.place)
    key = "dumps/shop/20200101T000000Z/db/1/big.dat"
    begun = client.create_multipart_upload(Bucket="dumps", Key=key)["UploadId"]
    client.upload_part(Bucket="dumps", Key=key, UploadId=begun, PartNumber=1, Body=b"x" * 100)
    found = listed(store)["uploads"]
    assert [(u["key"], u["store"]) for u in found] == [(key, store.name)]
    assert expire(store)["aborted_uploads"] == []
    assert len(expire(store, unfinished_after_days=-1)["aborted_uploads"]) == 1
    assert listed(store)["uploads"] == []


def test_a_large_file_goes_in_parts(source, target, store, tmp_path, monkeypatch):
    monkeypatch.setattr(collection("plugins.module_utils.buckets"), "PART", 5 << 20)
    run(source, "stock", "CREATE TABLE big AS SELECT md5(random()::text) FROM generate_series(1, 700000)")
    try:
        taken = take(source, tmp_path, store, databases=["stock"])
        assert max(p.stat().st_size for p in objects(store, taken["id"]).rglob("*") if p.is_file()) > 10 << 20
        assert verify(store)["failed_checks"] == []
        restore(target, tmp_path, [taken["id"]], store)
        assert run(target, "stock", "SELECT count(*) FROM big") == [(700000,)]
    finally:
        run(source, "stock", "DROP TABLE big")


# -- copies that are not as they were --------------------------------------------------------------------------------


@pytest.fixture
def dumped(source, store, tmp_path):
    """A dump of one database in one store, and the folder it is in."""
    taken = take(source, tmp_path, store, databases=["shop"])
    return taken["id"], objects(store, taken["id"])


def data_file(folder):
    return max(folder.glob("db/1/*.dat.gz"), key=lambda p: p.stat().st_size)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("fault", "plant"),
    [
        ("dump data flipped", lambda folder: flip(data_file(folder))),
        ("dump contents flipped", lambda folder: flip(folder / "db/1/toc.dat")),
        ("dump globals flipped", lambda folder: flip(folder / "globals.sql")),
        ("dump manifest flipped", lambda folder: flip(folder / "manifest.dsse.json")),
        ("dump file shortened", lambda folder: shorten(data_file(folder))),
        ("dump file missing", lambda folder: data_file(folder).unlink()),
        ("dump file added", lambda folder: (folder / "db/1/9999.dat.gz").write_bytes(b"x")),
    ],
)
def test_a_copy_that_is_not_as_it_was_written_is_caught_and_not_restored(fault, plant, dumped, store, target, tmp_path):
    dump, folder = dumped
    caught_nothing = verify(store)
    assert caught_nothing["failed_checks"] == []
    plant(folder)
    store.forget()
    caught(fault, verify(store)["checks"])
    if fault != "dump file added":  # which is not read
        before = names(target)
        assert refused(restore(target, tmp_path, [dump], store), 3, dump, "Nothing was changed")
        assert names(target) == before


def test_every_byte_counts(dumped, store):
    """One bit in each of thirty places, spread over all files the manifest covers and itself."""
    _dump, folder = dumped
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    for number in range(30):
        path = files[number % len(files)]
        content = path.read_bytes()
        place = (number * 7919) % len(content)
        changed = bytearray(content)
        changed[place] ^= 1 << (number % 8)
        path.write_bytes(changed)
        assert verify(store)["failed_checks"], f"bit in byte {place} of {path.name}"
        path.write_bytes(content)
    assert verify(store)["failed_checks"] == []


def test_a_key_nobody_knows_is_caught(dumped, store):
    caught("dump signed by a stranger", verify(store, public_keys=[key_pair()[1]])["checks"])
    assert "none of the 1 public keys" in listed(store, public_keys=[key_pair()[1]])["refused"][0]["reason"]


def test_an_older_dump_in_a_newer_ones_place_is_caught(dumped, store):
    dump, folder = dumped
    folder.rename(folder.parent / "20991231T235959Z")
    store.forget()
    caught("dump in another's place", verify(store)["checks"])
    assert listed(store)["dumps"] == []
    assert dump in listed(store)["refused"][0]["reason"]


def test_a_dump_that_is_too_small_is_caught(dumped, store):
    caught("dump too small", verify(store, min_bytes=1 << 30)["checks"])


def test_a_dump_of_noise_is_caught(source, store, tmp_path):
    take(source, tmp_path, store, databases=["shop"])
    noise = "string_agg(gen_random_uuid()::text, '')"
    run(source, "shop", f"CREATE TABLE noise AS SELECT {noise} FROM generate_series(1, 30000)")
    try:
        until(lambda: take(source, tmp_path, store, databases=["shop"]).get("id"), 10, "the next second")
        caught("dump unlike the ones before", verify(store)["checks"])
        assert "of the median" in listed(store)["dumps"][0]["anomalies"][0]
    finally:
        run(source, "shop", "DROP TABLE noise")


def test_the_other_store_makes_up_for_what_one_has_lost(source, target, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    flip(data_file(objects(one, dump)))
    (objects(two, dump) / "globals.sql").unlink()
    two.forget()
    assert verify(one, two)["verified_stores"] == []
    assert restore(target, tmp_path, [dump], one, two)["passed_over"] == []
    assert run(target, "shop", "SELECT count(*) FROM products") == [(5000,)]


def test_stores_that_tell_different_stories_are_not_believed(source, target, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    signing = collection("plugins.module_utils.signing")
    path = objects(two, dump) / "manifest.dsse.json"
    payload = signing.verify(json.loads(path.read_text()), [PUBLIC])
    path.write_text(json.dumps(signing.sign({**payload, "notes": ["another story"]}, PRIVATE)))
    two.forget()
    caught("dump with two stories", verify(one, two)["checks"])
    assert "another one than in" in listed(one, two)["refused"][0]["reason"]
    assert refused(restore(target, tmp_path, [dump], one, two), 3, "different manifests")


def test_the_newest_dump_that_is_whole_is_restored_and_the_run_says_why_not_a_newer_one(
    source, target, store, tmp_path
):
    first = take(source, tmp_path, store)["id"]
    second = until(lambda: take(source, tmp_path, store).get("id"), 10, "the next second")
    flip(data_file(objects(store, second)))
    restored = restore(target, tmp_path, [second, first], store)
    assert restored["id"] == first
    assert "not as it was written" in restored["passed_over"][0]["reason"]
    assert second in restored["journal"][0]["detail"]


def test_what_an_interrupted_restore_brought_is_kept(dumped, target, store, tmp_path):
    dump, folder = dumped
    gone = data_file(folder)
    gone.rename(tmp_path / "aside")
    store.forget()
    assert refused(restore(target, tmp_path, [dump], store), 3, gone.name)
    brought = tmp_path / "restores/shop" / dump
    kept = {p: p.stat().st_mtime_ns for p in brought.rglob("*") if p.is_file() and p.suffix != ".partial"}
    assert kept
    (tmp_path / "aside").rename(gone)
    store.forget()
    with_times = []
    original = collection("plugins.module_utils.buckets").Bucket.get

    def get(self, key, path):
        with_times.append(path)
        return original(self, key, path)

    collection("plugins.module_utils.buckets").Bucket.get = get
    try:
        assert restore(target, tmp_path, [dump], store)["id"] == dump
    finally:
        collection("plugins.module_utils.buckets").Bucket.get = original
    assert not {str(p) + ".partial" for p in kept} & set(with_times)


# -- versions --------------------------------------------------------------------------------------------------------


@pytest.fixture
def of_version(monkeypatch):
    """A server of a major version, with its clients; tests/fetch_clients brings it."""
    monkeypatch.setattr(servers, "FETCHED", CLIENTS)
    return lambda version: PostgresServer(version=version)


@pytest.mark.parametrize("version", [14, 16, 17, 18])
def test_every_major_version_is_dumped_and_restored(version, of_version, store, tmp_path):
    home = {"program_directory": str(CLIENTS / str(version) / "bin")}
    with of_version(version) as source, of_version(version) as target:
        fill(source)
        taken = take(source, tmp_path, store, **home)
        assert bool(taken["notes"]) == (version < 16), taken["notes"]
        assert bool(list(store.path().rglob("*.dat.zst"))) == (version >= 16)
        restore(target, tmp_path, [taken["id"]], store, **home)
        before, after = count(source, "shop"), count(target, "shop")
        assert {k: v for k, v in before.items() if after[k] != v} == {}


def test_a_server_newer_than_pg_dump_is_refused_before_anything_is_dumped(of_version, store, tmp_path):
    with of_version(18) as newer:
        answered = take(newer, tmp_path, store, url=url(newer, "postgres"), program_directory=str(programs()))
        assert refused(answered, 3, "PostgreSQL 18.", "is 15.", "Nothing was changed")
    assert list(store.path().iterdir()) == []


def newest_of(server, tmp_path, store):
    """A dump taken with the newest client programs."""
    clients = str(CLIENTS / "18/bin")
    return until(lambda: take(server, tmp_path, store, program_directory=clients).get("id"), 10, "the next second")


def test_a_dump_goes_to_a_newer_server_and_never_to_an_older_one(of_version, source, store, tmp_path):
    taken = take(source, tmp_path, store, databases=["shop"])["id"]
    with of_version(18) as newer:
        restored = restore(newer, tmp_path, [taken], store, program_directory=str(CLIENTS / "18/bin"))
        assert restored["databases"][0]["name"] == "shop"
        assert run(newer, "shop", "SELECT count(*) FROM videos") == [(1000,)]
        old_programs = {"program_directory": str(programs()), "rename": {"shop": "again"}}
        answered = restore(newer, tmp_path, [newest_of(newer, tmp_path, store)], store, **old_programs)
        assert refused(answered, 3, "written by pg_dump 18.", "15.", "Nothing was changed")
    with of_version(14) as older:
        assert refused(restore(older, tmp_path, [taken], store), 4, "PostgreSQL 14.", "of 15.", "Nothing was changed")
        assert names(older) == {"postgres", "template0", "template1"}


# -- a role that is no superuser -------------------------------------------------------------------------------------


@pytest.fixture
def tenant(source):
    """A role that owns one database and is no superuser; as a URL without its database."""
    source.psql("CREATE ROLE tenant LOGIN")
    source.psql("CREATE DATABASE tenancy OWNER tenant")
    run(source, "tenancy", "SET ROLE tenant; CREATE SCHEMA mine; CREATE TABLE mine.rows AS SELECT 1 AS one")
    yield f"postgresql://tenant@{source.address}:{source.port}/"
    source.psql("DROP DATABASE tenancy")
    source.psql("DROP ROLE tenant")


def payload_of(store, dump):
    envelope = json.loads((objects(store, dump) / "manifest.dsse.json").read_text())
    return collection("plugins.module_utils.signing").verify(envelope, [PUBLIC])


def test_a_dump_that_cannot_be_loaded_is_disproven_where_it_was_read(target, store, tmp_path):
    with PostgresServer() as server:
        server.psql("CREATE DATABASE shop")
        run(
            server,
            "shop",
            """CREATE TABLE goods AS SELECT 1 AS i;
            CREATE FUNCTION many(i int) RETURNS int LANGUAGE sql IMMUTABLE
                AS 'SELECT i + (SELECT count(*)::int FROM goods)';
            CREATE INDEX by_many ON goods (many(i))""",
        )
        dump = take(server, tmp_path, store)["id"]
    answer = restore(target, tmp_path, [dump], store, alone=True)
    assert refused(answer, 5, "was not restored", "goods")
    assert (answer["disproves"], answer["read_whole"]) == (True, [store.name])


def test_a_role_dumps_what_it_may_and_says_what_it_may_not(source, tenant, target, store, tmp_path):
    source.psql("REVOKE CONNECT ON DATABASE stock FROM PUBLIC")
    try:
        answered = take(source, tmp_path, store, url=tenant + "tenancy")
        assert refused(answered, 5, "Database shop was not dumped", "permission denied")
        excluded = take(source, tmp_path, store, url=tenant + "tenancy", check=True)["excluded"]
        assert {"name": "stock", "reason": "the role may not connect to it"} in excluded
        named = take(source, tmp_path, store, url=tenant + "tenancy", databases=["stock"])
        assert refused(named, 3, "stock cannot be dumped: the role may not connect to it")
    finally:
        source.psql("GRANT CONNECT ON DATABASE stock TO PUBLIC")
    taken = take(source, tmp_path, store, url=tenant + "tenancy", databases=["tenancy"])
    assert restore(target, tmp_path, [taken["id"]], store)["databases"][0]["name"] == "tenancy"
    assert run(target, "tenancy", "SELECT * FROM mine.rows") == [(1,)]


@pytest.mark.parametrize(
    ("catalog", "lacks", "roles"),
    [("pg_tablespace", "tablespaces are not dumped", True), ("pg_auth_members", "roles are not dumped", False)],
)
def test_what_a_provider_hides_of_the_cluster_is_said(catalog, lacks, roles, source, tenant, store, tmp_path):
    run(source, "shop", f"REVOKE SELECT ON pg_catalog.{catalog} FROM PUBLIC")
    try:
        taken = take(source, tmp_path, store, url=tenant + "shop", databases=["tenancy"])
    finally:
        run(source, "shop", f"GRANT SELECT ON pg_catalog.{catalog} TO PUBLIC")
    assert lacks in taken["notes"][-1]
    assert "permission denied" in taken["notes"][-1]
    payload = payload_of(store, taken["id"])
    assert bool(payload["globals"]) == roles
    assert ("app" in payload["roles_not_dumpable"]) == (not roles)
    assert verify(store)["failed_checks"] == []


# -- proofs and expiry -----------------------------------------------------------------------------------------------

POLICY = {"rungs": [{"every": "day", "days": 30}], "proven": 1}


def expire(*stores, check=False, **more):
    return module("expire_dumps")(stores=places(*stores), check=check, **{**KEYS, "policy": POLICY, **more})


def old(store, source_id, days):
    """A copy of a dump as if it had been taken days ago, signed again."""
    when = datetime.now(UTC) - timedelta(days=days)
    dump = when.strftime("%Y%m%dT%H%M%SZ")
    folder = objects(store, dump)
    for path in objects(store, source_id).rglob("*"):
        if path.is_file():
            new = folder / path.relative_to(objects(store, source_id))
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(path.read_bytes())
    signing = collection("plugins.module_utils.signing")
    payload = signing.verify(json.loads((folder / "manifest.dsse.json").read_text()), [PUBLIC])
    (folder / "manifest.dsse.json").write_text(json.dumps(signing.sign({**payload, "id": dump}, PRIVATE)))
    store.forget()
    return dump


def note(*stores, **more):
    proof = {"service": "shop", "state": "validated", "run": "run-1", "read_whole": [store.name for store in stores]}
    return module("note_proof")(stores=places(*stores), **{**proof, **more})


def test_a_proof_is_noted_where_the_dump_was_read_and_goes_stale(source, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    noted = note(one, two, id=dump, read_whole=[one.name], checks=9)
    assert noted["stores"] == [one.name]
    assert not (objects(two, dump) / "proof.json").exists()
    proof = listed(one, two)["dumps"][0]["proof"]
    assert (proof["state"], proof["checks"], proof["run"], proof["stale"]) == ("validated", 9, "run-1", False)
    assert proof["store"] == one.name
    assert listed(one, stale_after_days=-1)["dumps"][0]["proof"]["stale"]
    assert verify(one)["failed_checks"] == []
    assert refused(note(one, two, id=dump, read_whole=[]), 3, "none was read whole")
    assert refused(note(one, id=dump, read_whole=["elsewhere"]), 3, "elsewhere is not among the stores")
    assert refused(note(one, two, id="20260101T000000Z"), 3, "does not hold dump")
    two.stop()
    assert refused(note(one, two, id=dump), 5, two.name)


def test_a_copy_that_is_damaged_or_was_not_read_is_never_noted_as_proven(source, target, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    flip(data_file(objects(one, dump)))
    one.forget()
    mended = restore(target, tmp_path, [dump], one, two, databases=["stock"], rename={"stock": "part"})
    assert mended["read_whole"] == []  # not all of it was brought
    proven = restore(target, tmp_path, [dump], one, two, alone=True)
    assert proven["read_whole"] == [two.name]
    assert "not whole in one store" in proven["journal"][0]["detail"]
    assert note(one, two, id=dump, read_whole=proven["read_whole"])["stores"] == [two.name]
    assert not (objects(one, dump) / "proof.json").exists()


def test_two_damaged_copies_that_make_up_for_each_other_prove_neither(source, target, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    flip(data_file(objects(one, dump)))
    flip(objects(two, dump) / "globals.sql")
    for store in stores:
        store.forget()
    assert refused(restore(target, tmp_path, [dump], one, two, alone=True), 3, "no store has all of it", "globals.sql")
    assert restore(target, tmp_path, [dump], one, two)["read_whole"] == []
    assert run(target, "shop", "SELECT count(*) FROM products") == [(5000,)]


def test_files_that_an_earlier_attempt_brought_prove_no_store(dumped, target, store, tmp_path):
    dump, folder = dumped
    gone = data_file(folder)
    gone.rename(tmp_path / "aside")
    store.forget()
    assert refused(restore(target, tmp_path, [dump], store), 3, gone.name)
    (tmp_path / "aside").rename(gone)
    store.forget()
    assert restore(target, tmp_path, [dump], store)["read_whole"] == []


def test_a_manifest_that_is_no_good_proves_nothing_of_its_store(source, target, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    flip(objects(one, dump) / "manifest.dsse.json")
    one.forget()
    assert restore(target, tmp_path, [dump], one, two, alone=True)["read_whole"] == [two.name]


def test_what_expires_is_exactly_what_the_dry_run_said(source, stores, tmp_path):
    one, two = stores
    newest = take(source, tmp_path, one, two)["id"]
    gone, proven, held = (old(one, newest, days) for days in (40, 50, 60))
    unfinished = objects(one, "20260101T000000Z") / "db/1/toc.dat"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"x")
    note(one, id=proven, state="restored")
    (objects(one, held) / "hold.json").write_text('{"reason": "an auditor asked"}')
    one.forget()
    before = {p for p in one.path().rglob("*") if p.is_file()}
    dry = expire(one, two, check=True)
    assert {p for p in one.path().rglob("*") if p.is_file()} == before
    assert [e["id"] for e in dry["expired"]] == [gone]
    done = expire(one, two)
    assert done["removed"] == dry["removed"]
    left = {p for p in one.path().rglob("*") if p.is_file()}
    assert {str(p.relative_to(one.path())) for p in before - left} == set(done["removed"][one.name])
    assert {d["id"] for d in listed(one, two)["dumps"]} == {newest, proven, held}
    assert not unfinished.exists()
    assert done["freed_bytes"] > 0
    assert not expire(one, two)["changed"]
    reasons = {e["id"]: e["reason"] for e in done["kept"]}
    assert "proven" in reasons[proven]
    assert "an auditor asked" in reasons[held]


def test_nothing_expires_while_it_is_held_or_a_store_cannot_be_asked(source, stores, tmp_path):
    one, two = stores
    newest = take(source, tmp_path, one, two)["id"]
    gone = old(one, newest, 40)
    hold = one.path("dumps/shop/hold.json")
    for text, word in (('{"reason": "litigation"}', "litigation"), ("{", "cannot be read")):
        hold.write_text(text)
        one.forget()
        assert refused(expire(one, two), 4, "are held", word)
    hold.unlink()
    one.forget()
    two.stop()
    assert refused(expire(one, two), 3, "Nothing expires while a store cannot be asked", two.name)
    assert objects(one, gone).exists()


def test_expiring_two_dumps_removes_both_and_takes_no_new_one(source, store, tmp_path):
    """The original ended after the first, for it counted with ((n++)) (M11), and took another backup (M12)."""
    newest = take(source, tmp_path, store)["id"]
    expected = sorted(old(store, newest, days) for days in (40, 41))
    done = expire(store)
    assert [e["id"] for e in done["expired"]] == expected
    assert [d["id"] for d in listed(store)["dumps"]] == [newest]


def test_a_dump_that_does_not_verify_is_left_for_a_person(source, store, tmp_path):
    newest = take(source, tmp_path, store)["id"]
    broken = old(store, newest, 400)
    flip(objects(store, broken) / "manifest.dsse.json")
    store.forget()
    done = expire(store)
    assert (done["expired"], [r["id"] for r in done["refused"]]) == ([], [broken])
    assert objects(store, broken).exists()


# -- holds and the day ------------------------------------------------------------------------------------------------


def hold(*stores, **more):
    return module("dump_hold")(service="shop", stores=places(*stores), **{"run": "run-1", **more})


def test_all_dumps_of_a_day_stay_until_it_is_over(source, store, tmp_path):
    newest = take(source, tmp_path, store)["id"]
    today = [old(store, newest, hours / 24) for hours in (2, 5, 11, 23)]
    over = [old(store, newest, hours / 24) for hours in (25, 26, 27, 73, 74, 75)]
    done = expire(store)
    gone = [e["id"] for e in done["expired"]]
    assert not set(gone) & {newest, *today}
    assert {e["reason"] for e in done["kept"] if e["id"] in today[1:]} == {"less than a day old"}
    assert gone
    assert set(gone) < set(over)  # of a day that is over the newest stays
    assert {d["id"] for d in listed(store)["dumps"]} == {newest, *today, *over} - set(gone)


def test_a_dump_that_is_held_stays_until_its_run_lets_it_go(source, stores, tmp_path):
    one, two = stores
    newest = take(source, tmp_path, one, two)["id"]
    held = old(one, newest, 40)
    for path in objects(one, held).rglob("*"):
        copy = objects(two, held) / path.relative_to(objects(one, held))
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            copy.write_bytes(path.read_bytes())
    two.forget()
    assert hold(one, two, id=held, check=True)["changed"]
    assert [e["id"] for e in expire(one, two, check=True)["expired"]] == [held]
    assert hold(one, id=held)["dumps"] == {one.name: [held]}  # in one of its stores alone
    assert not hold(one, id=held)["changed"]
    done = expire(one, two)
    assert (done["expired"], done["removed"]) == ([], {})
    assert f"Dump {held} was passed over, for it is held: run run-1 needs it" in [n["detail"] for n in done["journal"]]
    assert verify(one, two, id=held)["failed_checks"] == []  # a hold is no part of the dump
    assert objects(two, held).exists()
    hold(one, two, id=held, run="run-2")
    assert [n["run"] for n in listed(one, two)["dumps"][1]["holds"]] == ["run-1", "run-2"]
    assert hold(one, two, state="absent")["dumps"] == {one.name: [held], two.name: []}
    assert expire(one, two)["expired"] == []
    assert not hold(one, two, state="absent")["changed"]
    assert hold(one, two, state="absent", run="run-2")["changed"]
    assert [e["id"] for e in expire(one, two)["expired"]] == [held]
    assert not objects(one, held).exists()


def test_a_hold_that_is_put_while_the_stores_are_read_is_seen(source, store, tmp_path, monkeypatch):
    newest = take(source, tmp_path, store)["id"]
    held = old(store, newest, 40)
    reading = collection("plugins.module_utils.dump_store")
    original = reading.payload

    def payload(bucket, service, dump, keys):
        reading.hold([bucket], service, held, "run-1", datetime.now(UTC), True)
        return original(bucket, service, dump, keys)

    monkeypatch.setattr(reading, "payload", payload)
    assert expire(store)["expired"] == []
    assert objects(store, held).exists()


def test_a_restore_holds_its_dump_and_a_killed_one_is_told(source, target, stores, tmp_path):
    one, two = stores
    dump = old(one, take(source, tmp_path, one, two)["id"], 40)
    two.stop()
    restored = restore(target, tmp_path, [dump], one, two, run="run-died")
    assert f"Dump {dump} is not held in {two.name}" in restored["journal"][0]["detail"]
    two.start()
    assert expire(one, two)["expired"] == []
    catalog = listed(one, two)
    (note_there,) = catalog["dumps"][1]["holds"]
    assert note_there["run"] == "run-died"
    lint = collection("plugins.module_utils.lint").findings
    later = datetime.now(UTC).timestamp() + 90_000
    for when, expected in ((later - 80_000, []), (later, [dump])):
        facts = {"now_s": when, "dumps": catalog}
        told = [f for f in lint({"service": "shop", "engines": ["dump"]}, facts) if f["id"] == "hold-forgotten"]
        assert [f["where"] for f in told] == expected
    assert "let_go=run-died" in told[0]["change"]
    two.stop()
    assert refused(hold(one, two, run="run-died", state="absent"), 5, "may still hold", two.name)
    two.start()
    hold(one, two, run="run-died", state="absent")
    assert [e["id"] for e in expire(one, two)["expired"]] == [dump]


@pytest.mark.parametrize("at", ['"yesterday"', '"2026-01-01"', "5"])
def test_a_note_of_nonsense_proves_nothing_holds_and_is_told(source, store, tmp_path, at):
    newest = take(source, tmp_path, store)["id"]
    dump = old(store, newest, 40)
    (objects(store, newest) / "proof.json").write_text(f'{{"state": "validated", "at": {at}}}')
    (objects(store, dump) / "hold.json").write_text(f'{{"reason": {{}}, "run": 5, "at": {at}}}')
    (store.path("dumps/shop") / "hold.json").write_text("{}")
    store.forget()
    catalog = listed(store)
    assert [d["proof"]["state"] for d in catalog["dumps"]] == ["unproven", "unproven"]
    assert catalog["dumps"][1]["holds"][0]["reason"].endswith("hold.json cannot be read")
    assert refused(expire(store), 4, "are held", "no reason given")
    facts = {"now_s": datetime.now(UTC).timestamp(), "dumps": catalog}
    found = collection("plugins.module_utils.lint").findings({"service": "shop", "engines": ["dump"]}, facts)
    assert {"dump-note-unreadable": newest, "hold-forgotten": store.name}.items() <= {
        f["id"]: f["where"] for f in found
    }.items()
    (store.path("dumps/shop") / "hold.json").unlink()
    store.forget()
    assert expire(store)["expired"] == []


def test_what_failed_in_one_store_stays_proven_by_the_other(source, stores, tmp_path):
    one, two = stores
    dump = take(source, tmp_path, one, two)["id"]
    note(one, two, id=dump, read_whole=[one.name])
    note(one, two, id=dump, read_whole=[two.name], state="failed")
    proof = listed(one, two)["dumps"][0]["proof"]
    assert (proof["state"], proof["store"], proof["failed_in"]) == ("validated", one.name, [two.name])


def test_a_dump_that_is_nowhere_cannot_be_held(store):
    assert refused(hold(store, id="20260101T000000Z"), 3, "No store holds dump")
    assert refused(hold(store, id="20260101T000000Z", run="../x"), 4, "not the id of a run")


def test_an_unfinished_dump_that_is_held_stays(store):
    left = objects(store, "20260101T000000Z")
    for name in ("db/1/toc.dat", "hold/run-1.json"):
        (left / name).parent.mkdir(parents=True, exist_ok=True)
        (left / name).write_text("{}")
    store.forget()
    assert expire(store)["removed"] == {}
    (left / "hold/run-1.json").unlink()
    store.forget()
    assert expire(store)["removed"]


def test_a_policy_that_keeps_nothing_is_refused(store):
    for policy in (
        {},
        {"rungs": []},
        {"rungs": [{"every": "hour", "days": 1}]},
        {**POLICY, "proven": 0},
        {**POLICY, "x": 1},
    ):
        assert refused(expire(store, policy=policy), 3, "The retention")
