"""A pack is verified offline: whatever is done to it is found, and found where it was done."""

import base64
import json
import random
import shutil
from datetime import UTC, datetime
from hashlib import sha256

import jsonschema
import pytest
from dumping import key_pair
from evidence_packs import PRIVATE, PUBLIC, key_file, sealed, written
from modules import collection
from pgrescue import cli, close, manifest, record, schemas, steering
from pgrescue.evidence import blocks, envelope, pack, seal
from pgrescue.evidence.settings import EvidenceError, Settings
from pgrescue.evidence.verify import verify
from pgrescue.files import write_json
from pgrescue.manifest import verify_manifest
from typer.testing import CliRunner

RUN = "20261124T012044Z-shop-complete_loss"
KEY = envelope.public_key(PUBLIC.encode())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A signed pack with a sign-off and a second seal, and an unsigned one. Tests work on copies."""
    root = tmp_path_factory.mktemp("packs")
    signed = sealed(root / "signed", key_file(root))
    pack.sign_off(signed, "Noor Haddad", "Read it; the lost commits are explained to the client.")
    pack.seal_again(signed, Settings(key_file=key_file(root)), None)
    return {"signed": signed, "unsigned": sealed(root / "unsigned", None)}


@pytest.fixture
def directory(made, tmp_path):
    return shutil.copytree(made["signed"], tmp_path / RUN)


def lines_of(directory):
    return (directory / "timeline.jsonl").read_bytes().splitlines(keepends=True)


def rewritten(directory, lines):
    (directory / "timeline.jsonl").write_bytes(b"".join(lines))
    return verify(directory, [KEY])


def remade(directory, key=None):
    """Manifest, blocks and a seal, as whoever can write here makes them anew."""
    names = [name for name in manifest.files(directory) if name != blocks.BLOCKS]
    write_json(directory / blocks.BLOCKS, blocks.of_files(directory, names).dump())
    manifest.write_manifest(directory)
    seal.seal(directory, key, [])


def chained(entries):
    """Lines whose chain holds, as somebody would write them who knows how it is made."""
    made, prev = [], "0" * 64
    for entry in entries:
        made.append(json.dumps({**entry, "prev": prev}).encode())
        prev = sha256(made[-1]).hexdigest()
    return [line + b"\n" for line in made]


@pytest.mark.parametrize(("kind", "keys"), [("signed", [KEY]), ("signed", []), ("unsigned", [])])
def test_an_untouched_pack_holds(made, kind, keys):
    found = verify(made[kind], keys)
    assert (found.holds, found.changed, found.timeline, found.problems) == (True, [], None, [])
    assert {one.signature for one in found.seals} == {"valid" if kind == "signed" else "unsigned"}


@pytest.mark.parametrize(("kind", "keys"), [("signed", [KEY]), ("signed", []), ("unsigned", [])])
def test_each_of_a_thousand_flipped_bits_is_found_where_it_is(made, tmp_path, kind, keys):
    """Over all files in turn, so that the small ones are hit as well as the large."""
    directory = shutil.copytree(made[kind], tmp_path / RUN)
    chance, files = random.Random(20261124), sorted(path for path in directory.iterdir())
    newest, wrong = max(path.name for path in files if path.name.startswith("seal-")), []
    for number in range(1000):
        path = files[number % len(files)]
        whole = path.read_bytes()
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        found = verify(directory, keys)
        path.write_bytes(whole)
        named = {one.path for one in found.changed}
        inside = any(r.first <= place <= r.last for one in found.changed for r in one.ranges)
        # of the newest seal, which nothing vouches for but its signature, all of that may be named
        narrow = path.name == newest or sum(r.last - r.first for r in found.changed[0].ranges) < 256
        if found.holds or named != {path.name} or not inside or not narrow:
            wrong.append((path.name, place, bit, found.dump()))
        if path.name == "timeline.jsonl" and not (
            found.timeline and found.timeline.event == whole[:place].count(b"\n")
        ):
            wrong.append(("event", place, found.timeline))
    assert wrong == []
    assert verify(directory, keys).holds


def test_a_flipped_bit_is_placed_within_a_block_or_two(directory):
    """A range that is the whole file would hold the byte as well."""
    for name in (
        "timeline.jsonl",
        "report.html",
        "manifest.sha256",
        "blocks.json",
        "seal-1.dsse.json",
        "seal-2.dsse.json",
    ):
        whole = (directory / name).read_bytes()
        place = len(whole) // 3
        (directory / name).write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        (changed,) = verify(directory, [KEY]).changed
        (directory / name).write_bytes(whole)
        assert changed.ranges[-1].last - changed.ranges[0].first < 512, name


def test_every_event_that_is_removed_is_named(directory):
    whole = lines_of(directory)
    for gone in range(len(whole)):
        found = rewritten(directory, whole[:gone] + whole[gone + 1 :])
        kind = "cut" if gone == len(whole) - 1 else "removed"
        assert (found.holds, found.timeline.kind, found.timeline.event) == (False, kind, gone)


def test_every_pair_of_events_that_changed_places_is_named(directory):
    whole = lines_of(directory)
    for first in range(len(whole) - 1):
        swapped = [*whole[:first], whole[first + 1], whole[first], *whole[first + 2 :]]
        found = rewritten(directory, swapped)
        assert (found.timeline.kind, found.timeline.event) == ("reordered", first)


def test_an_edited_event_is_named_also_when_all_after_it_is_chained_anew(directory):
    entries = [json.loads(line) for line in lines_of(directory)]
    assert chained(entries) == lines_of(directory)
    place = next(n for n, entry in enumerate(entries) if entry["event"] == "approval")
    entries[place]["actor"] = "lena@ctl"
    found = rewritten(directory, chained(entries))
    assert (found.timeline.kind, found.timeline.event) == ("changed", place)
    assert "written anew" in found.timeline.says
    assert "timeline.jsonl" in {one.path for one in found.changed}


def test_a_removed_event_is_named_also_when_the_rest_is_numbered_and_chained_anew(directory):
    entries = [json.loads(line) for line in lines_of(directory)]
    left = [{**entry, "seq": seq} for seq, entry in enumerate(entries[:7] + entries[8:])]
    found = rewritten(directory, chained(left))
    assert (found.holds, found.timeline.event) == (False, 7)


@pytest.mark.parametrize("cut", [1, 40, 5000])
def test_a_cut_tail_is_found(directory, cut):
    whole = (directory / "timeline.jsonl").read_bytes()
    (directory / "timeline.jsonl").write_bytes(whole[:-cut])
    found = verify(directory, [KEY])
    assert found.timeline.event == whole[:-cut].count(b"\n")
    (changed,) = found.changed
    assert changed.ranges[-1].last == len(whole) - 1
    assert "it had" in changed.detail


def test_events_that_were_added_or_put_between_are_found(directory):
    whole = lines_of(directory)
    assert rewritten(directory, [*whole, whole[-1]]).timeline.kind == "added"
    found = rewritten(directory, [*whole[:5], whole[3], *whole[5:]])
    assert (found.timeline.kind, found.timeline.event) == ("inserted", 5)


def test_without_a_seal_the_chain_itself_is_followed(directory):
    for path in (*directory.glob("seal-*"), *directory.glob("signoff-*")):
        path.unlink()
    whole = lines_of(directory)
    found = rewritten(directory, whole[:5] + whole[6:])
    assert (found.timeline.kind, found.timeline.line) == ("other", 6)


def test_every_missing_and_extra_file_is_named(directory):
    for path in sorted(directory.iterdir()):
        whole = path.read_bytes()
        path.unlink()
        if path.name == "manifest.sha256":
            with pytest.raises(EvidenceError, match="still open"):
                verify(directory)
        elif path.name == "seal-2.dsse.json":  # what was sealed before it still stands; the sign-off has lost its seal
            assert [(one.path, one.kind) for one in verify(directory, [KEY]).changed] == [("signoff-1.json", "extra")]
        else:
            found = verify(directory, [KEY])
            assert (path.name, "missing") in [(one.path, one.kind) for one in found.changed]
        path.write_bytes(whole)
    for name in ("added.txt", "manifest.sha256.sig", "signoff-2.json", ".hidden", "steps/01/output"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        found = verify(directory, [KEY])
        assert (found.holds, [(one.path, one.kind) for one in found.changed]) == (False, [(name, "extra")])
        path.unlink()


def test_swapped_files_are_found_and_named_for_what_they_are(directory):
    one, other = directory / "plan.json", directory / "checks.json"
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    found = verify(directory, [KEY])
    assert {c.path: c.detail.rpartition(", ")[2] for c in found.changed} == {
        "plan.json": "it is what checks.json was",
        "checks.json": "it is what plan.json was",
    }


def test_a_file_that_is_a_link_is_missing(directory, tmp_path):
    shutil.move(directory / "checks.json", tmp_path / "elsewhere.json")
    (directory / "checks.json").symlink_to(tmp_path / "elsewhere.json")
    assert [(one.path, one.kind) for one in verify(directory, [KEY]).changed] == [("checks.json", "missing")]


def test_a_manifest_that_was_made_to_fit_the_forgery_does_not_help(directory):
    from pgrescue.manifest import write_manifest

    (directory / "checks.json").write_text("[]")
    write_manifest(directory)
    assert verify_manifest(directory) == []
    found = verify(directory, [KEY])
    assert {one.path for one in found.changed} == {"checks.json", "manifest.sha256"}


def test_who_seals_a_forgery_anew_needs_the_key(directory, tmp_path):
    for path in (*directory.glob("seal-*"), *directory.glob("signoff-*")):
        path.unlink()
    (directory / "checks.json").write_text("[]")
    pack.close(record.load(directory), Settings(key_file=key_file(tmp_path, key_pair()[0])))
    assert verify(directory).holds, "in itself it is whole"
    found = verify(directory, [KEY])
    assert not found.holds
    assert "did not sign it" in found.problems[0]


def test_a_wrong_key_and_a_pack_that_nobody_signed_do_not_pass_for_signed(made, directory):
    other = envelope.public_key(key_pair()[1].encode())
    assert [one.key_fits for one in verify(directory, [other]).seals] == [False, False]
    assert not verify(directory, [other]).holds
    assert verify(directory, [other, KEY]).holds
    assert not verify(made["unsigned"], [KEY]).holds
    assert "nobody signed it" in verify(made["unsigned"]).seals[0].says


def test_the_signature_is_one_that_another_implementation_accepts(directory):
    """The project's own, which signs the manifests of dumps."""
    signing = collection("plugins.module_utils.signing")
    sealed_text = json.loads((directory / "seal-2.dsse.json").read_bytes())
    payload = signing.verify(sealed_text, [PUBLIC], envelope.PAYLOAD_TYPE)
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert {one["name"] for one in payload["subject"]} >= {"manifest.sha256", "timeline.jsonl", "signoff-1.json"}
    signed_here = signing.sign(payload, PRIVATE, envelope.PAYLOAD_TYPE)
    assert signed_here == sealed_text


def test_seals_sign_offs_and_verifications_fit_their_schemas(directory):
    payload = base64.b64decode(json.loads((directory / "seal-2.dsse.json").read_bytes())["payload"])
    jsonschema.validate(json.loads(payload), schemas.schema("seal"))
    jsonschema.validate(json.loads((directory / "signoff-1.json").read_bytes()), schemas.schema("signoff"))
    jsonschema.validate(verify(directory, [KEY]).dump(), schemas.schema("verification"))
    (directory / "timeline.jsonl").write_bytes(b"".join(lines_of(directory)[1:]))
    jsonschema.validate(verify(directory, [KEY]).dump(), schemas.schema("verification"))


def test_a_second_seal_leaves_the_first_and_the_manifest_as_they_were(tmp_path):
    key = key_file(tmp_path)
    directory = sealed(tmp_path, key)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert pack.seal_again(directory, Settings(key_file=key), None) is None, "there is nothing to seal"
    pack.sign_off(directory, "Noor Haddad", "Read.")
    unsealed = verify(directory, [KEY])
    assert [(one.path, one.detail) for one in unsealed.changed] == [
        ("signoff-1.json", "it is not sealed: pgrescue evidence seal RUN")
    ]
    assert pack.seal_again(directory, Settings(key_file=key), None).name == "seal-2.dsse.json"
    found = verify(directory, [KEY])
    assert (found.holds, found.sign_offs[0].current, found.sign_offs[0].by) == (True, True, "Noor Haddad")
    assert {name: (directory / name).read_bytes() for name in before} == before


def test_a_run_that_is_gone_on_with_keeps_its_earlier_seals(tmp_path, monkeypatch):
    key = key_file(tmp_path)
    directory = sealed(tmp_path, key)
    pack.sign_off(directory, "Noor Haddad", "Read.")
    pack.seal_again(directory, Settings(key_file=key), None)
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key))
    steering.note(directory, "The client was told.")
    found = verify(directory, [KEY])
    assert (found.holds, len(found.seals)) == (True, 3)
    assert not found.sign_offs[0].current, "what was signed off is not what is there now"
    # an earlier seal shows that the timeline was only added to
    entries = [json.loads(line) for line in lines_of(directory)]
    entries[4]["detail"] = "something else"
    (directory / "timeline.jsonl").write_bytes(b"".join(chained(entries)))
    (directory / "seal-3.dsse.json").unlink()
    remade(directory)
    assert any("does not begin with" in one for one in verify(directory, [KEY]).problems)


def test_a_link_that_was_put_beside_the_files_is_found(directory):
    (directory / "extra.json").symlink_to("/etc/hostname")
    assert [(one.path, one.kind) for one in verify(directory).changed] == [("extra.json", "extra")]


def test_an_unsigned_seal_over_what_was_signed_is_found_without_a_key(tmp_path):
    """The planted fault: whoever has no key edits a check and makes manifest, blocks and a seal anew."""
    directory = sealed(tmp_path, key_file(tmp_path))
    path = directory / "checks.json"
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    remade(directory)
    found = verify(directory)
    assert (found.holds, found.changed) == (False, [])
    assert "seal-2.dsse.json is not signed and seal-1.dsse.json before it is" in found.problems[0]


def test_whoever_adds_a_note_seals_with_the_key_that_the_run_was_sealed_with(tmp_path, monkeypatch, capsys):
    key = key_file(tmp_path)
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key))
    monkeypatch.setenv("PGRESCUE_EVIDENCE_OWNER", "dba@example.com")
    directory = written(tmp_path / "runs")
    close.finish(directory)
    monkeypatch.delenv("PGRESCUE_EVIDENCE_KEY")
    monkeypatch.delenv("PGRESCUE_EVIDENCE_OWNER")
    steering.note(directory, "The client was told.")
    found = verify(directory, [KEY])
    assert (found.holds, [one.signature for one in found.seals]) == (True, ["valid"] * 2)
    assert {one["owner"] for one in json.loads((directory / "findings.json").read_text())} == {"dba@example.com"}
    assert "NOT SIGNED" not in capsys.readouterr().err


def test_whoever_has_not_that_key_says_aloud_that_the_seal_is_unsigned_and_may_seal_it_where_the_key_is(
    tmp_path, monkeypatch, capsys
):
    key = key_file(tmp_path)
    monkeypatch.setenv("PGRESCUE_EVIDENCE_KEY", str(key))
    directory = written(tmp_path / "runs")
    close.finish(directory)
    monkeypatch.delenv("PGRESCUE_EVIDENCE_KEY")
    away = key.rename(tmp_path / "on_another_machine")
    for text in ("The client was told.", "And called back."):
        steering.note(directory, text)
    assert capsys.readouterr().err.count("NOT SIGNED: ") == 1
    found = verify(directory, [KEY])
    assert (found.holds, [one.signature for one in found.seals]) == (False, ["valid", "unsigned", "unsigned"])
    away.rename(key)
    done = CliRunner().invoke(cli.app, ["evidence", "seal", str(directory)])
    assert (done.exit_code, "is written, signed" in done.output) == (0, True), done.output
    assert verify(directory, [KEY]).holds


def test_a_changed_record_is_neither_signed_off_nor_sealed(directory):
    (directory / "checks.json").write_text("[]")
    for call in (
        lambda: pack.sign_off(directory, "Noor", "Read."),
        lambda: pack.seal_again(directory, Settings(), None),
    ):
        with pytest.raises(EvidenceError, match=r"not as it was sealed .checks\.json: differs.*Nothing was changed"):
            call()
    with pytest.raises(EvidenceError, match="needs a name and a reason"):
        pack.sign_off(directory, "Noor", " ")


def ask(*arguments):
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def test_the_command_says_what_changed_and_ends_with_one(directory, tmp_path):
    public = tmp_path / "evidence.pub"
    public.write_text(PUBLIC)
    code, said = ask("evidence", "verify", directory, "--key", public)
    assert (code, "every file is as the manifest says" in said, "which is the one given" in said) == (0, True, True)
    code, said = ask("evidence", "verify", directory, "--key", public, "--json")
    assert (code, json.loads(said)["holds"]) == (0, True)
    (directory / "checks.json").write_text("[]")
    code, said = ask("evidence", "verify", directory)
    assert code == 1
    assert "checks.json: differs, bytes 0-" in said
    (directory / "timeline.jsonl").write_bytes(b"".join(lines_of(directory)[:-3]))
    assert "the last 3 of" in ask("evidence", "verify", directory)[1]
    assert ask("evidence", "verify", directory, "--key", directory / "run.json")[0] == 3
    assert ask("evidence", "verify", tmp_path)[0] == 3


def test_signing_off_by_command(tmp_path):
    key = key_file(tmp_path)
    directory = sealed(tmp_path, key)
    begun = datetime.now(UTC)
    code, said = ask("evidence", "sign-off", directory, "--by", "Noor Haddad", "--reason", "Read.")
    assert (code, "signoff-1.json" in said, "evidence seal" in said) == (0, True, True)
    assert datetime.fromisoformat(json.loads((directory / "signoff-1.json").read_text())["at"]) >= begun
    assert ask("evidence", "verify", directory)[0] == 1
    assert ask("evidence", "seal", directory, "--key-file", key)[0] == 0
    assert ask("evidence", "verify", directory)[0] == 0
    assert "Nothing was changed" in ask("evidence", "seal", directory, "--key-file", key)[1]
    code, said = ask("evidence", "seal", directory, "--key-file", directory / "run.json")
    assert (code, "openssl genpkey" in said) == (3, True)
    assert ask("evidence", "sign-off", directory, "--by", "", "--reason", "x")[0] == 2


def test_a_seal_of_a_stranger_s_key_over_another_is_found_without_a_key(tmp_path):
    directory = sealed(tmp_path, key_file(tmp_path))
    (directory / "checks.json").write_text("[]")
    private, public = key_pair()
    (tmp_path / "other").mkdir()
    remade(directory, envelope.private_key(key_file(tmp_path / "other", private)))
    (problem,) = verify(directory).problems
    assert "seal-2.dsse.json is of another key" in problem
    assert verify(directory, [envelope.public_key(public.encode())]).holds
    assert not verify(directory, [KEY]).holds
