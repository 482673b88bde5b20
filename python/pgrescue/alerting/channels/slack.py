"""Slack: a bot's `chat.postMessage`, one thread an incident."""

from __future__ import annotations

import http.client
import logging
from typing import Any, Literal

from pydantic import Field
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from pgrescue.alerting import text
from pgrescue.alerting.channels.base import Channel, Secret, Thread, WebAddress
from pgrescue.alerting.failure import DeliveryError, refuse_status
from pgrescue.alerting.message import Message, headline, thread_key
from pgrescue.models import rfc3339

HEADER_LIMIT, SECTION_LIMIT = 150, 3000
_FENCE = 8  # two lines of three backticks
_OK = 200
_COMES_BACK = {"ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout", "service_unavailable"}
_FOR_ALL = ("resolved", "escalation")  # shown in the channel as well, for nobody may look into the thread

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_log.propagate = False  # the client logs errors of its own, which the delivery records anyway
_log.setLevel(logging.CRITICAL)


class Slack(Channel):
    """Options of a channel of kind `slack`."""

    kind: Literal["slack"]
    token: Secret
    channel: str = Field(min_length=1)
    endpoint: WebAddress = "https://slack.com/api/"

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Post, in the thread when there is one."""
        token = self.token.get_secret_value()
        client = WebClient(
            token, base_url=self.endpoint, timeout=max(1, int(timeout_s)), retry_handlers=[], logger=_log
        )
        try:
            said = client.chat_postMessage(**payload(message, thread.get("channel", self.channel), thread.get("ts")))
        except SlackApiError as error:
            raise _failure(error) from None
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(f"It could not be reached ({type(error).__name__}).") from None
        # the thread goes on under its first message, in the channel's id, which a new name does not change
        return thread or {"ts": str(said["ts"]), "channel": str(said["channel"])}


def _failure(error: SlackApiError) -> DeliveryError:
    answer = error.response
    word = text.fit(str(answer.data.get("error", "")), 80) if isinstance(answer.data, dict) else ""
    try:
        refuse_status(answer.status_code, answer.headers, word if answer.status_code == _OK else "")
    except DeliveryError as failure:
        return failure
    return DeliveryError(f"It refused: {word or 'no reason given'}.", permanent=word not in _COMES_BACK)


def payload(message: Message, channel: str, thread_ts: str | None) -> dict[str, Any]:
    """The arguments of `chat.postMessage`. Facts are plain text, which Slack gives no meaning to."""
    said = headline(message)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(text.fit(said, HEADER_LIMIT, text.slack))},
    ]
    if message.lines:
        facts = text.fit_lines(message.lines, SECTION_LIMIT, text.slack)
        blocks.append({"type": "section", "text": _plain(facts)})
    if message.commands:
        commands = text.fit_commands(message.commands, SECTION_LIMIT - _FENCE, text.slack)
        blocks.append(
            {"type": "section", "text": {"type": "mrkdwn", "text": f"```\n{commands}\n```", "verbatim": True}}
        )
    key = thread_key(message.key)
    blocks.append({"type": "context", "elements": [_plain(f"{key}  {rfc3339(message.at)}")]})
    made = {
        "channel": channel,
        "text": text.fit(said, SECTION_LIMIT, text.slack),  # for notifications
        "blocks": blocks,
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "metadata": {"event_type": "pgrescue_alert", "event_payload": {"key": key, "kind": message.kind}},
    }
    if thread_ts:
        made |= {"thread_ts": thread_ts, "reply_broadcast": message.kind in _FOR_ALL}
    return made


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words, "emoji": False}
