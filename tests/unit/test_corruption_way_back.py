"""From a page that a disk lost, to a sound copy with every row: the safety copy is no way back, an older backup is."""

import shutil

import pytest
from backups import flip_page, repositories_of
from modules import as_user, collection, module
from postgres import PostgresServer, free_port

plans = collection("plugins.module_utils.corruption_plans")


class Copy(PostgresServer):
    """A place beside a server, for a restore."""

    def __init__(self, origin):
        self.programs, self.version, self.user = origin.programs, origin.version, origin.user
        self.address, self.port = "127.0.0.1", free_port()
        self.folder = origin.folder / "copy"
        self.folder.mkdir()
        shutil.chown(self.folder, self.user, self.user)
        self.data = self.folder / "run-1"


def at(server):
    return {"version": server.version, "port": server.port, "socket_directory": str(server.folder)}


def look(server):
    return module("damage")(**at(server), deadline_s=60, rest_share=0)["damage"]


def plan(damage, catalog, server, **more):
    state = {**module("cluster_state")(**at(server))["state"], "settings": {}}
    return plans.make(
        {
            "service": "test", "procedure": "corruption",
            "states": {"db1": state, "spare": {"role": "spare", "ready": True}},
            "hosts": {h: {"region": "east", "address": h, "root": "/pg"} for h in ("db1", "spare")},
            "damage": {"db1": damage}, "catalog": catalog, "recover_to": "latest", "exclusive": False,
            "backup_before": None, "method": None, "target": None, "prefer_region": None, "application_scale": 1,
            "postgres_version": server.version, "runs": [], **more,
        },
        "run-1",
    )  # fmt: skip


@pytest.fixture
def repositories(monkeypatch):
    monkeypatch.setenv("PGUSER", "postgres")
    with repositories_of() as made:
        monkeypatch.setenv("PGBACKREST_CONFIG", str(made.config))
        yield made


def test_a_lost_page_of_a_table_costs_no_row(repositories):
    server = repositories.server
    server.psql("CREATE TABLE things AS SELECT g AS id, repeat('x', 100) AS text FROM generate_series(1, 2000) AS g")
    server.psql("CREATE UNIQUE INDEX things_id ON things (id)")
    good = repositories.backup(1)
    server.psql("INSERT INTO things SELECT g FROM generate_series(2001, 3000) AS g")
    path = server.data / server.psql("SELECT pg_relation_filepath('things')")[0][0]
    server.stop()
    flip_page(path, 3)
    server.start()
    server.psql("INSERT INTO things VALUES (3001)")  # nobody has noticed yet

    found = look(server)
    assert [d["name"] for d in found["damaged"]] == ["public.things"]
    copied = module("take_backup")(stanza="test", repositories=[1], timeout_s=5)
    assert copied["taken"] == [1]
    repositories.archive()
    catalog = module("backup_catalog")(stanza="test")["catalog"]
    assert [b["label"] for b in catalog["candidates"]] == [good]
    assert "page checksum errors" in catalog["passed_over"][0]["reason"]

    way = plan(found, catalog, server)
    assert (way["method"], way["candidates"][0]["label"], way["recovery_target"]) == (
        "restore",
        good,
        {"type": "default"},
    )
    server.stop()  # the fence; its last WAL reaches the archive
    before = path.read_bytes()
    copy = Copy(server)
    repositories.own()
    answer = as_user(
        server.user,
        lambda: module("restore_backup")(
            stanza="test", place=str(copy.data), run="run-1", candidates=way["candidates"], version=copy.version,
            system_identifier=way["system_identifier"], timeline=way["target_timeline"], action="pause",
            recovery_options={"archive_command": ""},
        ),
    )  # fmt: skip
    assert answer.get("changed"), answer
    with (copy.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"port = {copy.port}\nunix_socket_directories = '{copy.folder}'\n")
    copy.start()
    try:
        assert not module("await_server")(**at(copy), until="writable", deadline_s=30).get("failed")
        assert copy.psql("SELECT count(*), max(id) FROM things") == [(3001, 3001)]
        sound = look(copy)
        assert (sound["damaged"], sound["unknown"]) == ([], [])
        checks = module("validate_cluster")(**at(copy), plan={**way, "data_directory": str(copy.data)})["checks"]
        assert [check["name"] for check in checks if check["verdict"] != "passed"] == []
    finally:
        copy.stop()
    assert path.read_bytes() == before  # the damaged side stays as it is


def test_a_lost_page_of_an_index_is_repaired_where_it_is(repositories):
    server = repositories.server
    server.psql("CREATE TABLE things AS SELECT g AS id FROM generate_series(1, 2000) AS g")
    server.psql("CREATE UNIQUE INDEX things_id ON things (id)")
    repositories.backup(1)
    path = server.data / server.psql("SELECT pg_relation_filepath('things_id')")[0][0]
    server.stop()
    flip_page(path)
    server.start()
    catalog = module("backup_catalog")(stanza="test")["catalog"]
    way = plan(look(server), catalog, server)
    assert (way["method"], way["target_host"]) == ("reindex", "db1")
    rebuilt = module("rebuild_indexes")(**at(server), indexes=way["indexes"], deadline_s=60)
    assert rebuilt["rebuilt"] == ["public.things_id"]
    assert look(server)["damaged"] == []
    checks = module("validate_cluster")(**at(server), plan=way)["checks"]
    assert [check["name"] for check in checks if check["verdict"] != "passed"] == []
    assert plan(look(server), catalog, server, method="restore")["method"] == "restore"
