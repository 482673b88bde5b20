"""Verify a pack with nothing but its directory: what changed and where, whether the timeline and the seals hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Literal

from cryptography.x509 import Certificate
from pydantic import ValidationError

from pgrescue.core import controllers
from pgrescue.evidence import blocks, chain, envelope, seal, sources, timestamp
from pgrescue.evidence.envelope import Opened, PublicKey
from pgrescue.evidence.models import (
    Between,
    Blocks,
    ChainBreak,
    Changed,
    FileBlocks,
    Predicate,
    Range,
    SealState,
    SignOff,
    SignOffState,
    TimestampState,
    Verification,
)
from pgrescue.evidence.settings import EvidenceError
from pgrescue.manifest import MANIFEST, digests, verify_manifest


def verify(directory: Path, keys: Sequence[PublicKey] = (), authorities: Sequence[Certificate] = ()) -> Verification:
    """Hold a pack against its seals, and those against the keys of whom the reader trusts; timestamps likewise.

    Raises EvidenceError when there is no manifest: the run is still open, or this is no record.
    """
    if not (directory / MANIFEST).is_file():
        raise EvidenceError(f"{directory} holds no {MANIFEST}: the run is still open, or this is no record.")
    return _Examination(directory, keys, authorities).verdict()


def unlike_sealed(directory: Path, keys: Sequence[PublicKey] | None) -> list[str]:
    """What of a pack is not as its newest seal says, that seal being of one of the keys where it is signed.

    `keys` None: whoever made it. What waits for the next seal is no difference, nor are secrets that a seal owns up to.
    An unsigned seal over a signed one is none where only the timeline went on between them, as by a note.
    """
    found = _Examination(directory, keys or (), ())
    verdict = found.verdict()
    waiting = {path.name for path in seal.beside(directory)}
    said = [str(one) for one in verdict.changed if not (one.kind == "extra" and one.path in waiting)]
    said += [verdict.timeline.says] if verdict.timeline else []
    said += [f"{one.name}: {one.says}" for one in verdict.seals if one.signature == "invalid"]
    passed = {"secret"} | ({"unsigned", "signer"} if keys is None else set())
    if found.newest and found.newest.opened.signer is None:
        passed |= {"key", "unsigned"} if found.only_noted_unsigned() else {"key"}
    stamps = list(found.timestamps())
    return said + [one.says for one in found.problems(stamps) if one.kind not in passed]


@dataclass(frozen=True)
class _Problem:
    """Something that is wrong with the whole of a pack, and of which kind it is."""

    kind: Literal["timestamp", "unsealed", "key", "unsigned", "signer", "secret", "timeline", "name"]
    says: str


@dataclass(frozen=True)
class _Seal:
    name: str
    content: bytes
    opened: Opened

    @property
    def predicate(self) -> Predicate | None:
        return self.opened.statement.predicate if self.opened.statement else None


class _Examination:
    """One pack under examination. The newest seal that can be believed says what everything else must be."""

    def __init__(self, directory: Path, keys: Sequence[PublicKey], authorities: Sequence[Certificate]) -> None:
        self.directory, self.keys, self.authorities = directory, keys, authorities
        self.content = {name: (directory / name).read_bytes() for name in self._present()}
        names = [path.name for path in seal.seals(directory) if path.name in self.content]
        self.seals = [_Seal(name, self.content[name], envelope.read(self.content[name])) for name in names]
        self.newest = self.seals[-1] if self.seals else None
        self.believed = self.newest if self.newest and self._believable(self.newest) else None
        self.known = self._known_blocks()

    def _present(self) -> list[str]:
        found = (
            p.relative_to(self.directory).as_posix()
            for p in self.directory.rglob("*")
            if p.is_file() and not p.is_symlink()
        )
        return sorted(name for name in found if name != controllers.NOTE)

    def _sha256(self, name: str) -> str | None:
        return sha256(self.content[name]).hexdigest() if name in self.content else None

    def _agrees(self, name: str, sealed: FileBlocks) -> bool:
        return name in self.content and not blocks.changed(self.content[name], sealed)

    def _believable(self, newest: _Seal) -> bool:
        """Whether a seal can be held against the files: signed as it says, or unsigned and not alone in what it says.

        Anybody can write an unsigned one, so it is read as a second witness beside the manifest: where the two differ
        and the files are as the manifest says, it is the seal that was changed.
        """
        statement = newest.opened.statement
        if statement is None or newest.opened.fault:
            return False
        if newest.opened.signer is not None or newest.content == self._expected(newest):
            return True
        accused = [name for name, digest in statement.digests.items() if self._sha256(name) != digest]
        other, small = digests(self.directory), statement.predicate.blocks
        confirmed = [
            name
            for name in accused
            if (not self._agrees(name, small[name]) if name in small else self._sha256(name) != other.get(name))
        ]
        return bool(confirmed)

    def _expected(self, newest: _Seal) -> bytes:
        """What the newest seal's file would be, were it made from what is here, with the signature that it has."""
        said, place = newest.predicate, seal.number(Path(newest.name))
        unclean = said.unclean if said else None
        run = said.run if said else seal.run_id(self.directory)
        texts = [
            _with_signature(seal.statement(self.directory, run, place, key, unclean), newest.content, key)
            for key in self._candidates(newest)
        ]
        return min(texts, key=lambda text: _distance(text, newest.content))

    def _candidates(self, newest: _Seal) -> Iterator[PublicKey | None]:
        yield None
        yield from self.keys
        carried = newest.predicate.public_key if newest.predicate else None
        for before in [carried, *(one.predicate.public_key for one in self.seals[:-1] if one.predicate)]:
            if before:
                try:
                    yield envelope.public_key(before.encode())
                except ValueError:  # it is the part that was changed
                    continue

    def _known_blocks(self) -> dict[str, FileBlocks]:
        """Blocks of every file, from what is believed: the seal's own, and the side file when it is what was sealed."""
        small = self.believed.predicate.blocks if self.believed and self.believed.predicate else {}
        sealed = self._sealed().get(blocks.BLOCKS)
        if sealed is None or self._sha256(blocks.BLOCKS) != sealed:
            return dict(small)
        try:
            return {**Blocks.model_validate_json(self.content[blocks.BLOCKS]).files, **small}
        except ValidationError:
            return dict(small)

    def _sealed(self) -> dict[str, str]:
        """File: the SHA-256 that it must have."""
        if self.believed and self.believed.opened.statement:
            return self.believed.opened.statement.digests
        return digests(self.directory)

    def verdict(self) -> Verification:
        changed, timeline = self._changed(), self._timeline()
        states, stamps = [self._state(one) for one in self.seals], list(self.timestamps())
        problems = [one.says for one in self.problems(stamps)]
        bad = any(state.signature == "invalid" for state in states)
        return Verification(
            run=seal.run_id(self.directory),
            holds=not (changed or timeline or problems or bad),
            files=len(self.content),
            changed=changed,
            timeline=timeline,
            seals=states,
            between=list(self._between()),
            sign_offs=list(self._sign_offs()),
            timestamps=stamps,
            problems=problems,
        )

    def _changed(self) -> list[Changed]:
        sealed = self._sealed()
        found = [self._against(name, digest) for name, digest in sorted(sealed.items()) if self._sha256(name) != digest]
        found += self._changed_seals()
        if self.believed is None:
            broken = [one for one in verify_manifest(self.directory) if one.kind == "unreadable"]
            found += [Changed(path=one.path, kind=one.kind, detail=one.detail) for one in broken]
        covered = {*sealed, MANIFEST, *(one.name for one in self.seals)}
        if self.newest and not self.believed:  # it cannot say any more which it covered, and is named itself
            covered |= {path.name for path in seal.beside(self.directory)}
        links = sorted(p.relative_to(self.directory).as_posix() for p in self.directory.rglob("*") if p.is_symlink())
        found += [
            Changed(path=name, kind="extra", detail="it is a link, which no seal covers")
            for name in links
            if name not in covered
        ]
        beside = {path.name for path in seal.beside(self.directory)}
        for name in self.content:
            if name not in covered:
                unsealed = "it is not sealed: pgrescue evidence seal RUN" if name in beside else ""
                found.append(Changed(path=name, kind="extra", detail=unsealed))
        return found

    def _against(self, name: str, digest: str) -> Changed:
        if name not in self.content:
            return Changed(path=name, kind="missing")
        same = [other for other, sealed in self._sealed().items() if sealed == self._sha256(name)]
        ranges, said = blocks.located(self.content[name], name, self.known)
        swapped = f"it is what {same[0]} was" if same else ""
        return Changed(path=name, kind="differs", ranges=ranges, detail=", ".join(filter(None, [said, swapped])))

    def _changed_seals(self) -> Iterator[Changed]:
        """The newest seal when it is not believed, and each before it that is not what the one after it says."""
        if self.newest and not self.believed:
            ranges = _differing(self._expected(self.newest), self.newest.content)
            yield Changed(path=self.newest.name, kind="differs", ranges=ranges, detail=self.newest.opened.fault)
        for one in self.seals:
            follows = one.predicate.follows if one.predicate else None
            if follows is None or (one is self.newest and not self.believed):
                continue
            if follows.name not in self.content:
                yield Changed(path=follows.name, kind="missing")
            elif self._sha256(follows.name) != follows.sha256:
                ranges, said = blocks.located(
                    self.content[follows.name], follows.name, one.predicate.blocks if one.predicate else {}
                )
                yield Changed(path=follows.name, kind="differs", ranges=ranges, detail=said)

    def _timeline(self) -> ChainBreak | None:
        content = self.content.get(chain.TIMELINE)
        if content is None:
            return None
        believed = self.believed.predicate if self.believed else None
        return chain.examine(content, believed.timeline if believed else None)

    def _state(self, one: _Seal) -> SealState:
        opened, keyid = one.opened, one.opened.signer
        if opened.statement is None or opened.fault or (one is self.newest and not self.believed):
            said = opened.fault or "it is not what the manifest and the files say"
            return SealState(name=one.name, signature="invalid", keyid=keyid, says=said)
        fits = keyid in {key.keyid for key in self.keys} if self.keys else None
        if keyid is None:
            said = "nobody signed it: it shows accidents, not whoever could write it anew"
            return SealState(name=one.name, signature="unsigned", key_fits=fits, says=said)
        words = {
            None: "whose that is, only --key can tell",
            True: "which is the one given",
            False: "which is not the one given",
        }
        return SealState(
            name=one.name,
            signature="valid",
            keyid=keyid,
            key_fits=fits,
            says=f"signed by key {keyid[:16]}, {words[fits]}",
        )

    def problems(self, stamps: Sequence[TimestampState]) -> Iterator[_Problem]:
        """What is wrong beside changed files."""
        run, there = seal.run_id(self.directory), self.directory.resolve().name
        if run != there:
            yield _Problem("name", f"It is of {run} and its folder is called {there}: a run's folder is its id.")
        yield from (_Problem("timestamp", f"{one.name}: {one.says}.") for one in stamps if not one.holds)
        if self.authorities and not stamps:
            yield _Problem("timestamp", "No seal has a timestamp, so no authority can fit.")
        if self.newest is None:
            if self.keys:
                yield _Problem("key", "The pack has no seal, so no key can fit.")
            elif blocks.BLOCKS in self._sealed():
                said = f"The pack is not sealed. Why, and to seal it: pgrescue evidence seal {self.directory}"
                yield _Problem("unsealed", said)
            return
        yield from self._of_the_signer(self.newest)
        unclean = self.newest.predicate.unclean if self.newest.predicate else None
        for leak in unclean.leaks if unclean else []:
            yield _Problem("secret", f"It was sealed with a secret in {leak.file}, line {leak.line} ({leak.kind}).")
        content = self.content.get(chain.TIMELINE, b"")
        for one in self.seals[:-1]:
            earlier = one.predicate.timeline if one.predicate else None
            if earlier and not chain.begins_with(content, earlier):
                said = f"{one.name} sealed a timeline that the present one does not begin with."
                yield _Problem("timeline", said)

    def _of_the_signer(self, newest: _Seal) -> Iterator[_Problem]:
        state = self._state(newest)
        if state.key_fits is False:
            yield _Problem("key", f"{state.name}: the key that was given did not sign it.")
        others = [one for one in self.seals[:-1] if one.opened.signer not in (None, newest.opened.signer)]
        if newest.opened.signer and others and not state.key_fits:
            yield _Problem(
                "signer",
                f"{newest.name} is of another key ({newest.opened.signer[:16]}) than {others[-1].name} "
                f"({(others[-1].opened.signer or '')[:16]}), and no key that was given made it: whoever can write here "
                "could have. Whose it is, --key tells.",
            )
        signed = [one.name for one in self.seals[:-1] if one.opened.signer]
        if newest.opened.signer is None and signed:
            yield _Problem(
                "unsigned",
                f"{newest.name} is not signed and {signed[-1]} before it is: whoever can write here could have "
                f"made it. Where the key is: pgrescue evidence seal {self.directory}",
            )

    def only_noted_unsigned(self) -> bool:
        """Whether the newest seal is unsigned, one before it is signed, and only the timeline is another in it."""
        signed = next((one for one in reversed(self.seals) if one.opened.signer), None)
        if not signed or signed is self.newest or not signed.opened.statement or signed.opened.fault:
            return False
        return set(sources.changed(signed.opened.statement.digests, self._sealed())) <= {chain.TIMELINE}

    def _between(self) -> Iterator[Between]:
        for earlier, later in pairwise(self.seals):
            if earlier.opened.statement and later.opened.statement:
                names = sources.changed(earlier.opened.statement.digests, later.opened.statement.digests)
                if names:
                    yield Between(earlier=earlier.name, later=later.name, files=names)

    def timestamps(self) -> Iterator[TimestampState]:
        """What each timestamp is worth."""
        for name in (path.name for path in seal.timestamps(self.directory) if path.name in self.content):
            sealed = self.content.get(f"seal-{seal.number(Path(name))}.dsse.json")
            yield timestamp.examine(name, self.content[name], sealed, self.authorities)

    def _sign_offs(self) -> Iterator[SignOffState]:
        for path in (path for path in seal.sign_offs(self.directory) if path.name in self.content):
            try:
                said = SignOff.model_validate_json(self.content[path.name])
            except ValidationError:  # it is named among what was changed
                continue
            current = said.manifest_sha256 == self._sha256(MANIFEST)
            yield SignOffState(name=path.name, by=said.by, typed_by=said.typed_by, at=said.at, current=current)


def _with_signature(payload: bytes, content: bytes, key: PublicKey | None) -> bytes:
    """The text of a seal with this payload, with the signature that the text of another ends with."""
    if key is None:
        return envelope.render(payload, None).encode()
    start = content.rfind(b'"sig": "') + len(b'"sig": "')
    shown = content[start : start + 88].decode("ascii", errors="replace")  # 64 bytes in base64
    said = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": envelope.PAYLOAD_TYPE,
        "signatures": [{"keyid": key.keyid, "sig": shown}],
    }
    return (json.dumps(said, indent=2) + "\n").encode()


def _distance(one: bytes, other: bytes) -> int:
    return abs(len(one) - len(other)) + sum(a != b for a, b in zip(one, other, strict=False))


def _differing(expected: bytes, found: bytes) -> list[Range]:
    """Where a seal's file is not as expected; its signature, which nobody can write anew, when all the rest is."""
    differ = [place for place, pair in enumerate(zip(expected, found, strict=False)) if pair[0] != pair[1]]
    if len(expected) != len(found):
        return [
            Range(
                first=differ[0] if differ else min(len(expected), len(found)), last=max(len(expected), len(found)) - 1
            )
        ]
    if differ and len(differ) <= len(found) // 2:
        return [Range(first=differ[0], last=differ[-1])]
    start = found.rfind(b'"sig": "')
    return blocks.whole(found) if differ or start < 0 else [Range(first=start, last=len(found) - 1)]
