"""A seal's outer form: a DSSE envelope around an in-toto Statement, signed with Ed25519 or by nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import ValidationError
from securesystemslib import exceptions
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from pgrescue.evidence.models import Statement
from pgrescue.evidence.settings import EvidenceError

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key; `keyid` is the SHA-256 of its DER, as in the manifests of dumps."""

    key: Ed25519PublicKey

    @property
    def keyid(self) -> str:
        """Its id, in hex."""
        return sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    @property
    def pem(self) -> str:
        """It in PEM."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def known(self) -> SSlibKey:
        """It as the library wants it."""
        return SSlibKey.from_crypto(self.key, keyid=self.keyid)


def private_key(path: Path) -> Ed25519PrivateKey:
    """The signing key in this file. Raises EvidenceError when it is not one."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise EvidenceError(
            f"{path} holds no signing key that can be read ({type(error).__name__}). The pack is not sealed; nothing "
            "else was changed. Make one with `openssl genpkey -algorithm ed25519`, then: pgrescue evidence seal RUN"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise EvidenceError(f"{path} is not an Ed25519 key. The pack is not sealed; nothing else was changed.")
    return key


def public_key(pem: bytes) -> PublicKey:
    """The public key in this PEM. Raises ValueError when it is not one."""
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is not an Ed25519 public key")
    return PublicKey(key)


def render(payload: bytes, key: Ed25519PrivateKey | None) -> str:
    """The text of a seal's file."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    if key is not None:
        envelope.sign(CryptoSigner(key, PublicKey(key.public_key()).known))
    return _text(envelope)


def _text(envelope: Envelope) -> str:
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


@dataclass(frozen=True)
class Opened:
    """A seal's file, read. `statement` is None when it is not what was written here; `fault` says what is wrong."""

    statement: Statement | None
    keyids: tuple[str, ...] = ()
    fault: str = ""

    @property
    def signer(self) -> str | None:
        """The id of the key that signed it."""
        return self.keyids[0] if self.keyids else None


def read(content: bytes) -> Opened:
    """Open a seal and hold its signature against the key that it carries. Whose key that is, only another can say."""
    try:
        envelope = Envelope.from_dict(json.loads(content))
        if _text(envelope).encode() != content or envelope.payload_type != PAYLOAD_TYPE:
            return Opened(None, fault="it is not written as a seal is")
        statement = Statement.model_validate_json(envelope.payload)
    except (exceptions.Error, ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Opened(None, fault=f"it is no sealed statement ({type(error).__name__})")
    keyids, carried = tuple(envelope.signatures), statement.predicate.public_key
    if not keyids and carried is None:
        return Opened(statement)
    try:
        key = public_key((carried or "").encode())
        envelope.verify([key.known], 1)
    except (exceptions.VerificationError, ValueError):
        return Opened(statement, keyids, "its signature is not that of the key it carries over these bytes")
    return Opened(statement, keyids)
