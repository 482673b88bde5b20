"""Backups that the original scripts left, made as they made them. M numbers are failures that must not come back."""

import gzip
import hashlib
import subprocess

import pytest
from dumping import CLIENTS, count, fill, run, url
from faults import caught
from modules import collection, module, refused
from object_store import ObjectStore
from postgres import PostgresServer, programs

original = collection("plugins.module_utils.original_dumps")
Stop = collection("plugins.module_utils.guards").Stop
META = "BACKUP_ENV=production\nBACKUP_DB_SIZE=7759 kB\nBACKUP_DATABASE=shop\nX=$(touch {trap})\n`touch {trap}`\n"
CREATE = ("--clean", "--if-exists", "--create")


@pytest.fixture(scope="module")
def server():
    """Production, which no restore may touch."""
    with PostgresServer() as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def scripts(server):
    """What the original's pg_dump wrote: plain, and with the statements that drop and make the database."""

    def dumped(*more):
        command = [programs() / "pg_dump", "--no-owner", "--no-privileges", *more, "-d", url(server)]
        return subprocess.run(command, check=True, capture_output=True).stdout

    return {
        "plain": dumped(),
        "create": dumped(*CREATE),
        "inserts": dumped("--inserts"),
        "data": dumped("--data-only", "--inserts"),
    }


@pytest.fixture
def backup(tmp_path):
    """Writes a backup with what lay beside it; `fresh` writes no checksum."""

    def write(script, name="backup_production_20260101_020000.sql", *, fresh=False):
        path = tmp_path / name
        content = gzip.compress(script) if name.endswith(".gz") else script
        path.write_bytes(content)
        (tmp_path / f"{name}.meta").write_text(META.format(trap=tmp_path / "trap"))
        if not fresh:
            digest = hashlib.sha256(content).hexdigest()
            (tmp_path / f"{name}.sha256").write_text(f"{digest}  /backups/{name}\n")
        return path

    return write


def at(server, tmp_path, **more):
    return {"url": url(server, "postgres"), "work_directory": str(tmp_path / "work"), **more}


def verify(path, tmp_path, **more):
    return module("original_dump")(state="verified", path=str(path), work_directory=str(tmp_path / "work"), **more)


def restore(server, tmp_path, database="shop_staging", **more):
    return module("original_dump")(state="restored", database=database, **at(server, tmp_path, **more))


@pytest.fixture
def untouched(server):
    """Production and the list of databases and roles are afterwards as they were."""

    def state():
        databases = server.psql("SELECT oid, datname, pg_get_userbyid(datdba) FROM pg_database ORDER BY 1")
        return databases, server.psql("SELECT rolname FROM pg_roles ORDER BY 1"), count(server, "shop")

    before = state()
    yield
    assert state() == before


@pytest.fixture
def staging(server):
    yield "shop_staging"
    server.psql("DROP DATABASE IF EXISTS shop_staging")
    server.psql("DROP ROLE IF EXISTS shop_staging_owner")


def same_rows(server, database):
    before, after = count(server, "shop"), count(server, database)
    return all(before[what] == after[what] for what in ("tables", "sequences", "indexes"))


# -- which they are --------------------------------------------------------------------------------------------------


def test_what_lies_beside_a_backup_is_never_the_newest(tmp_path, scripts):
    """M7, M17: the newest name belonged to a side file."""
    with ObjectStore(tmp_path / "store") as store:
        folder = store.path("database-backups/production")
        folder.mkdir(parents=True)
        names = ("backup_production_20260101_020000.sql", "backup_production_20260102_020000.sql.gz")
        for name in names:
            content = gzip.compress(scripts["plain"]) if name.endswith("gz") else scripts["plain"]
            (folder / name).write_bytes(content)
            for side in (".meta", ".sha256", ".sha256.meta", ".tmp"):
                (folder / f"{name}{side}").write_text("x")
        (folder / "backup_staging_20270101_000000.sql").write_bytes(scripts["plain"])
        store.forget()
        found = module("original_dump")(state="listed", stores=[store.place])["backups"]
        assert [b["key"].rpartition("/")[2] for b in found] == [*reversed(names)]
        assert (found[0]["compressed"], found[0]["beside"]) == (True, [".meta", ".sha256"])
        verified = module("original_dump")(state="verified", stores=[store.place], work_directory=str(tmp_path / "w"))
        assert (verified["backup"]["key"], verified["failed_checks"]) == (found[0]["key"], [])
        nothing = module("original_dump")(state="verified", stores=[store.place], environment="development")
        assert refused(nothing, 3, "No store holds backup of development")
        store.stop()
        assert refused(module("original_dump")(state="listed", stores=[store.place]), 3, "cannot be listed", store.name)


def test_what_is_said_beside_a_backup_is_read_and_never_run(backup, scripts, tmp_path):
    """M2: sourcing the .meta ran what it held."""
    answered = verify(backup(scripts["plain"]), tmp_path)
    assert answered["failed_checks"] == []
    assert answered["backup"]["meta"]["BACKUP_DB_SIZE"] == "7759 kB"
    assert answered["backup"]["meta"]["X"].startswith("$(touch")
    assert not (tmp_path / "trap").exists()


# -- whether they are whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["backup_production_20260101_020000.sql", "backup_production_20260101_020000.sql.gz"])
def test_a_good_backup_verifies(name, backup, scripts, tmp_path):
    """M1: the original ended at its first check, always."""
    answered = verify(backup(scripts["plain"], name), tmp_path)
    assert [c["verdict"] for c in answered["checks"]] == ["passed"] * 5


def test_a_backup_that_is_not_as_it_was_is_caught(backup, scripts, tmp_path):
    path = backup(scripts["plain"])
    caught("original too small", verify(path, tmp_path, min_bytes=1 << 30)["checks"])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"product 42\t", b"product 43\t"))
    caught("original flipped", verify(path, tmp_path)["checks"])
    cut = backup(scripts["plain"][: len(scripts["plain"]) // 2], fresh=True)
    (tmp_path / f"{cut.name}.sha256").unlink()
    caught("original cut off", verify(cut, tmp_path)["checks"])
    packed = backup(scripts["plain"], "backup_production_20260101_020000.sql.gz", fresh=True)
    whole = packed.read_bytes()
    # wherever the bit is: what it turns the script into is never judged as if it had been written so
    flipped = [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in range(100, len(whole), len(whole) // 12)]
    for spoiled in [*flipped, whole[:-100]]:
        packed.write_bytes(spoiled)
        caught("original gzip flipped", verify(packed, tmp_path)["checks"])


# -- restoring -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "inserts"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_backup_is_restored_beside_production(kind, ending, server, backup, scripts, tmp_path, staging):
    """M3: a local .gz restored nothing; M4: a local .sql was loaded over production and told to have failed."""
    before = count(server, "shop")
    path = backup(scripts[kind], f"backup_production_20260101_020000.sql{ending}")
    answered = restore(server, tmp_path, path=str(path))
    assert answered["failed_checks"] == [], answered
    assert answered["ran_as"].startswith("pgrescue_")
    assert same_rows(server, staging)
    assert run(server, staging, "SELECT count(*) FROM pg_largeobject_metadata") == [(1,)]
    assert server.psql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop_staging'") == [
        ("shop_staging_owner",)
    ]
    assert server.psql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pgrescue%'") == []
    assert count(server, "shop") == before
    assert path.exists()  # M8
    assert list((tmp_path / "work").iterdir()) == []


def test_a_backup_that_names_its_own_database_does_not_lead_there(server, backup, scripts, tmp_path, staging):
    """M5: restored "into staging", it dropped production and loaded itself there."""
    path = backup(scripts["create"], "backup_production_20260101_020000.sql.gz")
    before = server.psql("SELECT oid FROM pg_database WHERE datname = 'shop'"), count(server, "shop")
    answered = restore(server, tmp_path, path=str(path))
    assert refused(
        answered, 4, "a statement about a whole database: DROP DATABASE", "preamble: drop", "Nothing was changed"
    )
    restored = restore(server, tmp_path, path=str(path), preamble="drop")
    assert restored.get("changed"), restored
    assert (server.psql("SELECT oid FROM pg_database WHERE datname = 'shop'"), count(server, "shop")) == before
    assert same_rows(server, staging)
    facts = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = 'shop_staging'"
    assert server.psql(facts) == [("UTF8", "C")]


@pytest.mark.usefixtures("untouched")
def test_the_first_error_ends_a_restore_and_nothing_stays(server, backup, scripts, tmp_path):
    """M6: two errors, and SUCCESS."""
    for spoiled in (
        scripts["plain"].replace(b"CREATE TABLE public.videos", b"CREATE TABLE public.vides"),
        scripts["plain"].replace(b"CREATE VIEW public.shown", b"CREATE VIEW nowhere.shown"),
    ):
        answered = restore(server, tmp_path, path=str(backup(spoiled)))
        assert refused(answered, 5, "1 error(s)", "Nothing of it is kept")


@pytest.mark.usefixtures("untouched")
def test_data_without_tables_is_not_loaded_anywhere(server, backup, scripts, tmp_path):
    """M13: 500 errors, a sequence set back in production, and success."""
    assert refused(
        restore(server, tmp_path, path=str(backup(scripts["data"]))), 5, "does not exist", "Nothing of it is kept"
    )


@pytest.mark.usefixtures("untouched")
def test_an_existing_database_and_a_dry_run_change_nothing(server, backup, scripts, tmp_path):
    path = backup(scripts["plain"])
    assert refused(restore(server, tmp_path, "shop", path=str(path)), 4, "already has a database shop")
    dry = module("original_dump")(state="restored", database="new", check=True, path=str(path), **at(server, tmp_path))
    assert (dry["failed_checks"], dry["ran_as"]) == ([], None)
    assert path.exists()  # M8: a dry run removed what it had fetched
    path.write_bytes(path.read_bytes() + b" ")
    assert refused(restore(server, tmp_path, path=str(path)), 4, "matches the checksum", "Nothing was changed")


HOSTILE = {
    "connect": b"\\connect shop",
    "shell": b"\\! touch TRAP",
    "within": b"SELECT 1 \\! touch TRAP\n;",
    "copy_command": b"\\copy products to '/tmp/x'",
    "program": b"COPY products TO PROGRAM 'touch TRAP';",
    "program_in_lower_case": b"copy (select 1)\n to /* */ program 'touch TRAP';",
    "server_file": b"COPY products FROM '/etc/passwd';",
    "drop_database": b"DROP DATABASE shop;",
    "drop_in_pieces": b"DROP--\n/* x */ DATABASE\n shop;",
    "alter_database": b"ALTER DATABASE shop SET search_path = 'x';",
    "create_database": b"CREATE DATABASE other;",
    "system": b"ALTER SYSTEM SET archive_command = 'touch TRAP';",
    "role": b"CREATE ROLE intruder SUPERUSER;",
    "become": b"SET SESSION AUTHORIZATION postgres;",
    "set_role": b"SET ROLE postgres;",
    "reset_role": b"RESET ROLE;",
    "block": b"DO $$ BEGIN PERFORM 1; END $$;",
    "call": b"SELECT pg_catalog.pg_read_file('/etc/passwd');",
    "call_in_a_call": b"SELECT pg_catalog.setval('products_id_seq', (SELECT 1));",
    "quotes_turned_off": b"SET standard_conforming_strings = off;",
    "quotes_by_function": b"SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);",
    "encoding": b"SET client_encoding = 'SJIS';",
    "after_a_literal": b"CREATE TABLE x (a text DEFAULT 'it''s $$'); DROP DATABASE shop;",
    "after_an_escape": b"CREATE TABLE x (a text DEFAULT E'\\''); DROP DATABASE shop; --');",
    "dollar_in_a_name": b"CREATE TABLE a$b$ (i int); DROP DATABASE shop; CREATE TABLE c$b$ (i int);",
    "after_a_comment": b"/* /* */ */ DROP DATABASE shop;",
    "after_copied_data": b"COPY public.products (name) FROM stdin;\nx\n\\.\nDROP DATABASE shop;",
    "behind_copy": b"COPY public.products (name) FROM stdin; DROP DATABASE shop;\n\\.",
    "subscription": b"CREATE SUBSCRIPTION s CONNECTION 'host=evil' PUBLICATION p;",
    "end_of_transaction": b"COMMIT; DROP TABLE products;",
    "grant": b"GRANT ALL ON DATABASE shop TO PUBLIC;",
}


OF_PREAMBLE = (
    "connect",
    "drop_database",
    "drop_in_pieces",
    "alter_database",
    "after_a_comment",
    "after_copied_data",
    "grant",
)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("untouched")
def test_what_pg_dump_does_not_write_is_refused(name, server, backup, scripts, tmp_path):
    marker = b"--\n-- PostgreSQL database dump complete"
    trap = str(tmp_path / "trap").encode()
    script = scripts["plain"].replace(marker, HOSTILE[name].replace(b"TRAP", trap) + b"\n" + marker)
    path = backup(script)
    for preamble in ("refuse", "drop"):
        caught(
            "original hostile", verify(path, tmp_path, preamble=preamble)["checks"]
        ) if preamble == "refuse" else None
        assert refused(restore(server, tmp_path, path=str(path)), 4, "line ", "Nothing was changed")
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    "more",
    [b"\\connect postgres", b"DROP DATABASE postgres;", b"ALTER DATABASE stock OWNER TO app;"],
)
@pytest.mark.usefixtures("untouched")
def test_only_what_pg_dump_said_of_its_own_database_is_left_out(more, server, backup, scripts, tmp_path):
    script = scripts["create"].replace(b"CREATE TABLE", more + b"\nCREATE TABLE", 1)
    assert refused(restore(server, tmp_path, path=str(backup(script)), preamble="drop"), 4, "line ")


@pytest.mark.usefixtures("untouched")
def test_what_slips_through_runs_as_a_role_that_owns_nothing(server, backup, scripts, tmp_path):
    """A function body is not read; it may do no more than the role may."""
    trick = b"""CREATE FUNCTION public.trick() RETURNS text LANGUAGE sql AS $$ SELECT pg_read_file('/etc/passwd') $$;
CREATE TABLE public.loot (t text DEFAULT public.trick());
INSERT INTO public.loot DEFAULT VALUES;
"""
    script = scripts["plain"].replace(b"CREATE TABLE public.videos", trick + b"CREATE TABLE public.videos")
    assert refused(restore(server, tmp_path, path=str(backup(script))), 5, "permission denied")
    escape = trick.replace(b"SELECT pg_read_file('/etc/passwd')", b"SELECT set_config('role', 'postgres', false)")
    script = scripts["plain"].replace(b"CREATE TABLE public.videos", escape + b"CREATE TABLE public.videos")
    assert refused(restore(server, tmp_path, path=str(backup(script))), 5, "permission denied to set role")


LATER = """CREATE FUNCTION public.spring() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        COPY (SELECT 1) TO PROGRAM 'touch TRAP';
    END IF;
END $$;
CREATE FUNCTION public.later(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM public.spring();
    RETURN i;
END $$;
CREATE FUNCTION public.mine() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT current_user::text $$;
CREATE TABLE public.bait AS SELECT generate_series(1, 100) AS i;
CREATE INDEX bait_later ON public.bait (public.later(i));
"""


def test_what_a_backup_brought_never_runs_as_a_superuser_afterwards(server, backup, scripts, tmp_path, staging):
    """What autovacuum and whoever looks at the database call runs as its owner."""
    spring = server.folder / "sprung"  # where the server's user may write
    sql = LATER.replace("TRAP", str(spring)).encode()
    path = backup(scripts["plain"].replace(b"CREATE TABLE public.videos", sql + b"CREATE TABLE public.videos"))
    answered = restore(server, tmp_path, path=str(path))
    assert answered.get("changed"), answered
    run(server, staging, "ANALYZE bait")
    run(server, staging, "REINDEX TABLE bait")
    assert not spring.exists()
    assert run(server, staging, "SELECT mine()") == [("shop_staging_owner",)]
    assert answered["owner"] == "shop_staging_owner"
    flags = "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'shop_staging_owner'"
    assert server.psql(flags) == [(False, False)]
    owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert run(server, staging, owners) == [("shop_staging_owner",)]


@pytest.mark.usefixtures("untouched")
def test_an_owner_that_may_do_more_than_own_is_refused(server, backup, scripts, tmp_path):
    path = str(backup(scripts["plain"]))
    assert refused(restore(server, tmp_path, path=path, owner="postgres"), 4, "superuser", "Nothing was changed")
    for grants in ("IN ROLE pg_execute_server_program", "IN ROLE postgres", "CREATEROLE", "REPLICATION", "BYPASSRLS"):
        server.psql(f"CREATE ROLE mighty {grants}")
        try:
            assert refused(restore(server, tmp_path, path=path, owner="mighty"), 4, "mighty", "Nothing was changed")
        finally:
            server.psql("DROP ROLE mighty")
    server.psql("CREATE ROLE shop_staging_owner LOGIN")
    try:
        assert refused(restore(server, tmp_path, path=path), 4, "can log in", "owner")
    finally:
        server.psql("DROP ROLE shop_staging_owner")


def test_an_owner_that_is_named_is_given_it(server, backup, scripts, tmp_path, staging):
    restored = restore(server, tmp_path, path=str(backup(scripts["plain"])), owner="app")
    assert (restored["owner"], restored["changed"]) == ("app", True)
    assert run(server, staging, "SELECT tableowner FROM pg_tables WHERE tablename = 'videos'") == [("app",)]


def test_a_psql_that_a_script_can_command_is_refused(server, backup, scripts, tmp_path):
    (tmp_path / "old").mkdir()
    program = tmp_path / "old" / "psql"
    program.write_text("#!/bin/sh\necho 'psql (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)'\n")
    program.chmod(0o755)
    answered = restore(server, tmp_path, path=str(backup(scripts["plain"])), program_directory=str(tmp_path / "old"))
    assert refused(answered, 3, "15.13", "CVE-2025-8714", "Nothing was changed")


@pytest.mark.parametrize("version", [14, 16, 17, 18])
def test_what_each_pg_dump_writes_may_run(version, server, tmp_path, monkeypatch):
    """Also functions with a body of statements, quoted names and every kind of literal."""
    import postgres as servers

    monkeypatch.setattr(servers, "FETCHED", CLIENTS)
    with PostgresServer(version=version) as other:
        fill(other)
        run(
            other,
            "shop",
            """
            CREATE FUNCTION body(i int) RETURNS int LANGUAGE sql BEGIN ATOMIC
                SELECT CASE WHEN i > 0 THEN 1 ELSE 2 END; SELECT i; END;
            CREATE FUNCTION dollars() RETURNS text LANGUAGE plpgsql AS $_$ BEGIN RETURN $$ \\! ; $$; END $_$;
            CREATE TABLE "odd ""name""; --" (a text DEFAULT E'\\\\it''s; \\n', b bytea DEFAULT '\\x00');
            INSERT INTO "odd ""name""; --" VALUES (E'\\\\.'), (E'line\\nline\\\\'), (NULL);
            COMMENT ON TABLE videos IS E'with \\\\ and ''; \n\\\\connect nowhere';
            CREATE RULE twice AS ON UPDATE TO products DO ALSO (SELECT 1; SELECT 2);
            CREATE TRIGGER seen BEFORE INSERT ON videos FOR EACH ROW WHEN (CASE WHEN true THEN false ELSE true END)
                EXECUTE FUNCTION suppress_redundant_updates_trigger();
            """,
        )
        for more in ((), ("--inserts",), ("--column-inserts", *CREATE)):
            command = [CLIENTS / str(version) / "bin/pg_dump", *more, "-d", url(other)]
            lines = subprocess.run(command, check=True, capture_output=True).stdout.splitlines(keepends=True)
            script = original.Script(bool(more))
            assert b"".join(script.passed(lines)).count(b"CREATE FUNCTION") == 3
