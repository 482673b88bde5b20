"""Tell those who take part that a drill is about to begin, each through the channel that the programme names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pgrescue.alerting import delivery
from pgrescue.alerting.message import Message
from pgrescue.programme.plan import Participant
from pgrescue.watch import setting


def message(service: str, what: str, who: str, now: datetime) -> Message:
    """What they are told: that it is on purpose, by whom, how it is acknowledged and how it is stopped."""
    lines = (
        f"{who} is about to begin it. The service is broken on purpose; it is no incident.",
        f"Acknowledge to {who}: it begins when everybody who takes part has.",
    )
    stop = f'pgrescue drill --stop "why" -s {service}'
    return Message(f"{now:%Y%m%dT%H%M%SZ}-{service}-drill", "rehearsal", "info", service, what, lines, (stop,), now)


def tell(people: Sequence[Participant], said: Message, inventory: str) -> Mapping[str, str]:
    """Tell everybody who has a channel; what came of it, by name. Those who have none are not in it."""
    channels = {one.name: one.channel for one in people if one.channel}
    if not channels:
        return {}
    try:
        alerts = setting.read(said.service, inventory, False, lambda _: None).alerts
    except setting.WatchError as error:
        why = str(error).removesuffix(" Nothing is watched.")
        return dict.fromkeys(channels, f"not told: {why}")
    came = {}
    for channel in dict.fromkeys(channels.values()):
        sent = delivery.deliver(said, [channel], alerts, {})
        came[channel] = f"told through {channel}" if sent.delivered else f"not told: {'; '.join(sent.reasons)}"
    return {name: came[channel] for name, channel in channels.items()}
