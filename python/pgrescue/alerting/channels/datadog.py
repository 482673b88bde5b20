"""Datadog: an event in its stream, where the incident's key groups what belongs together. Contract-tested only.

Datadog's own client keeps one key and one address for the whole process, and asks again on its own.
"""

from __future__ import annotations

from typing import Any, Literal

from pgrescue.alerting import text
from pgrescue.alerting.channels import http
from pgrescue.alerting.channels.base import Channel, Secret, Thread, WebAddress
from pgrescue.alerting.failure import refuse_status
from pgrescue.alerting.message import Message, headline, thread_key

EVENTS = "/api/v1/events"
TITLE_LIMIT, HEADLINE_LIMIT, FACTS_LIMIT, COMMANDS_LIMIT = 100, 500, 2000, 1400  # the last three within 4,000 of a text
TAG_LIMIT = 200
_TYPES = {"critical": "error", "warning": "warning", "info": "info"}


class Datadog(Channel):
    """Options of a channel of kind `datadog`. `endpoint` says which of its sites holds the account."""

    kind: Literal["datadog"]
    api_key: Secret
    endpoint: WebAddress = "https://api.datadoghq.com"

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Post the event."""
        headers = {"DD-API-KEY": self.api_key.get_secret_value()}
        answer = http.post(self.endpoint.rstrip("/") + EVENTS, http.as_json(payload(message)), headers, timeout_s)
        refuse_status(answer.status, answer.headers)
        return thread


def payload(message: Message) -> dict[str, Any]:
    """The body of the request. An @ in it would notify whomever it names."""
    parts = [
        text.fit(headline(message), HEADLINE_LIMIT, text.no_mention),
        text.fit_lines(message.lines, FACTS_LIMIT, text.no_mention),
        text.fit_commands(message.commands, COMMANDS_LIMIT, text.no_mention),
    ]
    said = (
        "info" if message.kind == "rehearsal" else "success" if message.kind == "resolved" else _TYPES[message.severity]
    )
    return {
        "title": text.fit(headline(message), TITLE_LIMIT, text.no_mention),
        "text": "\n\n".join(filter(None, parts)),
        "aggregation_key": thread_key(message.key),
        "alert_type": said,
        "priority": "low" if said == "info" else "normal",
        "date_happened": int(message.at.timestamp()),
        "tags": [f"service:{text.fit(message.service, TAG_LIMIT - 8)}", f"kind:{message.kind}", "source:pgrescue"],
    }
