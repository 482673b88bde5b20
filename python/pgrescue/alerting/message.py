"""One thing that people are told: the same facts for every channel, each of which writes them in its own way."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Kind = Literal["opened", "update", "escalation", "acknowledged", "resolved", "rehearsal"]
Severity = Literal["critical", "warning", "info"]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


@dataclass(frozen=True)
class Message:
    """What is told. `key` is the incident's id: all that is told under one key belongs together.

    `title` is one sentence, `lines` are facts, `commands` are what to type next. All of them may hold what somebody
    hostile wrote; a channel passes every one of them through `text`.
    """

    key: str
    kind: Kind
    severity: Severity
    service: str
    title: str
    lines: tuple[str, ...]
    commands: tuple[str, ...]
    at: datetime

    def __post_init__(self) -> None:
        if self.at.tzinfo is None:
            raise ValueError("A message is dated by a moment with a time zone.")
        if self.kind not in get_args(Kind) or self.severity not in get_args(Severity):
            raise ValueError(f"There is no message of kind {self.kind!r} and severity {self.severity!r}.")
        # a list from JSON is taken as well, and kept as what cannot change
        object.__setattr__(self, "lines", tuple(self.lines))
        object.__setattr__(self, "commands", tuple(self.commands))


def thread_key(key: str) -> str:
    """The key as every channel can carry it: as it is when it is plain, else its digest."""
    if _PLAIN_KEY.fullmatch(key):
        return key
    return "sha256-" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def headline(message: Message) -> str:
    """The one line that is read on a locked screen: what it is, of which service, and the sentence."""
    word = {
        "opened": message.severity,
        "update": "update",
        "escalation": f"{message.severity}, nobody acknowledged",
        "acknowledged": "acknowledged",
        "resolved": "resolved",
        "rehearsal": "rehearsal, no incident",
    }[message.kind]
    return f"{word.upper()}: {message.service}: {message.title}"
