"""Tell people, by whichever of their channels takes the message, and write down what was tried."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pgrescue.alerting.channels.base import Channel
from pgrescue.alerting.failure import DeliveryError
from pgrescue.alerting.message import Message, thread_key
from pgrescue.alerting.policy import Policy
from pgrescue.models import rfc3339

Clock = Callable[[], datetime]
Pause = Callable[[float], None]
Threads = dict[str, dict[str, dict[str, str]]]  # channel, key of the incident, what the channel remembers
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0


@dataclass(frozen=True)
class Attempt:
    """One attempt at one channel. `failed` may go well the next time, `refused` will not."""

    channel: str
    started: datetime
    ended: datetime
    outcome: Literal["delivered", "failed", "refused"]
    reason: str | None = None

    def dump(self) -> dict[str, Any]:
        """This attempt as JSON values."""
        made = {"channel": self.channel, "started": rfc3339(self.started), "ended": rfc3339(self.ended)}
        return made | {"outcome": self.outcome} | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class Delivery:
    """What became of a message."""

    attempts: tuple[Attempt, ...]

    @property
    def channels(self) -> list[str]:
        """Those that took it."""
        return [attempt.channel for attempt in self.attempts if attempt.outcome == "delivered"]

    @property
    def delivered(self) -> bool:
        """Whether any channel took it."""
        return bool(self.channels)

    @property
    def reasons(self) -> list[str]:
        """Why attempts failed, each with its channel."""
        return [f"{attempt.channel}: {attempt.reason}" for attempt in self.attempts if attempt.reason]

    def dump(self) -> dict[str, Any]:
        """This delivery as JSON values."""
        return {"delivered": self.delivered, "attempts": [attempt.dump() for attempt in self.attempts]}


def steady_clock() -> Clock:
    """A clock that tells the time and is not set while it is looked at."""
    began, ticks = datetime.now(UTC), time.monotonic()
    return lambda: began + timedelta(seconds=time.monotonic() - ticks)


def deliver(
    message: Message,
    names: Sequence[str],
    policy: Policy,
    threads: Threads,
    clock: Clock | None = None,
    pause: Pause = time.sleep,
    side_by_side: bool = False,
) -> Delivery:
    """Send by the first of these channels that takes it, or by all of them side by side.

    Never raises because of a channel: that nobody was told is in what it returns. `threads` is kept by the caller,
    as JSON, from one message to the next, and is updated in place.
    """
    clock = clock or steady_clock()
    key = thread_key(message.key)

    def one(name: str) -> tuple[list[Attempt], dict[str, str] | None]:
        channel = policy.channels.get(name)
        if channel is None:
            now = clock()
            return [Attempt(name, now, now, "refused", "There is no channel of that name.")], None
        return _try(name, channel, message, dict(threads.get(name, {}).get(key, {})), policy, clock, pause)

    attempts: list[Attempt] = []
    if side_by_side and names:
        with ThreadPoolExecutor(len(names)) as pool:  # each is bounded by its budget, so this ends
            for name, (tried, thread) in zip(names, pool.map(one, names), strict=True):
                attempts += tried
                _remember(threads, name, key, thread)
        return Delivery(tuple(sorted(attempts, key=lambda attempt: attempt.started)))
    for name in names:
        tried, thread = one(name)
        attempts += tried
        if thread is not None:
            _remember(threads, name, key, thread)
            break
    return Delivery(tuple(attempts))


def deliver_level(
    message: Message,
    level: int,
    policy: Policy,
    threads: Threads,
    clock: Clock | None = None,
    pause: Pause = time.sleep,
) -> Delivery:
    """Send to one level of the policy, in the way that it says."""
    who = policy.levels[level]
    return deliver(message, who.channels, policy, threads, clock, pause, side_by_side=who.all)


def _remember(threads: Threads, name: str, key: str, thread: dict[str, str] | None) -> None:
    if thread:
        threads.setdefault(name, {})[key] = thread


def _try(
    name: str,
    channel: Channel,
    message: Message,
    thread: dict[str, str],
    policy: Policy,
    clock: Clock,
    pause: Pause,
) -> tuple[list[Attempt], dict[str, str] | None]:
    """One channel, as often as its budget allows: what was tried, and what to remember once it took the message."""
    ends = clock() + timedelta(seconds=policy.retry.budget_s)
    attempts: list[Attempt] = []
    for number in range(policy.retry.attempts):
        started = clock()
        left_s = (ends - started).total_seconds()
        if left_s <= 0:
            break
        try:
            remembered = channel.send(message, thread, left_s)
        except DeliveryError as error:
            outcome: Literal["failed", "refused"] = "refused" if error.permanent else "failed"
            attempts.append(Attempt(name, started, clock(), outcome, error.reason))
            wait_s = _wait_s(number, error.retry_after_s)
            last = number + 1 == policy.retry.attempts
            # one that asks for more patience than there is would be asked in vain
            if error.permanent or last or wait_s >= (ends - clock()).total_seconds():
                break
            pause(wait_s)
        else:
            attempts.append(Attempt(name, started, clock(), "delivered"))
            return attempts, remembered
    return attempts, None


def _wait_s(number: int, asked_s: float | None) -> float:
    if asked_s is not None:
        return asked_s
    # at random, so that all who were turned away at once do not come back at once
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**number) * random.uniform(0.5, 1.0)  # noqa: S311
