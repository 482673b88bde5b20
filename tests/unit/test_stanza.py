"""Which cluster the repositories serve: made, refused, and taken over from another one, with a real pgBackRest."""

import shutil

import pytest
from backups import repositories_of
from modules import module, refused
from postgres import PostgresServer, programs

VERSION = int(programs().parent.name)


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with repositories_of() as made:
        made.backup(1)
        made.backup(2)
        yield made


@pytest.mark.parametrize("wiped", [1, 2])
def test_every_repository_goes_on_with_another_cluster_and_keeps_its_backups(made, wiped, monkeypatch):
    kept = 3 - wiped
    label = made.labels(kept)[0]
    for kind in ("backup", "archive"):
        shutil.rmtree(made.folder / f"repo{wiped}" / kind)
    other = PostgresServer(settings={"archive_mode": "on"})
    made.archive_of(other)
    with other:
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config_of(other)))
        at = {"stanza": "test", "version": VERSION, "port": other.port, "socket_directory": str(other.folder)}
        found = other.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]

        lost = made.server.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
        answer = module("stanza")(**at)
        assert refused(answer, 4, f"This is database system {found}", f"{kept} serves {lost}", "Nothing was changed")
        assert module("stanza")(check=True, adopt=True, **at)["changed"]
        assert not (made.folder / f"repo{wiped}/backup").exists()

        made.own()
        answer = module("stanza")(adopt=True, **at)
        assert answer["changed"] and answer["served"] == {str(kept): lost, str(wiped): None}, answer
        assert answer["backed_up"] == []
        again = module("stanza")(**at)
        assert not again["changed"] and again["served"] == {"1": found, "2": found}
        assert made.labels(kept) == [label]
        offered = module("backup_catalog")(stanza="test")["catalog"]  # of the present cluster there is none yet
        assert offered["candidates"] == [] and "belongs to system" in offered["passed_over"][0]["reason"]


def test_a_store_that_does_not_answer_is_named_before_anything_is_made(made, monkeypatch):
    monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
    at = {"stanza": "test", "version": VERSION, "port": made.server.port, "socket_directory": str(made.server.folder)}
    answer = module("stanza")(endpoints={"2": "127.0.0.1:1"}, **at)
    assert refused(answer, 5, "Not every repository serves this cluster", "repository 2: ")


def test_a_repository_that_cannot_be_made_is_named(made, monkeypatch):
    broken = made.config.with_name("broken.conf")
    broken.write_text(made.config.read_text().replace(f"repo2-path={made.folder}/repo2", "repo2-path=/dev/null"))
    monkeypatch.setenv("PGBACKREST_CONFIG", str(broken))
    at = {"stanza": "test", "version": VERSION, "port": made.server.port, "socket_directory": str(made.server.folder)}
    assert refused(module("stanza")(**at), 5, "Not every repository serves this cluster")


def test_a_repository_whose_passphrase_is_another_one_is_said_in_the_engines_words(made, monkeypatch):
    """Its message has several lines, which stand in its JSON as they are."""
    monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
    monkeypatch.setenv("PGBACKREST_REPO1_CIPHER_TYPE", "aes-256-cbc")
    monkeypatch.setenv("PGBACKREST_REPO1_CIPHER_PASS", "another")
    server = made.server
    answer = module("stanza")(stanza="test", version=VERSION, port=server.port, socket_directory=str(server.folder))
    assert refused(answer, answer["exit_code"], "Not every repository serves this cluster", "unable to load info file")
