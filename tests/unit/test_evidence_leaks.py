"""A secret never enters a sealed pack unseen, and is never repeated."""

import json
import subprocess
import sys

import pytest
from evidence_packs import PRIVATE, key_file, written
from hypothesis import example, given
from hypothesis import strategies as st
from pgrescue import cli, close
from pgrescue.evidence import leaks, pack
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify
from typer.testing import CliRunner

VALUE = "Tr0ub4dor" + "&3horse"
PLANTED = {  # put together here, so that no scanner takes this file for a leak
    "private key": PRIVATE,
    "AWS access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "Slack token": "xoxb-" + "123456789012-abcdefABCDEF",
    "Slack or Discord webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/abcdefghijklmnop",
    "PagerDuty key": "routing_key: " + "0123456789abcdef0123456789abcdef",
    "PagerDuty token": "Authorization: Token token=" + "y_NbAkKc66ryYTWUXYEu",
    "URL with a password": f"postgresql://app:{VALUE}@db1:5432/shop",
    "line of a password file": f"db1:5432:shop:app:{VALUE}",
    "password": f"connected with password={VALUE} to db1",
    "password of several words": "pg_dump failed: password='a b c " + "d' host=db1",
    "password in SQL": "ALTER ROLE app PASSWORD " + f"'{VALUE}'",
    "header with a credential": "Authorization: Bearer " + "c2VjcmV0LXRva2Vu.x",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NSJ9." + "dBjftJeZ4CVP-mB92K27uhbUJU1p1r",
    "GitHub token": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "Vault token": "hvs." + "CAESIJ1234567890abcdefghijk",
    "hash of a password": "SCRAM-SHA-256$4096:" + "c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy",
}
NAMES = (
    "repo1-cipher-pass=",
    "ansible_become_pass: ",
    "ansible_ssh_pass=",
    "secret-key: ",
    '"secret-key": "',
    "PGPASSWORD=",
)
HARMLESS = (
    "ALTER ROLE app PASSWORD NULL",
    "ALTER ROLE app PASSWORD '***'",
    "password='[masked]' user='app of the shop'",
    "password='' user='app of the shop'",
    "Authorization: Bearer [masked]",
    "bearer of bad news",
    "compass: north of the river",
    "password=*** host=db1",
    "postgresql://app:***@db1/shop",
    "postgresql://app@db1:5432/shop",
    '"password": null, "secret": ""',
    "password={{ lab_secrets.app }}",
    "password_encryption = scram-sha-256",
    "the password file of the standby was written",
    "2026-11-24T01:20:50.000000Z",
    "02:42:ac:11:00:02 and 2001:4860:4802:32::a",
    "PGPASSWORD=VALUE_SPECIFIED_IN_NO_LOG_PARAMETER",
    '"token": 17, "client": "c1"',
    "http://[fd00::1]:8080/health",
)


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("file", ["timeline.jsonl", "output.txt", "checks.json"])
def test_a_planted_secret_keeps_the_pack_from_being_sealed_and_is_placed(tmp_path, kind, file):
    directory = written(tmp_path)
    lines = (directory / file).read_text().splitlines() if (directory / file).exists() else ["one", "two"]
    planted = PLANTED[kind] if file == "output.txt" else json.dumps({"detail": PLANTED[kind]})
    (directory / file).write_text("\n".join([*lines, planted]) + "\n")
    close.finish(directory)
    assert not list(directory.glob("seal-*"))
    with pytest.raises(EvidenceError) as refused:
        pack.seal_again(directory, Settings(), None)
    assert f"{file}, line {len(lines) + 1}: {kind}" in str(refused.value)
    secret = max(PLANTED[kind].split("=")[-1].split(), key=len)
    assert secret not in str(refused.value)
    assert refused.value.code == 4
    (finding,) = [f for f in json.loads((directory / "findings.json").read_text()) if "/secret-" in f["id"]]
    assert (finding["severity"], secret in json.dumps(finding)) == ("high", False)
    assert "is not sealed" in verify(directory).problems[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_value_is_found_by_whichever_name_a_tool_gives_it(name):
    assert [kind for *_, kind in leaks.find(f"x {name}{VALUE}")] == ["password"]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_left_alone(text):
    assert leaks.find(text) == []
    assert leaks.mask(text) == text


def test_the_fixtures_own_record_is_clean(tmp_path):
    directory = written(tmp_path)
    close.finish(directory)
    assert leaks.scan(directory, [path.name for path in directory.iterdir()]) == []


def test_a_value_that_was_named_is_found_however_a_file_spells_it(tmp_path, monkeypatch):
    value = 'he said "ü" & left'
    directory = written(tmp_path)
    (directory / "output.json").write_text(json.dumps(["", f"x{value}"]))
    (directory / "output.html").write_text("he said &quot;ü&quot; &amp; left")
    (directory / "output.url").write_text("\n\n/he%20said%20%22%C3%BC%22%20%26%20left")
    named = tmp_path / "secrets"
    named.write_text(f"\n{value}\n")
    monkeypatch.setenv("PGRESCUE_EVIDENCE_SECRETS", str(named))
    close.finish(directory)
    with pytest.raises(EvidenceError) as refused:
        pack.seal_again(directory, Settings.from_environment(), None)
    for place in ("output.json, line 1", "output.html, line 1", "output.url, line 3"):
        assert f"{place}: value that was named" in str(refused.value)
    named.unlink()
    assert close.finish(directory).exit_code == 0
    assert not list(directory.glob("seal-*")), "what cannot be looked for is not known to be absent"


def test_derived_parts_never_repeat_what_people_wrote(tmp_path):
    directory = written(tmp_path)
    run = json.loads((directory / "run.json").read_text())
    run["broke_glass"][0]["reason"] = f"the password={VALUE} did not work"
    (directory / "run.json").write_text(json.dumps(run))
    close.finish(directory)
    for name in ("findings.json", "deviations.md", "people.json", "scope.json", "lessons.md"):
        assert VALUE not in (directory / name).read_text(), name
    assert leaks.MASKED in (directory / "deviations.md").read_text()


def test_a_pack_with_a_secret_is_sealed_only_for_a_reason_and_never_passes_for_clean(tmp_path):
    directory = written(tmp_path)
    (directory / "output.txt").write_text(PLANTED["password"])
    close.finish(directory)
    said = CliRunner().invoke(cli.app, ["evidence", "seal", str(directory)])
    assert (said.exit_code, VALUE in said.output) == (4, False)
    wanted = ["--unclean", "changed on 24 November", "--key-file", str(key_file(tmp_path))]
    said = CliRunner().invoke(cli.app, ["evidence", "seal", str(directory), *wanted])
    assert said.exit_code == 0
    found = verify(directory)
    assert (found.changed, found.holds) == ([], False)
    assert found.problems == ["It was sealed with a secret in output.txt, line 1 (password)."]


def test_closing_a_run_says_that_its_evidence_is_not_sealed(tmp_path):
    directory = written(tmp_path)
    (directory / "output.txt").write_text(PLANTED["password"])
    done = subprocess.run(
        [sys.executable, "-m", "pgrescue.close", directory], capture_output=True, text=True, check=True
    )
    assert "The pack is not sealed" in done.stdout
    assert VALUE not in done.stdout + done.stderr


SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1).filter(str.strip)


@given(st.text(), SECRETS, st.text())
@example("a[", "masked", "]")
@example("", "[", "")
@example("x", "m", "m")
def test_what_is_masked_is_not_present(before, secret, after):
    masked = leaks.mask(before + secret + after, [secret])
    assert secret not in masked
    assert leaks.find(masked, [secret]) == []


@given(st.sampled_from(sorted(PLANTED)), st.text(), st.text())
def test_nothing_is_found_in_what_was_masked(kind, before, after):
    masked = leaks.mask(f"{before}\n{PLANTED[kind]}\n{after}")
    assert leaks.find(masked) == []
    assert VALUE not in masked


@given(
    st.recursive(st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)), SECRETS
)
def test_a_masked_document_keeps_its_shape(document, secret):
    masked = leaks.masked({"kept": document, "said": f"<{secret}>"}, [secret])
    assert secret not in masked["said"]
    assert json.loads(json.dumps(masked)).keys() == {"kept", "said"}
