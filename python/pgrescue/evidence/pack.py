"""Write what a pack has beside the record, and seal the whole of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgrescue.evidence import (
    blocks,
    deviations,
    envelope,
    findings,
    leaks,
    lessons,
    mapping,
    objectives,
    people,
    scope,
    seal,
)
from pgrescue.evidence.models import SignOff
from pgrescue.evidence.settings import SCOPE, EvidenceError, Settings
from pgrescue.files import write_json, write_text
from pgrescue.manifest import MANIFEST, files, verify_manifest, write_manifest
from pgrescue.record import Record

_DERIVED = (
    SCOPE,
    "people.json",
    "objectives.json",
    "findings.json",
    "deviations.md",
    "lessons.md",
    "mapping.csv",
)


def close(record: Record, settings: Settings) -> None:
    """Write every part, the manifest and the seal.

    A recovery must not end as a failure because its evidence cannot be sealed: where it cannot, the record is whole
    all the same, a finding and every verification say so, and `pgrescue evidence seal` says why.
    """
    directory = record.directory
    sources = [name for name in files(directory) if name not in (*_DERIVED, blocks.BLOCKS)]
    refused, key = "", None
    exact: tuple[str, ...] = ()
    try:
        exact = settings.secrets()
        key = envelope.private_key(settings.key_file) if settings.key_file else None
    except EvidenceError as error:
        refused = str(error)
    leaked = leaks.scan(directory, sources, exact)
    parts: dict[str, Any] = {
        SCOPE: scope.of(record, settings).dump(),
        "people.json": people.of(record).dump(),
        "objectives.json": objectives.of(record).dump(),
        "findings.json": [one.dump() for one in findings.of(record, settings, leaked, refused)],
    }
    for name, value in parts.items():
        write_json(directory / name, leaks.masked(value, exact))
    for name, page in (("deviations.md", deviations.page(record)), ("lessons.md", lessons.page(record))):
        write_text(directory / name, leaks.mask(page, exact))
    write_text(directory / "mapping.csv", mapping.table([*sources, *_DERIVED, blocks.BLOCKS, MANIFEST]))
    write_json(directory / blocks.BLOCKS, blocks.of_files(directory, [*sources, *_DERIVED]).dump())
    write_manifest(directory)
    leaked += leaks.scan(directory, _DERIVED, exact)
    if not refused and not leaked:
        seal.seal(directory, key, leaked)


def seal_again(directory: Path, settings: Settings, unclean: str | None) -> Path | None:
    """Seal what was signed off since, or what was not sealed, or not signed; None when the newest seal covers it all.

    Raises EvidenceError when the record is not as its manifest says, or holds a secret.
    """
    _unchanged(directory)
    key = envelope.private_key(settings.key_file) if settings.key_file else None
    names = [name for name in files(directory) if name != blocks.BLOCKS]
    names += [path.name for path in seal.sign_offs(directory)]  # a timestamp is binary and not ours
    return seal.seal(directory, key, leaks.scan(directory, names, settings.secrets()), unclean)


def sign_off(directory: Path, by: str, reason: str) -> Path:
    """Write down that somebody read this very record and stands for it. Raises EvidenceError when it was changed."""
    if not by.strip() or not reason.strip():
        raise EvidenceError("A sign-off needs a name and a reason: --by NAME --reason WHY. Nothing was changed.", 2)
    manifest = _unchanged(directory)
    newest = seal.seals(directory)[-1:]
    said = SignOff(
        run=seal.run_id(directory),
        by=leaks.mask(by.strip()),
        at=datetime.now(UTC),
        reason=leaks.mask(reason.strip()),
        manifest_sha256=manifest,
        seal=newest[0].name if newest else None,
        seal_sha256=seal.sha256_of(newest[0]) if newest else None,
    )
    before = seal.sign_offs(directory)
    path = directory / f"signoff-{seal.number(before[-1]) + 1 if before else 1}.json"
    write_json(path, said.dump())
    return path


def _unchanged(directory: Path) -> str:
    """The manifest's SHA-256, when the record is as it says."""
    if not (directory / MANIFEST).is_file():
        raise EvidenceError(
            f"{directory} holds no {MANIFEST}: the run is still open, or this is no record. Nothing was changed."
        )
    differences = verify_manifest(directory)
    if differences:
        raise EvidenceError(
            f"The record is not as its manifest says ({differences[0]}). Nothing was changed. "
            f"See all: pgrescue evidence verify {directory}",
            4,
        )
    return seal.sha256_of(directory / MANIFEST)
