"""Timestamps of seals: OpenSSL is the authority, over HTTP; each that is not what it should be is told apart."""

import subprocess
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from evidence_packs import PUBLIC, key_file, sealed
from pgrescue import cli
from pgrescue.evidence import envelope, pack, timestamp
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify
from serving import Answers, served
from typer.testing import CliRunner

CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {root}/serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""
REFUSES = CONFIG.replace("digests = sha256, sha512", "digests = sha256")


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True).stdout


def authority(root, config=CONFIG):
    """Keys, certificates and the answers of an authority of OpenSSL's."""
    root.mkdir()
    (root / "tsa.cnf").write_text(config.format(root=root))
    (root / "serial").write_text("01\n")
    (root / "eku").write_text("extendedKeyUsage = critical,timeStamping\n")
    ca, of_ca = root / "ca.pem", root / "ca.key"
    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=Root",
        "-days",
        3650,
        "-keyout",
        of_ca,
        "-out",
        ca,
    )
    openssl(
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Clock", "-keyout", root / "tsa.key", "-out", root / "csr"
    )
    openssl("x509", "-req", "-in", root / "csr", "-CA", ca, "-CAkey", of_ca, "-CAcreateserial", "-days", 3650,
            "-extfile", root / "eku", "-out", root / "tsa.pem")  # fmt: skip

    def answer(query):
        (root / "query").write_bytes(query)
        openssl("ts", "-reply", "-queryfile", root / "query", "-config", root / "tsa.cnf", "-signer", root / "tsa.pem",
                "-inkey", root / "tsa.key", "-out", root / "reply")  # fmt: skip
        return (root / "reply").read_bytes()

    return SimpleNamespace(ca=ca, answer=answer)


@contextmanager
def answering(answer, status=200):
    """Its URL, and what it was sent."""
    sent = []

    class Authority(Answers):
        def do_POST(self):
            query = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((self.headers["Content-Type"], query))
            body = answer(query)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with served(Authority) as url:
        yield f"{url}/tsr", sent


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    return authority(tmp_path_factory.mktemp("tsa") / "one")


@pytest.fixture
def stamped(tmp_path, clock):
    """A pack whose first seal has a timestamp that the second covers."""
    key = key_file(tmp_path)
    directory = sealed(tmp_path, key)
    with answering(clock.answer) as (url, sent):
        path = timestamp.stamp(directory, url)
    assert path.name == "seal-1.tsr"
    assert sent[0][0] == "application/timestamp-query"
    assert len(sent[0][1]) < 200, "it learns a digest, no more"
    pack.seal_again(directory, Settings(key_file=key), None)
    return directory


def roots(clock):
    return timestamp.authority(clock.ca)


def test_when_a_seal_was_there_is_shown_by_the_authority_alone(stamped, clock):
    found = verify(stamped, [envelope.public_key(PUBLIC.encode())], roots(clock))
    assert (found.holds, found.problems) == (True, [])
    (one,) = found.timestamps
    assert (one.name, one.seal, one.authority_fits) == ("seal-1.tsr", "seal-1.dsse.json", True)
    assert "says CN=Clock, as given" in one.says
    unasked = verify(stamped)
    assert unasked.holds
    assert unasked.timestamps[0].authority_fits is None
    assert "--authority tells whether" in unasked.timestamps[0].says


def test_openssl_accepts_it_without_us(stamped, clock):
    said = openssl(
        "ts", "-verify", "-in", stamped / "seal-1.tsr", "-data", stamped / "seal-1.dsse.json", "-CAfile", clock.ca
    )
    assert b"OK" in said


def test_each_flipped_bit_of_it_is_found_where_it_is(stamped):
    path = stamped / "seal-1.tsr"
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        found = verify(stamped)
        named = {one.path: one.ranges for one in found.changed}
        assert set(named) == {"seal-1.tsr"}
        assert any(r.first <= place <= r.last for r in named["seal-1.tsr"])
    path.write_bytes(whole)
    assert verify(stamped).holds


def test_another_authority_and_the_timestamp_of_another_seal_do_not_pass(stamped, tmp_path, clock):
    other = authority(tmp_path / "other")
    found = verify(stamped, [], roots(other))
    assert not found.holds
    assert "not of the given authority" in found.problems[0]
    with answering(clock.answer) as (url, _):
        timestamp.stamp(stamped, url)
    (stamped / "seal-1.tsr").write_bytes((stamped / "seal-2.tsr").read_bytes())
    assert "seal-1.tsr: it is not of seal-1.dsse.json as that is here." in verify(stamped).problems
    (stamped / "seal-1.tsr").write_bytes(b"noon")
    assert any(one.startswith("seal-1.tsr: it is no timestamp") for one in verify(stamped).problems)


def test_who_wants_a_timestamp_of_a_pack_without_one_is_told(tmp_path, clock):
    found = verify(sealed(tmp_path, None), [], roots(clock))
    assert found.problems == ["No seal has a timestamp, so no authority can fit."]


def test_an_authority_that_gives_none_changes_nothing(tmp_path, clock):
    directory = sealed(tmp_path, None)
    before = sorted(directory.iterdir())
    refusing = authority(tmp_path / "refusing", REFUSES)
    stale = clock.answer(openssl("ts", "-query", "-data", directory / "run.json", "-sha512", "-cert"))
    cases = [(refusing.answer, 200, "it refused"), (lambda _: stale, 200, "its answer is to another question"),
             (lambda _: b"<html>", 200, "gave no timestamp"), (clock.answer, 503, "503")]  # fmt: skip
    for answer, status, words in cases:
        with answering(answer, status) as (url, _), pytest.raises(EvidenceError, match=words):
            timestamp.stamp(directory, url)
    with pytest.raises(EvidenceError, match="Nothing was changed"):
        timestamp.stamp(directory, "http://127.0.0.1:9/tsr")
    assert sorted(directory.iterdir()) == before


def test_by_command(tmp_path, clock):
    key = key_file(tmp_path)
    directory = sealed(tmp_path, key)

    def ask(*arguments):
        done = CliRunner().invoke(cli.app, ["evidence", *map(str, arguments)])
        return done.exit_code, done.output

    with answering(clock.answer) as (url, _):
        code, said = ask("timestamp", directory, "--url", url)
        assert (code, "CN=Clock" in said, "evidence seal" in said) == (0, True, True)
        assert ask("timestamp", directory, "--url", url)[0] == 4
    assert "seal-1.tsr: extra, it is not sealed: pgrescue evidence seal RUN" in ask("verify", directory)[1]
    assert ask("seal", directory, "--key-file", key)[0] == 0
    code, said = ask("verify", directory, "--authority", clock.ca)
    assert (code, "was there at" in said) == (0, True)
    assert ask("verify", directory, "--authority", directory / "run.json")[0] == 3
