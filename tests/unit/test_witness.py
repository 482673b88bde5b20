"""The witness claims what it saw and nothing else: run against a real server that is stopped, killed and frozen."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from postgres import PostgresServer, free_port, until
from serving import Answers, served

ROLE = Path(__file__).parents[2] / "roles/witness/files"
PROGRAM = ROLE / "pgrescue_witness.py"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


witness = load(PROGRAM)


class Endpoint(Answers):
    """Answers what its path asks for."""

    agents: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        status, body = {
            "/broken": (500, b'{"ok": 1}'),
            "/error": (200, b'{"error": "read only"}'),
            "/text": (200, b"hello"),
        }.get(self.path, (200, b'{"status": "ok"}'))
        self.send_response(status)
        self.send_header("Agent", self.headers["User-Agent"])
        self.end_headers()
        try:
            for byte in body:
                self.wfile.write(bytes([byte]))
                if self.path == "/drip":
                    time.sleep(0.1)  # the fault: an answer that drips
        except OSError:
            pass  # the client had enough
        self.agents.add(self.headers["User-Agent"])


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    with served(Endpoint) as url:
        yield url


@pytest.fixture
def database(postgres: PostgresServer) -> PostgresServer:
    """The server, running, with an empty table of tokens."""
    postgres.start()
    make_table(postgres)
    return postgres


def make_table(server: PostgresServer) -> None:
    """An empty table of tokens and the account that writes to it, as the role makes them."""
    server.psql("""DO $$ BEGIN CREATE ROLE pgrescue_witness LOGIN;
        EXCEPTION WHEN duplicate_object THEN NULL; END $$""")
    server.psql("SET client_min_messages = error; DROP SCHEMA IF EXISTS pgrescue CASCADE")
    server.psql((ROLE / "tokens.sql").read_text())


def dsn(server: PostgresServer, host: str = "") -> str:
    """How the witness reaches a server, by its address or another name."""
    return f"host={host or server.address} port={server.port} dbname=postgres user=pgrescue_witness"


class Running:
    """A witness process and its journal."""

    def __init__(self, folder: Path, conninfo: str, web: str, **more: Any) -> None:
        self.journal = folder / "journal"
        self.journal.mkdir(exist_ok=True)
        endpoints = {name: f"{web}/{name}" for name in ("health", "products", "videos")}
        config = {"service": "shop", "dsn": conninfo, "endpoints": endpoints, "journal_dir": str(self.journal), **more}
        self.config = folder / "witness-shop.json"
        self.config.write_text(json.dumps({"interval_s": 0.1, **config}))
        # Targets have the pure Python psycopg.
        self.how: Any = {"env": {**os.environ, "PSYCOPG_IMPL": "python"}, "text": True}
        self.command = [sys.executable, str(PROGRAM), "--config", str(self.config)]
        pipe = subprocess.PIPE
        self.process: subprocess.Popen[str] = subprocess.Popen(self.command, stdout=pipe, stderr=pipe, **self.how)

    def beside(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program once more, with the same configuration."""
        return subprocess.run([*self.command, *arguments], capture_output=True, check=False, timeout=10, **self.how)

    def lines(self) -> list[dict[str, Any]]:
        return lines(self.journal)

    def end(self) -> tuple[int, str]:
        """Stop it as systemd does; its exit code and what it said."""
        self.process.terminate()
        _out, said = self.process.communicate(timeout=5)
        return self.process.returncode, said


def lines(journal: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal; a torn one is passed over."""
    whole = [line for path in sorted(journal.glob("*.jsonl")) for line in path.read_bytes().splitlines(keepends=True)]
    found = []
    for line in whole:
        try:
            found.append(json.loads(line))
        except ValueError:
            assert b"torn" in line or not line.endswith(b"\n"), line
    return found


def results(entries: list[dict[str, Any]], probe: str = "commit", **what: Any) -> list[dict[str, Any]]:
    wanted = {"event": "result", "probe": probe, **what}
    return [entry for entry in entries if wanted.items() <= entry.items()]


def tokens(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["token"] for entry in entries if entry["event"] == "attempt"]


def seconds(entry: dict[str, Any]) -> float:
    return float(entry["end_ns"] - entry["start_ns"]) / 1e9


def gap(moments: list[int]) -> float:
    """The longest time between two of these moments, in seconds."""
    return max(b - a for a, b in itertools.pairwise(moments)) / 1e9


@contextmanager
def running(folder: Path, conninfo: str, web: str, **more: Any) -> Iterator[Running]:
    one = Running(folder, conninfo, web, **more)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()


@contextmanager
def watching(folder: Path, conninfo: str, **more: Any) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """A witness inside this process, so that its resolver can be replaced; what its journal holds."""
    journal = folder / "journal"
    journal.mkdir(exist_ok=True)
    more = {"interval_s": 0.05, "max_connection_age_s": 0.3, "endpoints": {}, **more}
    config, stop = witness.Config(service="shop", dsn=conninfo, journal_dir=str(journal), **more), threading.Event()
    thread = threading.Thread(target=witness.watch, args=(config, stop))
    thread.start()
    try:
        yield lambda: lines(journal)
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


def probe(conninfo: str, **more: Any) -> Any:
    config = witness.Config(service="shop", dsn=conninfo, endpoints={}, journal_dir="/nonexistent", **more)
    counter = iter(range(1, 10**6))
    return witness.CommitProbe(config, lambda _start, _start_ns: next(counter))


def test_attempts_and_outcomes_are_journalled_as_agreed(database: PostgresServer, web: str, tmp_path: Path) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: len(results(one.lines(), ok=True)) >= 10, 10, "ten tokens are acknowledged")
        until(lambda: results(one.lines(), "videos", ok=True), 10, "the endpoints answer")
        at_work = database.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgrescue-witness'")
        assert one.end() == (0, "")
    entries = one.lines()
    start = entries[0]
    assert set(start) == {"event", "wall", "mono_ns", "boot_id", "client", "version"}
    assert start["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    attempted = tokens(entries)
    assert attempted == list(range(1, len(attempted) + 1))
    acknowledged = results(entries, ok=True)
    keys = {"event", "probe", "ok", "start", "start_ns", "end", "end_ns"}
    assert all(set(entry) == keys | {"token", "server"} for entry in acknowledged)
    assert {entry["server"] for entry in acknowledged} == {database.address}
    for name in ("health", "products", "videos"):
        assert all(set(entry) == keys | {"status"} for entry in results(entries, name)), name
    assert all(MOMENT.fullmatch(entry["start"]) and MOMENT.fullmatch(entry["end"]) for entry in results(entries))
    places = {(entry["event"], entry.get("token")): place for place, entry in enumerate(entries)}
    assert all(places["attempt", e["token"]] < places["result", e["token"]] for e in acknowledged)
    rows = dict(database.psql("SELECT token, attempted_at FROM pgrescue.witness"))
    assert all(rows[e["token"]] == datetime.fromisoformat(e["start"]) for e in acknowledged)
    assert at_work[0][0] <= 2, "in quiet times one worker does it all"
    assert Endpoint.agents == {"pgrescue-witness"}


@pytest.mark.parametrize("way", ["immediate", "kill -9"])
def test_an_outage_is_seen_and_no_acknowledged_token_lacks_its_row(
    way: str, database: PostgresServer, web: str, tmp_path: Path
) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: len(results(one.lines(), ok=True)) >= 5, 10, "tokens are acknowledged")
        database.kill9() if way == "kill -9" else database.stop("immediate")
        down = time.monotonic_ns()
        until(lambda: len(results(one.lines(), ok=False)) >= 5, 10, "attempts fail")
        assert not [e for e in results(one.lines(), ok=True) if e["start_ns"] > down]
        up = time.monotonic_ns()
        database.start()
        until(lambda: [e for e in results(one.lines(), ok=True) if e["start_ns"] > up], 10, "tokens are acknowledged")
        assert one.end()[0] == 0
    entries = one.lines()
    acknowledged = {e["token"] for e in results(entries, ok=True)}
    assert acknowledged <= {row[0] for row in database.psql("SELECT token FROM pgrescue.witness")}
    assert all(e["error"] for e in results(entries, ok=False))
    attempted = tokens(entries)
    assert attempted == list(range(1, len(attempted) + 1))
    assert gap([e["mono_ns"] for e in entries if e["event"] == "attempt"]) < 1


def test_a_commit_that_fails_at_its_very_end_is_not_acknowledged(database: PostgresServer) -> None:
    database.psql("""
        CREATE FUNCTION pgrescue.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
        CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON pgrescue.witness DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION pgrescue.refuse()""")
    outcome = witness.witness(probe(dsn(database)), 2)
    assert (outcome["ok"], outcome["error"]) == (False, "ERROR:  not today")
    assert database.psql("SELECT count(*) FROM pgrescue.witness") == [(0,)]


def test_a_standby_cannot_acknowledge(database: PostgresServer) -> None:
    with database.standby_of(address="127.0.0.2") as standby:
        outcome = witness.witness(probe(dsn(standby)), 2)
    assert not outcome["ok"]
    assert "read-only" in outcome["error"]


def test_ticks_go_on_while_connections_hang(black_hole: int, web: str, tmp_path: Path) -> None:
    with running(tmp_path, f"host=127.0.0.1 port={black_hole} user=x", web, interval_s=0.25) as one:
        until(lambda: len(results(one.lines(), ok=False)) >= 8, 20, "eight attempts time out")
        began = time.monotonic()
        code, _said = one.end()
        assert code == 0
        assert time.monotonic() - began < 1, "attempts in flight must not hold up the end"
    entries = one.lines()
    assert all(seconds(e) > 1.9 for e in results(entries, ok=False))
    assert gap([e["mono_ns"] for e in entries if e["event"] == "attempt"]) < 1
    assert gap([e["end_ns"] for e in results(entries, "health", ok=True)]) < 1
    flying = [sum(a["mono_ns"] < e["end_ns"] for a in entries if a["event"] == "attempt") for e in results(entries)]
    assert 3 <= flying[0] <= 9


def test_a_frozen_server_holds_no_attempt_beyond_its_time(database: PostgresServer) -> None:
    one = probe(dsn(database))
    assert witness.witness(one, 2)["ok"]
    with database.frozen():
        frozen = witness.witness(one, 0.5)  # on the connection it has
        again = witness.witness(one, 0.5)  # on a new one
    assert not frozen["ok"]
    assert not again["ok"]
    assert 0.5 <= seconds(frozen) < 1.5
    assert 0.5 <= seconds(again) < 1.5
    assert witness.witness(one, 2)["ok"]
    one.close()


def test_each_of_several_addresses_gets_its_share_of_the_time(
    database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "addresses", lambda _host: ["127.0.0.9", database.address])
    with socket.create_server(("127.0.0.9", database.port)):
        one = probe(dsn(database, "db.test"))
        outcome = witness.witness(one, 2)
    assert (outcome["ok"], outcome["server"]) == (True, database.address)
    one.close()


@pytest.mark.parametrize("tear", [b"", b'{"event":"attempt","probe":"commit","token":1 torn'])
def test_numbers_never_repeat_after_kill_9(tear: bytes, database: PostgresServer, web: str, tmp_path: Path) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: len(results(one.lines(), ok=True)) >= 5, 10, "tokens are acknowledged")
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
    before = tokens(one.lines())
    with sorted(one.journal.glob("*.jsonl"))[-1].open("ab") as file:
        file.write(tear)
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: len(tokens(one.lines())) >= len(before) + 5, 10, "more tokens are attempted")
        one.end()
    after = tokens(one.lines())[len(before) :]
    assert after[0] == max(before) + (1 if not tear else 1 + witness.MAY_BE_LOST)
    assert len(set(before + after)) == len(before + after)
    assert len([e for e in one.lines() if e["event"] == "start"]) == 2, "the torn line must not swallow the next"


def test_numbers_skip_what_a_crash_of_the_host_may_have_lost(tmp_path: Path) -> None:
    path = tmp_path / "20200101T00.jsonl"
    path.write_text('{"event":"attempt","probe":"commit","token":41}\n')
    journal = witness.Journal(str(tmp_path), 30)
    assert journal.last_token() == 41
    (tmp_path / "20190101T00.jsonl").write_text('{"event":"attempt","probe":"commit","token":7}\n{"torn')
    os.utime(tmp_path / "20190101T00.jsonl", (0, 0))
    assert journal.last_token() == 41, "what was torn long ago was made up for then"
    os.utime(path, (1, 1))
    assert journal.last_token() == 41 + witness.MAY_BE_LOST


def test_numbers_without_a_journal(database: PostgresServer) -> None:
    config = probe(dsn(database))._config
    assert witness.first_token(config, 7) == 8
    assert witness.first_token(config, 0) == 1, "an empty table belongs to a new witness"
    now = int(1000 * time.time())
    database.psql("INSERT INTO pgrescue.witness (token, attempted_at, client) VALUES (12, now(), 'x')")
    assert witness.first_token(config, 0) >= now, "the rows may not name the last number"
    gone = probe(f"host=127.0.0.1 port={free_port()} user=x")._config
    assert witness.first_token(gone, 0) >= now


def test_a_witness_that_cannot_write_ends(database: PostgresServer, web: str, tmp_path: Path) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: len(results(one.lines(), ok=True)) >= 3, 10, "tokens are acknowledged")
        resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (0, 0))
        _out, said = one.process.communicate(timeout=10)
    assert one.process.returncode == 1
    assert "cannot write" in said
    assert "Traceback" not in said


def test_only_one_witness_writes_a_journal(database: PostgresServer, web: str, tmp_path: Path) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: results(one.lines(), ok=True), 10, "a token is acknowledged")
        second = one.beside()
        assert second.returncode == 1
        assert "another witness" in second.stderr


@contextmanager
def names(monkeypatch: pytest.MonkeyPatch, **leads_to: str) -> Iterator[dict[str, str]]:
    """Names of the domain test, and where they lead; one that is missing does not resolve."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **more: Any) -> Any:
        if not str(host).endswith(".test"):
            return real(host, *arguments, **more)
        if host.partition(".")[0] not in leads_to:
            raise socket.gaierror(-2, "Name or service not known")
        return real(leads_to[host.partition(".")[0]], *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield leads_to


def test_a_name_that_moves_is_followed_while_the_old_server_lives(
    database: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        PostgresServer(address="127.0.0.2", port=database.port) as other,
        names(monkeypatch, db=database.address) as leads_to,
        watching(tmp_path, dsn(database, "db.test")) as entries,
    ):
        make_table(other)
        until(lambda: results(entries(), ok=True, server=database.address), 10, "the first server acknowledges")
        leads_to["db"] = other.address
        moved = time.monotonic_ns()
        first = until(lambda: results(entries(), ok=True, server=other.address), 10, "the second server acknowledges")[
            0
        ]
        assert (first["start_ns"] - moved) / 1e9 < 2
        assert not results(entries(), ok=False), "the old connection was closed between attempts"


def test_a_silent_name_server_is_no_outage_of_the_database(
    database: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with names(monkeypatch, db=database.address) as leads_to, watching(tmp_path, dsn(database, "db.test")) as entries:
        until(lambda: results(entries(), ok=True), 10, "a token is acknowledged")
        del leads_to["db"]
        silent = time.monotonic_ns() + int(1e9)  # several lookups later
        until(lambda: [e for e in results(entries()) if e["start_ns"] > silent], 10, "attempts go on")
        assert [entry["error"] for entry in results(entries(), ok=False)] == []


def test_the_name_is_verified_in_tls(database: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names_it = ["-subj", "/CN=db.test", "-addext", "subjectAltName=DNS:db.test"]
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run([*request, *names_it], cwd=database.folder, check=True, capture_output=True)
    for name in ("tls.key", "tls.crt"):
        shutil.chown(database.folder / name, database.user)
    certificate = database.folder / "tls.crt"
    database.psql(f"ALTER SYSTEM SET ssl_cert_file = '{certificate}'")
    database.psql(f"ALTER SYSTEM SET ssl_key_file = '{database.folder / 'tls.key'}'")
    database.psql("ALTER SYSTEM SET ssl = on")
    database.psql("SELECT pg_reload_conf()")
    secure = f"sslmode=verify-full sslrootcert={certificate}"
    with names(monkeypatch, db=database.address, other=database.address):
        well = until(lambda: tried(f"{dsn(database, 'db.test')} {secure}")["ok"], 5, "the server speaks TLS")
        refused = tried(f"{dsn(database, 'other.test')} {secure}")
    assert well
    assert 'does not match host name "other.test"' in refused["error"]


def tried(conninfo: str) -> dict[str, Any]:
    """The outcome of one commit."""
    one = probe(conninfo)
    one._number = lambda _start, start_ns: start_ns
    outcome: dict[str, Any] = witness.witness(one, 2)
    one.close()
    return outcome


@pytest.mark.parametrize(
    ("path", "ok", "status", "error"),
    [
        ("/health", True, 200, None),
        ("/error", False, 200, "read only"),
        ("/broken", False, 500, "HTTP 500"),
        ("/text", False, 200, "HTTP 200, and the body is not JSON"),
        ("/drip", False, None, "no answer in time|timed out"),
    ],
)
def test_an_endpoint_is_well_only_with_200_and_no_error(
    path: str, ok: bool, status: int | None, error: str | None, web: str
) -> None:
    outcome = witness.witness(witness.HttpProbe("health", web + path), 0.5)
    assert (outcome["ok"], outcome.get("status")) == (ok, status)
    assert re.fullmatch(error or "", outcome.get("error", ""))
    assert seconds(outcome) < 1


def test_an_endpoint_that_hangs_or_is_gone_fails_in_time(black_hole: int) -> None:
    hanging = witness.witness(witness.HttpProbe("health", f"http://127.0.0.1:{black_hole}/"), 0.5)
    assert not hanging["ok"]
    assert 0.5 <= seconds(hanging) < 1
    gone = witness.witness(witness.HttpProbe("health", f"http://127.0.0.1:{free_port()}/"), 0.5)
    assert "refused" in gone["error"]


def test_old_tokens_are_removed_in_the_witness_own_time(
    database: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "PRUNE_EVERY", 10)
    one = probe(dsn(database), keep_tokens=5)
    for _ in range(10):
        assert witness.witness(one, 2)["ok"]
        one.tidy()
    one.close()
    assert database.psql("SELECT min(token), max(token) FROM pgrescue.witness") == [(5, 10)]


def test_once_prints_a_round_and_leaves_the_numbers_alone(database: PostgresServer, web: str, tmp_path: Path) -> None:
    with running(tmp_path, dsn(database), web) as one:
        until(lambda: results(one.lines(), ok=True), 10, "a token is acknowledged")
        once = one.beside("--once")
        outcomes = json.loads(once.stdout)
        assert once.returncode == 0
        assert [outcome["probe"] for outcome in outcomes] == ["commit", "health", "products", "videos"]
        assert outcomes[0]["token"] < 0
        one.end()
        assert not results(one.lines(), ok=False)
        database.stop("immediate")
        once = one.beside("--once")
        database.start()
    assert once.returncode == 1
    assert [outcome["ok"] for outcome in json.loads(once.stdout)] == [False, True, True, True]


def test_evidence_is_kept_for_its_days_and_other_files_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        moment = datetime(2026, 11, 24, 1, 59, 59, tzinfo=UTC)

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return cls.moment

    monkeypatch.setattr(witness, "datetime", Clock)
    for name in ("losses.jsonl", "20261025T00.jsonl", "20261025T01.jsonl"):
        (tmp_path / name).touch()
    journal = witness.Journal(str(tmp_path), 30)
    journal.claim()
    for hours in range(3):
        Clock.moment += timedelta(hours=min(hours, 1))
        journal.write({"event": "note"}, durable=True)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["20261124T01.jsonl", "20261124T02.jsonl", "20261124T03.jsonl", "losses.jsonl"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"service": "shop"}', "missing 3 required"),
        ('{"service": "shop", "dsn": "", "endpoints": {}, "journal_dir": "/", "speed": 1}', "speed"),
        ('{"service": "shop", "dsn": "", "endpoints": {}, "journal_dir": "/", "interval_s": 0}', "interval_s"),
        ('{"service": "shop", "dsn": "=", "endpoints": {}, "journal_dir": "/"}', "invalid connection option"),
        ("{", "Expecting property name"),
    ],
)
def test_a_wrong_configuration_is_named(
    content: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "witness.json"
    path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["pgrescue_witness.py", "--config", str(path)])
    with pytest.raises(SystemExit) as ended:
        witness.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
