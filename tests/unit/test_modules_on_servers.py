"""Modules that observe a server, against real ones started by the test."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from modules import collection, module, refused
from pgrescue.core.lsn import parse_lsn
from postgres import PostgresServer, programs, until

VERSION = int(programs().parent.name)


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    """Modules connect as the user who runs them; the tests' servers know only this one."""
    monkeypatch.setenv("PGUSER", "postgres")


@pytest.fixture(scope="module")
def pair():
    """A primary with the witness's table, and a standby that streams from it."""
    with PostgresServer(settings={"wal_level": "replica"}) as primary:
        primary.psql("CREATE SCHEMA pgrescue")
        primary.psql("CREATE TABLE pgrescue.witness (token bigint PRIMARY KEY)")
        primary.psql("INSERT INTO pgrescue.witness SELECT * FROM generate_series(1, 50)")
        with primary.standby_of() as standby:
            yield primary, standby


def at(server, **more):
    return {"version": VERSION, "port": server.port, "socket_directory": str(server.folder), **more}


def wait_for(server, what, deadline_s=20):
    return module("await_server")(**at(server, until=what, deadline_s=deadline_s))


def test_a_primary_and_its_standby_are_told_apart(pair):
    primary, standby = pair
    wait_for(standby, "streaming")
    seen = module("cluster_state")(**at(primary))["state"]
    assert (seen["role"], seen["timeline"], seen["settings"]["data_checksums"]) == ("primary", 1, "on")
    assert seen["data_directory"] == str(primary.data)
    also = module("cluster_state")(**at(standby))["state"]
    assert (also["role"], also["streaming"]) == ("standby", True)
    assert also["system_identifier"] == seen["system_identifier"]
    assert parse_lsn(also["received"]) >= parse_lsn(also["lsn"]) > 0
    assert (also["upstream"], also["place"]) == ("127.0.0.1", str(standby.data))
    assert (seen["received"], seen["upstream"], seen["replayed_s"]) == (None, None, None)
    assert (seen["managed_by"], also["managed_by"]) == (None, None)
    (primary.data / "patroni.dynamic.json").touch()
    assert module("cluster_state")(**at(primary))["state"]["managed_by"] == "Patroni"


def test_a_stopped_cluster_is_not_a_spare(pair, monkeypatch, tmp_path):
    primary, _ = pair
    postgres = collection("plugins.module_utils.postgres")
    monkeypatch.setattr(postgres, "CONFIG", str(tmp_path / "%s"))
    here = {"version": VERSION, "port": 1, "socket_directory": str(tmp_path)}
    assert module("cluster_state")(**here)["state"]["role"] == "spare"
    conf = tmp_path / str(VERSION) / "conf.d"
    conf.mkdir(parents=True)
    (conf / "50-pgrescue.conf").write_text(f"data_directory = '{primary.data}'\n")
    assert module("cluster_state")(**here)["state"]["role"] == "unresponsive"  # it runs and cannot be asked here
    (tmp_path / "copy/global").mkdir(parents=True)
    for part in ("PG_VERSION", "global/pg_control"):
        shutil.copy(primary.data / part, tmp_path / "copy" / part)
    (conf / "50-pgrescue.conf").write_text(f"data_directory = '{tmp_path}/copy'\n")
    seen = module("cluster_state")(**here, in_use=str(tmp_path / "copy"))["state"]
    assert (seen["role"], seen["timeline"], seen["ready"]) == ("stopped", 1, True)
    assert parse_lsn(seen["lsn"]) > 0
    assert not module("cluster_state")(**here, in_use="/elsewhere")["state"]["ready"]
    assert not seen["fenced"]
    (conf.parent / "start.conf").write_text("# Fenced by pgrescue\ndisabled\n")
    assert module("cluster_state")(**here, in_use="/elsewhere")["state"]["fenced"]
    assert seen["system_identifier"] == module("cluster_state")(**at(primary))["state"]["system_identifier"]
    assert "port 1" in seen["problem"] or ".s.PGSQL.1" in seen["problem"]


def test_waiting_ends_at_its_deadline_and_says_where_the_server_stood(pair):
    primary, standby = pair
    assert wait_for(primary, "writable")["journal"][0]["step"] == "writable"
    assert refused(wait_for(standby, "writable", 1), 5, "was not writable within 1 s", "replayed to")
    assert refused(wait_for(primary, "streaming", 1), 5, "was not streaming within 1 s")
    for server in pair:  # one that an attempt before promoted is not waited for
        assert not wait_for(server, "answering", 1).get("failed")
    assert refused(wait_for(primary, "following", 1), 5, "was not following within 1 s")
    nowhere = {"version": VERSION, "port": 1, "socket_directory": "/tmp", "until": "writable", "deadline_s": 1}
    assert refused(module("await_server")(**nowhere), 5, "it stood at")


def test_a_server_that_systemd_could_not_start_is_not_waited_for(tmp_path, monkeypatch):
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\ntest "$1 $2" = "is-active postgresql@17-main" && echo failed\nexit 3\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    nowhere = {"version": VERSION, "port": 1, "socket_directory": "/tmp", "until": "writable", "deadline_s": 60}
    answer = module("await_server")(**nowhere, unit="postgresql@17-main")
    assert refused(answer, 5, "No server was started", "postgresql@17-main is failed")


@pytest.fixture(scope="module")
def recovered(pair):
    """A server on a new timeline, as a recovery leaves it."""
    primary, _ = pair
    primary.psql("CREATE TABLE things (id int PRIMARY KEY)")
    with primary.standby_of() as standby:
        until(lambda: standby.psql("SELECT to_regclass('things')")[0][0], 20, "it has caught up")
        standby.psql("SELECT pg_promote()")
        yield standby


def plan_of(server):
    """The plan that led to this server."""
    identifier = server.psql("SELECT system_identifier::text FROM pg_control_system()")[0][0]
    return {
        "system_identifier": identifier,
        "data_directory": str(server.data.resolve()),
        "target_timeline": 1,
        "archive_end": {"segment": "0" * 7 + "1" + "0" * 16},
    }


def acknowledged(*ranges):
    return {"ranges": [list(r) for r in ranges], "attempts": {}, "acks": {}}


def validate(server, **more):
    return module("validate_cluster")(**at(server, plan=plan_of(server), **more))


def failed(answer):
    return [check["name"] for check in answer["checks"] if check["verdict"] != "passed"]


def test_a_recovered_server_passes_and_says_how_big_it_is(recovered):
    answer = validate(recovered, acknowledged=acknowledged((1, 50)))
    assert failed(answer) == []
    assert answer["reconciliation"]["acknowledged"] == 50
    assert json.loads(answer["journal"][0]["detail"])["data_bytes"] > 1_000_000


def test_a_missing_commit_is_named(recovered):
    recovered.psql("DELETE FROM pgrescue.witness WHERE token IN (7, 8)")
    try:
        answer = validate(recovered, acknowledged=acknowledged((1, 50)))
        assert failed(answer) == ["every commit acknowledged before the recovery point is there"]
        assert "tokens 7, 8" in answer["checks"][-1]["observed"]
        assert failed(validate(recovered, acknowledged=acknowledged((1, 50)), accepted_losses=[7, 8])) == []
    finally:
        recovered.psql("INSERT INTO pgrescue.witness VALUES (7), (8)")


def test_a_missing_commit_of_a_service_that_nobody_stopped_is_told_and_stops_nothing(recovered):
    held = module("hold_acknowledged")(**at(recovered, acknowledged=acknowledged((1, 50))))
    assert (failed(held), held["changed"], held["reconciliation"]["acknowledged"]) == ([], False, 50)
    recovered.psql("DELETE FROM pgrescue.witness WHERE token = 7")
    try:
        held = module("hold_acknowledged")(**at(recovered, acknowledged=acknowledged((1, 50))))
        assert held["reconciliation"]["missing_before_recovery_point"] == [7]
        assert [(check["verdict"], check["tier"]) for check in held["checks"]] == [("failed", "should")]
    finally:
        recovered.psql("INSERT INTO pgrescue.witness VALUES (7)")


def test_an_invalid_index_and_another_system_are_found(recovered):
    recovered.psql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'things_pkey'::regclass")
    try:
        assert failed(validate(recovered)) == ["every index is valid"]
    finally:
        recovered.psql("UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'things_pkey'::regclass")
    other = {**plan_of(recovered), "system_identifier": "7"}
    answer = module("validate_cluster")(**at(recovered, plan=other))
    assert failed(answer) == ["the database system is the planned one"]


def test_a_database_that_cannot_be_read_is_named(recovered):
    recovered.psql("CREATE DATABASE broken")
    oid = recovered.psql("SELECT oid FROM pg_database WHERE datname = 'broken'")[0][0]
    recovered.psql("CHECKPOINT")
    shutil.move(recovered.data / "base" / str(oid), recovered.folder / "elsewhere")
    try:
        answer = validate(recovered)
        assert failed(answer) == ["every database can be read"]
        assert "broken" in next(c["observed"] for c in answer["checks"] if c["verdict"] == "failed")
    finally:
        shutil.move(recovered.folder / "elsewhere", recovered.data / "base" / str(oid))
        recovered.psql("DROP DATABASE broken")


def test_validation_writes_nothing(recovered):
    def rows():
        return recovered.psql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_all_tables")

    before = rows()
    validate(recovered, acknowledged=acknowledged((1, 50)))
    with pytest.raises(psycopg.errors.DivisionByZero):
        recovered.psql("SELECT 1/0")  # the server still answers, errors included
    assert rows() == before


PROBES = ("commit", "health", "products", "videos")


def journal(folder, *rounds, server="10.0.0.2", ago=timedelta(0)):
    """A witness journal in which every probe ended as told in each round, a moment apart."""
    now = datetime.now(UTC) - ago
    lines = []
    for number, well in enumerate(rounds, 1):
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{number:06d}Z"
        lines.append({"event": "attempt", "probe": "commit", "token": number, "wall": stamp, "mono_ns": number})
        for probe in PROBES:
            result = {"event": "result", "probe": probe, "ok": well, "start": stamp, "end": stamp}
            lines.append({**result, "token": number, "server": server} if probe == "commit" else result)
    path = folder / now.strftime("%Y%m%dT%H.jsonl")
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return str(folder)


SOON = timedelta(seconds=-30)  # ago; the watch begins after the journal was written


def watch(folder, server="10.0.0.2"):
    return module("watch_service")(journal=folder, server=server, deadline_s=0)


def test_a_service_is_healthy_after_two_successes_of_every_probe_on_the_right_server(tmp_path):
    assert watch(journal(tmp_path, False, True, True, ago=SOON))["journal"][0]["step"] == "service_healthy"
    assert refused(watch(journal(tmp_path, True, True, ago=SOON), "10.0.0.9"), 9, "does not see the service healthy")
    assert refused(watch(journal(tmp_path, True, True, False, True, ago=SOON)), 9)
    assert refused(watch(journal(tmp_path, True, ago=SOON)), 9)
    assert refused(watch(journal(tmp_path, True, True)), 9)  # well before it was looked at: that proves nothing


def test_what_was_acknowledged_leaves_out_what_was_given_up(tmp_path):
    read, give_up = module("witness_acknowledged"), module("witness_losses")
    folder = journal(tmp_path, True, True, False, True)
    assert read(journal=folder)["acknowledged"]["ranges"] == [[1, 2], [4, 4]]
    assert give_up(journal=folder, run="run-1", tokens=[2])["changed"]
    assert not give_up(journal=folder, run="run-1", tokens=[2])["changed"]
    assert read(journal=folder)["acknowledged"]["ranges"] == [[1, 1], [4, 4]]
    stopped = module("traffic_stopped")(hosts={"gone": "127.0.0.9"}, postgres_port=1, journal=folder)
    assert stopped["acknowledged"] == read(journal=folder)["acknowledged"]  # read once nobody can write


def test_reading_fast_is_reading_the_same(tmp_path):
    """What a failover reads without parsing all of it is what the fold over every line says."""
    acknowledged, reconcile = (
        collection("plugins.module_utils.acknowledged"),
        collection("plugins.module_utils.reconcile"),
    )
    folder = journal(tmp_path, True, True, False, True, False, True, True)
    texts = [
        line for path in tmp_path.iterdir() for line in path.read_text().splitlines(keepends=True) if '"commit"' in line
    ]
    for recent in (1, 3, 100):
        assert acknowledged.fold(texts, recent) == reconcile.read_acknowledged(map(json.loads, texts), recent)
    assert acknowledged.read(folder, 2, 100)["ranges"] == reconcile.read_acknowledged(map(json.loads, texts)).ranges


def test_the_part_of_a_run_is_cut_out_and_the_journal_stays_as_it_is(tmp_path):
    (tmp_path / "journal").mkdir()
    folder = journal(tmp_path / "journal", True, True)
    before = {p: p.read_bytes() for p in (tmp_path / "journal").iterdir()}
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") + "-shop-complete_loss"
    cut = {"journal": folder, "run": run, "path": str(tmp_path / "extract.jsonl")}
    assert module("witness_extract")(lead_s=60, **cut)["lines"] == 10
    assert {p: p.read_bytes() for p in (tmp_path / "journal").iterdir()} == before


def test_an_outage_that_nobody_noticed_for_hours_is_cut_out_whole(tmp_path):
    folder = journal(tmp_path, True, True, ago=timedelta(hours=5))
    journal(tmp_path, False, ago=timedelta(hours=4))
    run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") + "-shop-complete_loss"
    cut = {"journal": folder, "run": run, "path": str(tmp_path / "extract")}
    assert module("witness_extract")(lead_s=60, **cut)["lines"] == 15


def test_what_was_acknowledged_before_a_long_outage_is_read(tmp_path):
    folder = journal(tmp_path, True, True, ago=timedelta(hours=9))
    journal(tmp_path, False, ago=timedelta(hours=1))
    assert module("witness_acknowledged")(journal=folder)["acknowledged"]["ranges"] == [[1, 2]]
