"""A third party's word for when a seal was there: an RFC 3161 timestamp of the seal's file, beside it.

Asking needs that party's server. Reading what it answered needs its root certificate, from wherever the reader trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from hashlib import sha256, sha384, sha512
from pathlib import Path

import requests
from cryptography.x509 import Certificate, load_der_x509_certificate, load_pem_x509_certificates
from rfc3161_client import (
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from pgrescue.evidence import seal
from pgrescue.evidence.models import TimestampState
from pgrescue.evidence.settings import EvidenceError
from pgrescue.files import write_bytes

_PATIENCE_S = 30.0
_QUERY, _REPLY = "application/timestamp-query", "application/timestamp-reply"


def stamp(directory: Path, url: str) -> Path:
    """Have an authority say that the newest seal is there now, and keep its answer.

    Raises EvidenceError when there is no seal, it has a timestamp, or the authority gave none that is of this seal.
    """
    newest = seal.seals(directory)[-1:]
    if not newest:
        raise EvidenceError(f"{directory} has no seal that a timestamp could be of. First: pgrescue evidence seal RUN")
    path = seal.timestamp_of(newest[0])
    if path.exists():
        raise EvidenceError(f"{path.name} is there: {newest[0].name} has a timestamp. Nothing was changed.", 4)
    content = newest[0].read_bytes()
    answer = _asked(url, content)
    write_bytes(path, answer.as_bytes())
    return path


def _asked(url: str, content: bytes) -> TimeStampResponse:
    wanted = TimestampRequestBuilder().data(content).build()
    try:
        got = requests.post(url, data=wanted.as_bytes(), headers={"Content-Type": _QUERY}, timeout=_PATIENCE_S)
        got.raise_for_status()
        answer = decode_timestamp_response(got.content)
        if PKIStatus(answer.status) != PKIStatus.GRANTED:
            raise ValueError(f"it refused: {', '.join(answer.status_string) or PKIStatus(answer.status).name}")
        if answer.tst_info.nonce != wanted.nonce or not _is_of(answer, content):
            raise ValueError("its answer is to another question")
    except (requests.RequestException, ValueError) as error:
        raise EvidenceError(
            f"{url} gave no timestamp: {error}. Nothing was changed. The seal holds without; try again later."
        ) from error
    return answer


def authority(path: Path) -> list[Certificate]:
    """The certificates of an authority, in PEM. Raises EvidenceError when there are none."""
    try:
        return load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EvidenceError(
            f"{path} holds no certificate in PEM ({error}). Nothing was verified. It is the root certificate that the "
            "authority publishes."
        ) from error


def examine(name: str, content: bytes, sealed: bytes | None, roots: Sequence[Certificate]) -> TimestampState:
    """What one timestamp is worth. `sealed`: the seal's file; None where it is missing."""
    of = f"seal-{seal.number(Path(name))}.dsse.json"
    try:
        answer = decode_timestamp_response(content)
        at = answer.tst_info.gen_time.replace(tzinfo=UTC)
    except ValueError as error:
        return TimestampState(name=name, seal=of, holds=False, says=f"it is no timestamp ({error})")
    if sealed is None or not _is_of(answer, sealed):
        return TimestampState(name=name, seal=of, at=at, holds=False, says=f"it is not of {of} as that is here")
    who = _signer(answer)
    said = f"{of} was there at {at:%Y-%m-%d %H:%M:%S} UTC, says {who}"
    if not roots:
        return TimestampState(name=name, seal=of, at=at, holds=True, says=f"{said}; --authority tells whether")
    verifier = VerifierBuilder()
    for root in roots:
        verifier = verifier.add_root_certificate(root)
    try:
        verifier.build().verify_message(answer, sealed)
    except VerificationError as error:
        return TimestampState(name=name, seal=of, at=at, holds=False, says=f"not of the given authority: {error}")
    return TimestampState(name=name, seal=of, at=at, authority_fits=True, holds=True, says=f"{said}, as given")


def _is_of(answer: TimeStampResponse, content: bytes) -> bool:
    said = answer.tst_info.message_imprint.message
    return any(said == digest(content).digest() for digest in (sha256, sha384, sha512))


def _signer(answer: TimeStampResponse) -> str:
    """The name in the certificate that signed, where the answer has it."""
    signers = {(one.issuer, one.serial_number) for one in answer.signed_data.signer_infos}
    for der in answer.signed_data.certificates:
        found = load_der_x509_certificate(der)
        if (found.issuer, found.serial_number) in signers:
            return found.subject.rfc4514_string()
    return "somebody whose certificate is not in it"
