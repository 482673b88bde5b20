"""What a look sees: of a real server, of endpoints, of ports; and that nothing makes it wait."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from modules import module
from pgrescue.core import look, look_client, look_server
from serving import Answers, served

TABLE = (Path(__file__).resolve().parents[2] / "roles/witness/files/tokens.sql").read_text()


# --- endpoints


@pytest.mark.parametrize(
    ("probe", "status", "body", "problem"),
    [
        ({}, 200, b'{"status": "ok"}', None),
        ({}, 200, b'{"error": "no connection"}', "no connection"),
        ({}, 503, b"<html>", "HTTP 503"),
        ({"status": 204}, 204, b"", None),
        ({"contains": "pgrescue"}, 200, b"hello", "the answer does not hold 'pgrescue'"),
        ({"newest": "newest", "max_age_s": 60}, 200, b'{"newest": "%s"}', None),
        ({"newest": "newest", "max_age_s": 5}, 200, b'{"newest": "%s"}', "its newest content is 30 s old"),
        ({"newest": "newest"}, 200, b"[]", "the answer says nothing of how old it is (newest)"),
    ],
)
def test_an_answer_is_judged_by_status_body_and_freshness(probe, status, body, problem):
    now = datetime(2026, 11, 27, 3, 0, 30, tzinfo=UTC)
    for stamp in (b"2026-11-27 03:00:00+00", b"2026-11-27T03:00:00Z", b"2026-11-27 04:00:00.000+01:00"):
        found = look_client.judged(probe, status, body.replace(b"%s", stamp), now.timestamp())
        assert found.get("problem") == problem
        assert bool(found.get("ok")) is (problem is None)


class Server(Answers):
    def do_GET(self) -> None:
        if self.path == "/hang":
            time.sleep(1)  # longer than who asks has patience for
            return
        self.send_response(503 if self.path == "/ill" else 200)
        self.end_headers()
        self.wfile.write(b'{"status": "ok"}')


@pytest.fixture
def url() -> Iterator[str]:
    with served(Server) as where:
        yield where


def test_real_answers_refusals_and_silence_are_told_apart(url):
    assert look_client.call({"url": url + "/well"}, 2)["ok"]
    assert look_client.call({"url": url + "/ill"}, 2)["problem"] == "HTTP 503"
    assert "timed out" in look_client.call({"url": url + "/hang"}, 0.3)["problem"]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert "refused" in look_client.call({"url": f"http://127.0.0.1:{nobody.getsockname()[1]}"}, 1)["problem"]


def test_a_part_that_hangs_is_told_and_not_asked_a_second_time():
    asked: list[int] = []
    free = threading.Event()

    def hang() -> str:
        asked.append(1)
        free.wait()
        return "at last"

    def fail() -> None:
        raise RuntimeError("broken")

    looker = look.Looker({"hangs": hang, "fails": fail, "well": lambda: 1}, 0.2)
    for _ in range(3):
        found = looker.look()
        assert found["well"] == 1 and found["fails"] == {"unasked": "RuntimeError: broken"}
        assert "unanswered_s" in found["hangs"]
    assert asked == [1]
    free.set()
    assert looker.look()["hangs"] == "at last"


# --- logs


def test_only_telling_and_recent_lines_of_a_log_are_kept_whatever_its_time_zone():
    at = datetime(2026, 11, 27, 3, 0, 0)

    def line(seconds: float, text: str) -> str:
        return f"{at + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S.000} CET [77] {text}"

    lines = [
        line(-400, "FATAL:  old"),
        line(-200, "ERROR:  invalid page in block 0"),
        line(-100, "LOG:  checkpoint"),
        "DETAIL: none",
        line(0, "LOG:  ready"),
    ]
    assert [one[-31:] for one in look_server.telling(lines, 0.0)] == ["ERROR:  invalid page in block 0"]
    assert look_server.telling(lines, 150.0) == []
    assert look_server.telling(["no stamp"], 0.0) == []


def test_what_clients_miss_is_kept_beside_what_tells_and_only_while_they_ask():
    asked = [
        f'2026-11-27 03:00:{second:02}.000 UTC [77] shop@shop ERROR:  relation "products" does not exist'
        for second in range(30)
    ]
    kept = look_server.telling(asked, 0.0, look_server.MISSING, look_server.ASKED_WITHIN_S)
    assert kept == asked[-10:] and look_server.telling(asked, 0.0) == []
    assert look_server.telling(asked, 20.0, look_server.MISSING, look_server.ASKED_WITHIN_S) == []


def test_a_log_that_is_not_there_says_nothing(tmp_path):
    assert look_server.telling(*look_server.tail(str(tmp_path / "none"))) == []


# --- servers


@pytest.fixture(autouse=True)
def as_postgres(monkeypatch):
    """Modules connect as the user who runs them; the tests' servers know only this one."""
    monkeypatch.setenv("PGUSER", "postgres")


def configuration(postgres: Any, **more: Any) -> dict[str, Any]:
    return {"place": "db1", "patience_s": 2, "server": {"in_use": None}, **more}


def test_a_server_that_is_well_says_what_the_rules_ask_for(postgres):
    found = module("service_look")(
        version=postgres.version,
        port=postgres.port,
        socket_directory=str(postgres.folder),
        look=configuration(postgres),
    )["look"]["server"]
    assert (found["role"], found["in_recovery"], found["unconfirmed"], found["checksum_failures"]) == (
        "primary",
        False,
        0,
        0,
    )
    assert found["archiver"] == {"archived_s": None, "failed_s": None}
    assert int(found["settings"]["max_connections"]) > found["sessions"] >= 1
    assert found["status"] == "ready" and found["disks"][0]["free_bytes"] > 0


def test_a_client_writes_and_reads_back_and_says_why_it_cannot(postgres):
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("DO $$ BEGIN CREATE ROLE pgrescue_witness; EXCEPTION WHEN duplicate_object THEN END $$")
        connection.execute(TABLE)
    found = look_client.write(postgres.dsn, "app1", 2)
    assert (found["ok"], found["in_recovery"], found["problem"]) == (True, False, None)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        read_only = look_client.write(postgres.dsn, "app1", 2)
    finally:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert (read_only["ok"], read_only["state"], read_only["in_recovery"]) == (False, "25006", False)
    assert look_client.write("host=127.0.0.1 port=1 dbname=postgres", "app1", 2)["problem"]


def test_a_server_that_is_frozen_is_told_within_the_patience(postgres):
    wanted = {"version": postgres.version, "port": postgres.port, "socket_directory": str(postgres.folder)}
    with postgres.frozen():
        found = module("service_look")(**wanted, look={**configuration(postgres), "patience_s": 0.5})["look"]
    assert "unanswered_s" in found["server"]


def test_check_mode_does_not_write(postgres):
    wanted = {"version": postgres.version, "port": postgres.port, "socket_directory": str(postgres.folder)}
    found = module("service_look")(check=True, **wanted, look=configuration(postgres, dsn="host=127.0.0.1 port=1"))[
        "look"
    ]
    assert "write" not in found


# --- the program


def test_the_program_looks_until_nobody_reads(tmp_path):
    core = tmp_path / "pgrescue_core"
    core.symlink_to(Path(__file__).resolve().parents[2] / "plugins/module_utils")
    program = Path(__file__).resolve().parents[2] / "roles/watch/files/pgrescue_look.py"
    configured = tmp_path / "look.json"
    configured.write_text(
        json.dumps({"connection": {"version": 17}, "look": {"place": "app1", "patience_s": 1, "endpoint": "localhost"}})
    )
    with subprocess.Popen(
        [sys.executable, str(program), str(configured), "--every", "0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdout and process.stdin
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert looks[0]["place"] == "app1" and looks[0]["at"] < looks[2]["at"] and looks[0]["name"]["addresses"]
        process.stdin.close()
        assert process.wait(10) == 0
