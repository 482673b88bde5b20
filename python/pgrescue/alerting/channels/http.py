"""One POST of JSON, for the channels whose vendor has no client of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from pgrescue.alerting.failure import DeliveryError

_ENOUGH = 65536  # bytes of an answer that are read


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object, an empty one when it is something else."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def as_json(payload: object) -> bytes:
    """The bytes of a payload."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    """Send JSON. No redirect is followed: it would take the payload, and the secret in it, to somebody else."""
    sent = {"Content-Type": "application/json", **headers}
    try:
        with requests.post(
            url, data=body, headers=sent, timeout=timeout_s, allow_redirects=False, stream=True
        ) as answer:
            return Answer(answer.status_code, answer.headers, answer.raw.read(_ENOUGH, decode_content=True))
    except requests.exceptions.SSLError:
        raise DeliveryError("Its certificate could not be verified.", permanent=True) from None
    except requests.exceptions.Timeout:
        raise DeliveryError(f"No answer within {timeout_s:g} s.") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema):
        raise DeliveryError("Its address cannot be used.", permanent=True) from None
    except (requests.exceptions.RequestException, OSError) as error:
        raise DeliveryError(f"It could not be reached ({type(error).__name__}).") from None
