"""The inventory variable `service_alerts`: the channels, who is told when, and when an update is due."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pgrescue.alerting.channels.datadog import Datadog
from pgrescue.alerting.channels.discord import Discord
from pgrescue.alerting.channels.email import Email
from pgrescue.alerting.channels.pagerduty import PagerDuty
from pgrescue.alerting.channels.slack import Slack
from pgrescue.alerting.channels.sns import Sns
from pgrescue.alerting.channels.webhook import Webhook

AnyChannel = Annotated[Slack | Discord | PagerDuty | Sns | Email | Webhook | Datadog, Field(discriminator="kind")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ChannelName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class PolicyError(Exception):
    """The variable says something that cannot be meant; the text is a sentence for who wrote it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Level(_Part):
    """Whom to tell once an incident is open for so long: the first channel that takes it, or all side by side."""

    channels: list[ChannelName] = Field(min_length=1)
    after_s: Seconds = 0.0
    all: bool = False


class Retry(_Part):
    """How often, and for how long, one channel is tried before the next."""

    attempts: int = Field(default=3, ge=1, le=10)
    budget_s: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)


class Policy(_Part):
    """`service_alerts` as a whole. Without levels nobody is told anything."""

    channels: dict[ChannelName, AnyChannel] = Field(default_factory=dict)
    levels: list[Level] = Field(default_factory=list)
    tickets: list[ChannelName] = Field(
        default_factory=list
    )  # who is told of what wakes nobody: the first that takes it
    update_every_s: Seconds = 900.0  # 0: no updates are due
    retry: Retry = Field(default_factory=Retry)

    @model_validator(mode="after")
    def _levels_are_possible(self) -> Self:
        for name in self.tickets:
            if name not in self.channels:
                raise ValueError(f"tickets names the channel {name}, which is not among the channels")
        for place, level in enumerate(self.levels):
            for name in level.channels:
                if name not in self.channels:
                    raise ValueError(f"level {place} names the channel {name}, which is not among the channels")
            if place and level.after_s < self.levels[place - 1].after_s:
                raise ValueError(f"level {place} comes before the one above it")
        return self


def read(said: Any) -> Policy:
    """The policy that the inventory says, or `PolicyError`. No value is repeated in it: it may be a secret."""
    try:
        return Policy.model_validate(said)
    except ValidationError as error:
        raise PolicyError(" ".join(map(_sentence, error.errors(include_input=False, include_url=False)))) from None


def _sentence(error: Any) -> str:
    # below the name of a channel a place names its kind as well, which nobody wrote there
    parts = [str(part) for at, part in enumerate(error["loc"]) if at != 2 or error["loc"][0] != "channels"]  # noqa: PLR2004
    place = ".".join(["service_alerts", *parts])
    if error["type"] == "extra_forbidden":
        return f"{place} is not a key that is known here."
    if error["type"] == "union_tag_invalid":
        return f"{place} has a kind that is not among {error['ctx']['expected_tags']}."
    if error["type"] == "union_tag_not_found":
        return f"{place} has no kind."
    return f"{place}: {error['msg'].removeprefix('Value error, ')}."


def due_levels(
    policy: Policy, opened_at: datetime, acknowledged_at: datetime | None, sent_levels: Collection[int], now: datetime
) -> list[int]:
    """The levels whose time has come and which were not told. None once somebody acknowledged."""
    if acknowledged_at is not None:
        return []
    open_s = max(0.0, (now - opened_at).total_seconds())  # a clock that was set back does not silence the first level
    return [place for place, level in enumerate(policy.levels) if level.after_s <= open_s and place not in sent_levels]


def update_due(policy: Policy, last_update_at: datetime, now: datetime) -> bool:
    """Whether those who were told wait for the next status update."""
    return policy.update_every_s > 0 and (now - last_update_at).total_seconds() >= policy.update_every_s
