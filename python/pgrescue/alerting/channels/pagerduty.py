"""PagerDuty: Events API v2, where the incident's key is the deduplication key."""

from __future__ import annotations

from typing import Any, Literal

from httpx2 import HTTPError
from pagerduty import EventsApiV2Client
from pagerduty.errors import Error

from pgrescue.alerting import text
from pgrescue.alerting.channels.base import Channel, Secret, Thread, WebAddress
from pgrescue.alerting.failure import TOO_MANY, DeliveryError, refuse_status
from pgrescue.alerting.message import Message, headline, thread_key
from pgrescue.models import rfc3339

SUMMARY_LIMIT, SOURCE_LIMIT = 1024, 255
DETAILS_LIMIT = 32768  # of facts and of commands each, far below the 512 KB of a payload


class PagerDuty(Channel):
    """Options of a channel of kind `pagerduty`."""

    kind: Literal["pagerduty"]
    routing_key: Secret
    endpoint: WebAddress = "https://events.pagerduty.com"

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Trigger, acknowledge or resolve."""
        with EventsApiV2Client(self.routing_key.get_secret_value()) as client:
            client._url = self.endpoint  # its setter takes no stand-in without TLS
            client.timeout = max(1, int(timeout_s))
            client.max_network_attempts = 0  # to ask again is the delivery's to decide, and it knows Retry-After
            client.max_http_attempts = -1
            client.retry = {TOO_MANY: 1}
            key = thread_key(message.key)
            try:
                if message.kind == "acknowledged":
                    client.acknowledge(key)
                elif message.kind == "resolved":
                    client.resolve(key)
                else:
                    client.trigger(**event(message))
            except Error as error:
                if error.response is not None:
                    refuse_status(error.response.status_code, error.response.headers)
                raise DeliveryError(_why(error), permanent=error.response is not None) from None
            except HTTPError as error:
                raise DeliveryError(f"It could not be reached ({type(error).__name__}).") from None
        return thread


def _why(error: Error) -> str:
    if error.response is not None:
        return "Its answer is none of PagerDuty's."
    return f"It could not be reached ({type(error.__cause__ or error).__name__})."


def event(message: Message) -> dict[str, Any]:
    """The arguments of `trigger`. An update of an incident that is open is added to its log and pages nobody anew."""
    details = {
        "kind": message.kind,
        "facts": text.fit_lines(message.lines, DETAILS_LIMIT),
        "commands": text.fit_commands(message.commands, DETAILS_LIMIT),
    }
    return {
        "summary": text.fit(headline(message), SUMMARY_LIMIT),
        "source": text.fit(message.service, SOURCE_LIMIT) or "unknown",
        "dedup_key": thread_key(message.key),
        "severity": "info" if message.kind == "rehearsal" else message.severity,
        "payload": {"timestamp": rfc3339(message.at), "component": "postgresql", "class": message.kind},
        "custom_details": details,
    }
