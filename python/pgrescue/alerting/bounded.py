"""An end for what may never end.

Libraries bound the wait for the next byte; nothing bounds a peer that sends one now and then, nor the look-up of a
name.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from pgrescue.alerting.failure import DeliveryError


def bounded[T](work: Callable[[], T], timeout_s: float) -> T:
    """What the work returns, or a `DeliveryError` when it fails or is not done in time.

    Work that is late goes on in a thread that keeps nobody from leaving, and may still deliver. The error is made here,
    out of its words alone: the one that a library raised holds the address, and with it the secret.
    """
    ended: queue.SimpleQueue[T | DeliveryError] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put(work())
        except DeliveryError as error:
            ended.put(error)
        except Exception as error:
            # a fault in one channel must not keep the next one from being tried
            ended.put(DeliveryError(f"The channel failed with {type(error).__name__}.", permanent=True))

    threading.Thread(target=run, name="alert", daemon=True).start()
    try:
        outcome: T | DeliveryError = ended.get(timeout=timeout_s)
    except queue.Empty:
        outcome = DeliveryError(f"No answer within {timeout_s:g} s.")
    if isinstance(outcome, DeliveryError):
        raise DeliveryError(outcome.reason, outcome.retry_after_s, outcome.permanent)
    return outcome
