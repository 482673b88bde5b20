"""What a pack's newest seal is worth, without reading the files: those its manifest is held against elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgrescue.evidence import envelope, seal
from pgrescue.evidence.envelope import PublicKey
from pgrescue.manifest import MANIFEST


@dataclass(frozen=True)
class Brief:
    """Whether the newest seal is of the manifest that is there, by which key, and what is wrong with it."""

    sealed: bool
    signer: str | None = None
    wrong: str = ""


def of(directory: Path, keys: Sequence[PublicKey] = ()) -> Brief:
    """The newest seal against the manifest, and against the keys: where some are given, one made it."""
    newest = seal.seals(directory)[-1:]
    if not newest:
        return Brief(False)
    name, opened = newest[0].name, envelope.read(newest[0].read_bytes())
    if opened.statement is None or opened.fault:
        return Brief(False, wrong=f"{name}: {opened.fault}")
    if opened.statement.digests.get(MANIFEST) != seal.sha256_of(directory / MANIFEST):
        return Brief(False, wrong=f"{name} is of another manifest")
    if keys and opened.signer not in {key.keyid for key in keys}:
        return Brief(True, opened.signer, f"{name}: no key that was given signed it")
    return Brief(True, opened.signer)
