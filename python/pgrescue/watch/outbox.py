"""Sending that delays nobody: each level of people has a sender of its own; a vendor that hangs holds up no other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pgrescue.alerting import delivery
from pgrescue.alerting import policy as alert_policy
from pgrescue.alerting.delivery import Delivery, Threads
from pgrescue.alerting.message import Message

TICKETS = -1  # the level of those who are told of what wakes nobody


@dataclass(frozen=True)
class Letter:
    """A message to one level; `threads` is where each channel goes on, `after` hears what became of it."""

    message: Message
    level: int
    threads: Threads
    after: Callable[[Delivery], None]


class Outbox:
    """Takes letters at once, and sends each level's in their order; what goes wrong with one is said."""

    def __init__(self, policy: alert_policy.Policy, say: Callable[[str], None]) -> None:
        self._policy, self._say = policy, say
        self._queues: dict[int, queue.Queue[Letter | None]] = {}
        self._senders: list[threading.Thread] = []

    def levels(self) -> list[int]:
        """Whom there is to tell."""
        return [*range(len(self._policy.levels)), *([TICKETS] if self._policy.tickets else [])]

    def put(self, letter: Letter) -> None:
        """Send it as soon as its level's sender is free."""
        if letter.level not in self._queues:
            self._queues[letter.level] = queue.Queue()
            sender = threading.Thread(
                target=self._send_all, args=(self._queues[letter.level],), name="alerts", daemon=True
            )
            self._senders.append(sender)
            sender.start()
        self._queues[letter.level].put(letter)

    def close(self) -> None:
        """Send what is still there, and end."""
        for waiting in self._queues.values():
            waiting.put(None)
        for sender in self._senders:
            sender.join()

    def _send_all(self, letters: queue.Queue[Letter | None]) -> None:
        while (letter := letters.get()) is not None:
            try:
                letter.after(self._deliver(letter))
            except Exception as error:  # said; a sender that ends would silence every later page
                self._say(f"{letter.message.kind} to level {letter.level}: {type(error).__name__}: {error}")

    def _deliver(self, letter: Letter) -> Delivery:
        if letter.level == TICKETS:
            return delivery.deliver(letter.message, self._policy.tickets, self._policy, letter.threads)
        return delivery.deliver_level(letter.message, letter.level, self._policy, letter.threads)
