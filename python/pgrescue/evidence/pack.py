"""Write what a pack has beside the record, and seal the whole of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pgrescue import who
from pgrescue.drill.record import Drill
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
    reopening,
    scope,
    seal,
)
from pgrescue.evidence.envelope import PublicKey
from pgrescue.evidence.models import SignOff
from pgrescue.evidence.settings import SCOPE, EvidenceError, Settings
from pgrescue.evidence.sources import PARTS
from pgrescue.files import write_json, write_text
from pgrescue.manifest import MANIFEST, files, write_manifest
from pgrescue.models import Run
from pgrescue.record import Record, load


def close(record: Record, settings: Settings, unfit: str = "") -> None:
    """Write every part, the manifest and the seal. `unfit`: why it must not be sealed.

    A drill whose recovery passed and that was not judged yet is not sealed: nobody could tell that seal from one of a
    drill that passed.

    A recovery must not end as a failure because its evidence cannot be sealed: where it cannot, the record is whole
    all the same, a finding and every verification say so, and `pgrescue evidence seal` says why.
    """
    directory = record.directory
    sources = [name for name in files(directory) if name not in (*PARTS, blocks.BLOCKS)]
    refused, key = unfit, None
    exact: tuple[str, ...] = ()
    try:
        exact = settings.secrets()
        key = envelope.private_key(settings.key_file) if settings.key_file else None
    except EvidenceError as error:
        refused = refused or str(error)
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
    write_text(directory / "mapping.csv", mapping.table([*sources, *PARTS, blocks.BLOCKS, MANIFEST]))
    write_json(directory / blocks.BLOCKS, blocks.of_files(directory, [*sources, *PARTS]).dump())
    write_manifest(directory)
    leaked += leaks.scan(directory, PARTS, exact)
    if not refused and not leaked and not _to_be_judged(record.run, record.drill):
        seal.seal(directory, key, leaked)


def _to_be_judged(run: Run, drill: Drill | None) -> bool:
    return drill is not None and drill.state == "open" and run.result == "passed"


def seal_again(
    directory: Path, settings: Settings, unclean: str | None, vouched: Sequence[PublicKey] = ()
) -> Path | None:
    """Seal what was signed off since, or what was not sealed, or not signed; None when the newest seal covers it all.

    `vouched`: keys of others that may have made the newest seal. Raises EvidenceError when the record is not as it was
    sealed, or holds a secret.
    """
    reopening.hold(directory, settings, vouched)
    found = load(directory)
    if _to_be_judged(found.run, found.drill):
        raise EvidenceError(
            "The drill has not ended, so it is not judged, and not sealed as if it had passed. Nothing was changed. "
            "pgrescue drill ends it; of one that was interrupted the record stays unsealed.",
            4,
        )
    key = envelope.private_key(settings.key_file) if settings.key_file else None
    names = [name for name in files(directory) if name != blocks.BLOCKS]
    names += [path.name for path in seal.sign_offs(directory)]  # a timestamp is binary and not ours
    return seal.seal(directory, key, leaks.scan(directory, names, settings.secrets()), unclean)


def sign_off(directory: Path, by: str, reason: str, vouched: Sequence[PublicKey] = ()) -> Path:
    """Write down that somebody read this very record and stands for it. Raises EvidenceError when it was changed."""
    if not by.strip() or not reason.strip():
        raise EvidenceError("A sign-off needs a name and a reason: --by NAME --reason WHY. Nothing was changed.", 2)
    reopening.hold(directory, Settings.of(directory), vouched)
    newest = seal.seals(directory)[-1:]
    said = SignOff(
        run=seal.run_id(directory),
        by=leaks.mask(by.strip()),
        typed_by=who.operator(),
        at=datetime.now(UTC),
        reason=leaks.mask(reason.strip()),
        manifest_sha256=seal.sha256_of(directory / MANIFEST),
        seal=newest[0].name if newest else None,
        seal_sha256=seal.sha256_of(newest[0]) if newest else None,
    )
    before = seal.sign_offs(directory)
    path = directory / f"signoff-{seal.number(before[-1]) + 1 if before else 1}.json"
    write_json(path, said.dump())
    return path
