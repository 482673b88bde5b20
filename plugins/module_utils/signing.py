"""Signed statements: DSSE envelopes (https://github.com/secure-systems-lab/dsse) around canonical JSON, signed with Ed25519.

cryptography is imported where it is used, for only hosts that sign or verify have it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any, Iterable, Mapping

from .guards import PRECONDITION, REFUSED, Stop
from .records import canonical

PAYLOAD_TYPE = "application/vnd.pgrescue+json"


class UnknownKey(Stop):
    """Nobody we know signed it."""


class WrongSignature(Stop):
    """A key we know did not sign these bytes: the payload or the signature was changed."""


class MalformedEnvelope(Stop):
    """It is no envelope, or its payload is not what we write."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is really signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _key_id(public_key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public_key.public_bytes(encoding, form)).hexdigest()


def _private(pem: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise Stop(
            "The signing key is not an unencrypted Ed25519 private key in PEM. Make one with "
            "`openssl genpkey -algorithm ed25519`. Nothing was changed.",
            PRECONDITION,
        )
    return key


def _public(pem: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise Stop(
            "A public key is not an Ed25519 public key in PEM. `openssl pkey -pubout` prints that of a private key. "
            "Nothing was changed.",
            PRECONDITION,
        )
    return key


def sign(payload: Any, private_key_pem: str, payload_type: str = PAYLOAD_TYPE) -> "dict[str, Any]":
    """The envelope of `payload`, signed."""
    key, body = _private(private_key_pem), canonical(payload)
    signature = {"keyid": _key_id(key.public_key()), "sig": _encode(key.sign(pae(payload_type, body)))}
    return {"payloadType": payload_type, "payload": _encode(body), "signatures": [signature]}


def verify(envelope: Any, public_keys: Iterable[str], payload_type: str = PAYLOAD_TYPE) -> Any:
    """The payload, when one of `public_keys` (PEM) signed it; each way it can be refused is an exception of its own."""
    from cryptography.exceptions import InvalidSignature

    kind, body, signatures = _opened(envelope)
    known = {_key_id(key): key for key in map(_public, public_keys)}
    if not set(signatures) & set(known):
        raise UnknownKey(
            "It is signed by key %s, and none of the %d public keys given is that one."
            % (", ".join(key[:16] for key in sorted(signatures)), len(known)),
            REFUSED,
        )
    for name in sorted(set(signatures) & set(known)):
        try:
            known[name].verify(signatures[name], pae(kind, body))
        except InvalidSignature as error:
            raise WrongSignature(
                "The signature of key %s does not match: the payload or the signature was changed." % name[:16],
                REFUSED,
            ) from error
    if kind != payload_type:
        raise MalformedEnvelope("It holds %s, not %s." % (kind, payload_type), REFUSED)
    return json.loads(body)


def parse(text: bytes) -> Any:
    """The envelope in a file."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedEnvelope("It is not JSON, so it is no signed statement.", REFUSED) from error


def _opened(envelope: Any) -> "tuple[str, bytes, Mapping[str, bytes]]":
    try:
        signatures = {str(s["keyid"]): base64.b64decode(s["sig"], validate=True) for s in envelope["signatures"]}
        return str(envelope["payloadType"]), base64.b64decode(envelope["payload"], validate=True), signatures
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise MalformedEnvelope("It is not a DSSE envelope.", REFUSED) from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
