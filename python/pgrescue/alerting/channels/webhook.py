"""Any address that takes JSON: the message itself, signed when there is a secret to sign with."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any, Literal

from pgrescue.alerting import text
from pgrescue.alerting.channels import http
from pgrescue.alerting.channels.base import Channel, Secret, SecretWebAddress, Thread
from pgrescue.alerting.failure import refuse_status
from pgrescue.alerting.message import Message, thread_key
from pgrescue.core.inert import inert
from pgrescue.models import rfc3339

SIGNATURE = "X-Pgrescue-Signature"
TITLE_LIMIT, LINE_LIMIT, MOST_LINES = 1024, 2000, 100


class Webhook(Channel):
    """Options of a channel of kind `webhook`. The address may hold a secret, so it is treated as one."""

    kind: Literal["webhook"]
    url: SecretWebAddress
    secret: Secret | None = None

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Send the message."""
        body = http.as_json(payload(message))
        headers = {SIGNATURE: signature(self.secret.get_secret_value(), body)} if self.secret else {}
        answer = http.post(self.url.get_secret_value(), body, headers, timeout_s)
        refuse_status(answer.status, answer.headers)
        return thread


def signature(secret: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256 of the bytes of the body, in hex."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def payload(message: Message) -> dict[str, Any]:
    """The message as JSON. Nothing is escaped, for nothing is known of who shows it."""
    return {
        "version": 1,
        "key": thread_key(message.key),
        "kind": message.kind,
        "severity": message.severity,
        "service": text.fit(message.service, TITLE_LIMIT),
        "title": text.fit(message.title, TITLE_LIMIT),
        "lines": [text.fit(line, LINE_LIMIT) for line in message.lines[:MOST_LINES]],
        "commands": [command for command in map(inert, message.commands[:MOST_LINES]) if _fits(command)],
        "at": rfc3339(message.at),
    }


def _fits(command: str) -> bool:
    return text.units(command) <= LINE_LIMIT
