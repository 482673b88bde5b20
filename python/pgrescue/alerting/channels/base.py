"""What all channels have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from pgrescue.alerting.bounded import bounded
from pgrescue.alerting.message import Message

Thread = dict[str, str]  # what a channel must remember of an incident to add to what it said before


def _is_web_address(url: str) -> str:
    if not url.startswith(("https://", "http://")) or any(character.isspace() for character in url):
        raise ValueError("an address begins with https:// or http:// and has no spaces")
    return url


def _is_secret_web_address(url: SecretStr) -> SecretStr:
    _is_web_address(url.get_secret_value())
    return url


WebAddress = Annotated[str, AfterValidator(_is_web_address)]
SecretWebAddress = Annotated[SecretStr, AfterValidator(_is_secret_web_address)]
Secret = Annotated[SecretStr, Field(min_length=1)]


class Channel(BaseModel, ABC):
    """The options of one channel. Secrets are of a type that does not print them."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    timeout_s: float = Field(default=5.0, gt=0, le=60, allow_inf_nan=False)

    def send(self, message: Message, thread: Thread, timeout_s: float | None = None) -> Thread:
        """Deliver once and return what to remember of the incident, or raise `DeliveryError` within the time-out."""
        limit = self.timeout_s if timeout_s is None else min(self.timeout_s, timeout_s)
        known = dict(thread)
        return bounded(lambda: self.attempt(message, known, limit), limit)

    @abstractmethod
    def attempt(self, message: Message, thread: Thread, timeout_s: float) -> Thread:
        """One attempt, which `send` puts an end to."""
