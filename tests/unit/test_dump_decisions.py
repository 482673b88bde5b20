"""Decisions about dumps that need no server."""

from datetime import UTC, datetime

import pytest
from modules import collection

dumps = collection("plugins.module_utils.dumps")
dump_server = collection("plugins.module_utils.dump_server")
libpq = collection("plugins.module_utils.libpq")
Stop = collection("plugins.module_utils.guards").Stop

GLOBALS = """--
-- PostgreSQL database cluster dump
--

\\restrict abc

SET standard_conforming_strings = on;
-- it's a comment; with marks
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN;
COMMENT ON ROLE app IS 'it''s; two
lines; E'' "';
CREATE ROLE "odd ""; role";
ALTER ROLE "odd ""; role" WITH NOLOGIN;
ALTER ROLE app SET search_path TO 'a;b', "c;d";
CREATE TABLESPACE fast OWNER app LOCATION '/fast';
GRANT ALL ON TABLESPACE fast TO app;
GRANT app TO "odd ""; role" WITH INHERIT TRUE GRANTED BY postgres;
"""


def test_a_script_of_roles_is_read_statement_by_statement():
    found = dumps.statements(GLOBALS)
    assert len(found) == 10
    assert all(s.endswith(";") for s in found)
    assert dumps.roles_made(GLOBALS) == ["app", 'odd "; role']


def test_roles_that_are_there_are_left_and_tablespaces_are_not_made():
    assert dumps.role_statements(GLOBALS, ["app"]) == [
        "SET standard_conforming_strings = on;",
        'CREATE ROLE "odd ""; role";',
        'ALTER ROLE "odd ""; role" WITH NOLOGIN;',
        'GRANT app TO "odd ""; role" WITH INHERIT TRUE GRANTED BY postgres;',
    ]


@pytest.mark.parametrize(
    ("wanted", "major", "asked", "told"),
    [
        ("zstd:3", 16, "--compress=zstd:3", False),
        ("zstd:3", 15, "--compress=6", True),
        ("lz4", 14, "--compress=6", True),
        ("gzip:9", 15, "--compress=9", False),
        ("gzip", 15, "--compress=6", False),
        ("none", 15, "--compress=0", False),
    ],
)
def test_an_old_pg_dump_compresses_with_gzip_and_that_is_told(wanted, major, asked, told):
    option, note = dumps.compression(wanted, major)
    assert (option, bool(note)) == (asked, told)


def like(dump_bytes, size_bytes=1000):
    return {"dump_bytes": dump_bytes, "size_bytes": size_bytes}


def test_a_dump_is_compared_with_the_median_of_those_before():
    before = [like(100), like(101), like(5000)]
    assert dumps.anomalies(like(100), []) == []
    assert dumps.anomalies(like(131, 1310), before) == []
    assert dumps.anomalies(like(71, 710), before) == []
    assert "+32 %" in dumps.anomalies(like(133, 1330), before)[0]
    assert "-31 %" in dumps.anomalies(like(70, 700), before)[0]
    assert "compressed 5.00 times" in dumps.anomalies(like(100, 500), before)[0]


def test_a_name_that_leads_elsewhere_is_refused():
    payload = {"databases": [{"files": [{"name": "db/1/toc.dat", "bytes": 1, "sha256": "x"}]}], "globals": None}
    assert list(dumps.files(payload)) == ["db/1/toc.dat"]
    for name in ("../toc.dat", "db/1/../../x", "/etc/passwd", "db/x/toc.dat", "db/1/.hidden", "manifest.dsse.json"):
        payload["databases"][0]["files"][0]["name"] = name
        with pytest.raises(Stop, match="not a file of a dump"):
            dumps.files(payload)
    for wrong in ("", "..", "a/b", ".x"):
        with pytest.raises(Stop):
            dumps.service_prefix(wrong)
    for wrong in ("", "..", "20261124T012050Z/x", "latest"):
        with pytest.raises(Stop):
            dumps.folder("shop", wrong)


def test_the_newest_note_of_a_proof_counts():
    dump = {"server_version": "17.2"}
    older = {"state": "validated", "at": "2026-11-01T00:00:00.000000Z"}
    newer = {"state": "unproven", "at": "2026-11-02T00:00:00.000000Z"}
    now = datetime(2026, 11, 24, tzinfo=UTC)

    def state(*proofs, days=30, major=17):
        found = dumps.proof_state(dump, proofs, now, days, major)
        return found["state"], found["stale"]

    assert state(None) == ("unproven", False)
    assert state(older, None) == ("validated", False)
    assert state({**newer, "state": "failed"}) == ("failed", False)
    assert state(older, days=20) == ("validated", True)
    assert state(older, major=18) == ("validated", True)
    assert state({"reason": "cannot be read"}) == ("unproven", False)


def test_a_dump_stays_proven_while_the_newest_note_of_one_store_says_so():
    dump, now = {"server_version": "17.2"}, datetime(2026, 11, 24, tzinfo=UTC)
    proven = {"state": "validated", "at": "2026-11-01T00:00:00.000000Z", "store": "one"}
    failed = {"state": "failed", "at": "2026-11-02T00:00:00.000000Z", "store": "two"}
    found = dumps.proof_state(dump, [failed, proven], now, 30, 17)
    assert (found["state"], found["store"], found["failed_in"]) == ("validated", "one", ["two"])
    assert dumps.proof_state(dump, [failed, None], now, 30, 17)["state"] == "failed"


@pytest.mark.parametrize("found", [[], 5, None, "x", {}, {"at": "2026-11-01T00:00:00Z"}])
def test_a_note_that_is_no_proof_says_so(found):
    assert "cannot be read" in dumps.proof_note(found, "proof.json")["problem"]


@pytest.mark.parametrize("at", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", 5, None])
def test_a_proof_of_an_unknown_instant_proves_nothing_and_is_told(at):
    note = dumps.proof_note({"state": "validated", "at": at}, "proof.json")
    state = dumps.proof_state({"server_version": "17.2"}, [note], datetime(2026, 11, 24, tzinfo=UTC), 30, 17)
    assert (state["state"], state["problem"]) == ("unproven", "proof.json cannot be read")
    assert dumps.hold_note({"reason": "an audit", "at": at}, "hold.json") == {"reason": "an audit"}


@pytest.mark.parametrize("found", [{"reason": 5}, {"reason": ["x"], "run": {}}, [], None])
def test_a_hold_that_cannot_be_read_holds(found):
    assert dumps.hold_note(found, "hold.json") == {"reason": "hold.json cannot be read"}


def test_what_a_url_says_reaches_programs_by_their_environment():
    url = "postgresql://me:p%40ss%20word@db.example:6543/shop?sslmode=verify-full&keepalives_idle=7&options=-c%20x%3D1"
    said = libpq.environment(url)
    assert (said["PGUSER"], said["PGPASSWORD"], said["PGHOST"]) == ("me", "p@ss word", "db.example")
    assert (said["PGPORT"], said["PGSSLMODE"], said["PGOPTIONS"]) == ("6543", "verify-full", "-c x=1")
    assert "PGDATABASE" not in said
    assert libpq.target(url, "a 'b' \\c") == r"dbname='a \'b\' \\c' keepalives_idle=7"
    assert (libpq.secret(url), libpq.default_database(url)) == ("p@ss word", "shop")
    with pytest.raises(Stop, match="malformed") as caught:
        libpq.environment(url.replace("%20", " "))  # libpq quotes the password in what it says
    assert "word" not in str(caught.value)
    with pytest.raises(Stop, match="passphrase"):
        libpq.target("postgresql://h/?sslpassword=x", "shop")


def test_the_program_of_the_servers_own_version_comes_first(tmp_path, monkeypatch):
    for version in (14, 16, 18):
        (tmp_path / str(version) / "bin").mkdir(parents=True)
        (tmp_path / str(version) / "bin/pg_dump").touch()
    monkeypatch.setattr(libpq, "INSTALLED", (f"{tmp_path}/*/bin",))
    monkeypatch.setattr(libpq, "VERSION", rf"{tmp_path}/(\d+)/")
    found = {wanted: libpq.program("pg_dump", None, wanted).split("/")[-3] for wanted in (14, 15, 16, 17, 18, 19)}
    assert found == {14: "14", 15: "16", 16: "16", 17: "18", 18: "18", 19: "18"}
    assert libpq.program("pg_dump", "/elsewhere", 15) == "/elsewhere/pg_dump"


def test_a_provider_database_is_not_ours():
    place = {"name": "rdsadmin", "allowed": True, "granted": True}
    assert dump_server._reason("", place, None) == "belongs to the provider"
    assert dump_server._reason("", {**place, "name": "x", "allowed": False}, None) == "allows no connections"
    assert dump_server._reason("", {**place, "name": "x"}, ["y"]) == "not asked for"
