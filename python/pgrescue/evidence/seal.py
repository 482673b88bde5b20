"""Seal a pack: a statement about every file, in an envelope of its own beside them.

Seals are numbered and never replaced. Each covers all that is there and the seal before it, so that a sign-off, or a
run that was gone on with, leaves the earlier seals as they were.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pgrescue.core import records
from pgrescue.evidence import blocks, chain, envelope, leaks
from pgrescue.evidence.models import DigestSet, Follows, Leak, Predicate, Statement, Subject, Unclean
from pgrescue.evidence.settings import EvidenceError
from pgrescue.files import write_text
from pgrescue.manifest import MANIFEST, digests

PREDICATE = "https://github.com/pgrescue/pgrescue/evidence/v1"
_NAMED = 20  # secrets in one refusal
_NUMBER = re.compile(r"-(\d+)\.")


def numbered(directory: Path, pattern: str) -> list[Path]:
    """The files of this pattern in the order of their numbers."""
    return sorted(directory.glob(pattern), key=number)


def number(path: Path) -> int:
    """Which one it is, from its name."""
    found = _NUMBER.search(path.name)
    return int(found[1]) if found else 0


def seals(directory: Path) -> list[Path]:
    """Every seal, oldest first."""
    return numbered(directory, "seal-*.dsse.json")


def sign_offs(directory: Path) -> list[Path]:
    """Every sign-off, oldest first."""
    return numbered(directory, "signoff-*.json")


def timestamp_of(path: Path) -> Path:
    """Where a seal's timestamp is, should it have one."""
    return path.with_name(f"seal-{number(path)}.tsr")


def timestamps(directory: Path) -> list[Path]:
    """Every timestamp, that of the oldest seal first."""
    return numbered(directory, "seal-*.tsr")


def beside(directory: Path) -> list[Path]:
    """What was put beside a seal after it, and waits for the next one: sign-offs and timestamps."""
    return [*sign_offs(directory), *timestamps(directory)]


def run_id(directory: Path) -> str:
    """The run's id as its record says, whatever its folder is called; the folder's name when it cannot be read."""
    try:
        return str(json.loads((directory / "run.json").read_bytes())["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return directory.name


def statement(directory: Path, run: str, place: int, key: envelope.PublicKey | None, unclean: Unclean | None) -> bytes:
    """What seal `place` says of the directory: a function of its files, with the digests that its manifest has."""
    later = [path.name for path in beside(directory)]
    before = directory / f"seal-{place - 1}.dsse.json"
    follows = Follows(name=before.name, sha256=sha256_of(before)) if before.is_file() else None
    small = [MANIFEST, blocks.BLOCKS, *later, *([before.name] if follows else [])]
    listed = {**digests(directory), **{name: sha256_of(directory / name) for name in [MANIFEST, *later]}}
    said = Statement(
        _type="https://in-toto.io/Statement/v1",
        subject=[Subject(name=name, digest=DigestSet(sha256=listed[name])) for name in sorted(listed)],
        predicateType=PREDICATE,
        predicate=Predicate(
            run=run,
            seal=place,
            timeline=chain.head(directory),
            block_bytes=blocks.BLOCK_BYTES,
            blocks=blocks.of_files(directory, [name for name in small if (directory / name).is_file()]).files,
            follows=follows,
            public_key=key.pem if key else None,
            unclean=unclean,
        ),
    )
    return records.canonical(said.model_dump(mode="json", exclude_none=True, by_alias=True))


@cache
def _say_unsigned(directory: Path) -> None:
    """Say it once of a record: every verification will find its newest seal wanting."""
    run = run_id(directory)
    print(
        f"NOT SIGNED: {run} had a signed seal, and is sealed again without a key: PGRESCUE_EVIDENCE_KEY is not set, "
        f"and the key that the record names is not on this machine. Where it is: pgrescue evidence seal {run}",
        file=sys.stderr,
    )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return sha256(path.read_bytes()).hexdigest()


def lacking(directory: Path, key: Ed25519PrivateKey | None) -> bool:
    """Whether there is something that the newest seal does not cover, or a key that has not signed it."""
    newest = seals(directory)[-1:]
    if not newest:
        return True
    opened = envelope.read(newest[0].read_bytes())
    if opened.statement is None:
        return True
    covered = opened.statement.digests
    mine = envelope.PublicKey(key.public_key()).keyid if key else opened.signer
    present = [MANIFEST, *(path.name for path in beside(directory))]
    return mine != opened.signer or any(covered.get(name) != sha256_of(directory / name) for name in present)


def seal(
    directory: Path, key: Ed25519PrivateKey | None, found: Sequence[Leak], unclean: str | None = None
) -> Path | None:
    """Write the next seal over a pack and its manifest; None when the newest one covers all of it already.

    Raises EvidenceError when secrets were `found` in it, unless `unclean` says why it is sealed all the same: the seal
    then carries where they are, and the pack does not count as clean.
    """
    if not lacking(directory, key):
        return None
    if found and not unclean:
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        said = "; ".join(f"{leak.file}, line {leak.line}: {leak.kind}" for leak in found[:_NAMED])
        raise EvidenceError(
            f"There are secrets in the pack, so it is not sealed: {said}{more}. Nothing was changed. Change those "
            f"secrets where they are used, then: pgrescue evidence seal {directory.name} --unclean REASON",
            4,
        )
    existing = seals(directory)
    place = number(existing[-1]) + 1 if existing else 1
    noted = Unclean(reason=leaks.mask(unclean or ""), leaks=list(found)) if found else None
    public = envelope.PublicKey(key.public_key()) if key else None
    path = directory / f"seal-{place}.dsse.json"
    if key is None and any(envelope.read(one.read_bytes()).signer for one in existing):
        _say_unsigned(directory)
    write_text(path, envelope.render(statement(directory, run_id(directory), place, public, noted), key))
    return path
