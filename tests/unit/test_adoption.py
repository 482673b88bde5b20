"""Clusters that somebody else made: they are found as they are, and nothing about them is changed or overwritten."""

import copy
import subprocess

import pytest
from modules import collection, module, refused
from postgres import PostgresServer
from strangers import ASKS, fingerprint, laid_out, running

CORE = collection("plugins.module_utils.adoption")
VERSIONS = (14, 15, 16, 17, 18)


def found(root, **more):
    return module("found_clusters")(root=str(root), **more)["found"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_of_every_version_is_found_as_it_is_and_left_as_it_is(version, tmp_path):
    with running(tmp_path, version=version, settings=ASKS) as server:
        server.psql("CREATE DATABASE shop")
        before = fingerprint(tmp_path, server)
        seen = found(tmp_path)["clusters"]
        assert fingerprint(tmp_path, server) == before
    assert len(seen) == 1
    one = seen[0]
    assert (one["version"], one["name"], one["port"], one["role"]) == (version, "main", server.port, "primary")
    assert one["data_directory"] == str(server.data)
    assert one["databases"] == ["shop"]
    assert one["data_bytes"] > 10_000_000
    assert one["server_version"].startswith(str(version))
    assert (one["archived_by"], one["replicator"], one["ours"], one["managed_by"]) == (None, "absent", False, None)
    assert one["settings"]["archive_mode"] == "on"
    assert one["includes_conf_d"]


def test_that_a_look_changed_something_would_be_seen(tmp_path):
    with running(tmp_path) as server:
        before = fingerprint(tmp_path, server)
        for act in ("CREATE TABLE t ()", "CREATE ROLE r", "ALTER SYSTEM SET work_mem = '5MB'"):
            server.psql(act)
            after = fingerprint(tmp_path, server)
            assert after != before, act
            before = after
        (tmp_path / str(server.version) / "main/conf.d/50-pgrescue.conf").write_text("x")
        assert fingerprint(tmp_path, server) != before


def test_a_question_that_writes_would_fail(tmp_path, monkeypatch):
    finding = collection("plugins.module_utils.finding")
    monkeypatch.setattr(finding, "QUESTION", "CREATE TABLE written ()")
    with running(tmp_path) as server:
        assert "read-only transaction" in found(tmp_path)["clusters"][0]["problem"]
        assert server.psql("SELECT to_regclass('written')") == [(None,)]


def test_a_standby_tells_whom_it_follows_and_the_primary_who_follows(tmp_path):
    here, there = tmp_path / "a", tmp_path / "b"
    with running(here) as primary, primary.standby_of() as standby:
        laid_out(there, standby)
        primary.psql("SELECT pg_switch_wal()")
        one, other = found(here)["clusters"][0], found(there)["clusters"][0]
    assert (one["role"], other["role"]) == ("primary", "standby")
    assert other["upstream"] == {"host": "127.0.0.1", "user": "postgres"}
    assert one["system_identifier"] == other["system_identifier"]
    assert other["upstream"]["host"] in [sender["address"] for sender in one["senders"]]


def test_a_stopped_cluster_and_one_of_another_name_are_found_too(tmp_path):
    with running(tmp_path, name="orders") as server:
        pass
    seen = found(tmp_path)["clusters"]
    assert [(one["name"], one["running"], one["port"]) for one in seen] == [("orders", False, server.port)]
    assert found(tmp_path / "nothing")["clusters"] == []


def test_who_archives_is_named_and_what_it_is_told_is_not(tmp_path):
    with running(tmp_path, settings={"archive_mode": "on", "archive_command": "KEY=geheim /usr/bin/wal-g wal-push %p"}):
        answer = found(tmp_path)
    assert answer["clusters"][0]["archived_by"] == "the archive_command of wal-g"
    assert "geheim" not in str(answer)


@pytest.mark.parametrize("kind", ["scram-sha-256", "md5"])
def test_the_password_of_the_account_is_compared_where_its_verifier_is(tmp_path, kind):
    with running(tmp_path) as server:
        server.psql(f"SET password_encryption = '{kind}'; CREATE ROLE replicator PASSWORD 'from before'")
        answers = [found(tmp_path, password=said) for said in ("from before", "another", "")]
    assert [one["clusters"][0]["replicator"] for one in answers] == ["same", "other", "other"]
    assert "SCRAM-SHA" not in str(answers)


def test_what_its_owner_cannot_read_is_named(tmp_path):
    with running(tmp_path):
        seen = found(tmp_path, files=["/etc/passwd", "/etc/not-there.key"])
    assert seen["unreadable"] == ["/etc/not-there.key"]


CURRENT = "/var/lib/postgresql/17/current"
WANTED = {
    "version": 17, "port": 5432, "current": CURRENT, "cert": "/tls/db.crt", "ca": "/tls/ca.crt",
    "names": ["pg-a.example.org", "orders.example.org", "192.0.2.11"],
}  # fmt: skip
FINE = {
    "name": "pg-a",
    "system": "Debian",
    "locales": ["C", "C.utf8", "de_DE.utf8"],
    "pgbackrest": [],
    "unreadable": [],
    "certified": ["*.example.org", "192.0.2.11"],
    "clusters": [
        {
            "version": 17,
            "name": "main",
            "config": "/etc/postgresql/17/main",
            "owner": "postgres",
            "ours": False,
            "includes_conf_d": True,
            "managed_by": None,
            "port": 5432,
            "running": True,
            "role": "primary",
            "locales": ["de_DE.UTF-8", "C"],
            "fixed": [],
            "pending_restart": [],
            "replicator": "absent",
            "settings": {
                "data_directory": CURRENT,
                "archive_mode": "on",
                "wal_level": "replica",
                "ssl": "on",
                "ssl_cert_file": "/etc/ssl/certs/ssl-cert-snakeoil.pem",
                "ssl_ca_file": "",
                "config_file": "/etc/postgresql/17/main/postgresql.conf",
                "hba_file": "/etc/postgresql/17/main/pg_hba.conf",
            },
        }
    ],
}  # fmt: skip


def changed(path, value):
    """FINE with one thing changed: `port`, `settings.ssl_cert_file` of its cluster, or `.unreadable` of the host."""
    host = copy.deepcopy(FINE)
    where = host if path.startswith(".") else host["clusters"][0]
    *way, last = path.strip(".").split(".")
    for name in way:
        where = where[name]
    where[last] = value
    return host


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "orders", "sudo pg_renamecluster 17 orders main"),
        ("version", 15, "set postgres_version"),
        ("port", 5433, "Set postgres_port: 5433"),
        ("settings.config_file", "/srv/pg/postgresql.conf", "Move it there"),
        ("settings.hba_file", "/srv/pg/pg_hba.conf", "Move it there"),
        (
            "settings.data_directory",
            "/var/lib/postgresql/17/main",
            "set data_directory /var/lib/postgresql/17/current && sudo",
        ),
        ("fixed", ["archive_command"], "ALTER SYSTEM RESET archive_command"),
        ("settings.archive_mode", "off", "archive_mode = on\\n"),
        ("settings.wal_level", "minimal", "restarted once"),
        ("settings.listen_addresses", "localhost", "listen_addresses = '*'\\n"),
        ("pending_restart", ["max_connections"], "waits for a restart"),
        ("replicator", "other", "locked out"),
        ("settings.ssl_cert_file", "/own/db.crt", "Set postgres_tls_cert"),
        ("settings.ssl_ca_file", "/own/ca.crt", "Set postgres_tls_ca"),
        (".unreadable", ["/tls/db.crt"], "would not start again"),
        ("includes_conf_d", False, "include_dir = 'conf.d'"),
        ("managed_by", "Puppet", "written by Puppet"),
        (".locales", ["C"], "sudo locale-gen"),
        (".certified", ["*.example.org"], "not 192.0.2.11, and who verifies it would turn away"),
        (
            ".certified",
            ["example.org", "*.a.example.org"],
            "not pg-a.example.org and orders.example.org and 192.0.2.11",
        ),
        (".certified", [], "names nobody"),
    ],
)
def test_what_protecting_would_break_is_refused_for_all_hosts_at_once(path, value, words):
    ask = module("adoption_check")
    wanted = {"pg-a": WANTED, "pg-b": WANTED}
    assert ask(found={"pg-a": FINE, "pg-b": FINE}, wanted=wanted)["adopted"] == ["pg-a", "pg-b"]
    answer = ask(found={"pg-a": FINE, "pg-b": changed(path, value)}, wanted=wanted)
    assert refused(answer, 3, "pg-b: ", words, "Nothing was changed on any host")
    assert "- pg-a: " not in answer["msg"]


@pytest.mark.parametrize(
    ("listens", "alone"),
    [
        ("", True),
        ("localhost,::1", True),
        ("*", False),
        ("localhost, 192.0.2.11", False),
        ("0.0.0.0", False),
        (None, False),
    ],
)
def test_a_server_that_nobody_else_reaches_is_known(listens, alone):
    assert collection("plugins.module_utils.network").listens_alone(listens) == alone


def test_the_names_of_a_certificate_are_read_and_one_that_is_not_there_is_none_to_judge(tmp_path):
    for alternatives in ("DNS:*.example.org,DNS:orders.example.net,IP:192.0.2.11", ""):
        more = ["-addext", f"subjectAltName={alternatives}"] if alternatives else []
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=db", *more]
        files = ["-keyout", tmp_path / "db.key", "-out", tmp_path / "db.crt"]
        subprocess.run([*made, *files], check=True, capture_output=True)
        seen = module("found_clusters")(root=str(tmp_path), certificate=str(tmp_path / "db.crt"))["found"]
        assert seen["certified"] == (["*.example.org", "orders.example.net", "192.0.2.11"] if alternatives else ["db"])
    assert module("found_clusters")(root=str(tmp_path), certificate="/not/there")["found"]["certified"] is None
    unknown = {**FINE, "certified": None}
    assert CORE.obstacles({"pg-a": unknown}, {"pg-a": WANTED}) == {}


def test_where_protect_has_been_before_only_locales_are_asked():
    ours = changed("settings.archive_mode", "off")
    ours["clusters"][0]["ours"] = True
    assert module("adoption_check")(found={"pg-a": ours}, wanted={"pg-a": WANTED})["adopted"] == []
    bare = {**FINE, "clusters": [], "locales": ["C"]}
    said = CORE.obstacles({"pg-a": ours, "pg-b": bare}, {"pg-a": WANTED, "pg-b": WANTED})
    assert list(said) == ["pg-b"]
    assert "de_DE.UTF-8" in said["pg-b"][0]


def test_files_that_configuration_management_writes_are_known_and_those_of_postgresql_are_not():
    with PostgresServer() as server:
        assert CORE.who_manages((server.data / "pg_hba.conf").read_text()) is None
    for text, tool in (
        ("# This file is managed by Puppet. DO NOT EDIT.\n", "Puppet"),
        ("# Ansible managed\nport = 1\n", "Ansible"),
        ("# Generated by Chef for db1\n", "Chef"),
    ):
        assert CORE.who_manages(text) == tool
        assert CORE.who_manages(text + "# BEGIN pgrescue\n") is None
