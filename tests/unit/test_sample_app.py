"""The sample service behaves like a decent client of a database that goes away, comes back and moves."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from postgres import PostgresServer, free_port, until

HERE = Path(__file__).parents[2] / "lab/sample_app"


class Shop:
    """Instances of the shop on one port, and their logs."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "shop.json"
        self.config.write_text(json.dumps({"dsn": server.dsn}))
        self.processes: list[subprocess.Popen[str]] = []

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(HERE / "shop.py"), "--config", str(self.config), *arguments]

    def make_tables(self) -> str:
        return subprocess.run(self.command("--init-db"), check=True, capture_output=True, text=True).stdout

    def start(self, instance: str) -> subprocess.Popen[str]:
        arguments = ["--instance", instance, "--port", str(self.port), "--log-directory", str(self.folder)]
        environment = {**os.environ, "PSYCOPG_IMPL": "python"}  # as on the targets
        process = subprocess.Popen(self.command(*arguments), env=environment, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        until((self.folder / f"access.{instance}.log").exists, 10, "the shop starts")
        until(self.listens, 10, "the shop listens")
        return process

    def listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method: str, path: str, content: str | None = None) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, content, {"User-Agent": "test"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def well(self) -> bool:
        return self.ask("GET", "/health")[0] == 200

    def log(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.folder.glob("access.*.log")) for line in path.read_text().splitlines()]
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        complaints = "".join(process.communicate()[1] for process in self.processes)
        assert complaints == "", "a shop that is used properly complains of nothing"


@pytest.fixture
def database(postgres: PostgresServer) -> PostgresServer:
    postgres.start()
    postgres.psql("SET client_min_messages = error; DROP TABLE IF EXISTS products, videos")
    return postgres


@contextmanager
def shop_on(server: PostgresServer, folder: Path) -> Iterator[Shop]:
    one = Shop(folder, server)
    try:
        yield one
    finally:
        one.end()


@pytest.fixture
def shop(database: PostgresServer, tmp_path: Path) -> Iterator[Shop]:
    with shop_on(database, tmp_path) as one:
        one.make_tables()
        one.start("1")
        yield one


def test_tables_are_made_once(database: PostgresServer, tmp_path: Path) -> None:
    with shop_on(database, tmp_path) as one:
        assert [one.make_tables(), one.make_tables()] == ["changed\n", "unchanged\n"]
    for table in ("products", "videos"):
        assert database.psql(f"SELECT count(*), count(DISTINCT price) FROM {table}") == [(1000, 1000)]


def test_it_reads_and_writes_and_logs_each_request(shop: Shop, database: PostgresServer) -> None:
    health = {"status": "ok", "database": {"writable": True, "server": database.address}}
    assert shop.ask("GET", "/health") == (200, health)
    for path in ("/api/products", "/api/videos"):
        assert shop.ask("POST", path, '{"name": "a new one"}') == (201, {"id": 1001})
        status, body = shop.ask("GET", path)
        assert (status, body["count"], len(body["items"])) == (200, 1001, 20)
        assert body["items"][0]["name"] == "a new one"
        assert body["newest"][:19] == body["items"][0]["created_at"][:19].replace("T", " ")
    entries = until(lambda: len(shop.log()) == 5 and shop.log(), 5, "five requests are logged")
    keys = {"wall", "instance", "method", "path", "status", "duration_s", "agent", "client"}
    assert all(set(entry) == keys for entry in entries)
    assert [entry["status"] for entry in entries] == [200, 201, 200, 201, 200]
    assert {(entry["agent"], entry["client"], entry["instance"]) for entry in entries} == {("test", "127.0.0.1", "1")}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/", None, 404),
        ("POST", "/health", "{}", 404),
        ("GET", "/api/pg_class", None, 404),
        ("POST", "/api/videos", "not JSON", 400),
        ("POST", "/api/videos", "[]", 400),
        ("POST", "/api/videos", '{"title": "x"}', 400),
        ("POST", "/api/videos", "x" * 70_000, 413),
    ],
)
def test_a_wrong_request_is_refused_in_json(method: str, path: str, content: str, status: int, shop: Shop) -> None:
    answered, body = shop.ask(method, path, content)
    assert answered == status
    assert body["error"]


def test_it_outlives_its_database(shop: Shop, database: PostgresServer) -> None:
    assert shop.well()
    database.stop("immediate")
    for method, path in (("GET", "/health"), ("GET", "/api/products"), ("POST", "/api/products")):
        status, body = shop.ask(method, path, '{"name": "lost"}')
        assert (status, list(body)) == (503, ["error"])
        assert "Traceback" not in body["error"]
    database.start()
    assert until(shop.well, 5, "the shop is well again")


def test_it_gives_up_a_database_that_froze(shop: Shop, database: PostgresServer) -> None:
    assert shop.well()
    with database.frozen(), ThreadPoolExecutor(8) as pool:
        began = time.monotonic()
        answers = list(pool.map(lambda _: shop.ask("GET", "/health"), range(8)))
        assert {status for status, _body in answers} == {503}
        assert time.monotonic() - began < 8
    assert until(shop.well, 5, "the shop is well again")


def test_it_is_not_well_on_a_standby(database: PostgresServer, tmp_path: Path) -> None:
    with database.standby_of(address="127.0.0.2") as standby, shop_on(standby, tmp_path) as one:
        one.start("1")
        assert one.ask("GET", "/health") == (503, {"error": "the database at 127.0.0.2 is read only"})


def test_instances_share_a_port_and_take_over(shop: Shop) -> None:
    second = shop.start("2")
    until(lambda: shop.well() and {"1", "2"} == {entry["instance"] for entry in shop.log()}, 10, "both serve")
    second.terminate()
    assert second.wait(timeout=5) == 0
    assert all(shop.well() for _ in range(10))


def test_what_is_under_way_is_finished_at_the_end(shop: Shop, database: PostgresServer) -> None:
    with ThreadPoolExecutor() as pool, database.connect() as blocker:
        with blocker.transaction():
            blocker.execute("LOCK TABLE videos")
            answer = pool.submit(shop.ask, "POST", "/api/videos", '{"name": "just in time"}')
            waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'shop' AND wait_event_type = 'Lock'"
            until(lambda: database.psql(waiting), 5, "the insert waits")
            shop.processes[0].send_signal(signal.SIGTERM)
            until(lambda: not shop.listens(), 5, "nobody new is let in")
        assert answer.result() == (201, {"id": 1001})
    assert shop.processes[0].wait(timeout=5) == 0


def test_a_name_that_moves_is_followed(database: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("shop", HERE / "shop.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    leads_to = [database.address]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: real(leads_to[0] if host == "db.test" else host, *a, **k)
    )
    pool = module.Database(f"host=db.test port={database.port} dbname=postgres user=postgres", max_age_s=0)
    with PostgresServer(address="127.0.0.2", port=database.port) as other:
        assert module.health(pool)[1]["database"]["server"] == database.address
        leads_to[0] = other.address
        assert module.health(pool)[1]["database"]["server"] == other.address
        monkeypatch.undo()  # now the name leads nowhere
        assert module.health(pool)[1]["database"]["server"] == other.address
    while not pool._slots.empty():
        connection, _looked_up = pool._slots.get()
        if connection is not None:
            connection.close()


def test_the_load_is_steady_and_outlives_the_shop(shop: Shop) -> None:
    command = [sys.executable, str(HERE / "load.py"), "--url", f"http://127.0.0.1:{shop.port}", "--rate", "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout
        told: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: told.extend(map(json.loads, load.stdout)))  # type: ignore[arg-type]
        reader.start()
        try:
            until(lambda: sum(line["ok"] for line in told) >= 60, 10, "requests are served")
            shop.processes[0].kill()
            until(lambda: told[-1]["failed"] >= 20, 10, "requests fail")
            shop.start("1")
            until(lambda: told[-1]["ok"] >= 20, 10, "requests are served again")
        finally:
            load.kill()
            reader.join()
    asked = [(entry["method"], entry["path"]) for entry in shop.log() if entry["agent"] == "shop-load"]
    writes = sum(method == "POST" for method, _path in asked) / len(asked)
    assert {path for _method, path in asked} == {"/api/products", "/api/videos"}
    assert 0.25 < writes < 0.55
