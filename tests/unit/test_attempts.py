"""Attempts to back up: written on the host by whoever makes them, kept beside the runs once each."""

import json
import socketserver
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml
from modules import module
from pgrescue import cli, runner, schemas
from pgrescue.core import attempts
from typer.testing import CliRunner


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def one(second=0, **more):
    return attempts.passed(f"2026-11-24T02:00:{second:02d}Z", "1", "full", 9.25, size_bytes=5, stored_bytes=3) | more


def test_each_is_kept_once_however_often_it_is_brought(tmp_path):
    path = str(tmp_path / "attempts/shop.jsonl")
    several = [one(), one(1), attempts.failed("a full disk", "2", "full", 1.5)]
    assert attempts.append(path, several) == 3
    assert attempts.append(path, [*several, one(2)]) == 1
    assert attempts.append(path, []) == 0
    assert lines(path) == [*several, one(2)]
    for line in lines(path):
        jsonschema.validate(line, schemas.schema("attempt"))


def test_two_failures_at_once_are_two(tmp_path):
    path = str(tmp_path / "shop.jsonl")
    assert attempts.append(path, [attempts.failed("no answer", "1") for _ in range(2)]) == 2


def test_a_line_that_a_crash_tore_stays_and_the_next_begins_on_its_own(tmp_path):
    path = tmp_path / "shop.jsonl"
    path.write_bytes(b'{"at": "2026-11-24T0')
    assert attempts.append(str(path), [one()]) == 1
    assert path.read_bytes().splitlines()[0] == b'{"at": "2026-11-24T0'
    assert attempts.read(str(path)) == [one()]


def test_what_nobody_attempted_makes_no_file(tmp_path):
    path = str(tmp_path / "none/shop.jsonl")
    assert module("backup_attempts")(path=path)["attempts"] == []
    assert not module("keep_attempts")(directory=str(tmp_path), service="shop", attempts=[])["changed"]
    assert list(tmp_path.iterdir()) == []


def test_a_host_is_looked_through_so_far_back_and_no_further(tmp_path):
    path = str(tmp_path / "shop.jsonl")
    ago = [datetime.now(UTC) - timedelta(days=days) for days in (500, 399, 1)]
    attempts.append(path, [one(at=f"{at:%Y-%m-%dT%H:%M:%SZ}") for at in ago])
    assert len(module("backup_attempts")(path=path)["attempts"]) == 2
    assert len(module("backup_attempts")(path=path, days=1000)["attempts"]) == 3


def test_check_mode_says_what_would_be_kept_and_keeps_nothing(tmp_path):
    keep = {"directory": str(tmp_path), "service": "shop", "attempts": [one()]}
    assert module("keep_attempts")(check=True, **keep)["added"] == 1
    assert list(tmp_path.iterdir()) == []
    assert module("keep_attempts")(**keep)["added"] == 1
    assert not module("keep_attempts")(**keep)["changed"]


class Greets(socketserver.BaseRequestHandler):
    """As a server of SSH does, which is how a host is seen to answer."""

    def handle(self):
        self.request.sendall(b"SSH-2.0-test\r\n")


@pytest.fixture
def site(tmp_path):
    """Two database hosts and one that dumps, all of them this machine; the fourth does not answer."""
    with socketserver.TCPServer(("127.0.0.1", 0), Greets) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield inventory(tmp_path, server.server_address[1])
        server.shutdown()


def inventory(tmp_path, port):
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    hosts = {name: {**local, "ansible_host": "127.0.0.1", "host_files": str(tmp_path / name)} for name in "abd"}
    hosts["gone"] = {"ansible_host": "127.0.0.2"}  # the stand-in is on 127.0.0.1 alone
    said = {
        "ansible_port": port,
        "service_name": "shop",
        "pgbackrest_attempts": "{{ host_files }}/shop-attempts.jsonl",
        "dump_work_directory": "{{ host_files }}",
    }
    children = {"shop": {"hosts": hosts, "vars": said}}
    children |= {"postgres": {"hosts": {"a": {}, "b": {}, "gone": {}}}, "dump": {"hosts": {"d": {}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {"localhost": local}, "children": children}}))
    return tmp_path


def collected(site):
    done = CliRunner().invoke(cli.app, ["ledger", "collect", "-s", "shop", "-i", str(site / "hosts.yml")])
    assert done.exit_code == 1, done.output
    assert "Not asked, for they do not answer: gone" in done.output


def test_those_of_every_host_that_answers_are_collected_once(site, monkeypatch):
    monkeypatch.setattr(runner, "RUNS", site / "runs")
    for place, (host, number) in enumerate([("a", 2), ("b", 1), ("d", 1)]):
        attempts.append(str(site / host / "shop-attempts.jsonl"), [one(10 * place + n) for n in range(number)])
    collected(site)
    kept = site / "runs/attempts/shop.jsonl"
    assert sorted(line["at"][17:19] for line in lines(kept)) == ["00", "01", "10", "20"]
    before = kept.read_bytes()
    collected(site)
    assert kept.read_bytes() == before
    attempts.append(str(site / "a/shop-attempts.jsonl"), [attempts.failed("a full disk", "1")])
    collected(site)
    assert lines(kept)[-1]["reason"] == "a full disk"
