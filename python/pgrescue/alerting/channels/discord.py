"""Discord: a webhook of a channel. In a forum an incident is a post of its own; elsewhere webhooks know no threads."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlencode, urlsplit, urlunsplit

from pgrescue.alerting import text
from pgrescue.alerting.channels import http
from pgrescue.alerting.channels.base import Channel, SecretWebAddress, Thread
from pgrescue.alerting.failure import refuse_status
from pgrescue.alerting.message import Message, headline, thread_key
from pgrescue.models import rfc3339

CONTENT_LIMIT, THREAD_NAME_LIMIT = 2000, 100
FACTS_LIMIT, COMMANDS_LIMIT = 2400, 1600  # together within the 4,096 of a description
_COLOURS = {"critical": 0xD32F2F, "warning": 0xF9A825, "info": 0x1976D2}
_RESOLVED = 0x2E7D32


class Discord(Channel):
    """Options of a channel of kind `discord`. The address of a webhook is its secret."""

    kind: Literal["discord"]
    url: SecretWebAddress
    forum: bool = False

    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """Post, in the incident's thread when there is one."""
        query = {"wait": "true"} | ({"thread_id": thread["thread"]} if "thread" in thread else {})
        body = payload(message, new_thread=self.forum and "thread" not in thread)
        answer = http.post(_with(self.url.get_secret_value(), query), http.as_json(body), {}, timeout_s)
        refuse_status(answer.status, answer.headers, _code(answer))
        where = answer.json().get("channel_id")
        return thread or ({"thread": str(where)} if self.forum and where else {})


def _with(url: str, query: dict[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, urlencode(query)]))))


def _code(answer: http.Answer) -> str:
    code = answer.json().get("code")
    return f"code {code}" if isinstance(code, int) else ""


def payload(message: Message, new_thread: bool = False) -> dict[str, Any]:
    """The body of the request."""
    said = headline(message)
    facts = text.fit_lines(message.lines, FACTS_LIMIT, text.discord)
    commands = text.fit_commands(message.commands, COMMANDS_LIMIT, text.no_mention)
    description = "\n".join(filter(None, [facts, f"```\n{commands}\n```" if commands else ""]))
    embed: dict[str, Any] = {
        "color": _RESOLVED if message.kind == "resolved" else _COLOURS[message.severity],
        "footer": {"text": thread_key(message.key)},
        "timestamp": rfc3339(message.at),
    }
    if description:
        embed["description"] = description
    made = {
        "content": text.fit(said, CONTENT_LIMIT, text.discord),
        "embeds": [embed],
        "allowed_mentions": {"parse": []},
    }
    return made | ({"thread_name": text.fit(said, THREAD_NAME_LIMIT, text.no_mention)} if new_thread else {})
